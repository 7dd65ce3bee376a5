# SPDX-License-Identifier: Apache-2.0
"""What the package sets up, what its units may, and its upgrade, removal and purge. In this order: the
last tests end with a host that has no Horcrux any more."""

import re
import subprocess

import images

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
    for unit, most in (("horcruxd", []), ("horcrux-privd", ["cap_dac_read_search", "cap_sys_module",
                                                            "cap_sys_ptrace", "cap_sys_admin"])):
        status = dict(line.split(":\t", 1) for line in
                      machine.ssh(f"cat /proc/{main_pid(machine, unit)}/status").out.splitlines()
                      if ":\t" in line)
        numbers = {"cap_dac_read_search": 2, "cap_sys_module": 16, "cap_sys_ptrace": 19, "cap_sys_admin": 21}
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
