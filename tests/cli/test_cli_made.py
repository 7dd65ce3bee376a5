# SPDX-License-Identifier: Apache-2.0
"""What is made from the table of commands: the manual page and the completion."""
import shutil
import subprocess

import pytest

import cli_tree as tree


def test_the_manual_names_every_command(horcrux):
    help_text = horcrux("--help").out
    man = horcrux("--generate=man").out
    commands = [line.split("  ")[1].strip() for line in help_text.split("Options")[0].splitlines()
                if line.startswith("  ")]
    assert len(commands) >= 6
    for command in commands:
        assert f'.SS "horcrux {command}"' in man


def test_the_manual_is_clean_roff(horcrux, tmp_path):
    """groff finds nothing to complain about, and the page reads as text."""
    assert shutil.which("groff"), "groff-base renders the page"
    page = tmp_path / "horcrux.1"
    page.write_text(horcrux("--generate=man").out, encoding="utf-8")
    done = subprocess.run(["groff", "-man", "-Tascii", "-ww", "-z", str(page)], capture_output=True,
                          text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    done = subprocess.run(["groff", "-man", "-Tascii", "-P-cbou", str(page)], capture_output=True,
                          text=True, check=True)
    assert "horcrux gpu show 0000:01:00.0" in done.stdout
    assert "--host-root=DIR" in done.stdout


COMPLETE = r"""
_init_completion() { words=("${COMP_WORDS[@]}"); cword=$COMP_CWORD; cur=${words[cword]}; prev=${words[cword-1]}; }
__ltrim_colon_completions() { :; }
_filedir() { COMPREPLY=(FILES "$@"); }
compopt() { :; }
source "$1"; shift
COMP_WORDS=(horcrux "$@"); COMP_CWORD=$#
_horcrux
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def complete(horcrux, program, tmp_path, environment):
    script = tmp_path / "horcrux.bash"
    script.write_text(horcrux("--generate=completion").out, encoding="utf-8")
    path = f"{program.rsplit('/', 1)[0]}:{environment['PATH']}"

    def run(*words, **env):
        done = subprocess.run(["bash", "-c", COMPLETE, "bash", str(script), *words], text=True,
                              env={**environment, "PATH": path, **env}, capture_output=True, check=False)
        assert done.stderr == ""
        return done.stdout.split()
    return run


def test_completion_of_words(complete):
    assert complete("") == ["doctor", "gpu", "task", "version", "vgpu", "vm"]
    assert complete("gp") == ["gpu"]
    assert complete("gpu", "") == ["bind", "group", "iommu", "list", "scan", "show", "sriov", "unbind"]
    assert complete("-o", "json", "gpu", "s") == ["scan", "show", "sriov"]
    assert complete("version", "") == []


def test_completion_of_options(complete):
    options = complete("gpu", "list", "--")
    assert "--output=" in options and "--socket=" in options and "--help" in options
    assert not any("generate" in o for o in options)
    assert complete("gpu", "list", "-o", "") == ["table", "json"]
    assert complete("--host-root", "") == ["FILES", "-d"]


def test_completion_of_vms_and_their_options(complete, daemon):
    import cli_stub as stub
    daemon.on("GET", "/api/vms", stub.says([{"id": "vm-1"}, {"id": "web"}]))
    assert complete("vm", "start", "v", HORCRUX_SOCKET=daemon.path) == ["vm-1"]
    assert complete("vm", "create", "--firmware", "") == ["uefi", "bios"]
    assert complete("vm", "create", "-f", "") == ["FILES"]
    options = complete("vm", "create", "--")
    assert "--gpu=" in options and "--start" in options


def test_completion_of_addresses(complete, daemon):
    import cli_stub as stub
    daemon.on("GET", "/api/gpu/devices", stub.says([{"pci_address": "0000:01:00.0"},
                                                    {"pci_address": "0000:02:00.0"}]))
    assert complete("gpu", "show", "0000:0", HORCRUX_SOCKET=daemon.path) == ["0000:01:00.0", "0000:02:00.0"]


def test_the_script_has_no_syntax_error(horcrux, tmp_path):
    script = tmp_path / "c.bash"
    script.write_text(horcrux("--generate=completion").out, encoding="utf-8")
    assert subprocess.run(["bash", "-n", str(script)], capture_output=True, check=False).stderr == b""


def test_addresses_of_a_tree(horcrux, tmp_path):
    root = tree.desktop(tmp_path / "host").root
    assert horcrux("--generate=addresses", f"--host-root={root}").out.split() == ["0000:00:02.0", "0000:01:00.0"]
