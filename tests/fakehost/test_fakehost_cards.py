# SPDX-License-Identifier: Apache-2.0
"""The fake kernel's cards that can be cut, moved, lost, woken: SR-IOV, mdev, nvidia, hotplug."""

import errno
import os
import time

import pytest

from fakehost import FakeHost, machine_text
from test_fakehost import DEV, DRV, bind_vfio, fails

A2 = "0000:08:00.0"
UUID = "11111111-2222-4333-8444-555555555555"


def virtfns(host, pf):
    return sorted(n for n in os.listdir(host.device(pf)) if n.startswith("virtfn"))


# ---- SR-IOV ----

def test_sriov_formats():
    with FakeHost("f01-a2-server") as host:
        d = f"{DEV}/{A2}"
        assert host.read(f"{d}/sriov_totalvfs") == "16\n"
        assert host.read(f"{d}/sriov_numvfs") == "16\n"
        assert host.read(f"{d}/sriov_vf_device") == "25b6\n"
        assert os.readlink(host.device(A2, "virtfn10")) == "../0000:08:01.6"
        vf = f"{DEV}/0000:08:02.3"
        assert host.read(f"{vf}/subsystem_device") == "0x0000\n"
        assert host.read(f"{vf}/current_link_speed") == "Unknown\n"
        assert host.read(f"{vf}/d3cold_allowed") == "0\n"
        assert os.readlink(host.device("0000:08:02.3", "physfn")) == "../0000:08:00.0"
        assert os.readlink(host.device("0000:08:02.3", "iommu_group")).endswith("/105")
        resource = host.read(f"{d}/resource").splitlines()
        assert resource[1] == "0x0000039000000000 0x00000393ffffffff 0x000000000014220c"
        assert resource[8] == "0x0000039400000000 0x0000039bffffffff 0x000000000014220c"


def test_sriov_errnos():
    with FakeHost("f13-intel-sriov") as host:
        n = f"{DEV}/0000:00:02.0/sriov_numvfs"
        fails(host, errno.EINVAL, n, "many")
        fails(host, errno.ERANGE, n, "8")
        host.write(n, "0")
        host.write(f"{DEV}/0000:00:02.0/sriov_drivers_autoprobe", "0")
        host.uevents()
        host.write(n, "3")
        assert virtfns(host, "0000:00:02.0") == ["virtfn0", "virtfn1", "virtfn2"]
        assert host.driver("0000:00:02.1") is None
        actions = [e.action for e in host.uevents(0.1) if e.devpath.endswith("00:02.1")]
        assert actions == ["add", "change"]
        host.write(n, "3")
        fails(host, errno.EBUSY, n, "4")
        bind_vfio(host, "0000:00:02.1")
        host.write(n, "0")
        assert virtfns(host, "0000:00:02.0") == []
        assert not os.path.exists(host.device("0000:00:02.1"))
        assert not os.path.exists(host.path("dev/vfio/1"))


def test_sriov_without_driver_support_or_room():
    with FakeHost("f10-s7150") as host:
        fails(host, errno.ENOENT, f"{DEV}/0000:0c:00.0/sriov_numvfs", "4")
    text = machine_text("f13-intel-sriov").replace("total=7", "total=7 no-mmio")
    with FakeHost(text) as host:
        fails(host, errno.ENOMEM, f"{DEV}/0000:00:02.0/sriov_numvfs", "4")
    text = machine_text("f13-intel-sriov").replace("total=7", "total=7 limit=2")
    with FakeHost(text) as host:
        host.write(f"{DEV}/0000:00:02.0/sriov_numvfs", "4")
        assert host.read(f"{DEV}/0000:00:02.0/sriov_numvfs") == "2\n"


def test_a_pf_with_vfs_is_not_for_vfio():
    with FakeHost("refusals") as host:
        pf = "0000:05:00.0"
        host.write(f"{DEV}/{pf}/driver_override", "vfio-pci")
        host.write(f"{DRV}/xe/unbind", pf)
        assert virtfns(host, pf) == []      # xe takes its VFs along
        host.write(f"{DRV}/vfio-pci/bind", pf)
        fails(host, errno.ENOENT, f"{DEV}/{pf}/sriov_numvfs", "1")
        host.event("set /sys/module/vfio_pci/parameters/enable_sriov Y")
        host.write(f"{DEV}/{pf}/sriov_numvfs", "1")
        assert virtfns(host, pf) == ["virtfn0"]
    with FakeHost("f10-s7150") as host:
        host.write(f"{DEV}/0000:0c:00.0/driver_override", "vfio-pci")
        host.write(f"{DRV}/gim/unbind", "0000:0c:00.0")
        fails(host, errno.EBUSY, f"{DRV}/vfio-pci/bind", "0000:0c:00.0")


def test_numvfs_hangs_behind_a_stuck_unbind_but_links_do_not():
    with FakeHost("f01-a2-server") as host:
        host.start_write(f"{DRV}/nvidia/unbind", A2)
        assert host.wait_for(lambda: host.driver(A2) is None)
        reader = host.start_write(f"{DEV}/{A2}/sriov_numvfs", "16")
        time.sleep(0.2)
        assert reader.poll() is None
        assert host.read(f"{DEV}/{A2}/class") == "0x030200\n"
        os.listdir(host.device(A2))


# ---- mediated devices ----

def test_mdev_of_nvidia():
    with FakeHost("f01-a2-server") as host:
        types = f"{DEV}/0000:08:01.0/mdev_supported_types"
        assert not os.path.exists(host.device(A2, "mdev_supported_types"))
        assert os.path.exists(host.path("sys/class/mdev_bus/0000:08:01.0"))
        t = f"{types}/nvidia-746"
        assert host.read(f"{t}/name") == "NVIDIA A2-4Q\n"
        assert host.read(f"{t}/device_api") == "vfio-pci\n"
        assert host.read(f"{t}/description") == "num_heads=4, frl_config=60, framebuffer=4096M, " \
            "max_resolution=7680x4320, max_instance=4\n"
        assert host.read(f"{t}/available_instances") == "1\n"
        assert host.read(f"{types}/nvidia-744/available_instances") == "0\n"
        fails(host, errno.EINVAL, f"{t}/create", "not-a-uuid")
        fails(host, errno.EEXIST, f"{t}/create", "f715f63c-0d00-4007-9c5a-b07b0c6c05de")
        fails(host, errno.EIO, f"{types}/nvidia-744/create", UUID)
        host.write(f"{t}/create", UUID)
        m = f"sys/bus/mdev/devices/{UUID}"
        assert os.readlink(host.path(f"{m}/mdev_type")) == "../mdev_supported_types/nvidia-746"
        group = os.path.basename(os.readlink(host.path(f"{m}/iommu_group")))
        assert host.read(f"sys/kernel/iommu_groups/{group}/name") == "vfio-noiommu\n"
        assert host.read(f"dev/vfio/{group}") == "viable\n"
        assert host.read(f"{t}/available_instances") == "0\n"
        host.knob("shrink 0000:08:00.0 type=746 to=0")
        assert host.read(f"{DEV}/0000:08:01.1/mdev_supported_types/nvidia-746/"
                         "available_instances") == "0\n"
        host.write(f"{m}/remove", "1")
        assert not os.path.exists(host.path(m))
        assert not os.path.exists(host.path(f"dev/vfio/{group}"))


def test_mdev_remove_waits_for_its_user():
    with FakeHost("f01-a2-server") as host:
        host.event("process 5000 qemu-system-x86 fd=/dev/vfio/vfio,/dev/vfio/106")
        uuid = "f715f63c-0d00-4007-9c5a-b07b0c6c05de"
        writer = host.start_write(f"sys/bus/mdev/devices/{uuid}/remove", "1")
        time.sleep(0.2)
        assert writer.poll() is None
        fails(host, errno.EAGAIN, f"sys/bus/mdev/devices/{uuid}/remove", "1")
        host.event("close 5000 /dev/vfio/106")
        assert writer.communicate(timeout=5)[0] == b"OK\n"


def test_gvtg_shares_the_aperture():
    with FakeHost("f14-gvtg") as host:
        types = f"{DEV}/0000:00:02.0/mdev_supported_types"

        def left():
            return [int(host.read(f"{types}/i915-GVTg_V5_{n}/available_instances"))
                    for n in (8, 4, 2, 1)]
        assert left() == [2, 1, 0, 0]
        assert host.read(f"{types}/i915-GVTg_V5_4/name") == "GVTg_V5_4\n"
        assert host.read(f"{types}/i915-GVTg_V5_4/description") == \
            "low_gm_size: 128MB\nhigh_gm_size: 512MB\nfence: 4\nresolution: 1920x1200\nweight: 4\n"
        host.write(f"{types}/i915-GVTg_V5_8/create", UUID)
        assert left() == [1, 0, 0, 0]
        fails(host, errno.ENOSPC, f"{types}/i915-GVTg_V5_4/create", UUID.replace("1", "2"))


def test_vendor_specific_vfs():
    with FakeHost("f19-l40s-vendor-vf") as host:
        d = f"{DEV}/0000:41:00.5/nvidia"
        assert not os.path.exists(host.path("sys/class/mdev_bus"))
        rows = host.read(f"{d}/creatable_vgpu_types").splitlines()
        assert rows == ["ID    : vGPU Name", "1152  : NVIDIA L40S-8Q"]
        assert host.read(f"{DEV}/0000:41:00.4/nvidia/current_vgpu_type") == "1152\n"
        fails(host, errno.EINVAL, f"{d}/current_vgpu_type", "1145")
        host.write(f"{d}/current_vgpu_type", "1152")
        assert host.read(f"{d}/creatable_vgpu_types") == "ID    : vGPU Name\n"
        assert os.path.isdir(host.device("0000:41:00.5", "vfio-dev"))
        group = os.path.basename(os.readlink(host.device("0000:41:00.5", "iommu_group")))
        assert host.read(f"dev/vfio/{group}") == "viable\n"
        host.event(f"process 7000 qemu-system-x86 fd=/dev/vfio/{group}")
        fails(host, errno.EPERM, f"{d}/current_vgpu_type", "0")
        host.event("kill 7000")
        host.write(f"{d}/current_vgpu_type", "0")
        assert not os.path.exists(host.path(f"dev/vfio/{group}"))
        host.write(f"{DEV}/0000:41:00.5/driver_override", "vfio-pci")
        host.write(f"{DRV}/nvidia/unbind", "0000:41:00.5")
        fails(host, errno.EINVAL, f"{DRV}/vfio-pci/bind", "0000:41:00.5")


# ---- nvidia ----

def test_unbind_lock():
    with FakeHost("refusals") as host:
        lock = "proc/driver/nvidia/gpus/0000:01:00.0/unbindLock"
        host.write(lock, "1\n")
        assert host.read(lock) == "0\n"
        host.event("kill 1300")
        host.write(lock, "1\n")
        assert host.read(lock) == "1\n"
        with pytest.raises(Exception, match="EPERM|not permitted"):
            host.event("open 1 /dev/nvidia0")
        host.write(lock, "0")
        host.event("open 1 /dev/nvidia0")
        kernel = "proc/driver/nvidia/gpus/0000:08:00.0/unbindLock"
        host.write(kernel, "1")
        assert host.read(kernel) == "0\n"


def test_nvidia_in_use_never_lets_go():
    with FakeHost("refusals") as host:
        writer = host.start_write(f"{DRV}/nvidia/unbind", "0000:01:00.0")
        assert host.wait_for(lambda: host.driver("0000:01:00.0") is None)
        host.event("kill 1300")
        time.sleep(0.2)
        assert writer.poll() is None
        fast = host.start_write(f"{DRV}/nvidia/unbind", "0000:06:00.0")
        assert fast.communicate(timeout=5)[0] == b"OK\n"
        host.knob("release")
        assert writer.communicate(timeout=5)[0] == b"OK\n"


# ---- coming and going ----

def test_remove_and_rescan():
    with FakeHost("lab-like") as host:
        host.write(f"{DEV}/0000:01:00.0/driver_override", "vfio-pci")
        host.uevents()
        host.write(f"{DEV}/0000:00:04.0/remove", "1")
        gone = [e.devpath.rsplit("/", 1)[1] for e in host.uevents(0.1)
                if e.action == "remove" and e.env["SUBSYSTEM"] == "pci"]
        assert gone == ["0000:01:00.0", "0000:01:00.1", "0000:00:04.0"]
        assert not os.path.exists(host.device("0000:01:00.0"))
        assert not os.path.exists(host.path("sys/kernel/iommu_groups/5"))
        host.write("sys/bus/pci/rescan", "1")
        assert host.driver("0000:01:00.0") == "radeon"
        assert host.read(f"{DEV}/0000:01:00.0/driver_override") == "(null)\n"


def test_an_open_file_of_a_removed_device_is_dead():
    with FakeHost("lab-like") as host, open(host.device("0000:01:00.0", "vendor"), "rb") as f:
        host.event("remove 0000:01:00.0")
        with pytest.raises(OSError) as e:
            f.read()
        assert e.value.errno == errno.ENODEV
        host.event("add 0000:01:00.0")
        assert host.driver("0000:01:00.0") == "radeon"


def test_a_new_card_and_a_foreign_hand():
    with FakeHost("lab-like") as host:
        host.event("pci 0000:05:00.0 1002:5159 0300 driver=radeon group=40 reset=bus bar0=16M")
        assert host.driver("0000:05:00.0") == "radeon"
        host.event("bind 0000:05:00.0 vfio-pci")
        assert host.driver("0000:05:00.0") == "vfio-pci"
        assert host.read(f"{DEV}/0000:05:00.0/driver_override") == "vfio-pci\n"
        assert host.write_log() == []
        host.event("unbind 0000:05:00.0")
        assert host.driver("0000:05:00.0") is None


def test_probe_errors():
    with FakeHost("lab-like", knobs=["probe 0000:01:00.0 driver=vfio-pci errno=ENOMEM"]) as host:
        host.write(f"{DEV}/0000:01:00.0/driver_override", "vfio-pci")
        host.write(f"{DRV}/radeon/unbind", "0000:01:00.0")
        fails(host, errno.ENOMEM, f"{DRV}/vfio-pci/bind", "0000:01:00.0")
        host.write("sys/bus/pci/drivers_probe", "0000:01:00.0")
        assert host.driver("0000:01:00.0") is None
    with FakeHost("f08b-pi-no-group") as host:
        host.write(f"{DEV}/0001:01:00.0/driver_override", "vfio-pci")
        host.write(f"{DRV}/nouveau/unbind", "0001:01:00.0")
        fails(host, errno.EINVAL, f"{DRV}/vfio-pci/bind", "0001:01:00.0")


def test_new_id_takes_every_equal_card():
    with FakeHost("identical-twins") as host:
        for a in ("0000:01:00.0", "0000:02:00.0"):
            host.write(f"{DRV}/nouveau/unbind", a)
        host.write(f"{DRV}/vfio-pci/new_id", "10de 2204")
        assert host.driver("0000:01:00.0") == host.driver("0000:02:00.0") == "vfio-pci"
        fails(host, errno.EEXIST, f"{DRV}/vfio-pci/new_id", "10de 2204")
        host.write(f"{DRV}/vfio-pci/remove_id", "10de 2204")
        fails(host, errno.ENODEV, f"{DRV}/vfio-pci/remove_id", "10de 2204")


def test_modules():
    with FakeHost("no-vfio") as host:
        assert not os.path.exists(host.path(f"{DRV}/vfio-pci"))
        assert not os.path.exists(host.path("sys/module/vfio_pci"))
        assert not os.path.exists(host.path("dev/vfio"))
        host.event("module load vfio-pci")
        assert host.read("sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts") == "N\n"
        bind_vfio(host, "0000:01:00.0", "0000:01:00.1")
        assert host.read("dev/vfio/2") == "viable\n"
        host.event("module unload vfio-pci")
        assert host.driver("0000:01:00.0") is None
        assert not os.path.exists(host.path("dev/vfio/2"))


def test_the_firmwares_framebuffer_leaves_for_vfio():
    with FakeHost("no-vfio") as host:
        assert host.read("proc/fb") == "0 EFI VGA\n"
        assert " : efifb\n" in host.read("proc/iomem")
        host.event("module load vfio-pci")
        bind_vfio(host, "0000:01:00.0", "0000:01:00.1")
        assert host.read("proc/fb") == ""
        assert "efifb" not in host.read("proc/iomem")
    with FakeHost("refusals") as host:      # class 0380: it stays
        bind_vfio(host, "0000:04:00.0")
        assert " : simpledrm\n" in host.read("proc/iomem")


# ---- power, reset, ROM ----

def test_sleep_and_what_wakes():
    with FakeHost("refusals") as host:
        d = f"{DEV}/0000:06:00.0"
        for name in ("power_state", "power/runtime_status", "vendor", "resource", "max_link_speed"):
            host.read(f"{d}/{name}")
        assert host.read(f"{d}/power_state") == "D3cold\n"
        assert host.wakes() == []
        host.read(f"{d}/current_link_speed")
        assert host.wakes() == ["0000:06:00.0"]
        assert host.read(f"{d}/power_state") == "D0\n"
        bind_vfio(host, "0000:06:00.0")
        assert host.read(f"{d}/power/runtime_status") == "suspended\n"
        host.write(f"{d}/power/control", "on")
        assert host.read(f"{d}/power_state") == "D0\n"


def test_reset_and_ff():
    with FakeHost("lab-like") as host:
        d = f"{DEV}/0000:01:00.0"
        host.write(f"{d}/reset_method", "bus")
        assert host.read(f"{d}/reset_method") == "bus\n"
        host.write(f"{d}/reset_method", "default")
        assert host.read(f"{d}/reset_method") == "pm bus\n"
        host.knob("ff 0000:01:00.0 after-reset")
        with open(host.path(f"{d}/config"), "rb", buffering=0) as f:
            assert f.read(4) == b"\x02\x10\x59\x51"
            host.write(f"{d}/reset", "1")
            f.seek(0)
            assert f.read(4) == b"\xff" * 4
        host.write(f"{d}/reset_method", "\n")
        fails(host, errno.ENOTTY, f"{d}/reset", "1")
        assert not os.path.exists(host.device("0000:00:01.0", "reset"))


def test_option_rom():
    with FakeHost("lab-like") as host:
        rom = f"{DEV}/0000:01:00.0/rom"
        with pytest.raises(OSError) as e:
            host.read(rom)
        assert e.value.errno == errno.EINVAL
        host.write(rom, "1")
        data = host.read(rom).encode(errors="surrogateescape")
        assert data[:2] == b"\x55\xaa" and data[0x1c:0x20] == b"PCIR"
        assert data[0x20:0x24] == b"\x02\x10\x59\x51"
        assert sum(data) % 256 == 0 and len(data) == data[2] * 512
        host.write(rom, "0\n")


def test_old_kernels_lock_the_override():
    text = machine_text("f05-not-viable")
    with FakeHost(text) as host:
        host.event("domain guest pid=4000 card=0000:01:00.0")
        host.start_write(f"{DRV}/vfio-pci/unbind", "0000:01:00.0")
        assert host.wait_for(lambda: host.driver("0000:01:00.0") is None)
        writer = host.start_write(f"{DEV}/0000:01:00.0/driver_override", "x")
        time.sleep(0.2)
        assert writer.poll() is None
    with FakeHost(text.replace("kernel  5.4.0-42-generic", "kernel 6.12.1")) as host:
        host.event("domain guest pid=4000 card=0000:01:00.0")
        host.start_write(f"{DRV}/vfio-pci/unbind", "0000:01:00.0")
        assert host.wait_for(lambda: host.driver("0000:01:00.0") is None)
        host.write(f"{DEV}/0000:01:00.0/driver_override", "x")
