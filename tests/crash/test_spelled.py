"""An operator spells what a domain starts from otherwise: before it is started, or before a recovery."""

import pytest

from simulator import SimulatedHost, after_engine_crash
from simulator.checkers.leaks import files, unclean
from simulator.faults.damage import StartFrom, damaged
from tests.crash import running
from tests.crash.harness import GUEST, Operation, every_crash, guest, scribble, truth
from tests.crash.test_every_effect import OPERATIONS
from tests.crash.test_relocate import MOVE, ready
from tests.deep import EXHAUSTIVE
from tests.doctor.damages import UUID
from xensnap.engine.engine import Engine, Result
from xensnap.engine.request import CreateRequest, DeleteRequest, RevertRequest
from xensnap.model import Layer

EVERY = 1 if EXHAUSTIVE else 23


def with_two_slashes(host: SimulatedHost, *, vdevs: str = "xvda xvdb") -> SimulatedHost:
    """The same files under other names, as a link to their directory gives them, too, which is not simulated."""
    world = host.world
    for disk in Engine(host).list(GUEST).domain.disks:
        if disk.vdev in vdevs:
            place, _, name = disk.path.rpartition("/")
            world = damaged(world, StartFrom(UUID, disk.vdev, Layer(f"{place}//{name}", disk.format)))
    return SimulatedHost(world)


@pytest.mark.parametrize("since", ["before the first snapshot", "between snapshots"])
@pytest.mark.parametrize(("kinds", "vdevs"), [("e", "xvda"), ("ei", "xvdb"), ("ee", "xvdb"), ("ie", "xvda xvdb")])
def test_a_directory_that_is_spelled_in_two_ways_is_one(kinds: str, vdevs: str, since: str) -> None:
    host = guest(kinds)
    scribble(host, 0)
    if since == "before the first snapshot":
        host = with_two_slashes(host, vdevs=vdevs)
    held = {}
    for place, name in enumerate(("one", "two", "three")):
        Engine(host).create(GUEST, CreateRequest(name))
        held[name] = host.visible(GUEST)
        assert not Engine(host).diagnose(GUEST, check=True).found, name
        there = dict(files(host.world.fs))
        Engine(host).repair(GUEST)
        assert set(dict(files(host.world.fs))) == set(there)
        scribble(host, place)
        host = with_two_slashes(host, vdevs=vdevs) if since == "between snapshots" else host
    Engine(host).delete(GUEST, DeleteRequest("two"))
    del held["two"]
    for name, wanted in held.items():
        Engine(host).revert(GUEST, RevertRequest(name))
        assert host.visible(GUEST) == wanted
        assert not Engine(host).diagnose(GUEST, check=True).found, name
    for name in held:
        Engine(host).delete(GUEST, DeleteRequest(name))
    assert not list(unclean(host.world.fs))


def started_under_another_name(kinds: str) -> SimulatedHost:
    """A guest whose QEMU calls its images otherwise than the store does."""
    host = running.running(kinds)
    Engine(host).stop(GUEST)
    host = with_two_slashes(host)
    host.start(UUID)
    return host


ON_A_GUEST = [verb for verb in running.OPERATIONS if "live" not in verb]


@pytest.mark.parametrize("verb", ON_A_GUEST)
def test_an_image_of_a_guest_is_known_by_any_name(verb: str) -> None:
    host = started_under_another_name("ie")
    assert all("//" in node.layer.path for node in host.run(host.blocks.nodes(Engine(host).list(GUEST).domain)))
    assert not Engine(host).diagnose(GUEST).found
    plain = running.running("ie")
    for each in (host, plain):
        result = running.OPERATIONS[verb](Engine(each))
        assert isinstance(result, Result)
        assert not result.warnings
        assert not Engine(each).diagnose(GUEST).found
        running.sound(each, verb)
    assert len(Engine(host).view(GUEST).images) == len(Engine(plain).view(GUEST).images)


@pytest.mark.parametrize("verb", ["checkpoint", "revert", "delete", "delete all"])
def test_whoever_dies_on_such_a_guest_it_is_as_before_or_as_after(verb: str) -> None:
    assert running.judge(started_under_another_name("ie"), running.OPERATIONS[verb], every=EVERY) > 10


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
