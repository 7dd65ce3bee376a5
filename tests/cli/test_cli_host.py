# SPDX-License-Identifier: Apache-2.0
"""Without a daemon: reading plain trees, and printing them."""
import json
import os
import pty
import re
import subprocess

import pytest

import cli_tree as tree

CARD = "0000:01:00.0"


@pytest.fixture
def desktop(tmp_path):
    return tree.desktop(tmp_path / "host").root


@pytest.fixture
def dirty(tmp_path):
    return tree.dirty(tmp_path / "host").root


def on_terminal(program, environment, words, columns, **env):
    """What the program writes to a terminal so wide."""
    master, slave = pty.openpty()
    os.set_blocking(master, True)
    subprocess.run(["stty", "cols", str(columns), "rows", "50"], stdin=slave, check=True)
    with subprocess.Popen([program, *words], env={**environment, **env}, stdin=subprocess.DEVNULL,
                          stdout=slave, stderr=subprocess.DEVNULL) as running:
        os.close(slave)
        text = b""
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:
                break
            if not piece:
                break
            text += piece
        assert running.wait(timeout=20) == 0
    os.close(master)
    return text.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("name, words", [
    ("list", ["gpu", "list"]),
    ("show", ["gpu", "show", CARD]),
    ("group", ["gpu", "group", CARD]),
    ("iommu", ["gpu", "iommu"]),
    ("doctor", ["doctor"]),
])
@pytest.mark.parametrize("form", ["table", "json"])
def test_the_desktop(horcrux, desktop, golden, name, words, form):
    run = horcrux(*words, f"--host-root={desktop}", "-o", form)
    assert run.code == 0, run.err
    text = run.out
    if form == "json":
        text = json.dumps(json.loads(text), indent=1) + "\n"
    golden(f"desktop-{name}.{'json' if form == 'json' else 'txt'}", text)


def test_the_doctor_of_one_card(horcrux, dirty):
    run = horcrux("doctor", f"--device={CARD}", f"--host-root={dirty}", "-o", "json")
    assert run.code == 1 and "checks failed" in run.err
    report = json.loads(run.out)
    assert report["verdict"] == "fail"
    assert {check["subject"] for check in report["checks"]} == {"host", CARD}
    failed = [check for check in report["checks"] if check["status"] == "fail"]
    assert "group" in [check["id"] for check in failed] and all(check["fix"] for check in failed)
    run = horcrux("doctor", f"--device={CARD}", f"--host-root={dirty}")
    assert run.code == 1 and run.out.endswith("It cannot be given to a VM as things stand.\n")
    assert "  FAILED   " in run.out and "\n           fix: " in run.out
    run = horcrux("doctor", "--device=0000:00:00.0", f"--host-root={dirty}")
    assert run.code == 1 and "no function of a graphics card" in run.err
    run = horcrux("doctor", "--device=1:0", f"--host-root={dirty}")
    assert run.code == 2 and "PCI address" in run.err


def test_a_dirty_group_says_what_blocks(horcrux, dirty, golden):
    run = horcrux("gpu", "group", CARD, f"--host-root={dirty}")
    assert run.code == 0
    golden("dirty-group.txt", run.out)


def test_the_audio_function_shows_the_card(horcrux, desktop):
    run = horcrux("gpu", "show", "0000:01:00.1", f"--host-root={desktop}", "-o", "json")
    device = json.loads(run.out)
    assert device["pci_address"] == "0000:01:00.1"
    assert device["slot"] == CARD
    assert [f["role"] for f in device["functions"]] == ["gpu", "audio"]


def test_what_is_no_card_is_not_found(horcrux, desktop):
    run = horcrux("gpu", "show", "0000:00:00.0", f"--host-root={desktop}")
    assert run.code == 1 and "no function of a graphics card" in run.err
    run = horcrux("gpu", "show", "0000:01:00.5", f"--host-root={desktop}")
    assert run.code == 1 and f"the card there is {CARD}" in run.err
    run = horcrux("gpu", "group", "0000:7f:00.0", f"--host-root={desktop}")
    assert run.code == 1 and "there is no PCI device" in run.err


def test_it_says_once_that_it_read_the_host(horcrux, desktop):
    run = horcrux("gpu", "group", CARD, f"--host-root={desktop}")
    assert run.err.count("itself") == 1
    run = horcrux("gpu", "list", f"--host-root={desktop}", "-o", "json")
    assert run.err.count("itself") == 1
    json.loads(run.out)


def test_every_null_that_could_not_be_told_says_why(horcrux, desktop):
    """What is null without a reason must be a null that means "none"."""
    none = {"driver", "iommu_group", "physfn", "sriov", "vgpu"}
    for device in json.loads(horcrux("gpu", "list", f"--host-root={desktop}", "-o", "json").out):
        for field, value in device.items():
            if value is None and field not in none:
                assert field in device["unknown"], field


def test_an_empty_host(horcrux, tmp_path):
    (tmp_path / "host").mkdir()
    run = horcrux("gpu", "list", f"--host-root={tmp_path}/host")
    assert run.code == 0 and "no graphics card" in run.err
    run = horcrux("gpu", "list", f"--host-root={tmp_path}/host", "-o", "json")
    assert run.code == 0 and json.loads(run.out) == []
    assert horcrux("gpu", "iommu", f"--host-root={tmp_path}/host").code == 0


def test_scan_needs_a_daemon(horcrux, desktop):
    run = horcrux("gpu", "scan", f"--host-root={desktop}")
    assert run.code == 2 and "--host-root" in run.err


def test_names_cannot_write_to_the_terminal(program, environment, horcrux, tmp_path):
    host = tree.desktop(tmp_path / "host")
    evil = "nvi\x1b[31m\x9b5mdia"
    os.unlink(host.path("sys/bus/pci/devices/0000:01:00.0/driver"))
    host.link("sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/driver", f"sys/bus/pci/drivers/{evil}")
    for words in (["gpu", "list"], ["gpu", "show", CARD], ["gpu", "group", CARD]):
        out = horcrux(*words, f"--host-root={host.root}").out
        assert "\x1b" not in out and "\x9b" not in out, words
        assert "nvi?" in out
        seen = on_terminal(program, environment, [*words, f"--host-root={host.root}"], 100, NO_COLOR="1")
        assert "\x1b" not in seen and "\x9b" not in seen, words
    seen = on_terminal(program, environment, ["gpu", "list", "-o", "json", f"--host-root={host.root}"], 100)
    assert "\x1b" not in seen and "\x9b" not in seen


@pytest.mark.parametrize("columns", [80, 120, 200])
def test_lines_fit_the_terminal(program, environment, desktop, columns):
    for words in (["gpu", "list"], ["gpu", "show", CARD], ["gpu", "group", CARD], ["gpu", "iommu"]):
        text = on_terminal(program, environment, [*words, f"--host-root={desktop}"], columns)
        for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines():
            assert len(line) <= columns, (words, line)


def test_nothing_that_matters_is_cut_at_80(program, environment, desktop):
    text = on_terminal(program, environment, ["gpu", "list", f"--host-root={desktop}"], 80)
    assert CARD in text and "GeForce GTX 1080" in text and "nvidia" in text and "host" in text


@pytest.mark.parametrize("locale, sign", [("C.UTF-8", "…"), ("C", "+")])
@pytest.mark.parametrize("words", [["gpu", "list"], ["gpu", "show", CARD], ["gpu", "group", CARD]])
def test_what_is_cut_has_a_sign(program, environment, desktop, words, locale, sign):
    whole = on_terminal(program, environment, [*words, f"--host-root={desktop}"], 200, NO_COLOR="1", LC_ALL=locale)
    assert sign not in whole
    text = on_terminal(program, environment, [*words, f"--host-root={desktop}"], 50, NO_COLOR="1", LC_ALL=locale)
    row = next(line for line in text.splitlines() if line.strip().startswith(CARD) and " nvidia " in line)
    name = re.search(r"GP\S*( \S+)*", row).group()
    assert sign in name and "GP104 [GeForce GTX 1080]".startswith(name.partition(sign)[0])
    assert len(row) <= 50


def test_colours_only_where_they_are_wanted(program, environment, horcrux, desktop):
    words = ["gpu", "show", CARD, f"--host-root={desktop}"]
    assert "\x1b[" in on_terminal(program, environment, words, 80)
    assert "\x1b[" not in on_terminal(program, environment, words, 80, NO_COLOR="1")
    assert "\x1b[" not in on_terminal(program, environment, words, 80, TERM="dumb")
    assert "\x1b[" not in horcrux(*words).out


def test_without_a_daemon_it_reads_this_host(horcrux):
    """The default socket is the package's; where a daemon runs there, that answers instead."""
    if os.path.exists("/run/horcrux/api.sock"):
        pytest.skip("a daemon of this machine answers")
    run = horcrux("gpu", "iommu")
    assert run.code == 0
    assert "no daemon answers at /run/horcrux/api.sock" in run.err


def test_an_ascii_locale_gets_ascii(horcrux, desktop):
    run = horcrux("gpu", "show", CARD, f"--host-root={desktop}", env={"LC_ALL": "C"})
    assert run.code == 0 and run.out.isascii()
