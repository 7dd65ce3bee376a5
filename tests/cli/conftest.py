# SPDX-License-Identifier: Apache-2.0
"""The command line as a user runs it: the built program, its two streams, its exit status."""
import os
import subprocess

import pytest

import cli_stub as stub

TESTS = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(os.path.dirname(TESTS), "golden", "cli")


class Run:
    def __init__(self, done):
        self.code = done.returncode
        self.out = done.stdout.decode("utf-8", "surrogateescape")
        self.err = done.stderr.decode("utf-8", "surrogateescape")


@pytest.fixture(scope="session")
def program():
    build = os.environ.get("HORCRUX_BUILD")
    assert build, "HORCRUX_BUILD names the folder of the built programs"
    path = os.path.join(build, "horcrux")
    assert os.access(path, os.X_OK), f"{path} is not there"
    return path


@pytest.fixture
def environment():
    kept = {k: v for k, v in os.environ.items() if k not in ("HORCRUX_SOCKET", "NO_COLOR", "COLUMNS")}
    return {**kept, "LC_ALL": "C.UTF-8", "TERM": "xterm"}


@pytest.fixture
def horcrux(program, environment):
    def run(*words, env=None, timeout=30, stdin=None):
        return Run(subprocess.run([program, *words], env={**environment, **(env or {})},
                                  stdin=stdin or subprocess.DEVNULL, capture_output=True,
                                  timeout=timeout, check=False))
    return run


@pytest.fixture
def daemon(tmp_path):
    """A stub that answers as it is told; its socket is daemon.path."""
    with stub.Daemon(tmp_path / "api.sock") as running:
        yield running


@pytest.fixture
def golden():
    """Compares text with a file of tests/golden/cli; GOLDEN_WRITE=1 writes it instead."""
    def check(name, text):
        path = os.path.join(GOLDEN, name)
        if os.environ.get("GOLDEN_WRITE"):
            os.makedirs(GOLDEN, exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        with open(path, encoding="utf-8") as file:
            assert text == file.read(), f"differs from tests/golden/cli/{name}"
    return check
