# SPDX-License-Identifier: Apache-2.0
import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "fakehost")]

import daemon as under_test  # noqa: E402
import plaintree  # noqa: E402

os.environ.setdefault("HORCRUX_FAKEHOST", os.path.join(under_test.BUILD, "fakehost"))


def pytest_configure(config):
    config.addinivalue_line("markers", "plain: says something only of a build without sanitizers")


@pytest.fixture
def tree(tmp_path):
    """The guide's host as a plain tree."""
    return plaintree.guide_host(tmp_path / "root")


@pytest.fixture
def d(tmp_path, tree):
    """A daemon of its own for one test, without its helper."""
    with under_test.Daemon(tmp_path, tree.root, helper=False) as running:
        running.tree = tree
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One daemon for all tests of a file; the test must not change its tree."""
    folder = tmp_path_factory.mktemp("shared")
    tree = plaintree.guide_host(folder / "root")
    with under_test.Daemon(folder, tree.root, helper=False) as running:
        running.tree = tree
        yield running
