# SPDX-License-Identifier: Apache-2.0
"""With a daemon: what it says is printed, refused, missed; here it is a stub on a Unix socket."""
import json
import os
import time

import pytest

import cli_stub as stub

DEVICE = {"pci_address": "0000:01:00.0", "vendor_id": "10de", "device_id": "1b80",
          "vendor_name": "NVIDIA Corporation", "device_name": "GP104 [GeForce GTX 1080]",
          "driver": "vfio-pci", "iommu_group": "1", "in_use": True, "state": "in_use",
          "used_by": [{"kind": "vm", "id": "vm-100", "name": "gpu-workstation", "since": None}],
          "functions": [], "unknown": {}}

REFUSALS = [
    {"code": "console_card", "subject": "0000:01:00.0", "reason": "the host's console is on it",
     "evidence": "/proc/fb: 0 nouveaudrmfb", "fix": "use another card for the console", "can_accept": True},
    {"code": "no_reset", "subject": "0000:01:00.0", "reason": "the kernel knows no way to reset it",
     "evidence": "reset_method is empty", "fix": "power-cycle the host between VMs", "can_accept": True},
]


def test_the_list_comes_from_the_daemon(horcrux, daemon):
    daemon.on("GET", "/api/gpu/devices", stub.says([DEVICE]))
    run = horcrux("gpu", "list", f"--socket={daemon.path}")
    assert run.code == 0 and run.err == ""
    assert "0000:01:00.0 GP104 [GeForce GTX 1080] 10de:1b80 vfio-pci 1     in_use gpu-workstation" in run.out


def test_the_socket_of_the_environment(horcrux, daemon):
    daemon.on("GET", "/api/gpu/devices", stub.says([]))
    assert horcrux("gpu", "list", env={"HORCRUX_SOCKET": daemon.path}).code == 0
    assert len(daemon.seen) == 1
    assert horcrux("gpu", "list", "--socket=/none", env={"HORCRUX_SOCKET": daemon.path}).code == 4
    assert len(daemon.seen) == 1


def test_json_is_the_body_byte_for_byte(horcrux, daemon):
    body = b'[ {"pci_address":  "0000:01:00.0", "later": "\xc3\xa9"} ]\n'
    for path, words in (("/api/gpu/devices", ["gpu", "list"]),
                        ("/api/gpu/devices/0000:01:00.0", ["gpu", "show", "0000:01:00.0"]),
                        ("/api/gpu/devices/0000:01:00.0/iommu-group", ["gpu", "group", "0000:01:00.0"]),
                        ("/api/gpu/iommu-status", ["gpu", "iommu"])):
        daemon.on("GET", path, stub.says(body))
        run = horcrux(*words, "-o", "json", f"--socket={daemon.path}")
        assert run.code == 0 and run.out.encode() == body


def test_fields_it_does_not_know_are_no_harm(horcrux, daemon):
    daemon.on("GET", "/api/gpu/devices", stub.says([{**DEVICE, "later": {"more": [1]}}]))
    assert horcrux("gpu", "list", f"--socket={daemon.path}").code == 0


def test_answers_of_another_shape_are_no_crash(horcrux, daemon):
    for body in ({}, [], "x", 7, None, [[]], [7, {"state": 3, "used_by": [1, {}]}], {"functions": 3, "unknown": []}):
        for path, words in (("/api/gpu/devices", ["gpu", "list"]),
                            ("/api/gpu/devices/0000:01:00.0", ["gpu", "show", "0000:01:00.0"]),
                            ("/api/gpu/devices/0000:01:00.0/iommu-group", ["gpu", "group", "0000:01:00.0"]),
                            ("/api/vgpu/devices", ["vgpu", "list"]),
                            ("/api/vgpu/profiles", ["vgpu", "profiles"]),
                            ("/api/vgpu/instances", ["vgpu", "instances"]),
                            ("/api/gpu/iommu-status", ["gpu", "iommu"])):
            daemon.on("GET", path, stub.says(body))
            assert horcrux(*words, f"--socket={daemon.path}").code in (0, 1), (words, body)


def shared(what, interface="mdev-per-vf"):
    path = os.path.join(os.environ["SOURCE_ROOT"], "tests", "golden", "api", f"vgpu-{interface}-{what}.json")
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def test_shared_cards(horcrux, daemon, golden):
    """What the daemon says of real machines, as tables."""
    def out(*words):
        run = horcrux("vgpu", *words, f"--socket={daemon.path}")
        assert (run.code, run.err) == (0, "")
        return run.out

    for interface in ("mdev-per-vf", "mdev", "vendor-vf"):
        for what, verb in (("devices", "list"), ("profiles", "profiles"), ("instances", "instances")):
            daemon.on("GET", f"/api/vgpu/{what}", stub.says(shared(what, interface)))
            if shared(what, interface):
                golden(f"vgpu-{interface}-{verb}.txt", out(verb))


@pytest.mark.parametrize("vgpu, says", [
    ({"interface": "mdev", "profiles": ["GRID T4-1B", "GRID T4-4Q"], "instances": []}, "mdev, 2 profiles"),
    ({"interface": "sriov", "profiles": [], "instances": []}, "sriov\n"),
    ({"interface": "vendor_vf", "profiles": None, "instances": []}, "vendor_vf\n"),
    (None, None),
])
def test_how_a_card_can_be_shared(horcrux, daemon, vgpu, says):
    daemon.on("GET", "/api/gpu/devices/0000:01:00.0", stub.says({**DEVICE, "vgpu": vgpu}))
    out = horcrux("gpu", "show", "0000:01:00.0", f"--socket={daemon.path}").out
    assert ("can be shared" in out) == bool(vgpu) and (not says or says in out.split("can be shared")[1])


def test_profiles_of_one_card_that_fit(horcrux, daemon):
    card = "0000:08:00.0"
    for path, words in ((f"/api/vgpu/profiles?device={card}", [f"--device={card}"]),
                        ("/api/vgpu/profiles?fits=true", ["--fits"]),
                        (f"/api/vgpu/profiles?fits=true&device={card}", [f"--device={card}", "--fits"])):
        daemon.on("GET", path, stub.says([]))
        run = horcrux("vgpu", "profiles", *words, f"--socket={daemon.path}")
        assert run.code == 0 and run.out == "" and "horcrux: " in run.err, words
    assert horcrux("vgpu", "profiles", "--device=nonsense", f"--socket={daemon.path}").code == 2
    assert len(daemon.seen) == 3


def test_scan_posts(horcrux, daemon):
    daemon.on("POST", "/api/gpu/devices/scan", stub.says([DEVICE]))
    run = horcrux("gpu", "scan", f"--socket={daemon.path}")
    assert run.code == 0 and "GeForce" in run.out
    assert daemon.seen[0][:2] == ("POST", "/api/gpu/devices/scan")


def test_a_refusal_is_3_and_says_everything(horcrux, daemon, golden):
    daemon.on("POST", "/api/gpu/devices/scan",
              stub.problem(409, "refused", "0000:01:00.0 was not bound", refusals=REFUSALS))
    run = horcrux("gpu", "scan", f"--socket={daemon.path}")
    assert run.code == 3 and run.out == ""
    golden("refused.txt", run.err)


def test_what_cannot_be_accepted_is_not_offered(horcrux, daemon, golden):
    held = {"code": "held", "subject": "0000:01:00.0", "reason": "Xorg (812) has it open",
            "evidence": "/proc/812/fd/12 is /dev/dri/card0", "fix": "stop it", "can_accept": False}
    daemon.on("POST", "/api/gpu/devices/scan",
              stub.problem(409, "refused", "it was not bound", refusals=REFUSALS + [held]))
    run = horcrux("gpu", "scan", f"--socket={daemon.path}")
    assert run.code == 3 and "--accept=held" not in run.err
    golden("refused-held.txt", run.err)


def test_a_problem_is_1_with_its_hint(horcrux, daemon):
    daemon.on("GET", "/api/gpu/devices", stub.problem(503, "helper_unavailable",
              "the privileged helper does not answer", hint="see: systemctl status horcrux-privd"))
    run = horcrux("gpu", "list", f"--socket={daemon.path}")
    assert run.code == 1
    assert "horcrux: the privileged helper does not answer\n" in run.err
    assert "systemctl status horcrux-privd" in run.err


def test_a_problem_cannot_write_to_the_terminal(horcrux, daemon):
    daemon.on("GET", "/api/gpu/devices",
              stub.problem(409, "refused\x1b[2J", "a\x1b]0;x\x07b\u009b", hint="\x1b[31m\u202e",
                           refusals=[{"code": "x\x1b", "reason": "\x1bc", "can_accept": True}]))
    run = horcrux("gpu", "list", f"--socket={daemon.path}")
    assert run.code == 3
    assert not set("\x1b\x07\x9b\u202e") & set(run.err)


@pytest.mark.parametrize("answer, says", [
    (stub.says(b"<html>", 502), "status 502"),
    (stub.says(b"not json"), "no JSON"),
    (stub.says(b'{"a":1', 200), "no JSON"),
])
def test_what_is_no_answer_of_the_api_is_1(horcrux, daemon, answer, says):
    daemon.on("GET", "/api/gpu/devices", answer)
    run = horcrux("gpu", "list", f"--socket={daemon.path}")
    assert run.code == 1 and says in run.err and run.out == ""


def test_nobody_there_is_4(horcrux, tmp_path):
    run = horcrux("gpu", "list", f"--socket={tmp_path}/none")
    assert run.code == 4 and "no daemon answers" in run.err and run.out == ""
    run = horcrux("gpu", "scan", f"--socket={tmp_path}/none")
    assert run.code == 4


def test_a_slow_daemon_is_4_in_time(horcrux, daemon):
    daemon.on("GET", "/api/gpu/devices", stub.silent(20))
    began = time.monotonic()
    run = horcrux("gpu", "list", f"--socket={daemon.path}", "--timeout=1")
    assert run.code == 4 and "did not answer in time" in run.err
    assert time.monotonic() - began < 5


def test_a_daemon_that_goes_is_4(horcrux, daemon):
    daemon.on("GET", "/api/gpu/devices", stub.silent(0))
    run = horcrux("gpu", "list", f"--socket={daemon.path}")
    assert run.code == 4 and "went away" in run.err
    daemon.on("GET", "/api/gpu/devices", stub.half(b'[{"pci_address":'))
    run = horcrux("gpu", "list", f"--socket={daemon.path}")
    assert run.code == 4 and run.out == ""


def test_an_answer_without_end_is_1(horcrux, daemon):
    daemon.on("GET", "/api/gpu/devices", stub.endless)
    run = horcrux("gpu", "list", f"--socket={daemon.path}")
    assert run.code == 1 and "has no end" in run.err


def test_proxies_of_the_environment_are_not_asked(horcrux, daemon):
    daemon.on("GET", "/api/gpu/devices", stub.says([]))
    env = {"http_proxy": "http://127.0.0.1:1", "ALL_PROXY": "http://127.0.0.1:1"}
    assert horcrux("gpu", "list", f"--socket={daemon.path}", env=env).code == 0


def test_a_long_path_of_the_socket(horcrux):
    run = horcrux("gpu", "list", "--socket=/" + "x" * 200)
    assert run.code == 4


def test_versions_of_both(horcrux, daemon):
    daemon.on("GET", "/api/version", stub.says({"version": "9.9.9"}))
    run = horcrux("version", f"--socket={daemon.path}")
    assert run.code == 0 and "horcruxd  9.9.9" in run.out
    run = horcrux("version", f"--socket={daemon.path}", "-o", "json")
    assert run.out == '{"version": "9.9.9"}\n'


def test_a_socket_one_may_not_use(program, environment, daemon):
    """Another user than root: the kernel refuses the connection."""
    if os.geteuid():
        os.chmod(daemon.path, 0)
        prefix = []
    else:
        os.chmod(daemon.path, 0o600)
        prefix = ["setpriv", "--reuid=65534", "--clear-groups"]
    import subprocess
    done = subprocess.run([*prefix, program, "gpu", "list", f"--socket={daemon.path}"],
                          env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "ermission denied" in done.stderr
