# SPDX-License-Identifier: Apache-2.0
"""Cards on a real kernel: taken from their host drivers and given back, refused where they must be,
with daemons that die at every step and a kernel that does not come back."""

import json
import re
import threading
import time

TWO = ["0000:01:00.0", "0000:01:00.1"]
ONE = "0000:02:00.0"
DIRTY = ["0000:04:01.0", "0000:04:02.0"]
DEVICES = "/api/gpu/devices"

# Opens a function through VFIO and lets the file fly: queued in a socket, it is in no process's table, so
# nobody can see who has it, and an unbind of the function waits for it.
HIDE = """
import fcntl, os, socket, array, sys, time
group, address = sys.argv[1:]
container, g = os.open("/dev/vfio/vfio", os.O_RDWR), os.open("/dev/vfio/" + group, os.O_RDWR)
number = lambda n: ord(";") << 8 | 100 + n
fcntl.ioctl(g, number(4), array.array("i", [container]))
fcntl.ioctl(container, number(2), 1)
device = fcntl.ioctl(g, number(6), array.array("b", address.encode() + b"\\0"))
a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
socket.send_fds(a, [b"x"], [device])
os.close(device); os.close(g); os.close(container)
print("hidden", flush=True)
time.sleep(1000)
"""


def drivers(machine, addresses):
    found = machine.functions()
    return [found[a]["driver"] for a in addresses]


def settings(machine, addresses):
    """Everything that taking a card changes, read by hand."""
    return machine.ssh("for a in " + " ".join(addresses) + "; do cd /sys/bus/pci/devices/$a; echo $a "
                       "$(basename $(readlink driver)) $(cat driver_override power/control d3cold_allowed); done").out


def bind(machine, address, body=None, **headers):
    return machine.api("POST", f"{DEVICES}/{address}/bind-vfio", body, headers)


def unbind(machine, address, body=None):
    return machine.api("POST", f"{DEVICES}/{address}/unbind-vfio", body)


def codes(answer):
    return sorted({r["code"] for r in answer.body["refusals"]})


def group_is_viable(machine, address):
    group = machine.functions()[address]["group"]
    return machine.ssh(f"test -c /dev/vfio/{group}", check=False).rc == 0


def test_two_function_card_there_and_back(machine):
    before = settings(machine, TWO)
    answer = bind(machine, TWO[0])
    assert answer.status == 200 and answer.body["driver"] == "vfio-pci" and answer.body["state"] == "ready"
    assert drivers(machine, TWO) == ["vfio-pci", "vfio-pci"]
    assert group_is_viable(machine, TWO[0])
    assert "on 0" in settings(machine, TWO[:1])
    answer = unbind(machine, TWO[1])
    assert answer.status == 200 and answer.body["driver"] == "snd_hda_intel" and answer.body["state"] == "host"
    assert settings(machine, TWO) == before
    assert drivers(machine, TWO) == ["radeon", "snd_hda_intel"]


def test_bochs_display_there_and_back(machine):
    before = settings(machine, [ONE])
    assert bind(machine, ONE).status == 200
    assert drivers(machine, [ONE]) == ["vfio-pci"]
    assert bind(machine, ONE).status == 200, "what is so already is 200"
    assert unbind(machine, ONE).status == 200
    assert settings(machine, [ONE]) == before


def test_card_of_nvidias_ids(machine):
    address = machine.plug_card("nvidia", bus="rp5")
    answer = bind(machine, address)
    assert answer.status == 200 and answer.body["device_name"].startswith("GA100")
    assert unbind(machine, address).status == 200
    assert drivers(machine, [address]) == [None]
    machine.unplug("nvidia")
    machine.wait(f"! horcrux gpu show {address} >/dev/null 2>&1", timeout=10, what="the card is gone from the list")


def test_dry_run_touches_nothing(machine):
    before = settings(machine, TWO)
    plan = machine.api("POST", f"{DEVICES}/{TWO[0]}/bind-vfio?dry_run=true").body["plan"]
    assert [s["kind"] for s in plan["steps"]].count("unbind") == 2
    assert settings(machine, TWO) == before
    answer = bind(machine, TWO[0], **{"If-Plan": "0" * 64})
    assert answer.status == 409 and answer.body["code"] == "plan_changed"
    assert settings(machine, TWO) == before


def test_dirty_group_is_refused_and_nothing_touched(machine):
    before = settings(machine, DIRTY)
    answer = bind(machine, DIRTY[0])
    assert answer.status == 409 and "group_blocked" in codes(answer)
    blocked = [r for r in answer.body["refusals"] if r["code"] == "group_blocked"]
    assert [r["subject"] for r in blocked] == [DIRTY[1]]
    assert settings(machine, DIRTY) == before


def test_console_card_is_refused_then_accepted_by_name(machine):
    console = machine.ssh("grep -l 1 /sys/bus/pci/devices/*/boot_vga").out.split("/")[5]
    before = settings(machine, [console])
    answer = bind(machine, console)
    assert answer.status == 409 and "console_card" in codes(answer)
    assert settings(machine, [console]) == before
    answer = bind(machine, console, {"accept": ["no_reset"]})
    assert answer.status == 409 and codes(answer) == ["console_card"]
    answer = bind(machine, console, {"accept": ["console_card", "no_reset"]})
    assert answer.status == 200 and answer.body["driver"] == "vfio-pci"
    assert unbind(machine, console).status == 200
    machine.wait("grep -q bochs /proc/fb", timeout=20, what="the console is back on its card")
    assert settings(machine, [console]) == before


def test_two_binds_at_once_are_one_set_of_writes(machine):
    machine.ssh("journalctl --rotate && journalctl --vacuum-time=1s")
    answers = []
    threads = [threading.Thread(target=lambda a=a: answers.append(bind(machine, a))) for a in TWO]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [a.status for a in answers] == [200, 200]
    said = machine.ssh("journalctl -u horcrux-privd -o cat").out
    done = re.findall(r"\b(\w+) 0000:01:00\.[01](?=[,:].*ok)", said)
    assert done.count("unbind") == 2 and done.count("bind") == 2
    assert unbind(machine, TWO[0]).status == 200


def test_who_hangs_up_at_once_changes_nothing(machine):
    """A local user of no group sends a whole bind and closes: the kernel then says uid 0 of its socket."""
    machine.ssh("id lab-stranger >/dev/null 2>&1 || useradd lab-stranger")
    before = settings(machine, TWO)
    script = ("import socket\nfor i in range(60):\n s=socket.create_connection(('127.0.0.1',8006))\n"
              " s.sendall(b'POST /api/gpu/devices/0000:01:00.0/bind-vfio HTTP/1.1\\r\\nHost: localhost:8006\\r\\n"
              "Content-Length: 0\\r\\n\\r\\n')\n s.close()\n")
    machine.push(script.encode(), "/tmp/stranger.py", mode="644")
    machine.ssh("setpriv --reuid=lab-stranger --regid=lab-stranger --clear-groups python3 /tmp/stranger.py")
    time.sleep(2)
    assert settings(machine, TWO) == before
    out = machine.ssh("setpriv --reuid=lab-stranger --regid=lab-stranger --clear-groups curl -s -o /dev/null "
                      "-w '%{http_code}' -XPOST http://localhost:8006/api/gpu/devices/0000:01:00.0/bind-vfio").out
    assert out == "401"
    assert [t for t in machine.api("GET", "/api/tasks?state=running").body] == []


def test_a_held_card_is_not_taken_and_not_given_back(machine):
    card = machine.ssh(f"ls /sys/bus/pci/devices/{ONE}/drm | grep card").out.split()[0]
    machine.ssh(f"nohup sh -c 'exec 3</dev/dri/{card}; exec sleep 1000' >/dev/null 2>&1 & echo $! >/tmp/holder.pid")
    time.sleep(0.5)
    answer = bind(machine, ONE)
    assert answer.status == 409 and codes(answer) == ["held"]
    assert "sleep" in answer.body["refusals"][0]["reason"]
    machine.wait(f"horcrux gpu show {ONE} -o json | grep -q '\"in_use\":true'", timeout=20)
    machine.ssh("kill $(cat /tmp/holder.pid)")
    machine.wait(f"horcrux gpu show {ONE} -o json | grep -q '\"in_use\":false'", timeout=20)
    assert bind(machine, ONE).status == 200
    assert unbind(machine, ONE).status == 200


def test_a_real_stuck_unbind(machine):
    """The unbind of a function whose file nobody shows: the card is stuck, all else goes on, and when the
    file goes its task is brought to an end by itself."""
    before = settings(machine, [ONE])
    assert bind(machine, ONE).status == 200
    group = machine.functions()[ONE]["group"]
    machine.push(HIDE.encode(), "/tmp/hide.py", mode="644")
    machine.ssh(f"nohup python3 /tmp/hide.py {group} {ONE} >/tmp/hide.out 2>&1 & echo $! >/tmp/hide.pid")
    machine.wait("grep -q hidden /tmp/hide.out", timeout=20, what="the file is hidden")
    answer = machine.api("POST", f"{DEVICES}/{ONE}/unbind-vfio", None, {"Prefer": "wait=120"}, timeout=180)
    assert answer.status == 504 and answer.body["code"] == "stuck", answer.body
    task = answer.body["task"]
    assert machine.api("GET", f"/api/tasks/{task}").body["state"] == "stuck"
    machine.wait(f"horcrux gpu show {ONE} -o json | grep -q '\"state\":\"stuck\"'", timeout=10)
    again = bind(machine, ONE)
    assert again.status == 409 and "stuck" in {r["code"] for r in again.body["refusals"]}, again.body
    assert bind(machine, TWO[0]).status == 200, "other cards work"
    assert unbind(machine, TWO[0]).status == 200
    start = time.monotonic()
    machine.ssh("systemctl kill --kill-whom=main -s KILL horcrux-privd")
    machine.wait("systemctl is-active -q horcrux-privd && horcrux gpu list >/dev/null", timeout=20)
    assert time.monotonic() - start < 15
    machine.ssh("systemctl restart horcruxd")
    assert machine.api("GET", f"/api/tasks/{task}").body["state"] == "stuck", "it is not forgotten"
    assert machine.api("GET", f"{DEVICES}/{ONE}").body["state"] == "stuck"
    machine.ssh("kill $(cat /tmp/hide.pid)")
    machine.wait(f"! curl -s localhost:8006/api/tasks/{task} | grep -q '\"state\":\"stuck\"'", timeout=60)
    ended = machine.api("GET", f"/api/tasks/{task}").body
    assert ended["state"] in ("succeeded", "rolled_back"), ended
    wanted = "bochs-drm" if ended["state"] == "succeeded" else "vfio-pci"
    assert drivers(machine, [ONE]) == [wanted], "it comes by itself to where its task says"
    assert unbind(machine, ONE).status == 200
    assert settings(machine, [ONE]) == before


def test_command_line_says_the_same(machine):
    listed = json.loads(machine.ssh("horcrux gpu list -o json").out)
    assert listed == machine.api("GET", DEVICES).body
    offline = json.loads(machine.ssh("horcrux --host-root=/ gpu list -o json 2>/dev/null").out)
    assert [d["pci_address"] for d in offline] == [d["pci_address"] for d in listed]
    assert [d["driver"] for d in offline] == [d["driver"] for d in listed]
