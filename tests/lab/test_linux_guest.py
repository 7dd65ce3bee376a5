# SPDX-License-Identifier: Apache-2.0
"""A guest that is a whole Linux, with the card: minutes, so once."""

import images
from vms import *  # noqa: F403 its fixtures
from vms import act, comes_home, create, put, remove, seen, state


def test_a_linux_guest_with_the_card(machine):
    folder = images.linux_guest()
    put(machine, folder / "vmlinuz", folder / "initrd")
    create(machine, "linux", iso=None, memory=384,
           boot={"kernel": "vmlinuz", "initrd": "initrd", "cmdline": "console=ttyS0 quiet"})
    said = seen(machine, "linux", timeout=900)
    assert "GUEST-START linux 6.12" in said
    assert "01:00.0 1002:5159 030000" in said and "01:00.1 8086:2668 040300" in said
    act(machine, "linux", "stop", {"timeout_s": 240})
    assert state(machine, "linux") == "stopped"
    assert "GUEST-OFF" in seen(machine, "linux"), "by the button, not by force"
    comes_home(machine)
    remove(machine, "linux")
