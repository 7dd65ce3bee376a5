# SPDX-License-Identifier: Apache-2.0
"""The lab itself: its hosts are what the other tests take them for. No Horcrux in them."""

import time

import images

HORCRUX = False

GUEST = """<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>256</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type><boot dev='cdrom'/></os>
  <features><acpi/></features>
  <devices>
    <disk type='file' device='cdrom'><driver name='qemu' type='raw'/>
      <source file='/var/lib/libvirt/images/{iso}'/><target dev='sda' bus='sata'/></disk>
    <controller type='pci' index='0' model='pcie-root'/>
    <controller type='pci' index='1' model='pcie-root-port'/>
    {cards}
    <serial type='file'><source path='/var/log/libvirt/qemu/{name}.serial'/></serial>
    <memballoon model='none'/><video><model type='none'/></video>
  </devices>
</domain>
"""

HOSTDEV = """<hostdev mode='subsystem' type='pci' managed='no'>
  <source><address domain='0x{0}' bus='0x{1}' slot='0x{2}' function='0x{3}'/></source>
  <address type='pci' domain='0' bus='1' slot='0' function='0x{3}'{4}/></hostdev>"""


def hostdevs(addresses):
    rows = []
    for address in addresses:
        domain, bus, rest = address.split(":")
        slot, function = rest.split(".")
        more = " multifunction='on'" if function == "0" and len(addresses) > 1 else ""
        rows.append(HOSTDEV.format(domain, bus, slot, function, more))
    return "\n".join(rows)


def bind(machine, addresses):
    machine.ssh("modprobe vfio-pci")
    for a in addresses:
        machine.ssh(f"cd /sys/bus/pci/devices/{a} && echo vfio-pci >driver_override && "
                    f"{{ [ ! -e driver ] || echo {a} >driver/unbind; }} && echo {a} >/sys/bus/pci/drivers_probe")


def release(machine, addresses):
    for a in addresses:
        machine.ssh(f"cd /sys/bus/pci/devices/{a} && echo >driver_override && echo {a} >driver/unbind && "
                    f"echo {a} >/sys/bus/pci/drivers_probe")


def test_cards(machine):
    found = machine.functions()
    rows = {a: (f["id"], f["class"], f["driver"]) for a, f in found.items()}
    assert rows["0000:01:00.0"] == ("1002:5159", "030000", "radeon")
    assert rows["0000:01:00.1"] == ("8086:2668", "040300", "snd_hda_intel")
    assert rows["0000:02:00.0"] == ("1234:1111", "038000", "bochs-drm")
    assert rows["0000:04:01.0"] == ("1234:1111", "038000", "bochs-drm")
    assert rows["0000:04:02.0"] == ("8086:100e", "020000", "e1000")


def test_groups(machine):
    group = {a: f["group"] for a, f in machine.functions().items()}
    assert all(group.values())
    assert group["0000:01:00.0"] == group["0000:01:00.1"]
    assert group["0000:03:00.0"] == group["0000:04:01.0"] == group["0000:04:02.0"]
    assert group["0000:02:00.0"] not in {g for a, g in group.items() if a != "0000:02:00.0"}


def test_console_card(machine):
    vga = machine.ssh("grep -l 1 /sys/bus/pci/devices/*/boot_vga").out.split("/")[5]
    assert machine.functions()[vga]["id"] == "1234:1111"
    assert machine.functions()[vga]["class"] == "030000"
    assert "0 bochs-drmdrmfb" in machine.ssh("cat /proc/fb").out


def test_iommu(machine):
    assert "dmar0" in machine.ssh("ls /sys/class/iommu").out
    assert "Enabled IRQ remapping" in machine.ssh("dmesg").out


def test_services(machine):
    assert machine.ssh("systemctl is-system-running").out.strip() == "running"
    assert "QEMU" in machine.ssh("virsh -c qemu:///system version").out
    status = machine.ssh("aa-status").out
    enforced = status.split("profiles are in enforce mode.")[1].split("profiles are in complain")[0]
    assert "libvirtd" in enforced and "virt-aa-helper" in enforced


def test_kernel_is_well(machine):
    out = machine.ssh("dmesg --level=emerg,alert,crit; dmesg | grep -E 'Oops|BUG:|Call Trace' || true").out
    assert out.strip() == ""


def test_clock_is_now(machine):
    assert abs(int(machine.ssh("date +%s").out) - time.time()) < 5


def run_guest(machine, name, iso, addresses):
    machine.push(images.guests() / iso, f"/var/lib/libvirt/images/{iso}", mode="644")
    xml = GUEST.format(name=name, iso=iso, cards=hostdevs(addresses))
    machine.push(xml.encode(), f"/root/{name}.xml", mode="600")
    machine.ssh(f"virsh create /root/{name}.xml", timeout=120)
    return machine.wait(f"grep -q GUEST-DONE /var/log/libvirt/qemu/{name}.serial && "
                        f"cat /var/log/libvirt/qemu/{name}.serial", timeout=60)


def test_guest_with_two_functions(machine):
    card = ["0000:01:00.0", "0000:01:00.1"]
    bind(machine, card)
    assert {machine.functions()[a]["driver"] for a in card} == {"vfio-pci"}
    seen = run_guest(machine, "two", "guest.iso", card)
    assert "GUEST-START bios boot 1" in seen
    assert "01:00.0 1002:5159 030000" in seen
    assert "01:00.1 8086:2668 040300" in seen
    assert "libvirt-" in machine.ssh("aa-status").out
    machine.ssh("virsh shutdown two")
    machine.wait("! virsh domstate two 2>/dev/null", timeout=30, what="the guest goes off")
    release(machine, card)
    found = machine.functions()
    assert [found[a]["driver"] for a in card] == ["radeon", "snd_hda_intel"]


def test_guest_that_reboots(machine):
    seen = run_guest(machine, "again", "guest-reboot.iso", [])
    machine.wait("[ $(grep -c GUEST-DONE /var/log/libvirt/qemu/again.serial) = 2 ]", timeout=60)
    assert "GUEST-REBOOT" in seen
    machine.ssh("virsh destroy again")


def test_guest_that_ends(machine):
    run_guest(machine, "ends", "guest-off.iso", [])
    machine.wait("! virsh domstate ends 2>/dev/null", timeout=30, what="the guest goes off by itself")


def test_plugged_card_of_nvidia(machine):
    address = machine.plug_card("nvidia", bus="rp5", options=["--rom", "own", "--serial", "1122334455667788"])
    assert machine.functions()[address] | {"group": None} == {
        "id": "10de:20b0", "class": "030200", "driver": None, "group": None}
    bars = machine.ssh(f"head -n 2 /sys/bus/pci/devices/{address}/resource").out.split()
    assert [int(bars[1], 16) - int(bars[0], 16), int(bars[4], 16) - int(bars[3], 16)] == \
        [(16 << 20) - 1, (256 << 20) - 1]
    assert "0x0000000000000000" not in (bars[0], bars[3])
    rom = f"cd /sys/bus/pci/devices/{address} && echo 1 >enable && echo 1 >rom && od -An -tx1 -N64 rom"
    assert machine.ssh(rom).out.split()[:3] == ["55", "aa", "80"]
    machine.ssh(f"echo 0 >/sys/bus/pci/devices/{address}/enable")
    bind(machine, [address])
    seen = run_guest(machine, "nvidia", "guest.iso", [address])
    assert "01:00.0 10de:20b0 030200" in seen and "rom=10de:20b0" in seen
    machine.ssh("virsh destroy nvidia")


def test_card_that_misbehaves(machine):
    address = machine.find("10de:20b0")[0]
    read = f"setpci -s {address} 0.l"
    assert machine.ssh(read).out.strip() == "20b010de"
    assert machine.card_fault("nvidia", "ff") == "ok"
    assert machine.ssh(read).out.strip() == "ffffffff"
    machine.card_fault("nvidia", "ok")
    assert machine.ssh(read).out.strip() == "20b010de"
    before = machine.card_fault("nvidia", "status")
    machine.ssh(f"echo 1 >/sys/bus/pci/devices/{address}/reset")
    assert machine.card_fault("nvidia", "status") != before
    machine.unplug("nvidia")
    assert machine.find("10de:20b0") == []


def test_virtual_functions(machine):
    igb = machine.plug("igb", "igb", "rp4", wait_for="8086:10c9")
    machine.wait(f"[ -e /sys/bus/pci/devices/{igb}/driver ]", timeout=30)
    machine.ssh(f"echo 2 >/sys/bus/pci/devices/{igb}/sriov_numvfs")
    assert len(machine.find("8086:10ca")) == 2
    nvme = machine.plug("nvme", "nvme", "rp6", wait_for="1b36:0010", serial="lab",
                        subsys="nvme-subsys", sriov_max_vfs=2, sriov_vq_flexible=4,
                        sriov_vi_flexible=2, max_ioqpairs=6, msix_qsize=7)
    assert machine.ssh(f"cat /sys/bus/pci/devices/{nvme}/sriov_totalvfs").out.strip() == "2"


def test_forward(machine):
    import socket
    port = machine.forward(22)
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        assert sock.recv(64).startswith(b"SSH-")


def test_card_that_vanishes(machine):
    """The last: QEMU may not survive that a card of which the server is gone is taken out."""
    address = machine.plug_card("gone", bus="rp7")
    machine.card_fault("gone", "vanish")
    assert machine.ssh(f"setpci -s {address} 0.l").out.strip() == "ffffffff"
