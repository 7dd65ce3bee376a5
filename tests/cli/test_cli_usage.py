# SPDX-License-Identifier: Apache-2.0
"""Words, help and exit codes."""
import os

import pytest


@pytest.mark.parametrize("words, says", [
    ([], "a command is missing"),
    (["frob"], 'no command "frob"'),
    (["vm", "create"], "--cpus is missing"),
    (["vm", "create", "--cpus=1"], "--memory is missing"),
    (["vm", "create", "--cpus=1", "--memory=64", "--id=a/b"], "a/b"),
    (["gpu"], 'what about "gpu"'),
    (["gpu", "frob"], 'no command "gpu frob"'),
    (["gpu", "list", "x"], "one word too many"),
    (["gpu", "show"], "ADDRESS is missing"),
    (["gpu", "show", "../../etc"], "../../etc"),
    (["gpu", "show", "0000:01:00.9"], "0000:01:00.9"),
    (["gpu", "list", "--frob"], "no option --frob"),
    (["gpu", "list", "-x"], "no option -x"),
    (["gpu", "list", "-o", "yaml"], 'cannot be "yaml"'),
    (["gpu", "list", "--timeout=soon"], "a number from 1 to 3600"),
    (["--socket"], "wants a value"),
    (["--generate=frob"], "cannot be generated"),
])
def test_wrong_words_are_2(horcrux, words, says):
    run = horcrux(*words)
    assert run.code == 2
    assert says in run.err
    assert run.out == ""


def test_help_is_on_stdout(horcrux):
    run = horcrux("--help")
    assert run.code == 0 and run.err == ""
    for command in ("gpu list", "gpu show ADDRESS", "gpu group ADDRESS", "gpu iommu", "gpu scan", "version"):
        assert f"  {command} " in run.out
    assert "Exit status" in run.out
    assert "generate" not in run.out


def test_help_of_a_noun_and_of_a_command(horcrux):
    assert "version" not in horcrux("gpu", "--help").out.split("Options")[0]
    run = horcrux("gpu", "show", "--help")
    assert run.code == 0 and run.out.startswith("Usage: horcrux gpu show ADDRESS [OPTIONS]\n")


def test_version(horcrux, tmp_path):
    run = horcrux("--version")
    assert run.code == 0 and run.out.startswith("horcrux 0.")
    run = horcrux("version", f"--socket={tmp_path}/none")
    assert run.code == 4 and "no daemon answers" in run.err
    assert run.out.startswith("horcrux   0.") and run.out.endswith("\nhorcruxd  unknown\n")
    run = horcrux("version", f"--host-root={tmp_path}")
    assert run.code == 0 and run.out.endswith("\nhorcruxd  not asked\n")


def test_version_as_json_is_the_daemons(horcrux, tmp_path):
    run = horcrux("version", "-o", "json", f"--socket={tmp_path}/none")
    assert run.code == 4 and run.out == ""


def test_a_full_disk_is_a_failure(program, environment):
    code = os.system(f"LC_ALL=C {program} --help >/dev/full 2>/dev/null")
    assert os.waitstatus_to_exitcode(code) == 1


def test_a_host_root_that_is_none(horcrux, tmp_path):
    run = horcrux("gpu", "list", f"--host-root={tmp_path}/none")
    assert run.code == 2
    assert "cannot be opened" in run.err
