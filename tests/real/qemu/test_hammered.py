"""Eight processes at once on four domains, two of which run, and each may be killed at any moment: nothing is lost.

The guests themselves tell whether their memory and their disks agree; of the domains that are off, nobody writes to a
disk, so that whatever is taken or given back is the same.
"""

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


def same(lab, domain: Domain, path: str) -> bool:
    now = lab.seen(domain).disks[0]
    compared = ["qemu-img", "compare", "-f", now.format, "-F", "raw", now.path, path]
    return subprocess.run(compared, check=False, capture_output=True).returncode == 0


def test_eight_processes_on_four_domains_lose_nothing(lab) -> None:
    draw, engine = random.Random(6), Engine(lab.host)
    domains: dict[str, Domain] = {}
    for name in RUNNING + OFF:
        uuid = lab.describe(name)
        if name in OFF:
            image = lab.directory / f"{name}-xvda.qcow2"
            tool("qemu-io", "-f", "qcow2", "-c", "write -q -P 7 0 128k", str(image))
            tool("qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(image), str(lab.directory / f"{name}.copy"))
        domains[name] = lab.start(uuid) if name in RUNNING else lab.run(lab.toolstack.inspect(uuid))
        engine.create(name, CreateRequest("base"))
    codes = Counter(code for each in range(ROUNDS) for code in hammer(lab, draw, each))
    assert codes[0] > 0, codes
    assert codes[-signal.SIGKILL] > 0, codes
    for name, domain in domains.items():
        engine.recover(name)
        assert not engine.list(name).pending
        snapshots = engine.list(name).contents.snapshots
        assert "base" in snapshots, codes
        for snapshot in snapshots.values():
            engine.revert(name, RevertRequest(snapshot.name))
            now = lab.seen(domain)
            if name in OFF:
                assert same(lab, domain, str(lab.directory / f"{name}.copy")), snapshot.name
            elif now.state is RunState.RUNNING:
                lab.heard(now)
        engine.delete(name, DeleteRequest(every=True))
        view = engine.view(name)
        assert not any(image.snapshots for image in view.images.values() if image)
        assert not engine.diagnose(name).found
        if lab.seen(domain).state is not RunState.OFF:
            engine.stop(name)
        for disk in lab.seen(domain).disks:
            assert disk.format is Format.QCOW2
            lab.check(disk.layer)
