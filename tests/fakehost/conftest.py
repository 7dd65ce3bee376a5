# SPDX-License-Identifier: Apache-2.0
import pytest

# their asserts are the tests' own
pytest.register_assert_rewrite("fakehost", "machine")

from fakehost import Daemon  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "plain: says something only of a build without sanitizers")


def pytest_runtest_setup():
    Daemon.ended.clear()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    """What the daemons said, and what was written, beside each failure."""
    outcome = yield
    report = outcome.get_result()
    if report.failed and report.when == "call":
        for log, writes in Daemon.ended + [d.story() for d in Daemon.alive]:
            report.sections += [("log of the daemons", log), ("writes", writes)]
