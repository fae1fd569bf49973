"""Eight processes at once on four domains, two of which run, and each may be killed at any moment: nothing is lost.

Between two rounds, when nobody is at work, every guest writes, and a snapshot keeps that. The guests that run tell
themselves whether their memory and their disks agree, and where in their life they are; the disks of the others are
compared.
"""

import hashlib
import os
import random
import signal
import subprocess
import threading
from collections import Counter

from tests.real.lab import command, honest, tool
from xensnap.engine import CreateRequest, DeleteRequest, Engine, RevertRequest
from xensnap.model import Domain, Format, RunState

HAMMERS, ROUNDS = 8, 3
RUNNING, OFF = ("one", "two"), ("three", "four")
DEADLY = 0.4
"""How many of the processes are killed."""


def words(draw: random.Random, number: int) -> list[str]:
    """What a process does; the names are of this round or of one before, or of nobody."""
    domain, some = draw.choice(RUNNING + OFF), f"s{draw.randrange(number + 1)}"
    kinds = [["--disk-only"], []] if domain in RUNNING else [[]]
    return draw.choice(
        [
            ["create", domain, "-n", f"s{number}", *draw.choice(kinds), "--wait", "20"],
            ["create", domain, "-n", f"s{number}", *draw.choice(kinds)],
            ["revert", domain, draw.choice(["base", some])],
            ["delete", domain, some],
            ["recover", domain],
        ]
    )


def hammer(lab, draw: random.Random, round_: int) -> list[int]:
    """Eight processes at once, some of which are killed after a few steps; how they ended."""
    environment = {**os.environ, "XENSNAP_HOST": f"qemu:{lab.directory}"}
    started = [
        subprocess.Popen(
            command("-v", *words(draw, round_ * HAMMERS + each)),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for each in range(HAMMERS)
    ]
    doomed = [
        threading.Thread(target=killed_after, args=(process, draw.randrange(1, 6)))
        for process in started
        if draw.random() < DEADLY
    ]
    for each in doomed:
        each.start()
    for each in doomed:
        each.join()
    for process in started:
        output, errors = process.communicate()
        if process.returncode != -signal.SIGKILL:
            honest(process.args, process.returncode, output + errors)
    return [process.returncode for process in started]


def killed_after(process: "subprocess.Popen[str]", steps: int) -> None:
    """Kill it when it has begun so many steps; one that has ended by then was quicker."""
    assert process.stderr
    for _ in range(steps):
        process.stderr.readline()
    process.send_signal(signal.SIGKILL)


Moment = tuple[object, object]
"""Of a guest that runs, the numbers that it had reached before and after; else what is on both disks, twice."""


def written(lab, engine: Engine, domain: Domain, number: int) -> Moment:
    """When nobody is at work the guest goes on, and the snapshot `w...` keeps what it has written."""
    engine.recover(domain.name)
    if domain.name in OFF:
        for disk in lab.seen(domain).disks:
            place = ["write", "-q", "-P", f"{number + 1}", f"{number * 64}k", "64k"]
            tool("qemu-io", "-f", disk.format, "-c", " ".join(place), disk.path)
        engine.create(domain.name, CreateRequest(f"w{number}"))
        return (shown(lab, domain),) * 2
    if lab.seen(domain).state is RunState.OFF:
        engine.start(domain.name)
    before = lab.heard(domain, reports=1)
    engine.create(domain.name, CreateRequest(f"w{number}"))
    return before, lab.heard(domain, reports=1)


def shown(lab, domain: Domain) -> tuple[str, ...]:
    """What is on the disks of a domain that is off."""
    found = []
    for disk in lab.seen(domain).disks:
        copy = lab.directory / "shown"
        tool("qemu-img", "convert", "-f", disk.format, "-O", "raw", disk.path, str(copy))
        found.append(hashlib.sha256(copy.read_bytes()).hexdigest())
        copy.unlink()
    return tuple(found)


def verify(lab, domain: Domain, name: str, known: dict[str, Moment]) -> None:
    """The domain is back at this snapshot: where it was when that was taken, or, of another process, at some time."""
    now = lab.seen(domain)
    if domain.name in OFF:
        some = [known[name]] if name in known else known.values()
        assert shown(lab, domain) in [moment[0] for moment in some], name
    elif now.state is RunState.RUNNING:
        lab.heard(now)
        if name in known:
            before, after = known[name]
            assert isinstance(before, int)
            assert isinstance(after, int)
            assert before <= lab.said(now)[0][0] <= after + 4, name  # it speaks in every fourth round


def test_eight_processes_on_four_domains_lose_nothing(lab) -> None:
    draw, engine = random.Random(6), Engine(lab.host)
    domains: dict[str, Domain] = {}
    for name in RUNNING + OFF:
        uuid = lab.describe(name)
        domains[name] = lab.start(uuid) if name in RUNNING else lab.run(lab.toolstack.inspect(uuid))
        engine.create(name, CreateRequest("base"))
    known: dict[str, dict[str, Moment]] = {name: {} for name in RUNNING}
    known |= {name: {"base": (shown(lab, domains[name]),) * 2} for name in OFF}
    codes: Counter[int] = Counter()
    for number in range(ROUNDS):
        for name, domain in domains.items():
            known[name][f"w{number}"] = written(lab, engine, domain, number)
        codes.update(hammer(lab, draw, number))
    assert codes[0] > 0, codes
    assert codes[-signal.SIGKILL] > 0, codes
    for name, domain in domains.items():
        engine.recover(name)
        assert not engine.list(name).pending
        snapshots = engine.list(name).contents.snapshots
        assert {"base", *known[name]} <= snapshots.keys(), codes
        for snapshot in snapshots.values():
            engine.revert(name, RevertRequest(snapshot.name))
            verify(lab, domain, snapshot.name, known[name])
        engine.delete(name, DeleteRequest(every=True))
        view = engine.view(name)
        assert not any(image.snapshots for image in view.images.values() if image)
        assert not engine.diagnose(name).found
        if lab.seen(domain).state is not RunState.OFF:
            engine.stop(name)
        for disk in lab.seen(domain).disks:
            assert disk.format is Format.QCOW2
            lab.check(disk.layer)
