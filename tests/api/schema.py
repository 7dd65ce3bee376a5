# SPDX-License-Identifier: Apache-2.0
"""A small checker of JSON against the schemas in openapi.json: the words that the daemon uses, and
an error for any that it does not know, so that nothing passes because it was not looked at.
"""
TYPES = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
}
KNOWN = {"$ref", "type", "properties", "required", "additionalProperties", "items", "enum", "oneOf",
         "description", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems"}


def fail(where, what):
    raise AssertionError(f"{where or '(top)'}: {what}")


def resolve(document, ref):
    assert ref.startswith("#/"), ref
    at = document
    for part in ref[2:].split("/"):
        at = at[part]
    return at


def passes(document, schema, value):
    try:
        check(document, schema, value)
    except AssertionError:
        return False
    return True


def check(document, schema, value, where=""):
    """Raises AssertionError with the place where value does not fit."""
    unknown = set(schema) - KNOWN
    assert not unknown, f"schema has words that this checker does not know: {unknown}"
    if "$ref" in schema:
        check(document, resolve(document, schema["$ref"]), value, where)
        return
    if "oneOf" in schema and sum(passes(document, s, value) for s in schema["oneOf"]) != 1:
        fail(where, f"not exactly one of the alternatives: {value!r}")
    wanted = schema.get("type")
    if wanted:
        wanted = wanted if isinstance(wanted, list) else [wanted]
        if not any(TYPES[t](value) for t in wanted):
            fail(where, f"{value!r} is no {' or '.join(wanted)}")
    if "enum" in schema and value not in schema["enum"]:
        fail(where, f"{value!r} is none of {schema['enum']}")
    if isinstance(value, dict):
        check_object(document, schema, value, where)
    elif isinstance(value, list):
        limits(schema, len(value), "minItems", "maxItems", where)
        for i, item in enumerate(value):
            check(document, schema.get("items", {}), item, f"{where}/{i}")
    elif isinstance(value, str):
        limits(schema, len(value.encode()), "minLength", "maxLength", where)
    elif TYPES["integer"](value):
        limits(schema, value, "minimum", "maximum", where)


def limits(schema, n, low, high, where):
    if n < schema.get(low, n) or n > schema.get(high, n):
        fail(where, f"{n} is outside {schema.get(low)}..{schema.get(high)}")


def check_object(document, schema, value, where):
    properties = schema.get("properties", {})
    for name in schema.get("required", []):
        if name not in value:
            fail(where, f"{name} is missing")
    more = schema.get("additionalProperties", True)
    for name, v in value.items():
        if name in properties:
            check(document, properties[name], v, f"{where}/{name}")
        elif more is False:
            fail(where, f"{name} is not in the schema")
        elif isinstance(more, dict):
            check(document, more, v, f"{where}/{name}")


def operation(document, method, path):
    """The operation that a request's path belongs to; literal segments go before {parameters}."""
    parts = path.split("?")[0].split("/")
    best = None
    for template, item in document["paths"].items():
        names = template.split("/")
        if len(names) != len(parts):
            continue
        if all(n == p or n.startswith("{") for n, p in zip(names, parts)):
            rank = [not n.startswith("{") for n in names]
            if best is None or rank > best[0]:
                best = (rank, item)
    assert best, f"{path} is in no path of openapi.json"
    method = "get" if method == "HEAD" else method.lower()
    assert method in best[1], f"openapi.json has no {method} for {path}"
    return best[1][method]


def check_reply(document, method, path, status, value):
    replies = operation(document, method, path)["responses"]
    reply = replies.get(str(status)) or replies.get(f"{status // 100}XX")
    assert reply, f"openapi.json has no {status} for {method} {path}"
    check(document, reply["content"]["application/json"]["schema"], value)
