# SPDX-License-Identifier: Apache-2.0
"""GETs of cards, groups and the IOMMU; filters, ETags, the scan; every shape byte for byte."""
import json
import os
import re
import subprocess

import golden
import pytest
from daemon import Daemon, NODE, program
from plaintree import PlainTree

GPU, AUDIO, OTHER, PORT = "0000:01:00.0", "0000:01:00.1", "0000:00:1f.3", "0000:00:01.0"
GPU_PATH = "pci0000:00/0000:00:01.0/" + GPU


def test_list_is_as_in_the_guide(shared):
    reply = shared.get("/api/gpu/devices")
    assert reply.status == 200
    (device,) = reply.json()
    wanted = {"pci_address": GPU, "vendor_id": "10de", "device_id": "1b80",
              "vendor_name": "NVIDIA Corporation", "device_name": "GP104 [GeForce GTX 1080]",
              "driver": "nouveau", "iommu_group": "1", "in_use": False}
    assert {k: device[k] for k in wanted} == wanted
    assert list(device)[:8] == list(wanted)
    assert device["node"] == NODE


@pytest.mark.parametrize("name, path", [
    ("devices", "/api/gpu/devices"),
    ("device", f"/api/gpu/devices/{GPU}"),
    ("device-audio", f"/api/gpu/devices/{AUDIO}"),
    ("iommu-group", f"/api/gpu/devices/{GPU}/iommu-group"),
    ("iommu-status", "/api/gpu/iommu-status"),
    ("doctor", "/api/doctor"),
    ("doctor-device", f"/api/doctor?device={AUDIO}"),
    ("health", "/api/health"),
    ("version", "/api/version"),
    ("openapi", "/api/openapi.json"),
])
def test_golden(shared, name, path):
    reply = shared.get(path)
    assert reply.status == 200
    golden.check(name, reply.body)


def test_scan_golden(d):
    golden.check("scan", d.post("/api/gpu/devices/scan").body)


def test_any_function_of_a_card_is_shown(shared):
    assert shared.get(f"/api/gpu/devices/{AUDIO}").json()["slot"] == GPU
    members = shared.get(f"/api/gpu/devices/{AUDIO}/iommu-group").json()
    assert [m["pci_address"] for m in members] == [GPU, AUDIO]


@pytest.mark.parametrize("address, status, says", [
    (OTHER, 404, OTHER), (PORT, 404, PORT), ("0000:09:00.0", 404, "0000:09:00.0"),
    ("0000:01:00.2", 404, "0000:01:00.2"),
])
def test_what_is_no_card_is_404(shared, address, status, says):
    for tail in ("", "/iommu-group"):
        reply = shared.get(f"/api/gpu/devices/{address}{tail}")
        assert reply.status == status
        assert says in reply.json()["detail"]


def test_the_doctor_knows_cards_alone(shared):
    assert shared.get("/api/doctor?device=x").status == 422
    assert shared.get(f"/api/doctor?device={PORT}").status == 404
    assert shared.get("/api/doctor?card=1").json()["code"] == "unknown_field"


def test_404_names_the_card(shared):
    assert GPU in shared.get(f"/api/gpu/devices/{PORT}").json()["hint"]
    assert GPU in shared.get("/api/gpu/devices/0000:01:00.2").json()["hint"]


@pytest.mark.parametrize("text", ["x", "01:00.0", "0000:01:00", "0000:01:00.8", "0000:01:20.0", "..",
                                  "0000:01:00.0x", "%30000:01:00.0x", "0000:01:00.0%20", "%C3%A4"])
def test_malformed_addresses(shared, text):
    reply = shared.get(f"/api/gpu/devices/{text}")
    assert reply.status in (400, 404, 422)
    assert reply.json()["hint"]


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    tree = PlainTree(folder / "root")
    tree.host()
    tree.cards(4)
    tree.function("pci0000:00/0000:00:02.0", 0x8086, 0x1912, 0x030000, "i915", 0, boot_vga="1")
    tree.function("pci0000:40/0000:40:01.0", 0x1002, 0x744C, 0x030000, None, 40)
    with Daemon(folder, tree.root, helper=False) as running:
        yield running


@pytest.mark.parametrize("query, wanted", [
    ("", ["0000:00:02.0", "0000:01:00.0", "0000:02:00.0", "0000:03:00.0", "0000:04:00.0", "0000:40:01.0"]),
    ("?driver=nouveau", ["0000:02:00.0", "0000:04:00.0"]),
    ("?driver=vfio%2Dpci", ["0000:01:00.0", "0000:03:00.0"]),
    ("?driver=none", ["0000:40:01.0"]),
    ("?driver=", []),
    ("?vendor=8086", ["0000:00:02.0"]),
    ("?vendor=10DE&driver=nouveau", ["0000:02:00.0", "0000:04:00.0"]),
    ("?vendor=nvidia", ["0000:01:00.0", "0000:02:00.0", "0000:03:00.0", "0000:04:00.0"]),
    ("?vendor=Intel", ["0000:00:02.0"]),
    ("?state=unbound", ["0000:40:01.0"]),
    ("?state=host", ["0000:00:02.0", "0000:02:00.0", "0000:04:00.0"]),
    ("?state=ready", []),   # who holds those on vfio is not known here, so neither is that
    ("?node=testnode&vendor=1002", ["0000:40:01.0"]),
    ("?node=elsewhere", []),
    ("?", ["0000:00:02.0", "0000:01:00.0", "0000:02:00.0", "0000:03:00.0", "0000:04:00.0", "0000:40:01.0"]),
])
def test_filters(many, query, wanted):
    reply = many.get("/api/gpu/devices" + query)
    assert reply.status == 200
    assert [g["pci_address"] for g in reply.json()] == wanted
    assert reply.headers["ETag"]


@pytest.mark.parametrize("query, code", [
    ("?state=broken", "invalid_value"), ("?colour=red", "unknown_field"), ("?driver=a&driver=b", "bad_request"),
    ("?driver=%00", "bad_request"), ("?driver=%zz", "bad_request"), ("?driver=%ff", "bad_request"),
    ("?driver=" + "x" * 300, "invalid_value"),
])
def test_wrong_filters(many, query, code):
    reply = many.get("/api/gpu/devices" + query)
    assert reply.json()["code"] == code
    assert "pointer" not in reply.json()    # that is for bodies


def test_other_addresses_take_no_query(shared):
    assert shared.get("/api/gpu/iommu-status?x=1").json()["code"] == "unknown_field"


def test_without_the_daemon_the_same_cards(tmp_path, tree):
    """The command line judges a host by the configuration that its daemon has."""
    conf = tmp_path / "horcrux.conf"
    conf.write_text("# ours\nextra_classes = 0604, 0403\nnode = elsewhere\n")
    env = {"HORCRUX_CONFIG": str(conf)}
    with Daemon(tmp_path, tree.root, helper=False, env=env) as d:
        online = d.get("/api/gpu/devices").json()

    def offline(**more):
        return subprocess.run([program("horcrux"), f"--host-root={tree.root}", "-o", "json", "gpu", "list"],
                              env={**os.environ, **more}, text=True, capture_output=True, check=False)
    done = offline(**env)
    assert [g["pci_address"] for g in json.loads(done.stdout)] == [g["pci_address"] for g in online]
    assert len(online) == 4 > len(json.loads(offline().stdout))
    told = {g["pci_address"]: g for g in online}
    for g in json.loads(done.stdout):
        same = [k for k in g if k not in g["unknown"] and k not in told[g["pci_address"]]["unknown"]]
        assert {k: g[k] for k in same if k not in ("node", "unknown", "health")} == {
            k: told[g["pci_address"]][k] for k in same if k not in ("node", "unknown", "health")}
    conf.write_text("extra_classes = card\n")
    done = offline(**env)
    assert done.returncode == 2 and "extra_classes" in done.stderr and str(conf) in done.stderr
    done = offline(HORCRUX_CONFIG=str(tmp_path / "none"))
    assert done.returncode == 2 and "none" in done.stderr


def test_etag_and_304(d):
    paths = ["/api/gpu/devices", f"/api/gpu/devices/{GPU}", f"/api/gpu/devices/{GPU}/iommu-group",
             "/api/gpu/iommu-status", "/api/health", "/api/version", "/api/openapi.json",
             "/api/gpu/devices?vendor=10de", "/api/doctor"]
    for path in paths:
        first = d.get(path)
        tag = first.headers["ETag"]
        assert tag.startswith('"') and tag.endswith('"')
        for value in (tag, "*", "W/" + tag, f'"other", {tag}'):
            again = d.get(path, {"If-None-Match": value})
            assert again.status == 304 and again.headers["ETag"] == tag
        assert d.get(path, {"If-None-Match": '"other"'}).status == 200
        head = d.call("HEAD", path)
        assert head.status == 200 and head.headers["ETag"] == tag
        assert int(head.headers["Content-Length"]) == len(first.body)
    tag = d.get(f"/api/gpu/devices/{GPU}").headers["ETag"]
    d.tree.bind(GPU_PATH, "vfio-pci")
    scanned = d.post("/api/gpu/devices/scan")
    assert scanned.status == 200 and "ETag" not in scanned.headers
    changed = d.get(f"/api/gpu/devices/{GPU}", {"If-None-Match": tag})
    assert changed.status == 200 and changed.headers["ETag"] != tag
    d.tree.bind(GPU_PATH, "nouveau")
    d.post("/api/gpu/devices/scan")
    assert d.get(f"/api/gpu/devices/{GPU}", {"If-None-Match": tag}).status == 304    # it is as it was


def test_a_dry_run_of_a_scan_reads_nothing(d):
    plan = d.post("/api/gpu/devices/scan?dry_run=true")
    assert plan.status == 200 and list(plan.json()) == ["plan"]
    assert plan.json()["plan"]["steps"] == [] and plan.json()["plan"]["refusals"] == []
    expected = {"If-Plan": plan.json()["plan"]["digest"]}
    assert isinstance(d.post("/api/gpu/devices/scan", headers=expected).json(), list)
    other = d.post("/api/gpu/devices/scan", headers={"If-Plan": "0" * 64})
    assert other.status == 409 and other.json()["code"] == "plan_changed"


def test_scan_reads_anew(d):
    assert d.get("/api/gpu/devices").json()[0]["driver"] == "nouveau"
    d.tree.bind(GPU_PATH, None)
    assert d.get("/api/gpu/devices").json()[0]["driver"] == "nouveau"   # nothing told it
    assert d.post("/api/gpu/devices/scan").json()[0]["driver"] is None
    assert d.get("/api/gpu/devices").json()[0]["driver"] is None
    assert d.post("/api/gpu/devices/scan", {}).status == 200
    assert d.post("/api/gpu/devices/scan", {"deep": True}).json()["code"] == "unknown_field"


def send_uevent(d, action, path):
    import socket
    devpath = "/devices/" + path
    text = "\0".join([f"{action}@{devpath}", f"ACTION={action}", f"DEVPATH={devpath}", "SUBSYSTEM=pci",
                      "PCI_SLOT_NAME=" + path.rsplit("/", 1)[1], "SEQNUM=1", ""])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.sendto(text.encode(), os.path.join(d.state, "uevent.sock"))


def test_a_uevent_brings_a_new_list(tmp_path, tree):
    """One reading, due within 100 ms (tests/bench/bench_fresh measures), for one uevent."""
    with Daemon(tmp_path, tree.root, "--log-level=debug", helper=False) as d:
        for driver in ("vfio-pci", "nouveau", "vfio-pci"):
            tree.bind(GPU_PATH, driver)
            send_uevent(d, "bind", GPU_PATH)
            assert d.wait_for(lambda: d.get("/api/gpu/devices", check=False).json()[0]["driver"] == driver, 30)
        told = re.findall(r"inventory: 1 uevents, due (\d+) us after the first, served after (\d+) us", d.log())
        assert len(told) == 3 and all(int(due) + int(work) <= 100_000 for due, work in told), told


def test_a_card_that_goes_and_comes(d):
    link = d.tree.root / "sys/bus/pci/devices" / GPU
    target = os.readlink(link)
    link.unlink()
    send_uevent(d, "remove", GPU_PATH)
    assert d.wait_for(lambda: d.get("/api/gpu/devices").json() == [])
    assert d.get(f"/api/gpu/devices/{GPU}").status == 404
    link.symlink_to(target)
    send_uevent(d, "add", GPU_PATH)
    assert d.wait_for(lambda: len(d.get("/api/gpu/devices").json()) == 1)


def test_a_tree_with_nothing_in_it_is_a_machine_without_cards(tmp_path):
    (tmp_path / "root").mkdir()
    with Daemon(tmp_path, tmp_path / "root", helper=False) as d:
        assert d.get("/api/gpu/devices").json() == []
        status = d.get("/api/gpu/iommu-status").json()
        assert status["enabled"] is None or status["enabled"] is False
        assert d.get("/api/gpu/devices/" + GPU).status == 404
        golden.check("iommu-status-empty", json.dumps(status, separators=(",", ":")).encode() + b"\n")


def test_missing_files_are_unknown(tmp_path):
    tree = PlainTree(tmp_path / "root")
    tree.function(GPU_PATH, 0x10DE, 0x1B80, 0x030000, None, None, numa_node=None, resource=None,
                  reset_method=None, power_state=None, local_cpulist=None, subsystem_vendor=None,
                  current_link_speed=None, boot_vga=None)
    with Daemon(tmp_path, tree.root, helper=False) as d:
        (device,) = d.get("/api/gpu/devices").json()
        for field in ("numa_node", "local_cpus", "power_state", "bars", "boot_vga", "used_by"):
            assert device[field] is None and device["unknown"][field], field
        assert device["in_use"] is False
        golden.check("device-unknown", d.get(f"/api/gpu/devices/{GPU}").body)


def test_without_its_helper_it_says_what_is_unknown(shared):
    device = shared.get(f"/api/gpu/devices/{GPU}").json()
    assert device["used_by"] is None and "horcrux-privd" in device["unknown"]["used_by"]
    assert device["in_use"] is False
    parts = {p["name"]: p["state"] for p in shared.get("/api/health").json()["parts"]}
    assert parts["helper"] == "failed" and parts["inventory"] == "ok"
    assert shared.get("/api/health").json()["ready"] is False


def test_over_the_unix_socket_it_is_the_same(shared):
    a, b = shared.get("/api/gpu/devices"), shared.get("/api/gpu/devices", unix=True)
    assert a.body == b.body and a.headers["ETag"] == b.headers["ETag"]
