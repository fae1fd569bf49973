"""Two domains with their images in one directory: what is done to the one takes nothing from the other."""

from collections.abc import Callable

import pytest

from simulator import SimulatedHost, after_engine_crash
from simulator.core.effects import Cut
from tests.crash.harness import CLUSTER, GUEST, every_crash, guest
from xensnap.engine.engine import Engine
from xensnap.engine.names import is_half_written
from xensnap.engine.request import CreateRequest, RenameRequest
from xensnap.model import Disk, Format

NEIGHBOUR = "neighbour"


def neighbours() -> SimulatedHost:
    """Two domains, each with a snapshot `first` that has a copy of its record beside the images."""
    host = guest("e")
    layer = host.create_image("/images/neighbour.raw", Format.RAW, 4 * CLUSTER)
    host.add_domain(NEIGHBOUR, "7d6d5f1b-2f0c-4c57-9d5c-0c1f6f0f8a11", [Disk("xvda", layer.path, layer.format)])
    for name in (GUEST, NEIGHBOUR):
        Engine(host).create(name, CreateRequest("first"))
    return host


def renamed(name: str) -> Callable[[Engine], object]:
    return lambda engine: engine.perform(name, RenameRequest("first", "last"))


def repaired(engine: Engine) -> object:
    return engine.repair(GUEST)


@pytest.mark.parametrize("deed", [lambda engine: engine.recover(GUEST), repaired], ids=["recover", "doctor --repair"])
def test_what_one_is_writing_stays_when_the_other_is_tidied_up(deed: Callable[[Engine], object]) -> None:
    died = [SimulatedHost(after_engine_crash(point.world)) for point in every_crash(neighbours(), renamed(GUEST))]
    tried = 0
    for host in died[::5]:
        for point in every_crash(host, renamed(NEIGHBOUR)):
            halves = {name for name in point.world.fs.names("/images") if is_half_written(name)}
            if point.cut is not Cut.PARTLY or not any("neighbour" in name for name in halves):
                continue
            beside = SimulatedHost(point.world)
            deed(Engine(beside))
            left = set(beside.world.fs.names("/images"))
            assert {name for name in halves if "neighbour" in name} <= left, f"{point!r}"
            assert Engine(beside).list(GUEST).pending == ""
            tried += 1
    assert tried > 5
