# SPDX-License-Identifier: Apache-2.0
import pytest

# their asserts are the tests' own
pytest.register_assert_rewrite("fakehost", "machine")

from fakehost import Daemon  # noqa: E402

LOG_BYTES = 12000


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    """What the daemons said, and what was written, beside each failure."""
    outcome = yield
    report = outcome.get_result()
    if report.failed and report.when == "call":
        for daemon in Daemon.alive:
            report.sections.append(("log of the daemons", daemon.log()[-LOG_BYTES:]))
            report.sections.append(("writes", "\n".join(daemon.writes())))
