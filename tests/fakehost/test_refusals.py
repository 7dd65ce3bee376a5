# SPDX-License-Identifier: Apache-2.0
"""Cards that are not taken: every refusal there is, on a machine that has it; nothing is written."""

import pytest

from fakehost import Daemon
from machine import AUDIO, GPU, OTHER, Machine, machine_with

# code: can it be accepted when binding? (the table of the design)
CAN = {
    "boot_framebuffer": False, "bridge": False, "claimed": False, "console_card": True,
    "critical": False, "group_blocked": True, "held": False, "iommu_off": False, "mdev_live": False,
    "no_group": False, "no_reset": True, "only_card": True, "pf_has_vfs": False, "quarantined": False,
    "rmrr": False, "stuck": False,
}


def accept_all(refusals):
    return {"accept": sorted({code for code in refusals})}


def refused(m, address, *codes, body=None):
    """It is, for exactly these reasons, all told at once and well; {code: refusal}."""
    reply = m.daemon.bind(address, body)
    assert (reply.status, reply.json()["code"]) == (409, "refused"), reply
    assert reply.headers["Content-Type"] == "application/problem+json"
    rows = reply.json()["refusals"]
    assert {row["code"] for row in rows} == set(codes), reply
    for row in rows:
        can = True if row["code"].startswith("unknown_") else CAN[row["code"]]
        assert row["can_accept"] is can, row
        assert row["subject"] and row["reason"] and row["fix"], row
        assert row["evidence"] or row["code"] in ("claimed", "unknown_override"), row
    dry = m.daemon.bind(address, body, query="?dry_run=true").json()["plan"]
    assert dry["refusals"] == rows and dry["steps"] == []
    assert m.host.writes() == [], "something was written"
    m.unchanged()
    assert m.daemon.tasks() == [], "what is refused at once is no task"
    return reply.refusals()


def hard(m, address, refusals):
    """What cannot be accepted stays, also when it is asked for by name; the rest goes."""
    stay = {code for code, row in refusals.items() if not row["can_accept"]}
    reply = m.daemon.bind(address, accept_all(refusals))
    if stay:
        assert reply.status == 409 and set(reply.refusals()) == stay, reply
        assert m.host.writes() == []
    else:
        assert reply.status == 200, reply
        assert m.daemon.release(address).status == 200
    m.unchanged()


# machine, card, what stands against it, words that the evidence of the first must have
MACHINES = [
    ("refusals", "0000:01:00.0", ["held"], "/dev/nvidia0"),
    ("refusals", "0000:02:00.0", ["rmrr", "held"], "reserved_regions"),
    ("refusals", "0000:03:00.0", ["no_reset"], "reset method"),
    ("refusals", "0000:04:00.0", ["boot_framebuffer"], "simpledrm"),
    ("refusals", "0000:05:00.0", ["pf_has_vfs"], "2 VFs"),
    ("refusals", "0000:07:00.0", ["console_card", "held", "no_reset"], "boot_vga is 1"),
    ("f01-a2-server", "0000:08:00.0", ["mdev_live", "pf_has_vfs", "held"],
     "f715f63c-0d00-4007-9c5a-b07b0c6c05de"),
    ("f01-a2-server", "0000:08:00.4", ["mdev_live"], "f715f63c"),
    ("f01-a2-server", "0000:01:00.1", ["console_card"], "boot_vga"),
    ("f02-iommu-off", "0000:08:00.0", ["iommu_off"], "intel_iommu=off"),
    ("f08b-pi-no-group", "0001:01:00.0", ["iommu_off", "only_card"], "no PCI function"),
    ("f10-s7150", "0000:0c:00.0", ["pf_has_vfs", "only_card"], "16 VFs"),
    ("critical-disk", "0000:02:00.0", ["group_blocked"], "driver"),
    ("critical-disk", "0000:03:00.0", ["console_card", "no_reset"], "boot_vga"),
    ("lab-like", "0000:00:01.0", ["console_card", "no_reset"], "boot_vga"),
    ("lab-like", "0000:04:01.0", ["group_blocked", "no_reset"], "e1000"),
]


@pytest.mark.parametrize("name", sorted({m[0] for m in MACHINES}))
def test_what_stands_against_it(name):
    with Machine(name) as m:
        for _, address, codes, words in [row for row in MACHINES if row[0] == name]:
            refusals = refused(m, address, *codes)
            assert words in refusals[codes[0]]["evidence"], refusals
        for _, address, codes, _ in [row for row in MACHINES if row[0] == name]:
            m.host.clear_write_log()
            hard(m, address, {code: {"can_accept": CAN[code]} for code in codes})


def test_a_program_on_one_card_of_many():
    """It holds the card that it has open, and what all cards share for that one; not the others."""
    with Machine("f06-a40-eight") as m:
        cards = [d["pci_address"] for d in m.daemon.get("/api/gpu/devices").json()
                 if d["driver"] == "nvidia" and not d["physfn"]]
        mine = [a for a in cards if "Device Minor: \t 3\n" in
                m.host.read(f"proc/driver/nvidia/gpus/{a}/information")][0]
        m.host.event("process 1500 python3 fd=/dev/nvidiactl,/dev/nvidia-uvm,/dev/nvidia3")
        assert m.daemon.bind(mine).refusals()["held"]["subject"] == "pid 1500"
        other = [a for a in cards if a != mine][0]
        assert m.daemon.bind(other, query="?dry_run=true").refusals() == {}
        assert m.daemon.bind(other).status == 200
        assert m.daemon.release(other).status == 200
        m.unchanged()


def test_the_kernel_itself_uses_it():
    with Machine("refusals") as m:
        m.host.event("kill 1300")
        refusal = refused(m, "0000:08:00.0", "held")["held"]
        assert refusal["subject"] == "nvidia-drm"


def test_what_the_host_lives_on_behind_the_card():
    """A disk on the USB of a card, mounted: the card is critical, whatever is accepted."""
    text = machine_with("f03-gtx16-four-functions", more="block sdb under=0000:01:00.2 size=8\n"
                        "block sdb1 of=sdb size=8\nmount /dev/sdb1 /backup ext4\n")
    with Machine(text) as m:
        refusal = refused(m, GPU, "critical")["critical"]
        assert refusal["subject"] == "0000:01:00.2"
        assert "/backup" in refusal["reason"] + refusal["evidence"]
        hard(m, GPU, {"critical": refusal})


def test_what_of_its_neighbours_is_critical_is_said():
    with Machine("critical-disk") as m:
        reply = m.daemon.bind("0000:02:00.0")
        reasons = {row["subject"]: row["reason"] for row in reply.json()["refusals"]}
        assert "/boot/efi" in reasons["0000:02:01.0"] and "default route" in reasons["0000:02:02.0"]
        assert m.host.writes() == []


def test_no_group_though_the_iommu_is_on():
    text = machine_with("lab-like", at_0000_02_00_0=(" group=7", ""))
    with Machine(text) as m:
        refused(m, OTHER, "no_group")


def test_noiommu_mode():
    """vfio's no-IOMMU groups isolate nothing; half of the card is in one already."""
    text = machine_with("lab-like", at_0000_01_00_0=("driver=radeon", "driver=vfio-pci"),
                        more="file /sys/kernel/iommu_groups/5/name vfio-noiommu")
    with Machine(text) as m:
        assert "vfio-noiommu" in refused(m, GPU, "no_group")["no_group"]["evidence"]


def test_a_bridge_is_no_card():
    with Machine("lab-like") as m:
        reply = m.daemon.bind("0000:00:04.0")
        assert reply.status == 404 and m.host.writes() == [], reply


def test_no_vfio_pci():
    with Machine("no-vfio") as m:
        reply = m.daemon.bind(GPU, {"accept": ["console_card", "only_card"]})
        assert (reply.status, reply.json()["code"]) == (409, "conflict"), reply
        assert "vfio-pci" in reply.json()["detail"] and "modprobe vfio-pci" in reply.json()["hint"]
        m.unchanged()


@pytest.mark.parametrize("knob, address, code", [
    ("fail op=read path=/proc/iomem times=0", "0000:04:00.0", "unknown_boot_framebuffer"),
    ("fail op=read path=*/reset_method times=0", "0000:06:00.0", "unknown_reset"),
    ("fail op=read path=*/reserved_regions times=0", "0000:06:00.0", "unknown_reserved_regions"),
    ("fail op=read path=*/driver_override times=0", "0000:06:00.0", "unknown_override"),
    ("fail op=open path=/proc/1300/maps errno=EACCES times=0", "0000:06:00.0", "unknown_holders"),
])
def test_a_danger_that_cannot_be_read(knob, address, code):
    with Machine("refusals", *([] if "override" in knob else [knob])) as m:
        if "override" in knob:    # which is never read before somebody wants the card
            m.host.knob(knob)
        assert code in m.daemon.bind(address).refusals()
        refusal = m.daemon.bind(address).refusals()[code]
        assert refusal["can_accept"] and refusal["fix"]
        assert m.host.writes() == []


def test_what_a_disk_behind_the_card_carries_cannot_be_read():
    text = machine_with("f03-gtx16-four-functions", more="block sdb under=0000:01:00.2 size=8\n")
    with Machine(text, "fail op=open path=*/mountinfo errno=EACCES times=0") as m:
        assert m.daemon.bind(GPU).refusals()["unknown_carries"]["subject"] == "0000:01:00.2"
        m.host.knob("clear")
        assert m.daemon.bind(GPU, query="?dry_run=true").refusals() == {}


def test_all_at_once():
    """Three dangers of one card, in one answer; none is hidden behind another."""
    text = machine_with("lab-like", at_0000_01_00_0=("reset=pm,bus", "reset=none"),
                        more="process 800 Xorg fd=/dev/dri/card1\nprocess 801 pipewire fd=/dev/snd/controlC0\n"
                        "reserved 5 0x3f000000-0x3fffffff direct")
    with Machine(text) as m:
        reply = m.daemon.bind(GPU)
        rows = [(r["code"], r["subject"]) for r in reply.json()["refusals"]]
        assert sorted(rows) == [("held", "pid 800"), ("held", "pid 801"), ("no_reset", GPU),
                                ("rmrr", GPU), ("rmrr", AUDIO)]
        assert m.host.writes() == []




def quarantine(m, address):
    return m.daemon.post(f"/api/gpu/devices/{address}/release-quarantine")


def test_a_card_that_does_not_answer():
    """No driver gets it, whoever asks, also after a restart; until it answers and is released by hand."""
    with Machine("lab-like") as m:
        m.host.knob(f"ff {GPU}")
        reply = m.daemon.bind(GPU)
        assert (reply.status, reply.json()["code"]) == (409, "no_answer"), reply
        assert "release-quarantine" in reply.json()["hint"] and "reads ff" in reply.json()["detail"]
        assert not [w for w in m.host.writes() if w.endswith(f"bind={GPU}")]
        m.unchanged()
        shown = m.daemon.device(GPU)
        assert shown["state"] == "quarantined" and GPU in shown["health"]["quarantined_why"]
        before = len(m.host.write_log())
        for again in (False, True):
            refusal = m.daemon.bind(AUDIO).refusals()["quarantined"]
            assert not refusal["can_accept"] and "ff" in refusal["evidence"], refusal
            assert m.daemon.bind(GPU, {"accept": ["no_reset"]}).refusals().keys() == {"quarantined"}
            if not again:
                m.daemon.stop()
                m.daemon.start()
        assert len(m.host.write_log()) == before
        reply = quarantine(m, GPU)
        assert (reply.status, reply.json()["code"]) == (409, "no_answer"), reply
        assert m.daemon.device(GPU)["state"] == "quarantined"
        m.host.knob(f"ff {GPU} off")
        assert m.daemon.bind(GPU).status == 409, "it is released by hand only"
        reply = quarantine(m, AUDIO)
        assert reply.status == 200 and reply.json()["state"] == "host", reply
        assert reply.json()["health"]["quarantined_why"] is None
        assert quarantine(m, GPU).status == 200
        assert m.daemon.bind(GPU).status == 200
        assert m.daemon.release(GPU).status == 200
        m.unchanged()


def test_a_card_that_dies_while_it_is_taken():
    """It stays with vfio-pci, where it harms nobody: no host driver is let near it."""
    with Machine("lab-like") as m:
        assert m.daemon.bind(GPU).status == 200
        m.host.clear_write_log()
        m.host.knob(f"ff {AUDIO}")
        m.host.knob(f"ff {GPU}")
        reply = m.daemon.release(GPU)
        assert (reply.status, reply.json()["code"]) == (409, "no_answer"), reply
        assert m.host.writes() == [] and m.host.driver(GPU) == m.host.driver(AUDIO) == "vfio-pci"
        assert m.daemon.device(GPU)["state"] == "quarantined"
        refused = m.daemon.release(GPU)
        assert refused.status == 409 and set(refused.refusals()) == {"quarantined"}, refused
        assert m.daemon.bind(GPU).status == 200, "it is there already"
        m.host.knob(f"ff {AUDIO} off")
        m.host.knob(f"ff {GPU} off")
        assert quarantine(m, GPU).json()["state"] == "ready"
        assert m.daemon.release(GPU).status == 200
        m.unchanged()


def test_it_is_judged_again_when_its_turn_comes():
    """Free when asked for, held when the locks were there: refused by the second look."""
    with Machine("lab-like", cap=Daemon.CAP) as m:
        m.host.knob("delay ms=500 path=*/radeon/unbind")
        m.daemon.bind(GPU, headers={"Prefer": "respond-async"})
        task = m.daemon.release(GPU, headers={"Prefer": "respond-async"}).json()["id"]
        m.host.wait_for(lambda: m.host.driver(AUDIO) == "vfio-pci")
        m.host.event(f"domain guest pid=4000 card={GPU},{AUDIO}")
        m.daemon.settled()
        ended = m.daemon.get(f"/api/tasks/{task}").json()
        assert (ended["state"], ended["problem"]["code"]) == ("failed", "refused"), ended
        assert [r["code"] for r in ended["problem"]["refusals"]] == ["held"]
        assert m.host.driver(GPU) == "vfio-pci"
