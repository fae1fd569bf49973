"""G13: how long a command takes that has next to nothing to do."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.benchmarks.images import place, tool
from tests.benchmarks.race import Goal, Race, Side, Sides
from tests.benchmarks.test_real_engine import described
from tests.crash.harness import GUEST, guest
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest
from xensnap.hosts import SimulatedPlace

PROJECT = Path(__file__).parents[2]
FLOOR = "python3 -c pass"
VERBS = {"--version": ["--version"], "--help": ["--help"], "list, real images": ["list", GUEST],
         "list, simulated host": ["list", GUEST]}  # fmt: skip


@pytest.mark.real
@pytest.mark.parametrize("side", [FLOOR, *VERBS])
def test_start(race: Race, qemu_img, side: str) -> None:
    def sides() -> Sides:
        directory, home = place(race), place(race)
        image = directory / "disk.qcow2"
        tool("qemu-img", "create", "-q", "-f", "qcow2", str(image), "1G")
        engine = described(directory, [image])
        environment = {**os.environ, "HOME": str(home), "PYTHONDONTWRITEBYTECODE": ""}
        ours = (str(Path(sys.executable).with_name("xensnap")),)
        simulated = guest("i")
        for number in range(race.upto(10)):
            engine.create(GUEST, CreateRequest(f"s{number}"))
            Engine(simulated).create(GUEST, CreateRequest(f"s{number}"))
        SimulatedPlace(str(home)).write(simulated.world.ended(simulated.pid))

        def run(argv: list[str], host: str) -> Callable[[], object]:
            chosen = {**environment, "XENSNAP_HOST": host}
            return lambda: subprocess.run(argv, cwd=PROJECT, env=chosen, check=True, capture_output=True)

        hosts = {"list, simulated host": f"sim:{home}"}
        made = {FLOOR: Side(run([sys.executable, "-c", "pass"], ""))}
        for name, words in VERBS.items():
            made[name] = Side(run([*ours, *words], hosts.get(name, f"qemu:{directory}")))
        return made

    goals = tuple(Goal("G13", f"`xensnap {verb}`", verb, FLOOR, at_most=4) for verb in VERBS)
    race("start of the command line", sides, goals=goals)
