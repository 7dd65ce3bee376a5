# SPDX-License-Identifier: Apache-2.0
"""The rest of the fake host: /proc, storage, network, memory, machines, trees, records."""

import os
import stat
import subprocess
import sys

import pytest

import um2tree
from fakehost import HERE, MACHINES, FakeHost, machine_text, many_machine, write_tree
from test_fakehost import DEV

NAMES = sorted(p.stem for p in MACHINES.glob("*.machine"))


@pytest.mark.parametrize("name", NAMES)
def test_every_machine_starts_and_no_link_dangles(name):
    with FakeHost(name) as host:
        assert os.listdir(host.path(DEV))
        for where in ("bus", "class", "devices", "kernel", "block", "module"):
            for base, dirs, files in os.walk(host.path(f"sys/{where}")):
                for entry in dirs + files:
                    path = os.path.join(base, entry)
                    assert os.path.exists(path), f"{path} -> {os.readlink(path)}"


def test_iommu_kinds():
    kinds = {"f01-a2-server": "dmar0", "f06-a40-eight": "ivhd7", "f08c-arm-smmu": "smmu3.0x"}
    for machine, unit in kinds.items():
        with FakeHost(machine) as host:
            names = os.listdir(host.path("sys/class/iommu"))
            assert any(n.startswith(unit) for n in names)
    with FakeHost("f02-iommu-off") as host:
        assert os.listdir(host.path("sys/class/iommu")) == []
        assert os.listdir(host.path("sys/kernel/iommu_groups")) == []
        assert os.path.exists(host.path("sys/firmware/acpi/tables/DMAR"))
        assert not os.path.exists(host.device("0000:08:00.0", "iommu_group"))
    with FakeHost("f08b-pi-no-group") as host:
        assert not os.path.exists(host.path("sys/firmware"))


def test_interrupt_remapping_shows_in_interrupts():
    with FakeHost("lab-like") as host:
        assert "IR-PCI-MSIX-0000:01:00.0" in host.read("proc/interrupts")
        assert int(host.read("sys/class/iommu/dmar0/intel-iommu/ecap"), 16) & 8
    with FakeHost("refusals") as host:
        assert "IR-" not in host.read("proc/interrupts")
        assert " direct\n" in host.read("sys/kernel/iommu_groups/12/reserved_regions")
    with FakeHost("f03-gtx16-four-functions") as host:      # before 6.2: one chip for all
        assert "IR-PCI-MSI 524288-edge      nouveau" in host.read("proc/interrupts")


def test_consumer_links():
    with FakeHost("f03-gtx16-four-functions") as host:
        gpu = os.listdir(host.device("0000:01:00.0"))
        assert {n for n in gpu if n.startswith("consumer:")} == {
            f"consumer:pci:0000:01:00.{i}" for i in (1, 2, 3)}
        link = host.device("0000:01:00.3", "supplier:pci:0000:01:00.0/supplier")
        assert os.path.realpath(link) == os.path.realpath(host.device("0000:01:00.0"))
        host.event("remove 0000:01:00.0")
        assert not any(n.startswith("supplier") for n in os.listdir(host.device("0000:01:00.1")))


def test_processes():
    with FakeHost("refusals") as host:
        assert host.read("proc/1300/comm") == "python3\n"
        assert host.read("proc/1300/cmdline") == "python3\0train.py\0"
        assert "Uid:\t1000\t1000\t1000\t1000\n" in host.read("proc/1300/status")
        assert host.read("proc/1300/stat").rsplit(")", 1)[1].split()[19] == "13000"
        assert "/dev/nvidia0\n" in host.read("proc/1300/maps")
        fds = {os.readlink(host.path(f"proc/1300/fd/{n}"))
               for n in os.listdir(host.path("proc/1300/fd"))}
        assert {"/dev/nvidiactl", "/dev/nvidia0"} <= fds
        host.event("open 1300 /dev/dri/renderD128")
        host.event("close 1300 /dev/nvidia0")
        fds = {os.readlink(host.path(f"proc/1300/fd/{n}"))
               for n in os.listdir(host.path("proc/1300/fd"))}
        assert "/dev/dri/renderD128" in fds and "/dev/nvidia0" not in fds
        host.event("kill 1300")
        assert not os.path.exists(host.path("proc/1300"))


def test_storage():
    with FakeHost("critical-disk") as host:
        block = host.path("sys/class/block")
        assert os.path.realpath(f"{block}/nvme0n1p2").endswith(
            "0000:02:01.0/nvme/nvme0/nvme0n1/nvme0n1p2")
        assert os.listdir(f"{block}/nvme0n1p2/holders") == ["dm-0", "dm-1"]
        assert sorted(os.listdir(f"{block}/md0/slaves")) == ["nvme0n1p3", "nvme1n1p1"]
        assert host.read("sys/block/dm-0/dm/name") == "vg-root\n"
        number = host.read("sys/block/dm-0/dev").strip()
        assert os.path.samefile(host.path(f"sys/dev/block/{number}"), f"{block}/dm-0")
        root = host.read("proc/self/mountinfo").splitlines()[0].split()
        assert (root[2], root[4], root[-3:]) == (number, "/", ["ext4", "/dev/mapper/vg-root", "rw"])
        assert host.read("proc/swaps").splitlines()[1].split()[:2] == ["/dev/dm-1", "partition"]
        assert os.readlink(host.path("dev/mapper/vg-root")) == "../dm-0"
        host.event("forget mount /srv")
        assert "/srv" not in host.read("proc/mounts")
        host.event("unbind 0000:02:01.0")
        assert not os.path.exists(f"{block}/nvme0n1") and os.path.exists(f"{block}/dm-0")


def test_network():
    with FakeHost("critical-disk") as host:
        net = host.path("sys/class/net")
        assert os.path.exists(f"{net}/bond0.10/lower_bond0")
        assert os.path.basename(os.readlink(f"{net}/bond0.10/master")) == "br0"
        assert os.path.exists(f"{net}/br0/brif/bond0.10")
        assert os.path.exists(f"{net}/eno1/upper_bond0")
        assert "DEVTYPE=vlan\n" in host.read("sys/class/net/bond0.10/uevent")
        assert os.path.realpath(f"{net}/eno1/device").endswith("0000:02:02.0")
        row = host.read("proc/net/route").splitlines()[1].split()
        assert row[:4] == ["br0", "00000000", "0100010A", "0003"]
        row = host.read("proc/net/ipv6_route").split()
        assert row[:2] == ["0" * 32, "00"] and row[-1] == "br0"
        tcp = host.read("proc/net/tcp").splitlines()[2].split()
        assert tcp[1:4] == ["0500010A:0016", "6300010A:C350", "01"]
        assert host.read("proc/net/if_inet6").split()[-1] == "br0"
        host.event("forget tcp 10.1.0.99:50000")
        assert len(host.read("proc/net/tcp").splitlines()) == 2


def test_processors_and_memory():
    with FakeHost("f01-a2-server") as host:
        assert host.read(f"{DEV}/0000:08:00.0/local_cpulist") == "0-5,12-17\n"
        assert host.read(f"{DEV}/0000:08:00.0/local_cpus") == "03f03f\n"
        assert host.read("sys/devices/system/node/node1/cpulist") == "6-11,18-23\n"
        assert host.read("sys/devices/system/cpu/cpu1/topology/thread_siblings_list") == "1,13\n"
        pages = "sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages"
        host.write(pages, "16")
        assert host.read(pages) == "16\n"
        host.write(pages, "100000")
        assert 16 < int(host.read(pages)) < 128
        assert host.read("sys/devices/system/node/node0/hugepages/hugepages-1048576kB/"
                         "nr_hugepages") == "60\n"
        total = int(host.read("proc/meminfo").split()[1])
        assert total == 131072 * 1024


def test_boot_ids_differ_from_start_to_start():
    ids = set()
    for _ in range(2):
        with FakeHost("lab-like") as host:
            ids.add(host.read("proc/sys/kernel/random/boot_id"))
    assert len(ids) == 2


def test_extra_files_and_missing_ones():
    text = machine_text("lab-like") + 'file /etc/x "one two" mode=0600\nlink /etc/y x\n' \
        'knob hide path=/sys/class/iommu\nconsole ttyS0 tty1\n'
    with FakeHost(text) as host:
        assert host.read("etc/y") == "one two\n"
        assert not os.path.exists(host.path("sys/class/iommu"))
        assert host.read("sys/class/tty/console/active") == "ttyS0 tty1\n"


def test_what_sysfs_refuses():
    with FakeHost("lab-like") as host:
        with pytest.raises(PermissionError):
            open(host.path("sys/new"), "w")
        with pytest.raises(PermissionError):
            os.mkdir(host.path("sys/new"))
        with pytest.raises(PermissionError):
            os.unlink(host.device("0000:01:00.0", "vendor"))
        with pytest.raises(PermissionError):
            open(host.device("0000:01:00.0", "vendor"), "r+")
        with open(host.device("0000:01:00.0", "driver_override"), "w") as f:    # O_TRUNC
            f.write("vfio-pci")
        assert host.read(f"{DEV}/0000:01:00.0/driver_override") == "vfio-pci\n"


def test_statfs_is_fuse():
    with FakeHost("lab-like") as host:
        out = subprocess.run(["stat", "-f", "-c", "%t", host.path("sys")], capture_output=True,
                             text=True, check=True)
        assert out.stdout == "65735546\n"


def test_end_of_standard_input_is_the_end():
    host = FakeHost("lab-like")
    with host:
        root = host.root
        host.process.stdin.close()
        assert host.process.wait(5) == 0
        assert not os.path.ismount(root)
        host.process.stdin = open(os.devnull)


def test_plain_tree(tmp_path):
    write_tree("lab-like", tmp_path / "t")
    dev = tmp_path / "t" / DEV / "0000:01:00.0"
    assert (dev / "vendor").read_text() == "0x1002\n"
    assert (dev / "driver").resolve().name == "radeon"
    assert stat.S_IMODE((dev / "vendor").stat().st_mode) == 0o444
    with FakeHost("lab-like") as host:
        for base, dirs, files in os.walk(tmp_path / "t"):
            for name in files:
                path = os.path.relpath(os.path.join(base, name), tmp_path / "t")
                assert os.path.lexists(host.path(path)), path


def test_many_cards():
    with FakeHost(many_machine(64)) as host:
        assert len(os.listdir(host.path(DEV))) == 64 * 3
        assert host.driver("0000:40:00.1") == "snd_hda_intel"


RECORD = r"""P: /devices/pci0000:00/0000:00:03.0
E: DRIVER=pcieport
E: PCI_CLASS=60400
E: ID_VENDOR_FROM_DATABASE=Intel
E: SUBSYSTEM=pci
A: class=0x060400\n
A: label=tab\there \"and\" \\ \303\244
H: config=8680082F
L: driver=../../../bus/pci/drivers/pcieport
L: iommu_group=../../../kernel/iommu_groups/7

P: /devices/virtual/vtconsole/vtcon0
E: SUBSYSTEM=vtconsole
A: bind=1\n
"""


def test_records_become_trees(tmp_path):
    record = tmp_path / "r.umockdev"
    record.write_text(RECORD)
    for options in ([], ["--complete"]):
        tree = tmp_path / f"t{len(options)}"
        subprocess.run([sys.executable, HERE / "um2tree.py", *options, record, tree], check=True,
                       stdout=subprocess.DEVNULL)
        dev = tree / DEV / "0000:00:03.0"
        assert (dev / "class").read_bytes() == b"0x060400\n"
        assert (dev / "label").read_bytes() == b'tab\there "and" \\ \xc3\xa4'
        assert (dev / "config").read_bytes() == b"\x86\x80\x08\x2f"
        assert (dev / "uevent").read_text() == "DRIVER=pcieport\nPCI_CLASS=60400\n"
        assert (tree / "sys/class/vtconsole/vtcon0/bind").read_text() == "1\n"
        assert os.path.basename(os.readlink(dev / "driver")) == "pcieport"
        assert (dev / "driver").exists() == bool(options)
    assert (tree / "sys/kernel/iommu_groups/7/devices/0000:00:03.0").exists()


def test_the_a2_server_is_like_its_record(tmp_path):
    """The description against the record of the real machine, file by file."""
    fixtures = os.environ.get("HORCRUX_FIXTURES")
    if not fixtures:
        assert "CI" not in os.environ, "HORCRUX_FIXTURES is not set"
        pytest.skip("HORCRUX_FIXTURES is not set: the records of real machines are not there")
    with open(os.path.join(fixtures, "vgpu-node.umockdev"), errors="surrogateescape") as f:
        blocks = [b for b in f.read().split("\n\n") if "0000:08:" in b.split("\n")[0]]
    record = tmp_path / "card.umockdev"
    record.write_text("\n\n".join(blocks), errors="surrogateescape")
    unpacker = um2tree.Unpacker(tmp_path / "real")
    unpacker.file(record)
    write_tree("f01-a2-server", tmp_path / "made")
    names = ["class", "current_link_speed", "current_link_width", "d3cold_allowed", "device",
             "driver_override", "local_cpulist", "local_cpus", "max_link_speed", "max_link_width",
             "modalias", "numa_node", "power_state", "reset_method", "resource", "revision",
             "subsystem_device", "subsystem_vendor", "vendor", "sriov_totalvfs", "sriov_numvfs",
             "sriov_offset", "sriov_stride", "sriov_vf_device", "sriov_drivers_autoprobe"]
    links = ["driver", "iommu_group", "physfn"] + [f"virtfn{i}" for i in range(16)]
    functions = sorted(os.listdir(tmp_path / "made" / DEV))
    for a in [f for f in functions if f.startswith("0000:08")]:
        real, made = tmp_path / "real" / DEV / a, tmp_path / "made" / DEV / a
        for name in names:
            assert (made / name).exists() == (real / name).exists(), f"{a}/{name}"
            if (real / name).exists():
                assert (made / name).read_text() == (real / name).read_text(), f"{a}/{name}"
        for name in links:
            assert os.path.lexists(made / name) == os.path.lexists(real / name), f"{a}/{name}"
            if os.path.lexists(real / name):
                assert os.readlink(made / name) == os.readlink(real / name), f"{a}/{name}"
    mdevs = sorted(os.listdir(tmp_path / "real/sys/bus/mdev/devices"))
    assert mdevs == sorted(os.listdir(tmp_path / "made/sys/bus/mdev/devices"))
    for m in mdevs:
        for name in ("driver", "iommu_group", "mdev_type"):
            paths = [tmp_path / t / "sys/bus/mdev/devices" / m / name for t in ("real", "made")]
            assert os.readlink(paths[0]) == os.readlink(paths[1]), f"{m}/{name}"
