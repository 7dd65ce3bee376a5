# SPDX-License-Identifier: Apache-2.0
"""Commands that change something: what they send, what they print, how they follow a task, and their
exit status. The daemon is a stub; whole daemons are asked by tests/api."""
import json
import os
import pty
import subprocess
import time

import pytest

import cli_stub as stub

CARD = "/api/gpu/devices/0000:01:00.0"
DEVICE = {"pci_address": "0000:01:00.0", "driver": "vfio-pci", "state": "ready", "unknown": {}}
VM = {"id": "vm-100", "name": "gpu-workstation", "cpus": 8, "memory": 16384, "state": "running",
      "disks": [{"size": 100, "volume": "vm-100.qcow2"}, {"volume": "old.qcow2"}], "cdrom": ["tiny.iso"],
      "network": [{"kind": "nat", "mac": "52:54:00:12:34:56"}], "os": "linux", "firmware": "uefi",
      "gpu_passthrough": [{"pci_address": "0000:01:00.0"}, {"pci_address": "0000:02:00.0"}],
      "autostart": True, "uuid": "259e6198-c878-88db-9fdb-b0fe352a8e59",
      "created_at": "2026-01-31T12:00:00.000Z", "started_at": "2026-01-31T12:30:00.000Z",
      "warnings": ["this host has no KVM"], "unknown": {}}

PLAN = {"plan": {
    "title": "start VM vm-100", "digest": "0" * 64, "refusals": [], "warnings": ["it takes a while"],
    "steps": [
        {"n": 1, "kind": "claim", "text": "claim 0000:01:00.0 for VM vm-100", "undo": "yes", "writes": []},
        {"n": 2, "kind": "override", "text": "let any driver take 0000:01:00.1 again", "undo": "yes",
         "writes": [{"path": "/sys/bus/pci/devices/0000:01:00.1/driver_override", "value": "\n"}]},
        {"n": 3, "kind": "bind", "text": "bind 0000:01:00.0 to vfio-pci", "undo": "yes",
         "writes": [{"path": "/sys/bus/pci/drivers/vfio-pci/bind", "value": "0000:01:00.0"}]},
        {"n": 4, "kind": "destroy", "text": "end VM vm-100 at once", "undo": "none", "writes": []}]}}

REFUSAL = {"code": "console_card", "subject": "0000:01:00.0", "reason": "the host's console is on it",
           "evidence": "/proc/fb", "fix": "use another one", "can_accept": True}


def task(state, step=0, message=None, result=None, problem=None):
    return {"id": "task-1", "title": "start VM vm-100", "state": state, "step": step, "steps": 13,
            "percent": None, "message": message, "started_at": "2026-01-31T12:00:00.000Z",
            "ended_at": None, "result": result, "problem": problem, "resources": ["vm:vm-100"],
            "requested_by": "uid 0"}


@pytest.fixture
def run(horcrux, daemon):
    def ask(*words, **kw):
        return horcrux(*words, f"--socket={daemon.path}", **kw)
    return ask


def sent(daemon, n=0):
    method, path, headers, body = daemon.seen[n]
    return method, path, headers, json.loads(body) if body else None


# ---- cards ----

def test_bind_and_unbind(run, daemon):
    daemon.on("POST", f"{CARD}/bind-vfio", stub.says(DEVICE))
    daemon.on("POST", f"{CARD}/unbind-vfio", stub.says({**DEVICE, "driver": "nvidia", "state": "host"}))
    done = run("gpu", "bind", "0000:01:00.0")
    assert done.code == 0 and done.out.startswith("0000:01:00.0 is on vfio-pci: ready") and done.err == ""
    method, _, headers, body = sent(daemon)
    assert method == "POST" and body == {"scope": "card"}
    assert headers["Content-Type"] == "application/json" and headers["Prefer"] == "respond-async, wait=1"
    assert "Expect" not in headers
    assert run("gpu", "unbind", "0000:01:00.0").out.startswith("0000:01:00.0 is on nvidia: host")
    assert sent(daemon, 1)[3] is None and "Content-Type" not in daemon.seen[1][2] or \
        daemon.seen[1][2].get("Content-Type") != "application/json"
    run("gpu", "bind", "0000:01:00.0", "--scope=function", "--accept=console_card,no_reset")
    assert sent(daemon, 2)[3] == {"scope": "function", "accept": ["console_card", "no_reset"]}
    run("gpu", "unbind", "0000:01:00.0", "--accept=unknown_holders")
    assert sent(daemon, 3)[3] == {"accept": ["unknown_holders"]}


def test_vfs(run, daemon):
    vfs = ["0000:01:00.4", "0000:01:00.5"]
    daemon.on("PUT", f"{CARD}/sriov", stub.says({**DEVICE, "sriov": {"total": 16, "active": 2, "wanted": 2,
                                                                      "vfs": vfs}}))
    done = run("gpu", "sriov", "0000:01:00.0", "2")
    assert done.code == 0 and done.out == "0000:01:00.0 has 2 of 16 VFs\n" + "".join(v + "\n" for v in vfs)
    method, _, headers, body = sent(daemon)
    assert method == "PUT" and body == {"vfs": 2} and headers["Content-Type"] == "application/json"
    run("gpu", "sriov", "0000:01:00.0", "0", "--accept=unknown_holders")
    assert sent(daemon, 1)[3] == {"vfs": 0, "accept": ["unknown_holders"]}
    seen = len(daemon.seen)
    for words, said in ((["0000:01:00.0"], "ADDRESS VFS is missing"), (["0000:01:00.0", "-1"], "-1"),
                        (["0000:01:00.0", "65536"], "0 to 65535"), (["0000:01:00.0", "two"], "no number of VFs"),
                        (["01:00", "2"], "01:00"), (["0000:01:00.0", "2", "3"], "one word too many")):
        done = run("gpu", "sriov", *words)
        assert done.code == 2 and said in done.err, done.err
    assert len(daemon.seen) == seen, "nothing was asked"


def test_refused(run, daemon):
    daemon.on("POST", f"{CARD}/bind-vfio",
              stub.problem(409, "refused", "the host's console is on it", refusals=[REFUSAL]))
    done = run("gpu", "bind", "0000:01:00.0")
    assert done.code == 3 and done.out == "" and "--accept=console_card" in done.err
    done = run("gpu", "bind", "0000:01:00.0", "-o", "json")
    assert done.code == 3 and json.loads(done.out)["refusals"] == [REFUSAL]
    assert "--accept=console_card" in done.err


# ---- plans ----

def test_a_plan_for_people(run, daemon, golden):
    daemon.on("POST", "/api/vms/vm-100/start?dry_run=true", stub.says(PLAN))
    done = run("vm", "start", "vm-100", "--plan")
    assert done.code == 0 and done.err == ""
    golden("plan.txt", done.out)
    done = run("vm", "start", "vm-100", "--plan", "-o", "json")
    assert done.code == 0 and json.loads(done.out) == PLAN


def test_a_plan_that_is_refused(run, daemon, golden):
    refused = {"plan": {**PLAN["plan"], "steps": [], "refusals": [REFUSAL]}}
    daemon.on("POST", "/api/vms/vm-100/start?dry_run=true", stub.says(refused))
    done = run("vm", "start", "vm-100", "--plan")
    assert done.code == 3
    golden("plan-refused.txt", done.out + done.err)
    daemon.on("POST", "/api/vms/vm-100/start?dry_run=true",
              stub.says({"plan": {**PLAN["plan"], "steps": [], "warnings": []}}))
    done = run("vm", "start", "vm-100", "--plan")
    assert done.code == 0 and "so already" in done.out


# ---- tasks ----

def test_a_task_is_followed(run, daemon):
    daemon.on("POST", "/api/vms/vm-100/start", stub.says(task("queued"), 202))
    daemon.on("GET", "/api/tasks/task-1", stub.says(task("running", 3, "unbind 0000:01:00.1")),
              stub.says(task("running", 3, "unbind 0000:01:00.1")),
              stub.says(task("running", 13, "start the domain\x1b[2J vm-100")),
              stub.says(task("succeeded", 13, result=VM)))
    done = run("vm", "start", "vm-100")
    assert done.code == 0
    assert done.out == "vm-100 is running\n"
    assert done.err == ("3/13 unbind 0000:01:00.1\n13/13 start the domain?[2J vm-100\n"
                        "horcrux: note: this host has no KVM\n")


def test_a_task_that_fails(run, daemon):
    problem = {"code": "conflict", "detail": "the guest did not power off", "status": 409, "title": "x",
               "type": "y", "hint": "end it at once: horcrux vm kill vm-100"}
    daemon.on("POST", "/api/vms/vm-100/stop", stub.says(task("running"), 202))
    daemon.on("GET", "/api/tasks/task-1", stub.says(task("failed", 1, problem=problem)))
    done = run("vm", "stop", "vm-100")
    assert done.code == 1 and done.out == ""
    assert "the guest did not power off" in done.err and "vm kill" in done.err
    daemon.on("GET", "/api/tasks/task-1", stub.says(task("failed", 1, problem={
        **problem, "code": "refused", "refusals": [REFUSAL]})))
    assert run("vm", "stop", "vm-100").code == 3
    daemon.on("GET", "/api/tasks/task-1", stub.problem(404, "not_found", "there is no task task-1"))
    assert run("vm", "stop", "vm-100").code == 1


def test_not_waiting(run, daemon):
    daemon.on("POST", "/api/vms/vm-100/start", stub.says(task("queued"), 202))
    done = run("vm", "start", "vm-100", "--no-wait")
    assert done.code == 0 and done.out == "task-1  start VM vm-100: queued\n"
    assert sent(daemon)[2]["Prefer"] == "respond-async" and len(daemon.seen) == 1
    assert json.loads(run("vm", "start", "vm-100", "--no-wait", "-o", "json").out) == task("queued")


def test_json_of_a_followed_task_is_the_resource(run, daemon):
    daemon.on("POST", "/api/vms/vm-100/start", stub.says(task("queued"), 202))
    daemon.on("GET", "/api/tasks/task-1", stub.says(task("succeeded", 13, result=VM)))
    assert json.loads(run("vm", "start", "vm-100", "-o", "json").out) == VM


def test_progress_on_a_terminal_is_one_line(program, environment, daemon):
    daemon.on("POST", "/api/vms/vm-100/start", stub.says(task("queued"), 202))
    daemon.on("GET", "/api/tasks/task-1", stub.says(task("running", 3, "unbind " + "x" * 300)),
              stub.says(task("running", 4, "bind")), stub.says(task("succeeded", 13, result=VM)))
    ours, theirs = pty.openpty()
    with subprocess.Popen([program, "vm", "start", "vm-100", f"--socket={daemon.path}"], env=environment,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        out, seen = process.stdout.read(), b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:
                break
            if not part:
                break
            seen += part
    os.close(ours)
    assert out == b"vm-100 is running\n" and process.returncode == 0
    assert seen.count(b"\r\x1b[K") == 3 and b"4/13 bind" in seen     # two steps, and wiped at the end
    assert max(len(part) for part in seen.replace(b"\x1b[K", b"").split(b"\r")) < 100


def test_tasks(run, daemon, golden):
    tasks = [task("succeeded", 13, result=VM), {**task("running", 3, "unbind"), "id": "task-2"}]
    daemon.on("GET", "/api/tasks", stub.says(tasks))
    daemon.on("GET", "/api/tasks/task-1", stub.says(tasks[0]))
    daemon.on("GET", "/api/tasks/task-2", stub.says(tasks[1]))
    daemon.on("POST", "/api/tasks/task-2/cancel", stub.says({**tasks[1], "state": "cancelled"}))
    golden("task-list.txt", run("task", "list").out)
    golden("task-show.txt", run("task", "show", "task-2").out)
    done = run("task", "watch", "task-1")
    assert done.code == 0 and done.out == "task-1  start VM vm-100: succeeded\n"
    assert "cancelled" in run("task", "cancel", "task-2").out
    daemon.on("POST", "/api/tasks/task-2/cancel?dry_run=true", stub.says(PLAN))
    assert "Nothing was done" in run("task", "cancel", "task-2", "--plan").out
    assert json.loads(run("task", "list", "-o", "json").out) == tasks
    daemon.on("GET", "/api/tasks", stub.says([]))
    assert "nothing was asked" in run("task", "list").err
    daemon.on("GET", "/api/tasks/task-1", stub.says(task("rolled_back", 5, problem={
        "code": "proof_failed", "detail": "it is not so"})))
    assert run("task", "watch", "task-1").code == 1


# ---- VMs ----

def test_vms(run, daemon, golden):
    daemon.on("GET", "/api/vms", stub.says([VM, {**VM, "id": "vm-2", "state": "stopped", "gpu_passthrough": []}]))
    daemon.on("GET", "/api/vms/vm-100", stub.says(VM))
    golden("vm-list.txt", run("vm", "list").out)
    golden("vm-show.txt", run("vm", "show", "vm-100").out)
    assert json.loads(run("vm", "show", "vm-100", "-o", "json").out) == VM
    daemon.on("GET", "/api/vms", stub.says([]))
    assert "there is no VM" in run("vm", "list").err


def test_making_one_of_options(run, daemon):
    daemon.on("POST", "/api/vms", stub.says({**VM, "state": "stopped"}, 201))
    done = run("vm", "create", "--id=vm-100", "--name", "A box", "--cpus=8", "--memory=16384", "--disk=100",
               "--disk=old.qcow2", "--cdrom=tiny.iso", "--cdrom=b.iso", "--firmware=bios", "--os=windows",
               "--network=none", "--autostart", "--start", "--accept=no_reset",
               "--gpu=0000:01:00.0,rom=card.rom,primary", "--gpu=0000:02:00.0,function")
    assert done.code == 0 and done.out == "vm-100 is stopped\n"
    assert sent(daemon)[3] == {
        "id": "vm-100", "name": "A box", "cpus": 8, "memory": 16384, "firmware": "bios", "os": "windows",
        "network": [{"kind": "none"}], "autostart": True, "start": True, "accept": ["no_reset"],
        "disks": [{"size": 100}, {"volume": "old.qcow2"}], "cdrom": ["tiny.iso", "b.iso"],
        "gpu_passthrough": [{"pci_address": "0000:01:00.0", "rom_file": "card.rom", "primary_gpu": True},
                            {"pci_address": "0000:02:00.0", "multifunction": False}]}
    run("vm", "create", "--cpus=1", "--memory=64")
    assert sent(daemon, 1)[3] == {"cpus": 1, "memory": 64}


def test_one_whose_state_is_not_known(run, daemon):
    vm = {**VM, "state": "unknown", "unknown": {"state": "no libvirt is configured"}}
    daemon.on("POST", "/api/vms", stub.says(vm, 201))
    made = run("vm", "create", "--cpus=1", "--memory=64")
    assert made.code == 0
    assert made.out == "vm-100 was made\nvm-100: whether it runs is not known: no libvirt is configured\n"
    daemon.on("POST", "/api/vms/vm-100/stop", stub.says(vm))
    assert run("vm", "stop", "vm-100").out == "vm-100: whether it runs is not known: no libvirt is configured\n"


def test_making_one_of_a_file(run, daemon, tmp_path):
    daemon.on("POST", "/api/vms", stub.says(VM, 201))
    spec = {"id": "vm-1", "cpus": 1, "memory": 64, "later": {"é": [1]}}
    (tmp_path / "vm.json").write_text(json.dumps(spec), encoding="utf-8")
    assert run("vm", "create", "-f", str(tmp_path / "vm.json")).code == 0
    assert sent(daemon)[3] == spec
    with open(tmp_path / "vm.json", encoding="utf-8") as file:
        run("vm", "create", "-f", "-", "--id=vm-2", "--cpus=4", stdin=file)
    assert sent(daemon, 1)[3] == {**spec, "id": "vm-2", "cpus": 4}


@pytest.mark.parametrize("words", [
    ["--gpu=0000:01:00.0,rom="], ["--gpu=0000:01:00.0,display"], ["--disk=1234567"], ["--cpus=0"],
    ["--memory=lots"], ["--firmware=coreboot"], ["-f", "/there/is/none"], ["--cdrom="], ["one", "word"]], ids=str)
def test_wrong_words_ask_nothing(run, daemon, words):
    assert run("vm", "create", *words).code == 2
    assert daemon.seen == []


@pytest.mark.parametrize("text", [b"{", b"[]", b'{"a": 1, "a": 2}', b"\xff", b" " * 300000], ids=lambda t: str(t[:9]))
def test_files_that_are_none(run, daemon, tmp_path, text):
    (tmp_path / "vm.json").write_bytes(text)
    done = run("vm", "create", "-f", str(tmp_path / "vm.json"))
    assert done.code == 2 and "vm.json" in done.err
    assert daemon.seen == []


def test_a_field_that_is_wrong(run, daemon):
    daemon.on("POST", "/api/vms", stub.problem(422, "invalid_value", "there is no VM of 0 CPUs", pointer="/cpus"))
    done = run("vm", "create", "--cpus=1", "--memory=64")
    assert done.code == 1 and "(at /cpus)" in done.err


def test_ends(run, daemon):
    for verb in ("stop", "kill", "restart"):
        daemon.on("POST", f"/api/vms/vm-100/{verb}", stub.says({**VM, "state": "stopped"}))
    assert run("vm", "stop", "vm-100").out == "vm-100 is stopped\n"
    assert sent(daemon)[3] == {}
    run("vm", "stop", "vm-100", "--within=5")
    assert sent(daemon, 1)[3] == {"timeout_s": 5}
    run("vm", "kill", "vm-100")
    assert sent(daemon, 2)[1] == "/api/vms/vm-100/kill"
    run("vm", "restart", "vm-100", "--within=9", "--accept=no_reset")
    assert sent(daemon, 3)[3] == {"timeout_s": 9, "accept": ["no_reset"]}


def test_deleting(run, daemon):
    nothing = lambda handler: handler.reply(204, b"")      # noqa: E731
    daemon.on("DELETE", "/api/vms/vm-100", nothing)
    daemon.on("DELETE", "/api/vms/vm-100?delete_disks=true", nothing)
    daemon.on("DELETE", "/api/vms/vm-100?dry_run=true&delete_disks=true", stub.says(PLAN))
    assert run("vm", "delete", "vm-100").out == "vm-100 is deleted\n"
    assert run("vm", "delete", "vm-100", "--delete-disks").code == 0
    assert "Nothing was done" in run("vm", "delete", "vm-100", "--delete-disks", "--plan").out
    assert [s[1] for s in daemon.seen] == ["/api/vms/vm-100", "/api/vms/vm-100?delete_disks=true",
                                           "/api/vms/vm-100?dry_run=true&delete_disks=true"]


def test_the_domain(run, daemon):
    text = b"<domain>\n  <name>\xc3\xa9</name>\n</domain>\n"
    daemon.on("GET", "/api/vms/vm-100/domain.xml", lambda handler: handler.reply(200, text, "application/xml"))
    done = run("vm", "xml", "vm-100")
    assert done.code == 0 and done.out.encode() == text
    assert daemon.seen[0][2]["Accept"] == "application/xml"


@pytest.mark.parametrize("words", [
    ("gpu", "bind", "0000:01:00.0"), ("gpu", "unbind", "0000:01:00.0"), ("task", "list"), ("vm", "list"),
    ("vm", "create", "--cpus=1", "--memory=64"), ("vm", "start", "vm-1"), ("vm", "xml", "vm-1")], ids=" ".join)
def test_without_a_daemon(horcrux, tmp_path, words):
    assert horcrux(*words, f"--socket={tmp_path}/none").code == 4
    done = horcrux(*words, f"--host-root={tmp_path}")
    assert done.code == 2 and "only a daemon" in done.err


def test_ids_that_could_be_paths(run, daemon):
    for words in (["vm", "start", "../x"], ["vm", "show", "VM"], ["task", "show", "../x"], ["task", "watch", ""]):
        assert run(*words).code == 2
    assert daemon.seen == []


def test_answers_of_another_shape_are_no_crash(run, daemon):
    for body in ({}, [], "x", 7, None, [[]], [7, {"state": 3}], {"plan": 7}, {"plan": {"steps": 5}},
                 {"id": 5, "state": "running", "warnings": "x"}):
        for method, path, words in (
                ("GET", "/api/vms", ["vm", "list"]), ("GET", "/api/vms/a", ["vm", "show", "a"]),
                ("GET", "/api/tasks", ["task", "list"]), ("GET", "/api/tasks/a", ["task", "show", "a"]),
                ("POST", "/api/vms", ["vm", "create", "--cpus=1", "--memory=64"]), ("POST", "/api/vms/a/start", ["vm", "start", "a"]),
                ("POST", "/api/vms/a/start?dry_run=true", ["vm", "start", "a", "--plan"]),
                ("POST", f"{CARD}/bind-vfio", ["gpu", "bind", "0000:01:00.0"])):
            daemon.on(method, path, stub.says(body))
            assert run(*words).code in (0, 1), (words, body)
        daemon.on("POST", "/api/vms/a/kill", stub.says(body, 202))
        assert run("vm", "kill", "a").code in (0, 1), body


def test_a_daemon_that_dies_on_the_way(run, daemon):
    daemon.on("POST", "/api/vms/vm-100/start", stub.says(task("queued"), 202))
    daemon.on("GET", "/api/tasks/task-1", stub.half(b"{"))
    began = time.monotonic()
    assert run("vm", "start", "vm-100").code == 4
    assert time.monotonic() - began < 10


def test_completion_of_vms(horcrux, daemon):
    daemon.on("GET", "/api/vms", stub.says([VM]))
    daemon.on("GET", "/api/tasks", stub.says([task("running")]))
    assert horcrux("--generate=vms", f"--socket={daemon.path}").out == "vm-100\n"
    assert horcrux("--generate=tasks", f"--socket={daemon.path}").out == "task-1\n"
