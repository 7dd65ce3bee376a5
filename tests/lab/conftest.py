# SPDX-License-Identifier: Apache-2.0
"""One host for each test module, restored before its first test and gone after its last.

A module says what it wants: KIND (a name from lab.KINDS; trixie-intel), HORCRUX (True: have it
installed). When a test fails, what the host can tell is kept in build/lab/TEST and named.
"""

import pathlib
import re
import signal
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

pytest.register_assert_rewrite("vms")
import lab  # noqa: E402
from cache import LabError, need_root  # noqa: E402

KEPT = HERE.parent.parent / "build" / "lab"


def pytest_configure(config):
    # so that a stopped run takes its machines with it, through every finaliser; a run in the background
    # of a script would ignore SIGINT
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated", 143))
    signal.signal(signal.SIGINT, lambda *_: pytest.exit("interrupted", 130))


@pytest.fixture(scope="module")
def machine(request):
    need_root("The lab")
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with lab.Machine() as host:
        request.node.lab_machine = host
        try:
            # what is made on the way may take minutes: its progress is seen
            with capture.global_and_fixture_disabled():
                host.start(getattr(request.module, "KIND", "trixie-intel"),
                           getattr(request.module, "HORCRUX", True))
            yield host
        finally:
            request.node.lab_machine = None


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    module = item.getparent(pytest.Module)
    host = getattr(module, "lab_machine", None) if module else None
    if report.failed and host:
        name = re.sub(r"[^\w.-]+", "-", item.nodeid.rsplit("/", 1)[-1])
        try:
            folder = host.collect(KEPT / name)
            report.sections.append(("lab", f"what the host told is in {folder}"))
        except (LabError, OSError) as err:
            report.sections.append(("lab", f"the host told nothing: {err}"))
