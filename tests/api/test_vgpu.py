# SPDX-License-Identifier: Apache-2.0
"""Shared cards, on the machines of each kernel interface: what is offered, what is there, what is read for it."""
import contextlib
import os

import golden
import pytest
from daemon import Daemon
from fakehost import FakeHost, machine_text

A2, GVTG, L40S, S7150 = "0000:08:00.0", "0000:00:02.0", "0000:41:00.0", "0000:0c:00.0"


@contextlib.contextmanager
def running(tmp_path, machine):
    with FakeHost(machine, uevents=False) as host:
        os.symlink(tmp_path / "state" / "uevent.sock", host.uevent_path)
        with Daemon(tmp_path, host.root) as d:
            assert d.wait_for(lambda: d.get("/api/health").json()["ready"], 8)
            d.host = host
            yield d


def devices(d):
    """When the drivers were asked."""
    def all_known():
        cards = d.get("/api/vgpu/devices").json()
        return all("asked yet" not in why for card in cards for why in card["unknown"].values())
    assert d.wait_for(all_known, 8)
    return d.get("/api/vgpu/devices").json()


def profiles(card):
    return {p["name"]: p for p in card["available_profiles"]}


def instances(d):
    return d.get("/api/vgpu/instances").json()


@pytest.mark.parametrize("machine, name", [
    ("f01-a2-server", "mdev-per-vf"), ("f14-gvtg", "mdev"), ("f19-l40s-vendor-vf", "vendor-vf"), ("f10-s7150", "sriov"),
])
def test_golden(tmp_path, machine, name):
    with running(tmp_path, machine) as d:
        devices(d)
        for what in ("devices", "profiles", "instances"):
            golden.check(f"vgpu-{name}-{what}", d.get(f"/api/vgpu/{what}").body)


def test_the_list_is_as_in_the_guide(tmp_path):
    with running(tmp_path, "f01-a2-server") as d:
        [card] = devices(d)
        assert list(card)[:5] == ["pci_id", "vendor", "device_name", "vgpu_type", "available_profiles"]
        assert (card["pci_id"], card["vendor"], card["vgpu_type"]) == (A2, "NVIDIA", "nvidia")
        p = profiles(card)["nvidia-754"]
        assert list(p)[:5] == ["name", "vgpu_type", "framebuffer_mb", "max_instances", "description"]
        assert (p["vgpu_type"], p["framebuffer_mb"], p["max_instances"]) == ("NVIDIA A2-4C", 4096, 4)
        assert card["interface"] == "mdev_per_vf" and card["mode"] == "same_size"
        assert p["available"] == 1 and card["free"] == 1    # three of 4 GB of sixteen are there
        out = profiles(card)["nvidia-744"]
        assert out["fits"] is False and out["why"] == "carries a 4 GB type; only 4 GB types fit"
        assert {i["vf"]: i["profile"] for i in card["instances"]} == {
            "0000:08:00.4": "nvidia-754", "0000:08:02.0": "nvidia-746", "0000:08:00.6": "nvidia-751"}
        device = d.get(f"/api/gpu/devices/{A2}").json()
        assert "NVIDIA A2-4C" in device["vgpu"]["profiles"]
        checks = d.get(f"/api/doctor?device={A2}").json()["checks"]
        assert ["it is shared: 16 VFs, 3 vGPU instances"] == [c["title"] for c in checks if c["id"] == "shared"]


def test_queries(tmp_path):
    with running(tmp_path, "f01-a2-server") as d:
        devices(d)
        every = d.get("/api/vgpu/profiles").json()
        assert len(every) == 4 and every == d.get(f"/api/vgpu/profiles?device={A2}").json()
        assert d.get("/api/vgpu/profiles?device=0000:08:00.5").json() == every    # a VF of it
        fitting = d.get("/api/vgpu/profiles?fits=true").json()
        assert fitting == [p for p in every if p["fits"]] and len(fitting) == 3
        assert d.get(f"/api/vgpu/profiles?fits=true&device={A2}").json() == fitting
        assert d.get("/api/vgpu/profiles?fits=false").json() == every


@pytest.mark.parametrize("query, status, says", [
    ("device=0000:01:00.1", 404, "cannot be shared"), ("device=0000:09:00.0", 404, "0000:09:00.0"),
    ("device=../etc", 422, "device"), ("device=", 422, ""), ("fits=maybe", 422, "fits"), ("colour=red", 422, "colour"),
])
def test_bad_queries(tmp_path, query, status, says):
    with running(tmp_path, "f01-a2-server") as d:
        reply = d.get(f"/api/vgpu/profiles?{query}")
        assert reply.status == status and says in reply.body.decode()
        assert d.get("/api/health").json()["ready"] is True


def test_it_is_from_cached_bytes(tmp_path):
    with running(tmp_path, "f14-gvtg") as d:
        devices(d)
        first = d.get("/api/vgpu/devices")
        again = d.get("/api/vgpu/devices", {"If-None-Match": first.headers["ETag"]})
        assert again.status == 304


def test_a_gvtg_instance_comes_and_goes(tmp_path):
    uuid = "11111111-2222-4333-8444-555555555555"
    with running(tmp_path, "f14-gvtg") as d:
        [card] = devices(d)
        assert profiles(card)["i915-GVTg_V5_4"]["available"] == 1
        assert "aperture" in profiles(card)["i915-GVTg_V5_1"]["why"]
        d.host.write(f"sys/bus/pci/devices/{GVTG}/mdev_supported_types/i915-GVTg_V5_8/create", uuid)
        assert d.wait_for(lambda: [i["uuid"] for i in instances(d)] == [uuid], 8)
        assert d.wait_for(lambda: profiles(devices(d)[0])["i915-GVTg_V5_4"]["available"] == 0, 8)
        assert profiles(devices(d)[0])["i915-GVTg_V5_8"]["available"] == 1
        [one] = instances(d)
        assert (one["device"], one["vf"], one["profile"], one["state"]) == (GVTG, None, "i915-GVTg_V5_8", "idle")
        group = os.path.basename(os.readlink(d.host.path(f"sys/bus/mdev/devices/{uuid}/iommu_group")))
        d.host.event(f"process 900 qemu-system-x86 fd=/dev/vfio/{group}")
        assert d.wait_for(lambda: instances(d)[0]["state"] == "in_use", 8)
        users = d.get(f"/api/gpu/devices/{GVTG}").json()["used_by"]
        assert ("900", "qemu-system-x86") in [(u["id"], u["name"]) for u in users]
        d.host.event("kill 900")
        assert d.wait_for(lambda: instances(d)[0]["state"] == "idle", 8)
        d.host.write(f"sys/bus/mdev/devices/{uuid}/remove", "1")
        assert d.wait_for(lambda: not instances(d), 8)
        assert d.wait_for(lambda: profiles(devices(d)[0])["i915-GVTg_V5_4"]["available"] == 1, 8)


def test_a_type_that_somebody_sets_is_seen(tmp_path):
    """No uevent tells of it."""
    with running(tmp_path, "f19-l40s-vendor-vf") as d:
        [card] = devices(d)
        assert [i["profile"] for i in card["instances"]] == ["nvidia-1152"]
        d.host.write("sys/bus/pci/devices/0000:41:00.5/nvidia/current_vgpu_type", "1152")
        assert d.wait_for(lambda: [i["vf"] for i in instances(d)] == ["0000:41:00.4", "0000:41:00.5"], 15)
        d.host.write("sys/bus/pci/devices/0000:41:00.4/nvidia/current_vgpu_type", "0")
        assert d.wait_for(lambda: [i["vf"] for i in instances(d)] == ["0000:41:00.5"], 15)


def two_cards():
    lines = machine_text("f14-gvtg").splitlines() + [
        "drivers nvidia",
        "pci 0000:00:01.0 8086:1901 0604 driver=pcieport group=1",
        "pci 0000:01:00.0 10de:1eb8 0302 under=0000:00:01.0 driver=nvidia group=2 reset=flr bar0=16M",
        "vgpu 0000:01:00.0 mdev fb=16384",
        'vgputype 0000:01:00.0 222 "GRID T4-1B" fb=1024 max=16',
        'vgputype 0000:01:00.0 232 "GRID T4-4Q" fb=4096 max=4',
    ]
    return "\n".join(lines) + "\n"


def test_only_the_card_that_was_touched_is_read_again(tmp_path):
    uuid = "11111111-2222-4333-8444-666666666666"
    with running(tmp_path, two_cards()) as d:
        assert [c["pci_id"] for c in devices(d)] == [GVTG, "0000:01:00.0"]
        # between two looks that are due, so that what is old is not read for its age
        assert d.wait_for(lambda: fresh_round(d, GVTG, "0000:01:00.0"), 12)
        d.host.clear_reads()
        d.host.write("sys/bus/pci/devices/0000:01:00.0/mdev_supported_types/nvidia-232/create", uuid)
        assert d.wait_for(lambda: types_read(d, "0000:01:00.0"), 3)
        assert not types_read(d, GVTG)
        names = [p for p in types_read(d, "0000:01:00.0") if p.endswith(("/name", "/description"))]
        assert names == []    # these were asked for once
        assert d.wait_for(lambda: profiles(devices(d)[1])["nvidia-222"]["available"] == 0, 8)


def types_read(d, address):
    return [path for path in d.host.reads() if f"/{address}/mdev_supported_types/" in path]


def fresh_round(d, *addresses):
    """Have all of these just been asked, because it was time?"""
    d.host.clear_reads()
    d.get("/api/vgpu/devices")
    return all(types_read(d, a) for a in addresses) or d.wait_for(lambda: all(types_read(d, a) for a in addresses), 7)


def test_a_driver_that_hangs_takes_nothing_else_along(tmp_path):
    with running(tmp_path, "f14-gvtg") as d:
        devices(d)
        d.host.knob("block path=*/available_instances op=read")
        assert d.wait_for(lambda: d.get("/api/vgpu/devices").json()[0]["available_profiles"] is None, 20)
        [card] = d.get("/api/vgpu/devices").json()
        assert card["unknown"]["available_profiles"] and card["free"] is None
        d.host.event("process 900 Xorg fd=/dev/dri/card0")
        users = lambda: [u["id"] for u in d.get(f"/api/gpu/devices/{GVTG}").json()["used_by"] or []]
        assert d.wait_for(lambda: "900" in users(), 20)
        d.host.event("kill 900")
        assert d.wait_for(lambda: "900" not in users(), 20)
        d.host.knob("clear")
        assert d.wait_for(lambda: (d.get("/api/vgpu/devices").json()[0]["available_profiles"] or []) != [], 20)


def test_without_the_helper_it_is_unknown(tmp_path):
    with FakeHost("f14-gvtg", uevents=False) as host, Daemon(tmp_path, host.root, helper=False) as d:
        [card] = d.get("/api/vgpu/devices").json()
        assert card["available_profiles"] is None and card["unknown"]["available_profiles"]
        assert card["free"] is None and card["interface"] == "mdev"
