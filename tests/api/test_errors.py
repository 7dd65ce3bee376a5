# SPDX-License-Identifier: Apache-2.0
"""Everything that can be wrong with a request: the right status, always as a problem, and the daemon
still serving afterwards with nothing changed."""
import json
import socket
import time

import golden
import pytest
from daemon import check_problem, parse, read_all

SCAN = "/api/gpu/devices/scan"


@pytest.fixture(autouse=True)
def still_serving(shared):
    before = shared.get("/api/gpu/devices")
    yield
    after = shared.get("/api/gpu/devices", {"If-None-Match": before.headers["ETag"]})
    assert after.status == 304
    assert shared.alive()


def request(line, *headers, body=b"", host=True):
    lines = [line] + (["Host: localhost"] if host else []) + list(headers) + ["", ""]
    return "\r\n".join(lines).encode() + body


def raw_problem(d, data, status):
    reply = parse(d.raw(data, 3))
    assert reply.status == status, reply
    return check_problem(d.document, reply)


@pytest.mark.parametrize("path", ["/", "/api", "/api/", "/api/nothing", "/api/gpu//devices",
                                  "/api/gpu/devices/", "//api/gpu/devices", "/api/gpu/devices/a/b",
                                  "/api%2Fgpu/devices", "/api/gpu/devices%2f0000:01:00.0",
                                  "/api/gpu/devices%00", "/api/gpu/devices/0000:01:00.0%00",
                                  "/API/gpu/devices", "/api/gpu/devices;x=1", "/api/gpu/devices/../devices",
                                  "/metrics", "/api/gpu/devices/0000:01:00.0/virtual"])
def test_no_such_address(shared, path):
    reply = shared.get(path)
    assert reply.status == 404


def test_404_golden(shared):
    golden.check("problem-not-found", shared.get("/api/nothing").body)


@pytest.mark.parametrize("method, path, allow", [
    ("PUT", "/api/gpu/devices", "GET, HEAD"), ("DELETE", "/api/gpu/devices/0000:01:00.0", "GET, HEAD"),
    ("GET", SCAN, "POST"), ("HEAD", SCAN, "POST"), ("OPTIONS", "/api/version", "GET, HEAD"),
    ("PATCH", "/api/health", "GET, HEAD"), ("TRACE", "/api/health", "GET, HEAD"),
    ("FROB", "/api/health", "GET, HEAD"), ("post", SCAN, "POST"),
])
def test_wrong_method(shared, method, path, allow):
    reply = shared.call(method, path)
    assert reply.status == 405
    assert reply.headers["Allow"] == allow


def test_405_golden(shared):
    golden.check("problem-method", shared.get(SCAN).body)


@pytest.mark.parametrize("body, code", [
    (b"{", "bad_json"), (b"[]", "wrong_type"), (b"nonsense", "bad_json"), (b'{"a":1,"a":2}', "bad_json"),
    (b'{"a":"\xff"}', "bad_json"), (b'"\x00"', "bad_json"), (b"null", "bad_json"), (b"{} {}", "bad_json"),
    (b"[" * 1000, "bad_json"), (b'{"x":' * 40 + b"1" + b"}" * 40, "bad_json"), (b'{"a":NaN}', "bad_json"),
    (b'{"deep":true}', "unknown_field"), (b"\xef\xbb\xbf{}", "bad_json"), (b" ", "bad_json"),
])
def test_wrong_bodies(shared, body, code):
    reply = shared.post(SCAN, body, {"Content-Type": "application/json"})
    assert reply.json()["code"] == code
    assert reply.status == {"bad_json": 400}.get(code, 422)


def test_a_wrong_field_is_pointed_at(shared):
    problem = shared.post(SCAN, {"deep": True}).json()
    assert problem["pointer"] == "/deep" and "deep" in problem["detail"]


def test_bad_json_golden(shared):
    golden.check("problem-bad-json", shared.post(SCAN, b"{", {"Content-Type": "application/json"}).body)


@pytest.mark.parametrize("number, text", [
    ("9223372036854775807", "it may be 1 to 512"), ("9223372036854775808", "it may be 1 to 512"),
    ("-9223372036854775809", "it may be 1 to 512"), ("1" * 400, "it may be 1 to 512"), ("1e19", "it may be 1 to 512"),
    ("1.5", "an integer"), ("12345678901234567890.5e-19", "an integer"),
])
def test_a_number_beyond_all_bounds_is_pointed_at(shared, number, text):
    body = '{"cpus": %s, "memory":512, "name": "99999999999999999999 \\" 99999999999999999999"}' % number
    problem = shared.post("/api/vms", body.encode(), {"Content-Type": "application/json"}).json()
    assert problem["status"] == 422 and problem["pointer"] == "/cpus" and text in problem["detail"]
    assert problem["code"] == ("wrong_type" if "integer" in text else "invalid_value")


@pytest.mark.parametrize("body, pointer", [
    (b'{"cpus":2,"memory":99999999999999999999}', "/memory"),
    (b'{"cpus":2,"memory":64,"disks":[{"size":8},{"size":-99999999999999999999}]}', "/disks/1/size"),
    (b'{"cpus":2,"memory":64,"name":99999999999999999999}', "/name"),
    (b'{"cpus":2,"memory":64,"nothing":99999999999999999999}', "/nothing"),
])
def test_where_the_number_is(shared, body, pointer):
    reply = shared.post("/api/vms", body, {"Content-Type": "application/json"})
    assert (reply.status, reply.json()["pointer"]) == (422, pointer)


def test_what_is_no_json_stays_so_beside_such_a_number(shared):
    for body in (b'{"cpus":99999999999999999999', b"99999999999999999999}", b'{"a":099999999999999999999}',
                 b'{"a":99999999999999999999,"a":1}', b'{"a":"\\'):
        assert shared.post("/api/vms", body, {"Content-Type": "application/json"}).json()["code"] == "bad_json"


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip", "nonsense"])
def test_an_encoded_body(shared, encoding):
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    reply = shared.post(SCAN, b"{}", headers)
    assert reply.status == 415 and encoding in reply.json()["detail"]
    assert "without Content-Encoding" in reply.json()["hint"]
    assert shared.post(SCAN, None, headers).status == 200       # nothing is encoded there
    assert shared.post(SCAN, b"{}", {**headers, "Content-Encoding": "Identity"}).status == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonx",
                                  "application/problem+json", "multipart/form-data; boundary=x", None])
def test_media_type(shared, kind):
    reply = shared.post(SCAN, b"{}", {"Content-Type": kind})
    assert reply.status == 415
    assert "application/json" in reply.json()["hint"]


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON",
                                  "application/json;charset=utf-8"])
def test_right_media_types(shared, kind):
    assert shared.post(SCAN, b"{}", {"Content-Type": kind}).status == 200


def test_a_post_without_a_body_needs_no_type(shared):
    assert shared.post(SCAN).status == 200
    assert shared.post(SCAN, headers={"Content-Type": "text/plain"}).status == 200


@pytest.mark.parametrize("size", [256 * 1024 + 1, 1024 * 1024, 3 * 1024 * 1024])
def test_too_large(shared, size):
    reply = shared.post(SCAN, b" " * size, {"Content-Type": "application/json"})
    assert reply.status == 413
    assert reply.json()["code"] == "too_large"


def test_413_golden(shared):
    body = b" " * (1024 * 1024)
    golden.check("problem-too-large", shared.post(SCAN, body, {"Content-Type": "application/json"}).body)


def test_the_largest_body_is_read(shared):
    body = b"{" + b" " * (256 * 1024 - 2) + b"}"
    assert shared.post(SCAN, body, {"Content-Type": "application/json"}).status == 200


def test_too_large_is_told_before_it_is_sent(shared):
    head = request(f"POST {SCAN} HTTP/1.1", "Content-Type: application/json", "Content-Length: 1000000",
                   "Expect: 100-continue")
    began = time.monotonic()
    assert raw_problem(shared, head, 413)["code"] == "too_large"
    assert time.monotonic() - began < 2
    raw_problem(shared, request(f"POST {SCAN} HTTP/1.1", "Content-Length: 99999999999"), 413)


def chunked(*pieces):
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


def test_chunked_bodies(shared):
    head = request(f"POST {SCAN} HTTP/1.1", "Content-Type: application/json", "Transfer-Encoding: chunked",
                   "Connection: close")
    assert parse(shared.raw(head + chunked(b"{", b"}"))).status == 200
    assert parse(shared.raw(head + chunked(b"{", b"]"))).status == 400
    assert raw_problem(shared, head + chunked(*[b" " * 65536] * 5), 413)
    assert shared.raw(head + chunked(*[b" " * 65536] * 80)) == b""     # over 4 MiB: it ends
    assert parse(shared.raw(head + b"zz\r\n")).status == 400


@pytest.mark.parametrize("headers", [
    ("Content-Length: 2", "Content-Length: 2"), ("Content-Length: 2", "Content-Length: 3"),
    ("Content-Length: 2", "Transfer-Encoding: chunked"), ("Transfer-Encoding: chunked", "Content-Length: 2"),
    ("Transfer-Encoding: gzip, chunked",), ("Transfer-Encoding: identity",),
    ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
])
def test_a_body_of_two_lengths_is_none(shared, headers):
    data = request(f"POST {SCAN} HTTP/1.1", "Content-Type: application/json", *headers,
                   body=b"{}" + request("GET /api/version HTTP/1.1"))
    got = shared.raw(data, 3)
    assert got.count(b"HTTP/1.1 ") == 1      # what follows is never taken for a request
    check_problem(shared.document, parse(got))
    assert parse(got).status == 400


@pytest.mark.parametrize("headers", [("Content-Length: -1",), ("Content-Length: x",), ("Content-Length: 1 2",),
                                     ("Content-Length: +2",), ("Content-Length: 99999999999999999999999",)])
def test_lengths_that_are_none(shared, headers):
    """The library answers these itself, in its own words (0.9.75: its header twice), and ends."""
    data = request(f"POST {SCAN} HTTP/1.1", *headers, body=b"{}" + request("GET /api/version HTTP/1.1"))
    got = shared.raw(data, 3)
    assert b" 200 " not in got and b'"version"' not in got
    assert parse(got).status in (400, 413)


def test_long_addresses(shared):
    assert shared.get("/api/" + "x" * 4090).status == 404
    reply = shared.get("/api/" + "x" * 4096)
    assert reply.status == 414
    golden.check("problem-long", reply.body)
    assert shared.get("/api/gpu/devices?driver=" + "x" * 4096).status == 414
    got = shared.raw(request("GET /api/" + "x" * 20000 + " HTTP/1.1"), 3)      # the library's own
    assert parse(got).status == 414


def test_many_headers(shared):
    assert shared.get("/api/version", {f"X-{i}": "y" * 50 for i in range(60)}).status == 200
    got = shared.raw(request("GET /api/version HTTP/1.1", *[f"X-{i}: {'y' * 500}" for i in range(60)]), 3)
    assert parse(got).status == 431


def test_request_ids(shared):
    ids = {shared.get("/api/version").headers["X-Request-Id"] for _ in range(5)}
    assert len(ids) == 5
    assert shared.get("/api/version", {"X-Request-Id": "mine-1.2_3"}).headers["X-Request-Id"] == "mine-1.2_3"
    assert shared.get("/api/nothing", {"X-Request-Id": "mine"}).headers["X-Request-Id"] == "mine"
    for bad in ("", "a b", "x" * 65, 'a"b', "a,b", "a%0a"):
        assert shared.get("/api/version", {"X-Request-Id": bad}).headers["X-Request-Id"] != bad


def test_http_1_0(shared):
    got = parse(shared.raw(request("GET /api/version HTTP/1.0"), 3))
    assert got.status == 200 and json.loads(got.body)["version"]
    raw_problem(shared, request("GET /api/version HTTP/1.0", host=False), 400)


def test_hosts_that_are_missing_or_two(shared):
    assert parse(shared.raw(request("GET /api/version HTTP/1.1", host=False), 3)).status == 400
    raw_problem(shared, request("GET /api/version HTTP/1.1", "Host: localhost", "Connection: close"), 400)


@pytest.mark.parametrize("data", [b"\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"\x00" * 100,
                                  b"GET /api/version HTTP/9.9\r\nHost: localhost\r\n\r\n",
                                  b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /a b c HTTP/1.1\r\n\r\n",
                                  b"GET /api/version HTTP/1.1\r\nHost localhost\r\n\r\n"])
def test_what_is_no_http(shared, data):
    got = shared.raw(data, 1, half_close=True)
    assert b" 200 " not in got.split(b"\r\n")[0]


def test_pipelined_requests_are_answered_in_order(shared):
    one = request("GET /api/version HTTP/1.1")
    two = request(f"POST {SCAN} HTTP/1.1", "Content-Type: application/json", "Content-Length: 2", body=b"{}")
    last = request("GET /api/nothing HTTP/1.1", "Connection: close")
    got = shared.raw(one + two + last, 3)
    statuses = [int(part[:3]) for part in got.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [200, 200, 404]


def test_a_connection_goes_on_after_an_error(shared):
    c = shared.connection()
    for path, status in (("/api/nothing", 404), (SCAN, 405), ("/api/version", 200)):
        assert shared.get(path, connection=c).status == status
    reply = shared.call("POST", SCAN, b" " * 300000, {"Content-Type": "application/json"}, connection=c)
    assert reply.status == 413
    assert shared.get("/api/version", connection=c).status == 200
    c.close()


def test_a_body_on_a_get_is_no_harm(shared):
    assert shared.call("GET", "/api/version", b"{}").status == 200


def test_clients_that_vanish(shared):
    for i in range(40):
        with socket.create_connection(("127.0.0.1", shared.port)) as s:
            data = request(f"POST {SCAN} HTTP/1.1", "Content-Length: 100", body=b"{}")
            s.sendall(data[:len(data) - i])
            if i % 2:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def test_slow_clients_hold_up_nobody(shared):
    slow = []
    for _ in range(30):
        s = socket.create_connection(("127.0.0.1", shared.port))
        s.sendall(b"GET /api/version HTTP/1.1\r\nHo")
        slow.append(s)
    for _ in range(30):
        s = socket.create_connection(("127.0.0.1", shared.port))
        s.sendall(request(f"POST {SCAN} HTTP/1.1", "Content-Type: application/json", "Content-Length: 100"))
        slow.append(s)
    began = time.monotonic()
    assert shared.get("/api/gpu/devices").status == 200
    assert time.monotonic() - began < 1
    slow[0].sendall(b"st: localhost\r\nConnection: close\r\n\r\n")
    assert parse(read_all(slow[0], 3)).status == 200
    for s in slow:
        s.close()


def test_more_connections_than_there_may_be(shared):
    held = []
    for _ in range(300):
        try:
            held.append(socket.create_connection(("127.0.0.1", shared.port), 1))
        except OSError:
            break
    assert shared.get("/api/version", unix=True).status == 200     # the other door stays open
    for s in held:
        s.close()
    assert shared.wait_for(lambda: answers(shared), 5)


def answers(d):
    try:
        return d.get("/api/version").status == 200
    except OSError:
        return False
