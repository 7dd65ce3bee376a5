# SPDX-License-Identifier: Apache-2.0
"""Each daemon killed once in each kind of step, on a real kernel with real libvirt, also while a child of
the helper is inside its write. Wherever it dies: both daemons come back by themselves, nothing is left
under way, cards are wholly on one side, VMs are wholly there or wholly not, and the next request does
what it says. tests/fakehost/test_crash.py goes through every point of every step.

The kinds come from docs/STATES.md, which is printed from the tables of the programs; one without a row
here fails.
"""

import collections
import contextlib
import json
import pathlib
import re
import time

import pytest

import images
from cache import LabError
from lab import patience

TWO = ["0000:01:00.0", "0000:01:00.1"]
ONE = "0000:02:00.0"
HOSTS = ["radeon", "snd_hda_intel", "bochs-drm"]
PF = "0000:05:00.0"
DEVICES = "/api/gpu/devices"
VM = "kill"
STATES = pathlib.Path(__file__).resolve().parents[2] / "docs" / "STATES.md"

# `op`: the helper's operation that the step asks for; with one, the kill of horcruxd comes while the child
# that does it is held straight before its write, and the helper has a kill of its own, there too.
Row = collections.namedtuple("Row", "kind way point op", defaults=[None])
# In this order each leaves what the next one needs; each brings it about itself where it is not so.
ROWS = [
    Row("module", "bind", "inside", "module"),
    Row("give-back", "unbind", "inside", "bind"),
    Row("remember", "bind", "after"),
    Row("forget", "unbind", "after"),
    Row("power", "bind", "inside", "power"),
    Row("override", "unbind", "inside", "override"),
    Row("d3cold", "bind", "inside", "d3cold"),
    Row("unbind", "unbind", "inside", "unbind"),
    Row("bind", "bind", "inside", "bind"),
    Row("viable", "bind", "inside"),    # which writes nothing: in the midst of its proof
    Row("pool", "create", "after"),
    Row("volume", "create", "after"),
    Row("record", "create", "after"),
    Row("claim", "start", "after"),
    Row("shutdown", "stop", "after"),
    Row("network", "start", "after"),
    Row("destroy", "kill", "after"),
    Row("let-go", "kill", "before"),
    Row("unclaim", "kill", "after"),
    Row("record-delete", "delete", "after"),
    Row("volume-delete", "delete", "after"),
    Row("domain", "create-and-start", "after"),
    Row("nvram-delete", "delete-uefi", "after"),
    Row("vf-autoprobe", "cut", "inside", "vf_autoprobe"),
    Row("vfs", "cut", "inside", "vfs"),
    Row("want-vfs", "cut", "after"),
]
ELSEWHERE = {"nvidia-lock": "no driver of the lab's kernel has that lock; the fake kernel's has",
             "release-quarantine": "changes a record alone, as claim does, and of a card that a reset has killed"}
HELPER = [row for row in ROWS if row.op]

# The faults lie in files that a unit reads as it starts, so that arming one costs a start and no reload of
# systemd; and they are gone by the next start, so that what comes back lives.
SET_UP = """set -eu
for unit in horcruxd horcrux-privd; do
    mkdir -p /run/systemd/system/$unit.service.d
    printf '[Unit]\\nStartLimitIntervalSec=0\\n[Service]\\nEnvironmentFile=-/run/fault-%s\\n' $unit \\
        >/run/systemd/system/$unit.service.d/fault.conf
done
systemctl daemon-reload
install -d -m 711 -o horcruxd -g horcruxd /var/lib/horcrux/images
# so that taking the card has a step of every kind
for a in 0000:01:00.0 0000:01:00.1; do
    echo 1 >/sys/bus/pci/devices/$a/d3cold_allowed
    echo auto >/sys/bus/pci/devices/$a/power/control
done
"""
READY = "curl -sS --unix-socket /run/horcrux/api.sock http://localhost/api/health | grep -q '\"ready\":true'"
ARM = """set -eu
rm -f /run/horcrux-privd/privd-fault
{faults}
systemctl restart {units}
rm -f /run/fault-horcruxd /run/fault-horcrux-privd
n=0; until """ + READY + """; do n=$((n+1)); [ $n -lt 600 ]; sleep 0.1; done
date +%s.%N
"""
# a task whose writer still lives is stuck, and goes on when that comes back
CAME_BACK = """set -eu
n=0; until [ "$(systemctl show -P NRestarts {unit})" != 0 ]; do n=$((n+1)); [ $n -lt 300 ]; sleep 0.1; done
n=0; until """ + READY + """; do n=$((n+1)); [ $n -lt 600 ]; sleep 0.1; done
n=0; while curl -sS --unix-socket /run/horcrux/api.sock http://localhost/api/tasks |
    grep -qE '"state":"(queued|running|stuck)"'; do n=$((n+1)); [ $n -lt 1200 ]; sleep 0.1; done
systemctl is-active horcruxd horcrux-privd
systemctl show -P ExecMainStatus horcruxd
"""
LOOK = """
for a in 0000:01:00.0 0000:01:00.1 0000:02:00.0; do cd /sys/bus/pci/devices/$a
    echo $a $(basename $(readlink driver)) "<$(cat driver_override)>" $(cat power/control d3cold_allowed); done
echo == ; virsh list --name --all | grep . ; echo == ; ls /var/lib/horcrux/images ; echo == ; dmesg | grep -c Oops
true
"""
World = collections.namedtuple("World", "cards drivers domains files")


def test_every_kind_has_a_row():
    table = STATES.read_text().split("\n## Steps\n")[1].split("\n## ")[0]
    kinds = re.findall(r"^\| `([a-z0-9-]+)` \|", table, re.M)
    assert len(kinds) > 20
    assert sorted(kinds) == sorted([row.kind for row in ROWS] + list(ELSEWHERE))


# -- the world ------------------------------------------------------------------------------


def look(machine):
    cards, domains, files, oopses = machine.ssh(LOOK).out.split("==\n")
    assert oopses.strip() == "0", "the kernel is hurt"
    cards = cards.splitlines()
    return World(cards, [line.split()[1] for line in cards], domains.split(),
                 [f for f in files.split() if f.startswith(VM)])


def ask(machine, method, path, body=None):
    return machine.api(method, path, body, {"Prefer": "wait=200"}, timeout=240)


def asked(machine, method, path, body=None, status=200):
    answer = ask(machine, method, path, body)
    assert answer.status == status, answer.body
    return answer.body


def device(machine, address):
    return machine.api("GET", f"{DEVICES}/{address}").body


def until(what, ready):
    end = time.monotonic() + patience(60)
    while not ready():
        assert time.monotonic() < end, what
        time.sleep(0.3)


@pytest.fixture(scope="module")
def home(machine):
    """The cards as they are before anything: nobody has them, and every setting differs from a taken one."""
    machine.ssh(SET_UP, timeout=120)
    machine.push(images.guests() / "guest.iso", "/var/lib/horcrux/images/guest.iso", mode="644")
    world = look(machine)
    assert world.drivers == HOSTS and "1" in world.cards[0].split()[-1] and "auto" in world.cards[0]
    return world


# -- ways: what is asked, what is so before, and what may be so after the daemon died of it ----


def spec(firmware="bios", start=False):
    return {"id": VM, "name": VM, "cpus": 1, "memory": 128, "firmware": firmware, "disk_size": 1,
            "network": {"kind": "nat"}, "cdrom": ["guest.iso"], "gpu_passthrough": {"pci_address": ONE},
            "start": start}


def put(machine, state, firmware="bios"):
    """Brings the VM to `state`: None (it is not), stopped, running."""
    answer = machine.api("GET", f"/api/vms/{VM}")
    now = answer.body["state"] if answer.status == 200 else None
    if now and now != "stopped" and (state != "running" or answer.body["firmware"] != firmware):
        now = asked(machine, "POST", f"/api/vms/{VM}/kill")["state"]
    if now == "stopped" and (state is None or answer.body["firmware"] != firmware):
        asked(machine, "DELETE", f"/api/vms/{VM}?delete_disks=true", status=204)
        now = None
    if now is None and state:
        now = asked(machine, "POST", "/api/vms", spec(firmware), 201)["state"]
    if now == "stopped" and state == "running":
        asked(machine, "POST", f"/api/vms/{VM}/start")


def put_cards(machine, where):
    if (look(machine).drivers[:2] == HOSTS[:2]) != (where == "home"):
        asked(machine, "POST", f"{DEVICES}/{TWO[0]}/{'unbind' if where == 'home' else 'bind'}-vfio")


class Bind:
    request = ("POST", f"{DEVICES}/{TWO[0]}/bind-vfio")
    before = "home"

    @classmethod
    def prepare(cls, machine, row):
        put(machine, None)
        put_cards(machine, cls.before)
        if row.kind == "module":
            machine.ssh("modprobe -r vfio-pci")

    @classmethod
    def check(cls, machine, home, _row):
        """One side or the other, in every setting."""
        world = look(machine)
        at_home = world.cards == home.cards
        assert at_home or (world.drivers == ["vfio-pci", "vfio-pci", "bochs-drm"] and
                           all("<vfio-pci> on 0" in line for line in world.cards[:2])), world
        state = device(machine, TWO[0])
        assert state["state"] == ("host" if at_home else "ready") and state["claimed_by"] is None

    @classmethod
    def again(cls, machine, home):
        asked(machine, *cls.request)
        world = look(machine)
        assert world.drivers[:2] == ["vfio-pci", "vfio-pci"]
        assert all("<vfio-pci> on 0" in line for line in world.cards[:2])


class Unbind(Bind):
    request = ("POST", f"{DEVICES}/{TWO[0]}/unbind-vfio")
    before = "bound"

    @classmethod
    def again(cls, machine, home):
        asked(machine, *cls.request)
        assert look(machine) == home


class OfVm:
    before, firmware = None, "bios"

    @classmethod
    def prepare(cls, machine, row):
        put_cards(machine, "home")
        put(machine, cls.before, cls.firmware)
        if row.kind == "pool":
            machine.ssh("virsh -q pool-destroy horcrux; virsh -q pool-undefine horcrux", check=False)
        if row.kind == "network":
            machine.ssh("virsh -q net-destroy default", check=False)
        if row.kind == "shutdown":
            # it hears its power button as soon as it has said all it sees
            machine.wait(f"grep -q GUEST-DONE /var/log/libvirt/qemu/{VM}-serial.log", timeout=90)

    @classmethod
    def check(cls, machine, home, _row):
        """The VM is there or not, it runs or not, and all that belongs to that is so."""
        def rests():
            answer = machine.api("GET", f"/api/vms/{VM}")
            return (answer.status == 404 or answer.body["state"] in ("stopped", "running")) and \
                (answer.status == 200 and answer.body["state"] == "running") == \
                (device(machine, ONE)["claimed_by"] == VM)
        until("the VM and its card do not come to rest", rests)
        answer = machine.api("GET", f"/api/vms/{VM}")
        running = answer.status == 200 and answer.body["state"] == "running"
        until("the card is on the wrong side", lambda: (look(machine).drivers[2] == "vfio-pci") == running)
        world = look(machine)
        assert world.domains == ([VM] if running else [])
        if not running:
            assert world.cards == home.cards
        if answer.status == 404:
            assert world.files == [], "something is left of a VM that is not there"
        else:
            assert world.files, "its disk is gone"
        cls.may(answer.body["state"] if answer.status == 200 else None)

    @classmethod
    def may(cls, state):
        assert state in cls.after

    @classmethod
    def again(cls, machine, home):
        cls.ask_again(machine, cls.now(machine))

    @classmethod
    def now(cls, machine):
        answer = machine.api("GET", f"/api/vms/{VM}")
        return answer.body["state"] if answer.status == 200 else None


class Create(OfVm):
    request, after = ("POST", "/api/vms", spec()), (None, "stopped")

    @classmethod
    def ask_again(cls, machine, state):
        asked(machine, *cls.request, status=201 if state is None else 409)
        assert cls.now(machine) == "stopped"


class Start(OfVm):
    request, before, after = ("POST", f"/api/vms/{VM}/start"), "stopped", ("stopped", "running")

    @classmethod
    def ask_again(cls, machine, state):
        assert asked(machine, *cls.request)["state"] == "running"


class Kill(OfVm):
    request, before, after = ("POST", f"/api/vms/{VM}/kill"), "running", ("stopped", "running")

    @classmethod
    def ask_again(cls, machine, state):
        assert asked(machine, *cls.request)["state"] == "stopped"
        assert device(machine, ONE)["claimed_by"] is None


class Stop(Kill):
    request = ("POST", f"/api/vms/{VM}/stop")


class CreateAndStart(OfVm):
    request, after, firmware = ("POST", "/api/vms", spec("uefi", True)), (None, "running"), "uefi"

    @classmethod
    def ask_again(cls, machine, state):
        asked(machine, *cls.request, status=201 if state is None else 409)
        assert cls.now(machine) == "running"
        asked(machine, "POST", f"/api/vms/{VM}/kill")


class Delete(OfVm):
    request, before = ("DELETE", f"/api/vms/{VM}?delete_disks=true"), "stopped"
    after = (None, "stopped")

    @classmethod
    def ask_again(cls, machine, state):
        asked(machine, *cls.request, status=404 if state is None else 204)
        assert look(machine).files == []


class DeleteUefi(Delete):
    firmware = "uefi"

    @classmethod
    def prepare(cls, machine, row):
        super().prepare(machine, row)
        if not any("nvram" in f for f in look(machine).files):
            asked(machine, "POST", f"/api/vms/{VM}/start")
            asked(machine, "POST", f"/api/vms/{VM}/kill")
        assert any("nvram" in f for f in look(machine).files)


class Cut:
    """From one VF to two; the network card that is cut counts as a card by configuration."""
    request = ("PUT", f"{DEVICES}/{PF}/sriov", {"vfs": 2})

    @classmethod
    def prepare(cls, machine, _row):
        put(machine, None)
        put_cards(machine, "home")
        if not machine.find("8086:10c9"):
            machine.ssh("echo 'extra_classes = 0200' >>/etc/horcrux/horcrux.conf; systemctl restart horcruxd")
            assert machine.plug("igb", "igb", "rp4", wait_for="8086:10c9") == PF
            machine.wait(f"[ -e /sys/bus/pci/devices/{PF}/driver ] && horcrux gpu show {PF}", timeout=30)
        asked(machine, "PUT", cls.request[1], {"vfs": 1})

    @classmethod
    def check(cls, machine, home, _row):
        def whole():
            now = device(machine, PF)["sriov"]
            return now["active"] == now["wanted"] == len(machine.find("8086:10ca")) and now["active"] in (1, 2)
        until("what is wanted is not there", whole)
        assert machine.ssh(f"cat /sys/bus/pci/devices/{PF}/sriov_drivers_autoprobe").out == "1\n"
        assert look(machine) == home

    @classmethod
    def again(cls, machine, home):
        assert len(asked(machine, *cls.request)["sriov"]["vfs"]) == len(machine.find("8086:10ca")) == 2


WAYS = {"cut": Cut, "bind": Bind, "unbind": Unbind, "create": Create, "start": Start, "stop": Stop, "kill": Kill,
        "create-and-start": CreateAndStart, "delete": Delete, "delete-uefi": DeleteUefi}


# -- kills ----------------------------------------------------------------------------------


def strike(machine, unit, faults, way):
    """Arms, asks, and waits until the daemon was killed and all came to rest; when it was armed."""
    text = "".join(f"echo HORCRUX_FAULT={fault} >/run/fault-{u}\n" for u, fault in faults.items())
    since = machine.ssh(ARM.format(faults=text, units=" ".join(faults)), timeout=120).out.split()[-1]
    with contextlib.suppress(LabError):    # who asks a daemon that dies gets no answer
        ask(machine, *way.request)
    back = machine.ssh(CAME_BACK.format(unit=unit), check=False, timeout=180)
    assert back.rc == 0, f"{unit} was not killed, or not all came back: {back.out}{back.err}"
    assert back.out.split()[:2] == ["active", "active"]
    return since


def check(machine, home, way, row):
    tasks = machine.api("GET", "/api/tasks").body
    assert [t for t in tasks if t["state"] in ("queued", "running", "stuck")] == [], json.dumps(tasks, indent=1)
    way.check(machine, home, row)
    way.again(machine, home)


@pytest.mark.parametrize("row", ROWS, ids=[row.kind for row in ROWS])
def test_horcruxd_is_killed(machine, home, row):
    way = WAYS[row.way]
    way.prepare(machine, row)
    faults = {"horcruxd": f"kill:horcruxd:{row.kind}:{row.point}"}
    if row.op:
        faults["horcrux-privd"] = f"hold:privd:{row.op}:inside"
    since = strike(machine, "horcruxd", faults, way)
    if row.op:
        # the helper says "late" of a child that ended when who had asked was gone; nothing waits for one
        # that loads a module
        said = machine.ssh(f"for i in $(seq 40); do journalctl -u horcrux-privd -o cat --since=@{since} "
                           f"| grep -E '^{row.op} .*: ok, late' && break; sleep .25; done", check=False).out
        assert said, "it was not inside the write"
    check(machine, home, way, row)


@pytest.mark.parametrize("row", HELPER, ids=[row.kind for row in HELPER])
def test_the_helper_is_killed_by_its_child_inside_the_write(machine, home, row):
    way = WAYS[row.way]
    way.prepare(machine, row)
    strike(machine, "horcrux-privd", {"horcrux-privd": f"kill:privd:{row.op}:inside"}, way)
    check(machine, home, way, row)
