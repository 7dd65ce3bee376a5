# SPDX-License-Identifier: Apache-2.0
"""horcrux gpu unbind --all: what Horcrux took and no VM uses goes back, the rest is named."""
import cli_stub as stub
import pytest

DEVICES = "/api/gpu/devices"


def device(address, state, driver="vfio-pci", **more):
    return {"pci_address": address, "slot": address[:-1] + "0", "driver": driver, "state": state,
            "used_by": [], "unknown": {}, **more}


def plan(*kinds, refusals=()):
    steps = [{"n": n, "kind": kind, "text": kind, "undo": "yes", "writes": []} for n, kind in enumerate(kinds, 1)]
    return stub.says({"plan": {"title": "give back", "digest": "0" * 64, "steps": steps, "warnings": [],
                               "refusals": list(refusals)}})


def refusal(code, reason):
    return {"code": code, "subject": "it", "reason": reason, "evidence": None, "fix": None, "can_accept": False}


@pytest.fixture
def run(horcrux, daemon):
    return lambda *words: horcrux("gpu", "unbind", "--all", *words, f"--socket={daemon.path}")


def calls(daemon):
    return [(method, path) for method, path, *_ in daemon.seen]


def test_each_card_by_what_it_is(run, daemon):
    daemon.on("GET", DEVICES, stub.says([
        device("0000:01:00.0", "ready"), device("0000:01:00.1", "ready"),
        device("0000:02:00.0", "in_use", used_by=[{"kind": "vm", "id": "vm-1", "name": "games"}]),
        device("0000:03:00.0", "host", driver="nvidia"),
        device("0000:04:00.0", "ready")]))
    daemon.on("POST", f"{DEVICES}/0000:01:00.0/unbind-vfio?dry_run=true", plan("unbind", "give-back", "forget"))
    daemon.on("POST", f"{DEVICES}/0000:01:00.0/unbind-vfio",
              stub.says(device("0000:01:00.0", "host", driver="radeon")))
    daemon.on("POST", f"{DEVICES}/0000:04:00.0/unbind-vfio?dry_run=true", plan("unbind", "give-back"))
    done = run()
    assert done.code == 0 and done.err == ""
    assert done.out.splitlines() == [
        "0000:01:00.0 is on radeon: host, on its host driver",
        "0000:02:00.0 stays on vfio-pci: VM games runs with it",
        "0000:04:00.0 stays on vfio-pci: Horcrux did not take it"]
    assert calls(daemon)[1:] == [
        ("POST", f"{DEVICES}/0000:01:00.0/unbind-vfio?dry_run=true"),
        ("POST", f"{DEVICES}/0000:01:00.0/unbind-vfio"),
        ("POST", f"{DEVICES}/0000:04:00.0/unbind-vfio?dry_run=true")]


def test_what_does_not_come_back_is_told_and_the_others_do(run, daemon):
    daemon.on("GET", DEVICES, stub.says([device(f"0000:0{n}:00.0", state, driver) for n, state, driver in
                                         ((1, "stuck", None), (2, "ready", "vfio-pci"), (3, "ready", "vfio-pci"))]))
    daemon.on("POST", f"{DEVICES}/0000:01:00.0/unbind-vfio?dry_run=true",
              plan(refusals=[refusal("stuck", "an earlier unbind of it has not come back")]))
    for n in (2, 3):
        daemon.on("POST", f"{DEVICES}/0000:0{n}:00.0/unbind-vfio?dry_run=true", plan("forget"))
    daemon.on("POST", f"{DEVICES}/0000:02:00.0/unbind-vfio", stub.problem(504, "stuck", "the kernel hangs"))
    daemon.on("POST", f"{DEVICES}/0000:03:00.0/unbind-vfio",
              stub.says(device("0000:03:00.0", "host", driver="radeon")))
    done = run()
    assert done.code == 1
    assert done.out.splitlines() == [
        "0000:01:00.0 stays without a driver: an earlier unbind of it has not come back",
        "0000:03:00.0 is on radeon: host, on its host driver"]
    assert "the kernel hangs" in done.err and "2 cards were not given back" in done.err


def test_nothing_to_give_back(run, daemon):
    daemon.on("GET", DEVICES, stub.says([device("0000:01:00.0", "host", driver="radeon")]))
    done = run()
    assert (done.code, done.out, done.err) == (0, "", "")
    assert len(daemon.seen) == 1


def test_usage(horcrux):
    assert horcrux("gpu", "unbind").code == 2
    assert horcrux("gpu", "unbind", "--all", "0000:01:00.0").code == 2
    assert horcrux("gpu", "bind", "--all").code == 2
