# SPDX-License-Identifier: Apache-2.0
"""Replies as they must be, byte for byte, in tests/golden/api. HORCRUX_GOLDEN=write makes them anew.

What differs from run to run (moments, process ids, request ids) is put to a fixed word first. The
files are indented so that a change can be read; the reply's own bytes are compared compact.
"""
import json
import os
import re

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "golden", "api")

MOVING = [
    (re.compile(rb'"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"'), b'"2026-01-31T12:00:00.000Z"'),
    (re.compile(rb"process \d+ waits"), b"process 1 waits"),
    (re.compile(rb'"card-[0-9a-f]{16}"'), b'"card-0000000000000000"'),
]


def steady(body):
    for pattern, text in MOVING:
        body = pattern.sub(text, body)
    return body


def check(name, body):
    path = os.path.join(FOLDER, name + ".json")
    value = json.loads(steady(body))
    compact = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
    assert steady(body) == compact, f"{name} is not compact JSON with a newline at its end"
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    if os.environ.get("HORCRUX_GOLDEN") == "write":
        os.makedirs(FOLDER, exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return
    with open(path, encoding="utf-8") as f:
        wanted = f.read()
    assert text == wanted, f"{name} is not as in {os.path.relpath(path)} (HORCRUX_GOLDEN=write makes it anew)"
