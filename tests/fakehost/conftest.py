# SPDX-License-Identifier: Apache-2.0
import pytest

# their asserts are the tests' own
pytest.register_assert_rewrite("fakehost", "machine")
