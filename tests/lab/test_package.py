# SPDX-License-Identifier: Apache-2.0
"""What the package sets up, what its units may, and its upgrade, removal and purge. In this order: the
last tests end with a host that has no Horcrux any more."""

import re
import subprocess
import time

import pytest

import build
import images
from test_cards import HIDE

CARD, AUDIO = "0000:01:00.0", "0000:01:00.1"

GUEST = """<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>256</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type><boot dev='cdrom'/></os>
  <features><acpi/></features>
  <devices>
    <disk type='file' device='cdrom'><driver name='qemu' type='raw'/>
      <source file='/var/lib/libvirt/images/guest.iso'/><target dev='sda' bus='sata'/></disk>
    <controller type='pci' index='0' model='pcie-root'/>
    <controller type='pci' index='1' model='pcie-root-port'/>
    <hostdev mode='subsystem' type='pci' managed='no'>
      <source><address domain='0x0' bus='0x1' slot='0x0' function='0x0'/></source>{rom}
      <address type='pci' domain='0' bus='1' slot='0' function='0x0' multifunction='on'/></hostdev>
    <hostdev mode='subsystem' type='pci' managed='no'>
      <source><address domain='0x0' bus='0x1' slot='0x0' function='0x1'/></source>
      <address type='pci' domain='0' bus='1' slot='0' function='0x1'/></hostdev>
    <serial type='file'><source path='/var/log/libvirt/qemu/{name}.serial'/></serial>
    <memballoon model='none'/><video><model type='none'/></video>
  </devices>
</domain>
"""


# Keeps a file open.
HOLD = """
import os, sys, time
held = os.open(sys.argv[1], os.O_RDWR)
print("open", flush=True)
time.sleep(3600)
"""


def run_guest(machine, name, rom=None, check=True):
    """A domain that owns the card, made by libvirt alone; what its guest tells."""
    machine.push(images.guests() / "guest.iso", "/var/lib/libvirt/images/guest.iso", mode="644")
    xml = GUEST.format(name=name, rom=f"<rom file='{rom}'/>" if rom else "")
    machine.push(xml.encode(), f"/root/{name}.xml", mode="600")
    made = machine.ssh(f"virsh create /root/{name}.xml", timeout=120, check=check)
    if made.rc:
        return made
    serial = f"/var/log/libvirt/qemu/{name}.serial"
    machine.wait(f"grep -q GUEST-DONE {serial}", timeout=60)
    return machine.ssh(f"cat {serial}").out


def change(machine, verb, address, status=200):
    answer = machine.api("POST", f"/api/gpu/devices/{address}/{verb}-vfio")
    assert answer.status == status, answer.body
    return answer.body


def drivers(machine, *addresses):
    found = machine.functions()
    return [found[address]["driver"] for address in addresses]


def main_pid(machine, unit):
    return int(machine.ssh(f"systemctl show -P MainPID {unit}").out)


def test_folders(machine):
    out = machine.ssh("cd /var/lib/horcrux && stat -c '%n %a %U' . private images roms /run/horcrux-privd "
                      "/run/horcrux-privd.sock /run/horcrux/api.sock").out
    assert out.splitlines() == [". 711 horcruxd", "private 700 horcruxd", "images 711 root",
                                "roms 755 root", "/run/horcrux-privd 700 root",
                                "/run/horcrux-privd.sock 600 horcruxd", "/run/horcrux/api.sock 660 horcruxd"]
    assert "libvirt" in machine.ssh("id -nG horcruxd").out.split()


def test_units_are_on_once_installed(machine):
    units = "horcruxd horcruxd.socket horcrux-privd.socket"
    assert machine.ssh(f"systemctl is-enabled {units}").out.split() == ["enabled"] * 3
    assert machine.ssh(f"systemctl is-active {units}").out.split() == ["active"] * 3


def test_every_key_of_the_example_holds(machine):
    """The example with every key that has a value set to it: the daemon starts on it as before."""
    conf = "/etc/horcrux/horcrux.conf"
    machine.ssh(f"cp {conf} /root/conf && sed -i 's/^#\\([a-z_]* = .\\)/\\1/' {conf}")
    assert int(machine.ssh(f"grep -c ' = ' {conf}").out) > 5
    machine.ssh("systemctl restart horcruxd && horcrux gpu list")
    machine.ssh(f"sed -i 's/^listen/lisen/' {conf}; systemctl restart horcruxd", check=False)
    line = machine.ssh(f"grep -n '^lisen' {conf}").out.split(":")[0]
    machine.wait(f"journalctl -u horcruxd -o cat | grep -F '{conf}, line {line}'")
    machine.ssh(f"cp /root/conf {conf} && systemctl reset-failed horcruxd; systemctl restart horcruxd && "
                "horcrux gpu list")


def test_manual_and_completion(machine):
    machine.ssh("cd /usr/share/man && ls man1/horcrux.1.gz man5/horcrux.conf.5.gz man8/horcruxd.8.gz "
                "man8/horcrux-privd.8.gz && bash -n /usr/share/bash-completion/completions/horcrux")


def test_units_are_confined(machine):
    """The kernel's word for it: which capabilities the processes can ever have, and no new privileges."""
    machine.ssh("horcrux gpu list")
    for unit, most in (("horcruxd", []), ("horcrux-privd", ["cap_dac_override", "cap_dac_read_search",
                                                            "cap_sys_module", "cap_sys_ptrace",
                                                            "cap_sys_admin"])):
        status = dict(line.split(":\t", 1) for line in
                      machine.ssh(f"cat /proc/{main_pid(machine, unit)}/status").out.splitlines()
                      if ":\t" in line)
        numbers = {"cap_dac_override": 1, "cap_dac_read_search": 2, "cap_sys_module": 16, "cap_sys_ptrace": 19,
                   "cap_sys_admin": 21}
        assert int(status["CapBnd"], 16) == sum(1 << numbers[name] for name in most)
        assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    machine.ssh("systemd-analyze security --threshold=20 --no-pager horcruxd.service")
    machine.ssh("systemd-analyze security --threshold=45 --no-pager horcrux-privd.service")


def test_holders_of_other_users_are_seen(machine):
    machine.ssh("id bob 2>/dev/null || useradd -m bob; rm -f /tmp/bob; "
                "node=$(readlink -f /dev/dri/by-path/pci-0000:01:00.0-card); chmod 666 $node; "
                "setsid runuser -u bob -- sh -c 'exec 9<>'$node'; echo $$ >/tmp/bob; exec sleep 600' "
                ">/dev/null 2>&1 </dev/null &")
    pid = machine.wait("cat /tmp/bob").strip()
    refused = machine.api("POST", f"/api/gpu/devices/{CARD}/bind-vfio")
    assert refused.status == 409
    assert [(r["code"], r["subject"]) for r in refused.body["refusals"]] == [("held", f"pid {pid}")]
    machine.ssh(f"kill {pid}")


def test_critical_disk_below_home_is_seen(machine):
    """A disk (a card here, by configuration) is mounted where ProtectHome= would hide it, later than the
    helper started: the mount reaches its namespace."""
    image = machine.folder / "spare.img"
    with open(image, "wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", str(image)], check=True)
    machine.qmp("blockdev-add", {"driver": "file", "filename": str(image), "node-name": "spare"})
    before = machine.find("1af4:1042")
    machine.plug("virtio-blk-pci", "spare-disk", "rp7", drive="spare")
    machine.wait("[ -e /dev/vdb ]", timeout=30)
    disk = [a for a in machine.find("1af4:1042") if a not in before][0]
    conf = "/etc/horcrux/horcrux.conf"
    machine.ssh(f"echo 'extra_classes = 0100' >>{conf} && systemctl restart horcruxd && horcrux gpu list && "
                "mkdir -p /home/bob/disk && mount /dev/vdb /home/bob/disk")
    refused = machine.api("POST", f"/api/gpu/devices/{disk}/bind-vfio?dry_run=true").body["plan"]["refusals"]
    assert "/home/bob/disk" in str([r for r in refused if r["code"] == "critical"]), refused
    machine.ssh("umount /home/bob/disk")
    refused = machine.api("POST", f"/api/gpu/devices/{disk}/bind-vfio?dry_run=true").body["plan"]["refusals"]
    assert "critical" not in [r["code"] for r in refused], refused
    machine.ssh(f"sed -i '/^extra_classes/d' {conf} && systemctl restart horcruxd && horcrux gpu list")
    machine.unplug("spare-disk")


def test_modules_groups_and_memory_map(machine):
    """The helper loads a module, opens a group, reads real addresses: all with its few capabilities."""
    machine.ssh("modprobe -r vfio-pci vfio_iommu_type1 2>/dev/null; true")
    assert change(machine, "bind", CARD)["state"] == "ready"
    assert "vfio_pci" in machine.ssh("lsmod").out
    assert drivers(machine, CARD, AUDIO) == ["vfio-pci"] * 2
    change(machine, "unbind", CARD)
    assert drivers(machine, CARD, AUDIO) == ["radeon", "snd_hda_intel"]
    caps = machine.ssh("systemctl show -P CapabilityBoundingSet horcrux-privd").out.strip()
    read = f"systemd-run -q --pipe --wait -p CapabilityBoundingSet='{caps}' -p NoNewPrivileges=yes cat /proc/iomem"
    assert re.search("^ *[1-9a-f][0-9a-f]+-", machine.ssh(read).out, re.M)


def test_qemu_reads_roms_of_ours_alone(machine):
    """AppArmor enforces; libvirt writes no rule for a ROM, so the package's is what lets it through.
    Denials reach the kernel's log in their order, some time later, and ten in five seconds at most unless
    that is lifted: so the one that must be there comes last, and when it is there, all are."""
    machine.ssh("sysctl -q kernel.printk_ratelimit=0")
    machine.push(images.radeon_rom(), "/var/lib/horcrux/roms/radeon.rom", mode="644")
    machine.push(images.radeon_rom(), "/var/lib/elsewhere/radeon.rom", mode="644")
    change(machine, "bind", CARD)
    seen = run_guest(machine, "friend", rom="/var/lib/horcrux/roms/radeon.rom")
    assert "01:00.0 1002:5159 030000" in seen and "rom=1002:5159" in seen
    machine.ssh("virsh destroy friend")
    refused = run_guest(machine, "stranger", rom="/var/lib/elsewhere/radeon.rom", check=False)
    assert refused.rc and "radeon.rom" in refused.err
    machine.wait("dmesg | grep 'apparmor=.DENIED.*elsewhere/radeon.rom'", timeout=60,
                 what="the kernel's log tells of the ROM that was denied")
    assert not re.search("apparmor=.DENIED.*horcrux/roms", machine.ssh("dmesg").out)


# QEMU as it is asked what it can; one that is to run a guest ends when it is told to.
SLOW = """#!/bin/sh
case "$*" in *guest=slow*) until [ -e /var/tmp/slow-ends ]; do sleep 0.2; done; exit 1;; esac
exec /usr/bin/qemu-system-x86_64 "$@"
"""
# The next thing straight after the start has failed.
THEN_RELEASE = f"""virsh create /root/slow.xml
curl -s --unix-socket /run/horcrux/api.sock -X POST http://localhost/api/gpu/devices/{CARD}/unbind-vfio -w '\\nrelease %{{http_code}}\\n'
"""


def test_a_start_that_fails_holds_no_card(machine):
    """libvirt's news comes after what it is about: nothing is refused because of a domain that is over."""
    machine.ssh("virsh destroy friend", check=False)
    if drivers(machine, CARD) != ["vfio-pci"]:
        change(machine, "bind", CARD)
    machine.push(images.guests() / "guest.iso", "/var/lib/libvirt/images/guest.iso", mode="644")
    machine.push(SLOW.encode(), "/usr/bin/qemu-slow", mode="755")
    xml = GUEST.format(name="slow", rom="").replace(
        "<devices>", "<devices><emulator>/usr/bin/qemu-slow</emulator>").replace(
        "</domain>", "<seclabel type='none' model='apparmor'/></domain>")
    machine.push(xml.encode(), "/root/slow.xml", mode="600")
    machine.push(THEN_RELEASE.encode(), "/root/then-release", mode="755")
    machine.ssh("setsid sh /root/then-release >/root/slow.log 2>&1 </dev/null &")
    machine.wait("pgrep -f [g]uest=slow", timeout=30)
    try:
        machine.ssh("systemctl restart horcruxd")    # what runs is listed while it starts
        machine.wait(f"horcrux gpu show {CARD} -o json | grep -q '\"state\": *\"in_use\"'", timeout=60)
    finally:
        machine.ssh("touch /var/tmp/slow-ends")
    machine.wait("grep ^release /root/slow.log", timeout=60)
    out = machine.ssh("cat /root/slow.log").out
    assert "error: Failed to create domain" in out and out.splitlines()[-1] == "release 200", out
    assert drivers(machine, CARD, AUDIO) == ["radeon", "snd_hda_intel"]


# ---- crash, restart, upgrade, removal, purge: with a VM that runs and a child that hangs in the kernel ----

STUCK = "0000:02:00.0"
VM = {"id": "keeps", "name": "keeps", "cpus": 1, "memory": 256, "firmware": "bios", "cdrom": ["guest.iso"],
      "disks": [{"size": 1}], "network": [{"kind": "none"}], "gpu_passthrough": {"pci_address": CARD},
      "start": True}
WAIT = {"Prefer": "wait=300"}
DAEMONS = ["horcruxd", "horcrux-privd"]
SOCKETS = ["horcruxd.socket", "horcrux-privd.socket"]


def stick(machine):
    """A child of the helper sleeps in the kernel: an unbind of a card whose file nobody shows. Its pid."""
    change(machine, "bind", STUCK)
    machine.push(HIDE.encode(), "/root/hide.py", mode="600")
    group = machine.functions()[STUCK]["group"]
    machine.ssh(f"setsid python3 /root/hide.py {group} {STUCK} >/root/hide.log 2>&1 </dev/null & "
                "echo $! >/root/hide.pid")
    machine.wait("grep -q hidden /root/hide.log", timeout=30)
    answer = machine.api("POST", f"/api/gpu/devices/{STUCK}/unbind-vfio", None, WAIT, timeout=310)
    assert answer.status == 504 and answer.body["code"] == "stuck", answer.body
    # its other children read, and are younger
    return machine.ssh(f"pgrep -o -P {main_pid(machine, 'horcrux-privd')}").out.strip()


def is_stuck(machine):
    return machine.api("GET", f"/api/gpu/devices/{STUCK}").body["state"] == "stuck"


def in_cgroup(machine, pid):
    """Is the process one of the helper's unit?"""
    procs = "/sys/fs/cgroup/system.slice/horcrux-privd.service/cgroup.procs"
    return pid in machine.ssh(f"cat {procs}").out.split()


def monotonic(machine, name):
    return int(machine.ssh(f"systemctl show -P {name}TimestampMonotonic horcrux-privd").out) / 1e6


def starting_anything(machine):
    """How long this host takes now to start a service that does nothing: it may be a busy machine."""
    began = time.monotonic()
    machine.ssh("systemd-run -q --wait true")
    return time.monotonic() - began


def install(machine):
    machine.push(build.package(machine.kind.dist), "/root/now.deb", mode="644")
    return machine.ssh("dpkg -i /root/now.deb", timeout=300)


@pytest.fixture(scope="module")
def busy(machine):
    """A host in use: a VM runs with a card, and a child of the helper hangs inside a write."""
    machine.ssh("virsh destroy friend", check=False)
    if drivers(machine, CARD) == ["vfio-pci"]:
        change(machine, "unbind", CARD)
    machine.push(images.guests() / "guest.iso", "/var/lib/horcrux/images/guest.iso", mode="644")
    made = machine.api("POST", "/api/vms", VM, headers=WAIT, timeout=310)
    assert made.status == 201 and made.body["state"] == "running", made.body
    return {"qemu": machine.ssh("pgrep -f guest=keeps").out.split()[0], "child": stick(machine)}


WAYS = {
    "crash": lambda machine: machine.ssh(f"systemctl kill --kill-whom=main -s KILL {' '.join(DAEMONS)}"),
    "restart": lambda machine: machine.ssh(f"systemctl restart {' '.join(DAEMONS)}"),
    "upgrade": install,
}


@pytest.mark.parametrize("way", WAYS)
def test_vms_and_cards_are_left_alone(machine, busy, way):
    """Both daemons end, the helper with a child inside a write: the helper is back in two seconds (or what
    this host takes now to start anything), the VM runs on, and both know again what there is."""
    assert "horcrux" not in machine.ssh(f"cat /proc/{busy['qemu']}/cgroup").out
    before, usual = [main_pid(machine, unit) for unit in DAEMONS], starting_anything(machine)
    assert in_cgroup(machine, busy["child"]) and is_stuck(machine)
    machine.ssh("journalctl --rotate && journalctl --vacuum-time=1s")
    WAYS[way](machine)
    machine.wait("horcrux gpu list", timeout=60)
    machine.wait("systemctl is-active horcruxd horcrux-privd")
    after = [main_pid(machine, unit) for unit in DAEMONS]
    assert all(after) and not set(after) & set(before)
    away = monotonic(machine, "ActiveEnter") - monotonic(machine, "ActiveExit")
    usual = max(usual, starting_anything(machine))
    assert 0 < away < max(2, 4 * usual), f"the helper was away for {away} s; anything takes {usual} s"
    told = machine.ssh("journalctl -u horcruxd -u horcrux-privd -o cat").out
    assert "still lives" in told and "timed out" not in told
    assert told.count("ready, host root /") == 1, "the helper was started again once"
    assert in_cgroup(machine, busy["child"])
    assert machine.ssh("pgrep -f guest=keeps").out.split()[0] == busy["qemu"]
    machine.wait("horcrux vm list | grep 'keeps.*running'", timeout=60)
    card = machine.api("GET", f"/api/gpu/devices/{CARD}").body
    assert card["state"] == "in_use" and card["used_by"][0]["name"] == "keeps"
    assert is_stuck(machine)


def remove(machine):
    out = machine.ssh("dpkg -r horcrux", timeout=170).out
    states = machine.ssh(f"systemctl is-active {' '.join(DAEMONS + SOCKETS)}", check=False).out
    assert states.split() == ["inactive"] * 4
    return out


def test_removal_gives_back_what_nobody_uses(machine, busy):
    spare = machine.plug_card("spare", bus="rp5")
    change(machine, "bind", spare)
    out = remove(machine)
    assert f"{CARD} stays on vfio-pci: VM keeps runs with it" in out
    assert f"{STUCK} stays " in out and "not every card was given back" in out
    assert "keep running under libvirt: keeps" in out
    assert drivers(machine, spare, CARD, AUDIO) == [None, "vfio-pci", "vfio-pci"]
    assert machine.ssh(f"cat /sys/bus/pci/devices/{spare}/driver_override").out.strip() == "(null)"
    assert machine.ssh("pgrep -f guest=keeps").out.split()[0] == busy["qemu"]
    machine.ssh("ls /var/lib/horcrux/private/store.sqlite")
    machine.unplug("spare")


def test_installed_again_it_knows_what_it_took(machine, busy):
    """As README says it, with apt. The child that hung came back meanwhile: the giving back that it was
    part of is undone, as it was told, and asked for again it goes through."""
    machine.ssh("kill $(cat /root/hide.pid)")
    machine.push(build.package(machine.kind.dist), "/root/now.deb", mode="644")
    machine.ssh("cd /root && DEBIAN_FRONTEND=noninteractive apt-get install -y ./now.deb", timeout=300)
    assert machine.ssh(f"systemctl is-enabled horcruxd {' '.join(SOCKETS)}").out.split() == ["enabled"] * 3
    machine.wait("horcrux vm list | grep -q 'keeps.*running'", timeout=60)
    machine.wait(f"horcrux gpu list | grep '{STUCK}.* ready'", what="the card is stuck no more")
    change(machine, "unbind", STUCK)
    assert drivers(machine, STUCK) == ["bochs-drm"]
    stopped = machine.api("POST", "/api/vms/keeps/stop", headers=WAIT, timeout=310)
    assert stopped.status == 200 and stopped.body["state"] == "stopped", stopped.body
    assert drivers(machine, CARD, AUDIO) == ["radeon", "snd_hda_intel"]


def power(machine, *addresses):
    return machine.ssh("cd /sys/bus/pci/devices && cat " + " ".join(
        f"{a}/power/control {a}/driver_override" for a in addresses)).out


def test_removal_gives_everything_back(machine):
    before = power(machine, CARD, AUDIO)
    change(machine, "bind", CARD)
    out = remove(machine)
    assert drivers(machine, CARD, AUDIO) == ["radeon", "snd_hda_intel"]
    assert power(machine, CARD, AUDIO) == before
    assert f"{CARD} is on radeon" in out and "not every card" not in out


def test_purge_leaves_no_card_and_no_word_unsaid(machine):
    """A card whose VM outlived the removal, and ended since, goes home at the purge; one that is in use
    then is named. Disks of VMs and ROMs stay, and that is said."""
    before = power(machine, CARD, AUDIO)
    install(machine)
    machine.wait("horcrux gpu list", timeout=60)
    started = machine.api("POST", "/api/vms/keeps/start", headers=WAIT, timeout=310)
    assert started.status == 200, started.body
    change(machine, "bind", STUCK)
    machine.push(HOLD.encode(), "/root/hold.py", mode="600")
    group = machine.functions()[STUCK]["group"]
    machine.ssh(f"setsid python3 /root/hold.py /dev/vfio/{group} >/root/hold.log 2>&1 </dev/null & "
                "echo $! >/root/hold.pid")
    machine.wait("grep -q open /root/hold.log", timeout=30)
    assert f"{STUCK} stays on vfio-pci: " in remove(machine)
    machine.ssh("virsh destroy keeps")
    out = machine.ssh("dpkg --purge horcrux", timeout=120).out
    assert f"horcrux: {CARD} is on radeon\nhorcrux: {AUDIO} is on snd_hda_intel\n" in out
    assert drivers(machine, CARD, AUDIO) == ["radeon", "snd_hda_intel"]
    assert power(machine, CARD, AUDIO) == before
    assert f"left as it is: {STUCK} on vfio-pci, in use" in out
    machine.ssh("kill $(cat /root/hold.pid)")
    left = machine.ssh("find /var/lib/horcrux /etc/horcrux /run/horcrux* /etc/apparmor.d /etc/systemd "
                       "-path '*horcrux*'", check=False).out.splitlines()
    disks = [path for path in left if path.startswith("/var/lib/horcrux/images/")]
    assert {"/var/lib/horcrux/images/guest.iso", "/var/lib/horcrux/images/keeps.qcow2"} <= set(disks)
    assert f"left as it is: /var/lib/horcrux/images ({len(disks)} files" in out
    roms = [path for path in left if path.startswith("/var/lib/horcrux/roms/")]
    assert ("left as it is: /var/lib/horcrux/roms" in out) == bool(roms)
    folders = {"/var/lib/horcrux", "/var/lib/horcrux/images"} | ({"/var/lib/horcrux/roms"} if roms else set())
    assert set(left) - set(disks) - set(roms) == folders
