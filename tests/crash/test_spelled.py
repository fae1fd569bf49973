"""An operator spells what a domain starts from otherwise, before what was interrupted is recovered."""

import pytest

from simulator import SimulatedHost, after_engine_crash
from simulator.faults.damage import StartFrom, damaged
from tests.crash.harness import GUEST, Operation, every_crash, scribble, truth
from tests.crash.test_every_effect import OPERATIONS
from tests.crash.test_relocate import MOVE, ready
from tests.doctor.damages import UUID
from xensnap.engine.engine import Engine
from xensnap.engine.request import DeleteRequest
from xensnap.model import Layer


def with_two_slashes(host: SimulatedHost) -> SimulatedHost:
    """The same files under other names, as a link to their directory gives them, too, which is not simulated."""
    world = host.world
    for disk in Engine(host).list(GUEST).domain.disks:
        place, _, name = disk.path.rpartition("/")
        world = damaged(world, StartFrom(UUID, disk.vdev, Layer(f"{place}//{name}", disk.format)))
    return SimulatedHost(world)


@pytest.mark.parametrize("verb", ["create", "revert", "revert for good"])
def test_a_recovery_knows_what_a_domain_starts_from_by_any_name(verb: str) -> None:
    host = ready("e")
    before = truth(host)
    ended = host.fork()
    OPERATIONS[verb](Engine(ended))
    known = (before, truth(ended))
    recovered = 0
    for point in every_crash(host, OPERATIONS[verb]):
        spelled = with_two_slashes(SimulatedHost(after_engine_crash(point.world)))
        recovered += Engine(spelled).recover(GUEST) is not None
        assert truth(spelled) in known, f"{point!r}"
        assert all(spelled.world.fs.find(disk.path) for disk in Engine(spelled).list(GUEST).domain.disks), f"{point!r}"
    assert recovered > 10


ON_DISKS: dict[str, Operation] = {
    "create": OPERATIONS["create"],
    "delete the last": lambda engine: engine.delete(GUEST, DeleteRequest("branch")),
    "delete all": lambda engine: engine.delete(GUEST, DeleteRequest("root", children=True)),
    "relocate": lambda engine: engine.perform(GUEST, MOVE),
}


@pytest.mark.parametrize("verb", ON_DISKS)
def test_what_a_guest_wrote_meanwhile_under_another_name_stays(verb: str) -> None:
    host = ready("e")
    recovered = 0
    for point in every_crash(host, ON_DISKS[verb]):
        ran = with_two_slashes(SimulatedHost(after_engine_crash(point.world)))
        for place in range(3):  # and leaves one cluster as it is
            scribble(ran, place)
        wrote = ran.visible(GUEST)
        recovered += Engine(ran).recover(GUEST) is not None
        assert ran.visible(GUEST) == wrote, f"{point!r}"
    assert recovered > 10
