# SPDX-License-Identifier: Apache-2.0
"""The fake kernel itself: formats, errnos, uevents, knobs."""

import errno
import os
import time

import pytest

from fakehost import FakeHost, FakeHostError

GPU, AUDIO = "0000:01:00.0", "0000:01:00.1"
DEV = "sys/bus/pci/devices"
DRV = "sys/bus/pci/drivers"


@pytest.fixture
def lab():
    with FakeHost("lab-like") as host:
        yield host


def fails(host, code, name, value):
    with pytest.raises(OSError) as e:
        host.write(name, value)
    assert errno.errorcode[e.value.errno] == errno.errorcode[code]


def bind_vfio(host, *addresses):
    for a in reversed(addresses):
        host.write(f"{DEV}/{a}/driver_override", "vfio-pci")
        if host.driver(a):
            host.write(f"{DEV}/{a}/driver/unbind", a)
    for a in addresses:
        host.write(f"{DRV}/vfio-pci/bind", a)


def test_formats(lab):
    d = f"{DEV}/{GPU}"
    assert lab.read(f"{d}/vendor") == "0x1002\n"
    assert lab.read(f"{d}/class") == "0x030000\n"
    assert lab.read(f"{d}/driver_override") == "(null)\n"
    assert lab.read(f"{d}/resource").count("\n") == 13
    assert lab.read(f"{DEV}/0000:00:04.0/resource").count("\n") == 17
    assert all(len(line) == 56 for line in lab.read(f"{d}/resource").splitlines())
    assert lab.read(f"{d}/modalias").startswith("pci:v00001002d00005159sv00001AF4sd00001100bc03")
    assert lab.read(f"{d}/reset_method") == "pm bus\n"
    assert lab.read(f"{d}/boot_vga") == "0\n"
    assert not os.path.exists(lab.device(AUDIO, "boot_vga"))
    assert os.readlink(lab.path(f"{DEV}/{GPU}")) == \
        "../../../devices/pci0000:00/0000:00:04.0/0000:01:00.0"
    assert os.readlink(lab.device(GPU, "iommu_group")) == \
        "../../../../kernel/iommu_groups/5"


def test_bind_and_release(lab):
    lab.uevents()
    bind_vfio(lab, GPU, AUDIO)
    assert lab.driver(GPU) == lab.driver(AUDIO) == "vfio-pci"
    assert lab.read("dev/vfio/5") == "viable\n"
    assert not os.path.exists(lab.path("dev/dri/card1"))
    for a in (AUDIO, GPU):
        lab.write(f"{DRV}/vfio-pci/unbind", a)
        lab.write(f"{DEV}/{a}/driver_override", "\n")
    assert not os.path.exists(lab.path("dev/vfio/5"))
    for a in (GPU, AUDIO):
        lab.write("sys/bus/pci/drivers_probe", a)
    assert (lab.driver(GPU), lab.driver(AUDIO)) == ("radeon", "snd_hda_intel")
    assert os.path.exists(lab.path("dev/dri/card1"))


def test_group_is_viable_only_when_all_agree(lab):
    bind_vfio(lab, GPU)
    assert lab.read("dev/vfio/5") == "not viable\n"
    lab.write(f"{DRV}/snd_hda_intel/unbind", AUDIO)
    assert lab.read("dev/vfio/5") == "viable\n"


def test_uevents(lab):
    lab.uevents()
    lab.write(f"{DRV}/snd_hda_intel/unbind", AUDIO)
    lab.write(f"{DRV}/snd_hda_intel/bind", AUDIO)
    events = lab.uevents(0.1)
    pci = [e for e in events if e.env["SUBSYSTEM"] == "pci"]
    assert [e.action for e in pci] == ["unbind", "bind"]
    path = "/devices/pci0000:00/0000:00:04.0/0000:01:00.1"
    assert pci[1].devpath == path
    assert list(pci[1].env) == ["ACTION", "DEVPATH", "SUBSYSTEM", "DRIVER", "PCI_CLASS", "PCI_ID",
                                "PCI_SUBSYS_ID", "PCI_SLOT_NAME", "MODALIAS", "SEQNUM"]
    assert "DRIVER" not in pci[0].env
    assert pci[1].env["PCI_CLASS"] == "40300"
    numbers = [int(e.env["SEQNUM"]) for e in events]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert [e.action for e in events if e.env["SUBSYSTEM"] == "sound"].count("remove") == 4


def test_uevents_are_lost_when_muted_full_or_unheard(lab):
    lab.knob("mute")
    lab.write(f"{DRV}/snd_hda_intel/unbind", AUDIO)
    lab.knob("unmute")
    assert lab.uevents(0.1) == []
    lost = lab.uevent_counts()["dropped"]
    assert lost > 0
    for _ in range(400):        # more than a socket's queue holds, and nobody reads
        lab.write(f"{DEV}/{GPU}/uevent", "change")
    assert lab.wait_for(lambda: lab.uevent_counts()["dropped"] > lost, 10)
    assert lab.uevents(0.1)
    lab.socket.close()
    os.unlink(lab.uevent_path)
    lab.write(f"{DEV}/{GPU}/uevent", "change")
    lab.listen()


def test_errnos_of_the_driver_core(lab):
    fails(lab, errno.ENODEV, f"{DRV}/vfio-pci/bind", GPU)
    fails(lab, errno.ENODEV, f"{DRV}/vfio-pci/unbind", GPU)
    fails(lab, errno.ENODEV, f"{DRV}/radeon/bind", "0000:99:00.0")
    fails(lab, errno.ENODEV, "sys/bus/pci/drivers_probe", "nonsense")
    lab.write(f"{DEV}/{GPU}/driver_override", "vfio-pci")
    fails(lab, errno.EBUSY, f"{DRV}/vfio-pci/bind", GPU)
    fails(lab, errno.ENODEV, f"{DRV}/radeon/bind", GPU)
    lab.write(f"{DEV}/0000:00:04.0/driver_override", "vfio-pci")
    lab.write(f"{DRV}/pcieport/unbind", "0000:00:04.0")
    fails(lab, errno.EINVAL, f"{DRV}/vfio-pci/bind", "0000:00:04.0")
    fails(lab, errno.EINVAL, f"{DEV}/{GPU}/reset", "2")
    fails(lab, errno.EINVAL, f"{DEV}/{GPU}/power/control", "off")
    fails(lab, errno.EINVAL, f"{DEV}/{GPU}/reset_method", "flr")
    fails(lab, errno.EBUSY, f"{DEV}/{GPU}/enable", "1")
    fails(lab, errno.EEXIST, f"{DRV}/radeon/new_id", "1002 5159")
    with pytest.raises(PermissionError):
        open(lab.path(f"{DRV}/radeon/unbind"), "rb")


def test_override_excludes_and_clears(lab):
    d = f"{DEV}/{AUDIO}"
    lab.write(f"{d}/driver_override", "none\n")
    assert lab.read(f"{d}/driver_override") == "none\n"
    assert lab.driver(AUDIO) == "snd_hda_intel"
    lab.write(f"{DRV}/snd_hda_intel/unbind", AUDIO)
    lab.write("sys/bus/pci/drivers_probe", AUDIO)
    assert lab.driver(AUDIO) is None
    lab.write(f"{d}/driver_override", "\n")
    assert lab.read(f"{d}/driver_override") == "(null)\n"
    lab.write("sys/bus/pci/drivers_probe", AUDIO)
    assert lab.driver(AUDIO) == "snd_hda_intel"


def test_an_open_group_blocks_unbind_and_host_drivers(lab):
    bind_vfio(lab, GPU, AUDIO)
    user = os.open(lab.path("dev/vfio/5"), os.O_RDWR)
    try:
        with pytest.raises(OSError) as e:
            os.open(lab.path("dev/vfio/5"), os.O_RDWR)
        assert e.value.errno == errno.EBUSY
        assert lab.read("dev/vfio/5") == "viable\n"
        writer = lab.start_write(f"{DRV}/vfio-pci/unbind", GPU)
        assert lab.wait_for(lambda: lab.driver(GPU) is None)
        time.sleep(0.2)
        assert writer.poll() is None
        assert lab.write_log()[-1].result == "pending"
        assert lab.read(f"{DEV}/{GPU}/vendor") == "0x1002\n"
    finally:
        os.close(user)
    assert writer.communicate(timeout=5)[0] == b"OK\n"


def test_a_host_driver_is_refused_while_the_group_is_owned(lab):
    bind_vfio(lab, GPU, AUDIO)
    lab.write(f"{DRV}/vfio-pci/unbind", AUDIO)
    lab.write(f"{DEV}/{AUDIO}/driver_override", "\n")
    lab.event("domain guest pid=4000 card=0000:01:00.0")
    fails(lab, errno.EBUSY, f"{DRV}/snd_hda_intel/bind", AUDIO)
    lab.event("kill 4000")
    lab.write(f"{DRV}/snd_hda_intel/bind", AUDIO)


def test_write_log(lab):
    lab.clear_write_log()
    lab.write(f"{DEV}/{GPU}/driver_override", "vfio-pci\n")
    fails(lab, errno.ENODEV, f"{DRV}/vfio-pci/unbind", GPU)
    rows = [tuple(w) for w in lab.write_log()]
    assert rows == [
        (1, f"/{DEV}/{GPU}/driver_override", "vfio-pci\\n", "OK"),
        (2, f"/{DRV}/vfio-pci/unbind", GPU, "ENODEV"),
    ]


def test_reads_are_counted(lab):
    lab.clear_reads()
    lab.read(f"{DEV}/{GPU}/vendor")
    lab.read(f"{DEV}/{GPU}/vendor")
    counts = lab.reads()
    assert counts[f"/{DEV}/{GPU}/vendor"] == (2, 2)
    assert f"/{DEV}/{GPU}/device" not in counts


def test_fail_nth(lab):
    lab.knob(f"fail nth=2 errno=ENOSPC path=/{DEV}/{GPU}/driver_override")
    lab.write(f"{DEV}/{GPU}/driver_override", "a")
    fails(lab, errno.ENOSPC, f"{DEV}/{GPU}/driver_override", "b")
    lab.write(f"{DEV}/{GPU}/driver_override", "c")
    assert lab.read(f"{DEV}/{GPU}/driver_override") == "c\n"


def test_block_blocks_nobody_else(lab):
    lab.knob("block path=*/unbind")
    writers = [lab.start_write(f"{DRV}/radeon/unbind", GPU) for _ in range(20)]
    assert lab.wait_for(lambda: len(lab.write_log()) == 20)
    lab.write(f"{DEV}/{AUDIO}/driver_override", "x")
    assert all(w.poll() is None for w in writers)
    lab.knob("clear")
    results = sorted(w.communicate(timeout=10)[0] for w in writers)
    assert results.count(b"OK\n") == 1


def test_closing_under_a_blocked_writer():
    with FakeHost("lab-like", knobs=["block path=*/unbind"]) as host:
        root = host.root
        writer = host.start_write(f"{DRV}/radeon/unbind", GPU)
        assert host.wait_for(lambda: host.write_log())
    assert writer.communicate(timeout=5)[0] != b"OK\n"
    assert not os.path.exists(root)


def test_ignore_lose_ff_hide(lab):
    lab.knob("ignore path=*/driver_override")
    lab.write(f"{DEV}/{GPU}/driver_override", "vfio-pci")
    assert lab.read(f"{DEV}/{GPU}/driver_override") == "(null)\n"
    lab.knob("clear")
    lab.knob(f"ff {GPU}")
    with open(lab.device(GPU, "config"), "rb") as f:
        assert set(f.read(64)) == {0xff}
    lab.knob("hide path=/proc/interrupts")
    assert not os.path.exists(lab.path("proc/interrupts"))
    lab.knob(f"lose {GPU} at=2")
    lab.write(f"{DEV}/{GPU}/driver_override", "vfio-pci")
    fails(lab, errno.ENODEV, f"{DEV}/{GPU}/driver/unbind", GPU)
    assert not os.path.exists(lab.device(GPU))


def test_delay(lab):
    lab.knob("delay ms=300 path=*/driver_override")
    start = time.monotonic()
    lab.write(f"{DEV}/{GPU}/driver_override", "a")
    assert time.monotonic() - start >= 0.3


def test_nonsense_is_refused(lab):
    for line in ("explode", "fail", "fail path=x nth=y", "lose 0000:77:00.0"):
        with pytest.raises(FakeHostError):
            lab.knob(line)
    with pytest.raises(FakeHostError, match="no process"):
        lab.event("kill 12345")
    with pytest.raises(FakeHostError, match="machine:3: .*bogus"):
        with FakeHost("machine x\nkernel 6.1\nbogus line\n"):
            pass
