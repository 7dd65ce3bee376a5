# SPDX-License-Identifier: Apache-2.0
"""An HTTP server on a Unix socket that says what a test tells it to say."""
import json
import os
import socketserver
import threading
import time
from http.server import BaseHTTPRequestHandler


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        self.server.seen.append((self.command, self.path, dict(self.headers), body))
        answers = self.server.answers.get((self.command, self.path))
        if answers is None:
            answers = [problem(404, "not_found", "there is no such path")]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        answer(self)

    do_GET = do_POST = do_DELETE = do_PATCH = do_PUT = answer

    def reply(self, status, body, kind="application/json", headers=None):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def address_string(self):
        return "unix"

    def log_message(self, *_):
        pass


def says(body, status=200, headers=None):
    """The bytes, or the value as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda handler: handler.reply(status, data, headers=headers)


def problem(status, code, detail, **more):
    body = {"type": f"/problems/{code}", "title": code, "status": status, "detail": detail,
            "code": code, **more}
    return lambda handler: handler.reply(status, json.dumps(body).encode(), "application/problem+json")


def silent(seconds):
    """Takes the request, and says nothing for so long."""
    return lambda handler: (time.sleep(seconds), setattr(handler, "close_connection", True))


def half(body):
    """Promises more than it sends, and goes."""
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body) + 100))
        handler.end_headers()
        handler.wfile.write(body)
        handler.close_connection = True
    return answer


def endless(handler):
    """A body that never ends."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b" " * 65536)
    except OSError:
        handler.close_connection = True


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request, client_address):
        pass    # the client may hang up: that is part of what is tested


class Daemon:
    def __init__(self, path):
        self.path = str(path)
        self.server = Server(self.path, Handler)
        self.server.answers, self.server.seen = {}, []
        self.thread = threading.Thread(target=self.server.serve_forever,
                                       kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def seen(self):
        return self.server.seen

    def on(self, method, path, *answers):
        """Answers to that request, one after another; the last one stays."""
        self.server.answers[(method, path)] = list(answers)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        os.unlink(self.path)
