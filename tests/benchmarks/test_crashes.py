"""G10: how many deaths can be tried in a second, in simulated worlds and with a real SIGKILL."""

import signal
import subprocess
import sys
from itertools import cycle
from pathlib import Path

import pytest

from simulator import SimulatedHost, World
from simulator.faults.crash import after_engine_crash
from tests.benchmarks.images import place, tool
from tests.benchmarks.race import Goal, Race, Side, Sides
from tests.benchmarks.test_real_engine import GUEST as REAL_GUEST
from tests.benchmarks.test_real_engine import described
from tests.crash import harness
from tests.crash.harness import DEATHS, GUEST, every_crash, guest, scribble, truth
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest

DISKS = 4
PROJECT = Path(__file__).parents[2]
FORKED, RERUN, JUDGED = "die and recover, forked", "the same, run anew", "the same, forked and judged"
KILLED = "SIGKILL"

# The child kills itself when all disks have their snapshot and nothing is decided, so recovery takes them away again.
_CHILD = """
import os, signal, sys
from xensnap.backends.qemu.host import QemuHost
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest
def watch(progress):
    if progress.text == "write down the decision":
        os.kill(os.getpid(), signal.SIGKILL)
Engine(QemuHost(sys.argv[1]), watch=watch).create("guest", CreateRequest("one"))
"""


def create(engine: Engine) -> None:
    """What is interrupted."""
    engine.create(GUEST, CreateRequest("more"))


@pytest.mark.parametrize("side", [FORKED, RERUN, JUDGED])
def test_simulated_deaths(race: Race, side: str) -> None:
    def sides() -> Sides:
        host = guest("i" * DISKS)
        scribble(host, 0)
        Engine(host).create(GUEST, CreateRequest("first"))
        ended = host.fork()
        create(Engine(ended))
        before, after = truth(host), truth(ended)
        points = list(every_crash(host, create))
        deaths, judging = (cycle([(point, death) for point in points for _, death in DEATHS]) for _ in range(2))
        numbers = cycle(range(len(points)))

        def forked() -> SimulatedHost:
            point, death = next(deaths)
            survivor = SimulatedHost(death(point.world))
            Engine(survivor).recover(GUEST)
            return survivor

        def judged() -> None:
            point, death = next(judging)
            harness._recovered(SimulatedHost(death(point.world)), before, after, "", strange=set(), planned=set())

        def rerun() -> None:
            running, stop = host.fork(), points[next(numbers)].number
            with running.recording():
                create(Engine(running))
            world: World = next(point.world for point in running.recorded if point.number == stop)
            Engine(SimulatedHost(after_engine_crash(world))).recover(GUEST)

        if race.smoke:
            return {FORKED: Side(forked), RERUN: Side(rerun), JUDGED: Side(judged)}
        # A round is every death once, since they are not equally hard.
        every = len(points) * len(DEATHS)
        return {
            FORKED: Side(forked, times=every),
            RERUN: Side(rerun, times=len(points)),
            JUDGED: Side(judged, times=every),
        }

    goals = (
        Goal("G10", f"deaths a second, {DISKS} disks, forked", FORKED, at_least=6000),
        Goal("G10", f"deaths a second, {DISKS} disks, run anew", RERUN, at_least=1500),
    )
    race(f"simulated deaths in a create of {DISKS} disks", sides, rounds=5, goals=goals)


@pytest.mark.real
@pytest.mark.parametrize("side", [FORKED, KILLED])
def test_real_deaths(race: Race, qemu_img, side: str) -> None:
    def sides() -> Sides:
        directory = place(race)
        paths = [directory / f"d{number}.qcow2" for number in range(DISKS)]
        for path in paths:
            tool("qemu-img", "create", "-q", "-f", "qcow2", str(path), "1G")
        engine = described(directory, paths)

        def killed() -> None:
            child = subprocess.run([sys.executable, "-c", _CHILD, str(directory)], cwd=PROJECT, check=False)
            assert child.returncode == -signal.SIGKILL
            assert engine.recover(REAL_GUEST) is not None

        host = guest("i" * DISKS)
        worlds = [death(point.world) for point in every_crash(host, create) for _, death in DEATHS]
        deaths = cycle(worlds)

        def forked() -> None:
            Engine(SimulatedHost(next(deaths))).recover(GUEST)

        return {FORKED: Side(forked, times=1 if race.smoke else len(worlds)), KILLED: Side(killed)}

    goal = Goal("G10", "one real SIGKILL and recovery against a simulated one", KILLED, FORKED, at_least=200)
    race(f"deaths in a create of {DISKS} disks, real and simulated", sides, rounds=9, goals=(goal,))
