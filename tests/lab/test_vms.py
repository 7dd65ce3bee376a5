# SPDX-License-Identifier: Apache-2.0
"""Virtual machines that own a card, on real libvirt and QEMU: what they get, and what is refused."""

import json
import threading

import pytest

from vms import *  # noqa: F403 its fixtures
from vms import (DEVICES, DIRTY, HOME, ONE, ONE_HOME, POOL, TWO, VFIO, act, becomes, comes_home, create, device,
                 drivers, end, journey, remove, running_xml, seen, show, spec_of, state)


def console_of(machine):
    return machine.ssh("grep -l 1 /sys/bus/pci/devices/*/boot_vga").out.split("/")[5]


def test_the_journey(machine):
    journey(machine)


def test_a_card_taken_at_start_goes_home_at_stop(machine):
    create(machine, "taken")
    seen(machine, "taken")
    assert drivers(machine) == VFIO
    act(machine, "taken", "stop")
    comes_home(machine)
    assert device(machine)["claimed_by"] is None
    remove(machine, "taken")


def test_bochs_display(machine):
    create(machine, "bochs", ONE)
    assert "01:00.0 1234:1111 038000" in seen(machine, "bochs")
    end(machine, "bochs", (ONE,), ONE_HOME)


def test_card_of_nvidias_ids_and_then_gone(machine):
    address = machine.plug_card("nvidia", bus="rp5")
    create(machine, "nvidia", address)
    assert "01:00.0 10de:20b0 030200" in seen(machine, "nvidia")
    act(machine, "nvidia", "kill")
    comes_home(machine, (address,), (None,))
    assert not [w for w in show(machine, "nvidia")["warnings"] if address in w]
    machine.unplug("nvidia")
    machine.wait(f"! horcrux gpu list | grep -q {address}", timeout=20, what="the card is gone from the list")
    problem = create_is_refused_as_gone(machine, "nvidia", address)
    assert problem["hint"]
    assert [w for w in show(machine, "nvidia")["warnings"] if address in w], "the VM says which card is gone"
    assert state(machine, "nvidia") == "stopped"
    remove(machine, "nvidia")


def create_is_refused_as_gone(machine, name, address):
    answer = machine.api("POST", f"/api/vms/{name}/start", None, {"Prefer": "wait=60"})
    assert answer.status in (404, 409) and address in answer.body["detail"], answer.body
    return answer.body


def test_with_a_rom(machine):
    machine.ssh("install -d /var/lib/horcrux/roms && rom=$(find / -xdev -name vgabios-ati.bin 2>/dev/null | head -n 1) "
                "&& cp $rom /var/lib/horcrux/roms/ati.bin && chmod 644 /var/lib/horcrux/roms/ati.bin && "
                "head -c 512 $rom | tr '\\002' '\\003' >/var/lib/horcrux/roms/bad.bin")
    create(machine, "rom", gpu={"rom_file": "ati.bin"})
    assert "rom=1002:5159" in seen(machine, "rom")
    end(machine, "rom")
    for name in ("bad.bin", "none.bin", "/etc/passwd"):
        assert create(machine, "badrom", gpu={"rom_file": name}, status=422)["pointer"].startswith("/gpu_passthrough")
    assert machine.api("GET", "/api/vms/badrom").status == 404
    assert drivers(machine) == HOME


def test_uefi_guest(machine):
    create(machine, "uefi", ONE, firmware="uefi", memory=256)
    assert "1234:1111" in seen(machine, "uefi", timeout=240)
    nvram = [f for f in machine.ssh(f"ls {POOL}").out.split() if f.startswith("uefi")]
    assert len(nvram) == 1
    act(machine, "uefi", "kill")
    comes_home(machine, (ONE,), ONE_HOME)
    assert nvram[0] in machine.ssh(f"ls {POOL}").out.split(), "kept with the VM"
    remove(machine, "uefi")
    assert nvram[0] not in machine.ssh(f"ls {POOL}").out.split(), "and removed with it"


def test_refused_and_nothing_touched(machine):
    before = machine.functions()
    files = machine.ssh(f"ls {POOL}").out
    for card, code in ((DIRTY, "group_blocked"), (console_of(machine), "console_card")):
        problem = create(machine, "refused", card, status=409, disk_size=1)
        assert code in {r["code"] for r in problem["refusals"]}
        assert machine.api("GET", "/api/vms/refused").status == 404
    assert machine.functions() == before
    assert machine.ssh("virsh list --name --all").out.strip() == ""
    assert machine.ssh(f"ls {POOL}").out == files
    # a blocked group cannot be accepted when a VM is to start
    problem = create(machine, "refused", DIRTY, status=409, accept=["group_blocked"])
    assert "group_blocked" in {r["code"] for r in problem["refusals"]}
    assert machine.functions() == before


def test_console_card_accepted_by_name(machine):
    console = console_of(machine)
    home = drivers(machine, (console,))
    create(machine, "console", console, gpu={"primary_gpu": True}, accept=["console_card", "no_reset"])
    assert "01:00.0 1234:1111 030000" in seen(machine, "console")
    devices = running_xml(machine, "console").find("devices")
    assert not devices.findall("graphics")
    assert {v.find("model").get("type") for v in devices.findall("video")} <= {"none"}
    act(machine, "console", "kill")
    comes_home(machine, (console,), home)
    machine.wait("grep -q bochs /proc/fb", timeout=20, what="the console is back on its card")
    remove(machine, "console")


def test_two_vms_on_one_card(machine):
    create(machine, "first")
    create(machine, "second", start=False)
    problem = act(machine, "second", "start", status=409)
    assert "claimed" in {r["code"] for r in problem["refusals"]} and "first" in str(problem["refusals"])
    assert state(machine, "second") == "stopped" and state(machine, "first") == "running"
    act(machine, "first", "kill")
    comes_home(machine)
    act(machine, "second", "start")
    seen(machine, "second")
    end(machine, "second")
    remove(machine, "first")


def test_two_starts_at_once(machine):
    names = ("left", "right")
    for name in names:
        create(machine, name, start=False)
    answers = {}

    def start(name):
        answers[name] = machine.api("POST", f"/api/vms/{name}/start", None, {"Prefer": "wait=290"}, timeout=300)

    threads = [threading.Thread(target=start, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(a.status for a in answers.values()) == [200, 409], {n: a.body for n, a in answers.items()}
    winner, loser = sorted(names, key=lambda n: answers[n].status)
    assert winner in str(answers[loser].body["refusals"]), answers[loser].body
    assert machine.ssh("virsh list --name").out.split() == [winner]
    assert state(machine, winner) == "running" and state(machine, loser) == "stopped"
    assert device(machine)["claimed_by"] == winner
    seen(machine, winner)
    end(machine, winner)
    remove(machine, loser)


def test_foreign_domain_is_named(machine):
    assert machine.api("POST", f"{DEVICES}/{ONE}/bind-vfio").status == 200
    domain = ("<domain type='qemu'><name>foreign</name><memory unit='MiB'>128</memory><vcpu>1</vcpu>"
              "<os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features><devices>"
              "<hostdev mode='subsystem' type='pci' managed='no'><source><address domain='0' bus='2' slot='0' "
              "function='0'/></source></hostdev><memballoon model='none'/></devices></domain>")
    machine.push(domain.encode(), "/root/foreign.xml", mode="600")
    machine.ssh("virsh create /root/foreign.xml", timeout=120)
    machine.wait(f"horcrux gpu show {ONE} -o json | grep -q '\"name\":\"foreign\"'", timeout=20,
                 what="it is named in used_by")
    assert ("vm", "foreign") in [(u["kind"], u["name"]) for u in device(machine, ONE)["used_by"]]
    answer = machine.api("POST", f"{DEVICES}/{ONE}/unbind-vfio")
    assert answer.status == 409 and "foreign" in str(answer.body["refusals"])
    problem = create(machine, "beside", ONE, status=409)
    assert "foreign" in str(problem["refusals"])
    assert machine.ssh("virsh list --name").out.split() == ["foreign"]
    # a domain that Horcrux did not make is nothing that it would end or take for a VM of its own
    assert machine.api("POST", "/api/vms/foreign/kill").status == 404
    assert create(machine, "foreign", None, status=409)["code"] == "exists"
    machine.ssh("virsh destroy foreign")
    machine.wait(f"curl -s -XPOST localhost:8006{DEVICES}/{ONE}/unbind-vfio | grep -q '\"state\":\"host\"'", timeout=30)
    assert drivers(machine, (ONE,)) == ONE_HOME


def slots(devices):
    """(guest's bus, slot) -> the host's functions there."""
    found = {}
    for passed in devices.findall("hostdev"):
        to, source = passed.find("address"), passed.find("source/address")
        numbers = [int(source.get(k), 0) for k in ("domain", "bus", "slot", "function")]
        card = found.setdefault((to.get("bus"), to.get("slot")), {})
        card[int(to.get("function"), 0)] = "{:04x}:{:02x}:{:02x}.{:x}".format(*numbers)
    return found


def test_what_libvirt_runs(machine):
    """Two cards; then other memory and cpus, which the next start takes."""
    create(machine, "shape", (TWO[0], ONE))
    domain = running_xml(machine, "shape")
    devices = domain.find("devices")
    assert domain.find("os/type").get("machine").startswith("pc-q35")
    assert {h.get("managed") for h in devices.findall("hostdev")} == {"no"}
    assert all(h.find("driver").get("name") == "vfio" for h in devices.findall("hostdev"))
    assert sorted(slots(devices).values(), key=lambda card: card[0]) == [{0: TWO[0], 1: TWO[1]}, {0: ONE}]
    ports = {int(c.get("index")) for c in devices.findall("controller") if c.get("model") == "pcie-root-port"}
    taken = {int(a.get("bus"), 0) for a in devices.findall("./*/address[@type='pci']")}
    assert len(ports - taken) == 2, "two spare root ports"
    assert {int(bus, 0) for bus, _ in slots(devices)} <= ports
    assert not {c.get("model") for c in devices.findall("controller")} & {"pcie-to-pci-bridge", "dmi-to-pci-bridge"}
    assert [b.get("model") for b in devices.findall("memballoon")] == ["none"]
    vnc, = devices.findall("graphics")
    assert vnc.get("type") == "vnc" and vnc.get("port") in (None, "-1") and vnc.find("listen").get("type") == "socket"
    machine.ssh(f"test -S {vnc.find('listen').get('socket')} && ! ss -Hltn | grep -q :59")
    assert domain.findtext("vcpu") == "1" and domain.findtext("currentMemory") == str(128 * 1024)
    answer = machine.api("PATCH", "/api/vms/shape", {"cpus": 2, "memory": 160}, {"Prefer": "wait=60"})
    assert answer.status == 200 and (answer.body["cpus"], answer.body["memory"]) == (2, 160)
    assert [w for w in answer.body["warnings"] if "next start" in w], answer.body["warnings"]
    assert [w for w in show(machine, "shape")["warnings"] if "next start" in w], show(machine, "shape")["warnings"]
    domain = running_xml(machine, "shape")
    assert domain.findtext("vcpu") == "1" and domain.findtext("currentMemory") == str(128 * 1024)
    act(machine, "shape", "kill")
    comes_home(machine)
    comes_home(machine, (ONE,), ONE_HOME)
    answer = machine.api("PATCH", "/api/vms/shape", {"memory": 144}, {"Prefer": "wait=60"})
    assert answer.status == 200 and answer.body["memory"] == 144
    assert not [w for w in answer.body["warnings"] if "next start" in w], answer.body["warnings"]
    act(machine, "shape", "start")
    domain = running_xml(machine, "shape")
    assert domain.findtext("vcpu") == "2" and domain.findtext("currentMemory") == str(144 * 1024)
    act(machine, "shape", "kill")
    comes_home(machine)
    comes_home(machine, (ONE,), ONE_HOME)
    remove(machine, "shape")


def test_who_hangs_up_makes_no_vm(machine):
    """A local user of no group sends a whole request and closes: the kernel then says uid 0 of its socket."""
    machine.ssh("id lab-stranger >/dev/null 2>&1 || useradd lab-stranger")
    create(machine, "quiet", start=False)
    script = ("import json, socket, sys\n"
              "def send(path, body):\n"
              " s = socket.create_connection(('127.0.0.1', 8006))\n"
              " s.sendall(b'POST %s HTTP/1.1\\r\\nHost: localhost:8006\\r\\nContent-Type: application/json\\r\\n'\n"
              "           b'Content-Length: %d\\r\\n\\r\\n%s' % (path, len(body), body))\n"
              " s.close()\n"
              "for i in range(40):\n"
              " send(b'/api/vms', sys.argv[1].encode())\n"
              " send(b'/api/vms/quiet/start', b'{}')\n")
    machine.push(script.encode(), "/tmp/stranger-vm.py", mode="644")
    body = json.dumps(spec_of("stranger", disk_size=1))
    files = machine.ssh(f"ls {POOL}").out
    machine.ssh("setpriv --reuid=lab-stranger --regid=lab-stranger --clear-groups "
                f"python3 /tmp/stranger-vm.py '{body}'")
    # a task is there as soon as its request was let in; this one comes after all of them
    assert machine.api("GET", "/api/vms/stranger").status == 404
    assert [t["title"] for t in machine.api("GET", "/api/tasks").body if "stranger" in t["title"] or
            t["title"] == "start VM quiet"] == []
    assert state(machine, "quiet") == "stopped"
    assert drivers(machine) == HOME and machine.ssh("virsh list --name --all").out.strip() == ""
    assert machine.ssh(f"ls {POOL}").out == files
    remove(machine, "quiet")
    assert machine.api("GET", "/api/vms").body == []


BROKEN = {
    # QEMU opens it and does not know what is asked of it
    "broken.qcow2": ("Unknown incompatible feature", "qemu-img create -q -f qcow2 broken.qcow2 1M && "
                    "printf '\\100' | dd of=broken.qcow2 bs=1 seek=75 conv=notrunc status=none"),
    # libvirt looks for what it lies on
    "orphan.qcow2": ("base.qcow2", "qemu-img create -q -f qcow2 base.qcow2 1M && "
                    "qemu-img create -q -f qcow2 -F qcow2 -b base.qcow2 orphan.qcow2 && rm base.qcow2"),
}


@pytest.mark.parametrize("disk", BROKEN)
def test_what_libvirt_will_not_start(machine, disk):
    """libvirt answers, so it is available: what it says is told, and all is as before."""
    words, command = BROKEN[disk]
    machine.ssh(f"cd {POOL} && {command} && chmod 644 {disk}")
    name = disk.split(".")[0]
    files = machine.ssh(f"ls {POOL}").out
    problem = create(machine, name, iso=None, status=502, disks=[{"volume": disk}])
    assert problem["code"] == "libvirt_failed" and problem["hint"]
    assert words in problem["detail"], problem["detail"]
    task = machine.api("GET", f"/api/tasks/{problem['task']}").body
    assert task["state"] == "rolled_back" and task["problem"]["code"] == "libvirt_failed"
    assert machine.api("GET", f"/api/vms/{name}").status == 404, "made to be started, so not there"
    comes_home(machine)
    assert device(machine)["state"] == "host"
    assert machine.ssh("virsh list --name --all").out.strip() == "" and machine.ssh(f"ls {POOL}").out == files
    # a VM that is there stays as it is, and is told why
    create(machine, name, iso=None, start=False, disks=[{"volume": disk}])
    assert act(machine, name, "start", status=502)["code"] == "libvirt_failed"
    comes_home(machine)
    becomes(machine, name, "stopped")
    remove(machine, name)
