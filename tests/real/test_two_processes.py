"""Several processes on one host: one at a time on each domain, the others are told who; none loses anything."""

import os
import random
import re
import signal
import subprocess
import sys
from collections import Counter

from tests.real.lab import Lab, command, honest

STORE = "snapshots/0f1e2d3c-4b5a-4978-8796-a5b4c3d2e1f0"


def started(lab: Lab, *words: str, **environment: str) -> "subprocess.Popen[str]":
    more = {**os.environ, "XENSNAP_HOST": lab.host, **environment}
    return subprocess.Popen(command(*words), env=more, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_one_of_two_is_told_who_is_at_work(lab, qemu_img, tmp_path) -> None:
    lab.image("a.qcow2")
    lab.describe("guest", ("a.qcow2", "qcow2"))
    wrapper, pipe, reached = tmp_path / "qemu-img", tmp_path / "go", tmp_path / "reached"
    os.mkfifo(pipe)
    os.mkfifo(reached)
    wrapper.write_text(f'#!/bin/sh\necho here > "{reached}"\nread -r line < "{pipe}"\nexec "{qemu_img}" "$@"\n')
    wrapper.chmod(0o755)
    first = started(lab, "create", "guest", "-n", "one", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert reached.read_text() == "here\n"  # its qemu-img is about to begin, and waits for us
    for words in (["create", "guest", "-n", "two", "--no-wait"], ["delete", "guest", "one", "--no-wait"]):
        told = lab.error(*words)
        assert (told["id"], told["exit_code"], told["effect"]) == ("locked", 4, "none")
        assert re.search(rf"\b{first.pid}\b", told["cause"])
    pipe.write_text("go\n")
    output, errors = first.communicate()
    assert first.returncode == 0, (output, errors)
    assert lab.snapshots() == ["one"]


def test_both_are_done_when_the_second_waits(lab) -> None:
    for name in ("a.qcow2", "b.qcow2"):
        lab.image(name)
    lab.describe("guest", ("a.qcow2", "qcow2"), ("b.qcow2", "qcow2"))
    both = [started(lab, "create", "guest", "-n", name, "--wait", "60") for name in ("one", "two", "three")]
    for process in both:
        output, errors = process.communicate()
        assert process.returncode == 0, (output, errors)
    assert sorted(lab.snapshots()) == ["one", "three", "two"]
    assert sorted(name for _, name in lab.tags(lab.path("a.qcow2"))) == ["one", "three", "two"]
    lab.sound()


def test_a_lock_that_only_an_orphan_holds_names_the_orphan_too(lab) -> None:
    lab.image("a.qcow2")
    lab.describe("guest", ("a.qcow2", "qcow2"))
    lab.ok("create", "guest", "-n", "one")
    # What a qemu-img is that outlives its xensnap: a process with the lock's descriptor, and a note of one long dead.
    with subprocess.Popen(["true"]) as dead:
        dead.wait()
    script = "import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True)"
    script += "; sys.stdin.read()"
    words = [sys.executable, "-c", script, str(lab.path(f"{STORE}/lock"))]
    lab.path(f"{STORE}/lock").write_text(f"process {dead.pid} of root")
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as orphan:
        assert orphan.stdout
        assert orphan.stdout.readline() == b"held\n"
        told = lab.error("create", "guest", "-n", "two", "--no-wait")
        assert told["id"] == "locked"
        assert re.search(rf"\b{orphan.pid}\b", told["cause"]), told["cause"]
        orphan.communicate(b"")
    lab.ok("create", "guest", "-n", "two")


HAMMERS, STROKES = 6, 4


def test_six_processes_that_are_killed_at_random_lose_nothing(lab) -> None:
    draw = random.Random(20140811)
    for domain, name in (("guest", "a"), ("other", "b")):
        lab.image(f"{name}1.qcow2", "1M")
        lab.image(f"{name}2.raw", "1M", format="raw")
        lab.describe(domain, (f"{name}1.qcow2", "qcow2"), (f"{name}2.raw", "raw"))
        lab.ok("create", domain, "-n", "base")
    codes: Counter[int] = Counter()
    strokes = 0
    known = {domain: {"base": lab.shown(domain)} for domain in ("guest", "other")}
    for stroke in range(STROKES):
        for domain, contents in known.items() if stroke else ():
            written(lab, domain, stroke)
            contents[f"w{stroke}"] = lab.shown(domain)
        hammers = []
        for _ in range(HAMMERS):
            strokes += 1
            domain = draw.choice(["guest", "other"])
            names = ["base", *(f"s{number}" for number in range(1, strokes))]
            verb = draw.choice(["create", "create", "revert", "delete", "recover"])
            words = {
                "create": ["create", domain, "-n", f"s{strokes}"],
                "revert": ["revert", domain, draw.choice(names)],
                "delete": ["delete", domain, draw.choice(names[1:] or ["s0"])],
                "recover": ["recover", domain],
            }[verb]
            hammers.append(started(lab, "-v", *words))
        for hammer in hammers:
            if draw.random() < 0.4:
                let_live(hammer, draw.randrange(1, 7))
                hammer.send_signal(signal.SIGKILL)
        for hammer in hammers:
            output, errors = hammer.communicate()
            codes[hammer.returncode] += 1
            if hammer.returncode != -signal.SIGKILL:
                honest(hammer.args, hammer.returncode, output + errors)
    assert codes[0] > 0
    lab.ok("recover")
    for domain in ("guest", "other"):
        verify(lab, domain, known[domain])
    assert {name for name in lab.files() if not name.endswith(".toml")} == {"a1.qcow2", "a2.raw", "b1.qcow2", "b2.raw"}


def let_live(hammer: "subprocess.Popen[str]", steps: int) -> None:
    """Until it has begun so many steps, or has ended."""
    assert hammer.stderr
    for _ in range(steps):
        if not hammer.stderr.readline():
            return


def written(lab: Lab, domain: str, stroke: int) -> None:
    """When nobody is at work the guest has run, and wrote to each of its disks; and a snapshot keeps what it wrote."""
    lab.ok("recover", domain)
    for vdev in ("xvda", "xvdb"):
        lab.guest_writes(100 + stroke, domain, vdev, at=f"{64 * stroke}k")
    lab.ok("create", domain, "-n", f"w{stroke}")


def verify(lab: Lab, domain: str, known: dict[str, dict[str, str]]) -> None:
    """What was taken when nobody else was at work is what it was; everything else is what was there at some time."""
    told = lab.json("info", domain)
    assert known.keys() <= set(lab.snapshots(domain))
    lab.sound()
    shown = lab.shown(domain)
    assert shown in known.values(), told
    for name in lab.snapshots(domain):
        lab.ok("revert", domain, name)
        assert lab.shown(domain) in ([known[name]] if name in known else [*known.values()]), (name, told)
    lab.ok("revert", domain, "base")
    shown = lab.shown(domain)
    for name in lab.snapshots(domain):
        lab.ok("delete", domain, name)
    assert lab.shown(domain) == shown
    lab.sound()
