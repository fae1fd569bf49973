"""A domain that was made anew from a file without `uuid=`: it has another UUID, and its snapshots are still its own."""

from collections.abc import Callable
from functools import partial

import pytest
from msgspec.structs import replace

from simulator import SimulatedHost, World
from simulator.checkers.leaks import files, unclean
from simulator.faults import damage as d
from tests.crash.harness import (
    CLUSTER,
    DEATHS,
    ENGINE_DEATHS,
    GUEST,
    TRIED,
    every_crash,
    guest,
    held_by,
    sampled,
    scribble,
    truth,
)
from tests.deep import EXHAUSTIVE
from tests.doctor.damages import OTHER, UUID, off, on
from xensnap.doors import DoorHost
from xensnap.engine import formers
from xensnap.engine.engine import Engine
from xensnap.engine.records import Contents, load
from xensnap.engine.request import CreateRequest, DeleteRequest, ForgetRequest, RestoreRequest, RevertRequest
from xensnap.errors import ExitCode, NotFound, Refused
from xensnap.model import Disk, DomainUuid, Format, Layer, RunState

ROOT = SimulatedHost.root
EVERY = 1 if EXHAUSTIVE else 11
THIRD = "7ea6cedd-df7a-4aac-b8f4-3b713d7bb010"


def thrown(kinds: str) -> SimulatedHost:
    """As `off`, with a snapshot in the trash, and one whose record was taken away."""
    host = off(kinds)
    Engine(host).perform(GUEST, ForgetRequest("leaf"))
    Engine(host).delete(GUEST, DeleteRequest("branch", metadata_only=True))
    return host


def with_memory(kinds: str) -> SimulatedHost:
    """With a checkpoint, and off."""
    host = on(kinds)
    Engine(host).stop(GUEST)
    return host


def idle() -> SimulatedHost:
    """Frozen overlays that hold nothing, on a branch that the domain has left."""
    host = guest("e")
    scribble(host, 0)
    for name in ("root", "leaf", "tip"):
        Engine(host).create(GUEST, CreateRequest(name))
    Engine(host).revert(GUEST, RevertRequest("root"))
    return host


WORLDS: dict[str, Callable[[], SimulatedHost]] = {
    "off, i": partial(off, "i"),
    "off, e": partial(off, "e"),
    "off, ie": partial(off, "ie"),
    "with a trash": partial(thrown, "ie"),
    "with memory": partial(with_memory, "ie"),
    "on images without data": idle,
}


def renewed(host: SimulatedHost, *more: d.Damage) -> SimulatedHost:
    """The domain has another UUID now."""
    return SimulatedHost(damaged(host.world, *more, d.NewUuid(UUID, OTHER)))


def damaged(world: World, *damages: d.Damage) -> World:
    for each in damages:
        world = d.damaged(world, each)
    return world


def contents(host: SimulatedHost, uuid: str) -> Contents:
    return host.run(load(host, DomainUuid(uuid)))


def refused(host: SimulatedHost) -> str:
    """The doctor finds it, repairs nothing, and says why."""
    before, there = truth(host), dict(files(host.world.fs))
    diagnosis = Engine(host).repair(GUEST)
    (found,) = (each for each in diagnosis.found if each.id == "uuid-changed")
    assert not diagnosis.failed
    assert found.repair is None
    assert found.remedy
    assert truth(host) == before
    assert held_by(host, contents(host, UUID).snapshots)
    assert set(there) <= set(dict(files(host.world.fs)))
    return found.cause


@pytest.mark.parametrize("name", WORLDS)
def test_the_doctor_lets_the_domain_have_its_snapshots_again(name: str) -> None:
    host = WORLDS[name]()
    before, log = seen(host), Engine(host).audit(GUEST)[1]
    there = contents(host, UUID)
    host = renewed(host)
    (found,) = (each for each in Engine(host).diagnose(GUEST).found if each.id == "uuid-changed")
    assert found.repair
    diagnosis = Engine(host).repair(GUEST, check=True)
    assert not diagnosis.failed
    assert seen(host) == before
    here = contents(host, OTHER)
    assert (set(here.trashed), here.state.parked) == (set(there.trashed), there.state.parked)
    assert [each.name for each in here.state.let_go] == [each.name for each in there.state.let_go]
    assert {each.domain_uuid for each in (*here.snapshots.values(), *here.state.let_go)} == {OTHER}
    left = {path for path, _ in files(host.world.fs) if path.startswith(f"{ROOT}/{UUID}/")}
    assert left <= {f"{ROOT}/{UUID}/lock"}
    assert Engine(host).audit(GUEST)[1][: len(log)] == log
    healthy(host)


def seen(host: SimulatedHost) -> tuple[object, ...]:
    """All that a user can tell, but for the UUID."""
    found = truth(host)
    return found.now, found.held, found.parents, found.pins, found.current


def healthy(host: SimulatedHost) -> None:
    """Nothing is wrong any more, and every snapshot can be used."""
    engine = Engine(host)
    assert not [each.id for each in engine.diagnose(GUEST, check=True).found if each.severity != "note"]
    for name in contents(host, OTHER).trashed:
        engine.perform(GUEST, RestoreRequest(name))
    for name in list(engine.list(GUEST).contents.snapshots):
        engine.revert(GUEST, RevertRequest(name, disks_only=True))
    engine.create(GUEST, CreateRequest("later"))
    for name in list(engine.list(GUEST).contents.snapshots):
        engine.delete(GUEST, DeleteRequest(name))
    assert not list(unclean(host.world.fs))


@pytest.mark.parametrize("name", WORLDS)
def test_nothing_is_done_past_the_snapshots_that_it_had(name: str) -> None:
    host = renewed(WORLDS[name]())
    there = dict(files(host.world.fs))
    for request in (CreateRequest("new"), RevertRequest("root"), DeleteRequest(every=True)):
        with pytest.raises(Refused) as caught:
            Engine(host).perform(GUEST, request)
        assert caught.value.id == "uuid-changed"
        assert caught.value.exit_code is ExitCode.REFUSED
        assert "doctor --repair" in caught.value.remedy
    assert set(there) <= set(dict(files(host.world.fs)))
    assert Engine(host).formerly(Engine(host).list(GUEST).domain) == (UUID,)


def test_a_domain_of_that_name_on_other_disks_is_another_one() -> None:
    host = off("ie")
    for vdev, form in (("xvda", Format.QCOW2), ("xvdb", Format.RAW)):
        layer = host.create_image(f"/images/other-{vdev}", form, 4 * CLUSTER)
        host = SimulatedHost(d.damaged(host.world, d.StartFrom(UUID, vdev, layer)))
    kept = held_by(host, contents(host, UUID).snapshots)
    host = renewed(host)
    engine = Engine(host)
    assert "uuid-changed" not in {each.id for each in engine.diagnose(GUEST).found}
    engine.create(GUEST, CreateRequest("new"))
    engine.delete(GUEST, DeleteRequest("new"))
    assert held_by(host, contents(host, UUID).snapshots) == kept


def test_a_domain_on_what_a_snapshot_holds_is_told_where_it_went_on() -> None:
    host = off("e")
    snapshots, active = contents(host, UUID).snapshots, Engine(host).view(GUEST).domain.disks[0].path
    base = snapshots["root"].disks[0].image
    cause = refused(renewed(host, d.StartFrom(UUID, "xvda", base)))
    assert "which holds the snapshot 'root'" in cause
    (found,) = Engine(renewed(host, d.StartFrom(UUID, "xvda", base))).diagnose(GUEST).found[:1]
    assert active in found.remedy


def test_a_domain_with_one_disk_of_its_own_and_one_other_is_told_so() -> None:
    host = off("ie")
    other = host.create_image("/images/other", "qcow2", 4 * CLUSTER)
    cause = refused(renewed(host, d.StartFrom(UUID, "xvda", Layer(other.path, other.format))))
    assert "xvda is /images/other" in cause


def test_a_domain_whose_disks_have_changed_places_is_told_so() -> None:
    host = off("ee")
    first, second = Engine(host).view(GUEST).domain.disks
    crossed = (d.StartFrom(UUID, first.vdev, second.layer), d.StartFrom(UUID, second.vdev, first.layer))
    assert "went on elsewhere" in refused(renewed(host, *crossed))


def test_where_there_are_snapshots_of_both_nobody_chooses() -> None:
    host = renewed(off("e"))
    world = replace(host.world, fs=host.world.fs.mkdir(f"{ROOT}/{THIRD}"))
    for path, _ in files(host.world.fs):
        if path.startswith(f"{ROOT}/{UUID}/") and not path.endswith("/lock"):
            copy = path.replace(UUID, THIRD)
            world = d.damaged(world, d.Copy(path, copy))
            if "snapshotdata" in path or path.endswith("/domain.libxl-json"):
                world = d.damaged(world, d.Edit(copy, ("domain_uuid",), THIRD))
    diagnosis = Engine(SimulatedHost(world)).repair(GUEST)
    found = [each for each in diagnosis.found if each.id == "uuid-changed"]
    assert [each.repair for each in found] == [None, None]
    assert f"there are snapshots under {THIRD}, too" in found[0].cause


def test_two_guests_that_run_are_told_apart() -> None:
    view = Engine(renewed(off("e"))).view(GUEST)
    (former,) = view.formers
    assert not list(formers.against(view, former))
    (why,) = formers.against(view, replace(former, state=RunState.RUNNING))
    assert "is there, too, and running" in why.cause


def test_what_was_interrupted_under_the_other_uuid_comes_first() -> None:
    host = off("e")
    for point in every_crash(host, lambda engine: engine.create(GUEST, CreateRequest("new"))):
        after = renewed(SimulatedHost(DEATHS[0][1](point.world)))
        if Engine(after).view(GUEST).formers[0].pending:
            assert "was interrupted" in refused(after)
            return
    pytest.fail("no death left anything to recover")


@pytest.mark.parametrize("name", WORLDS)
def test_die_while_it_is_taken_over(name: str) -> None:
    """Whoever dies, of each snapshot one of the two stores tells, and the next repair ends it."""
    host = renewed(WORLDS[name]())
    kept, ended = held_by(host, contents(host, UUID).snapshots), host.fork()
    Engine(ended).repair(GUEST)
    after = truth(ended)
    for point, (death, dying) in sampled(host, lambda engine: engine.repair(GUEST), DEATHS, EVERY):
        where = f"{point!r}, {death}"
        TRIED[f"repair: {death.partition(',')[0]}"] += 1
        died = type(host)(dying(point.world))
        told = contents(died, UUID).snapshots | contents(died, OTHER).snapshots
        assert {name for name, _ in kept} <= set(told), where
        Engine(died).recover(GUEST)
        settled(died, kept, where)
        diagnosis = Engine(died).repair(GUEST)
        assert not diagnosis.failed, (diagnosis.failed, where)
        assert truth(died) == after, where
        assert not [each.id for each in diagnosis.found if each.severity != "note"], where


def made_anew() -> DoorHost:
    """The real Xen host's code: the operator has added a disk, and `xl create` has given the guest another UUID.

    The store remembers the domain that is off, so that the host knows both, of one name.
    """
    host = guest("ie", host_kind=DoorHost)
    for place, name in enumerate(("one", "two")):
        scribble(host, place)
        Engine(host).create(GUEST, CreateRequest(name))
    data = host.create_image("/images/data", "qcow2", 4 * CLUSTER)
    known = host.world.domains
    disks = (*known[UUID].disks, Disk("xvdz", data.path, data.format))
    anew = replace(known[UUID], uuid=DomainUuid(OTHER), disks=disks)
    host = DoorHost(replace(host.world, domains=known.delete(UUID).set(OTHER, anew)))
    host.start(OTHER)
    return host


def test_on_a_xen_host_the_name_means_the_guest_that_is_there() -> None:
    host = made_anew()
    engine = Engine(host)
    assert [each.uuid for each in engine.domains()] == [OTHER, UUID]
    kept = held_by(host, contents(host, UUID).snapshots)
    with pytest.raises(Refused) as caught:
        engine.create(GUEST, CreateRequest("three"))
    assert caught.value.id == "uuid-changed"
    diagnosis = engine.repair(GUEST)
    assert ([each.id for each in diagnosis.repaired], diagnosis.failed) == (["uuid-changed"], ())
    assert [each.uuid for each in engine.domains()] == [OTHER]
    assert held_by(host, contents(host, OTHER).snapshots) == kept
    engine.stop(GUEST)
    assert Engine(host).list(GUEST).domain.uuid == OTHER
    engine.revert(GUEST, RevertRequest("one"))
    assert host.visible_layer(Engine(host).view(GUEST).domain.disks[1].layer) == kept["one", "xvdb"]


def test_die_while_it_is_taken_over_on_a_xen_host() -> None:
    host = made_anew()
    kept = held_by(host, contents(host, UUID).snapshots)
    for point, (death, dying) in sampled(host, lambda engine: engine.repair(GUEST), ENGINE_DEATHS, EVERY):
        where = f"{point!r}, {death}"
        TRIED["repair: engine"] += 1
        died = DoorHost(dying(point.world))
        Engine(died).recover(GUEST)
        settled(died, kept, where)
        diagnosis = Engine(died).repair(GUEST)
        assert not diagnosis.failed, (diagnosis.failed, where)
        assert [each.uuid for each in Engine(died).domains()] == [OTHER], where
        assert held_by(died, contents(died, OTHER).snapshots) == kept, where


def settled(host: SimulatedHost, kept: object, where: str) -> None:
    """After a recovery all is under the one UUID, or under the other."""
    before, now = contents(host, UUID), contents(host, OTHER)
    assert not (before.snapshots and now.snapshots), where
    assert held_by(host, before.snapshots or now.snapshots) == kept, where
    assert bool(before.trashed) <= bool(before.snapshots), where


@pytest.mark.parametrize("name", ["off, ie", "with memory"])
def test_whoever_works_under_the_old_uuid_before_the_recovery_takes_nothing_from_the_new(name: str) -> None:
    """A Xen host knows both: the old one as a domain that is off."""
    host = renewed(WORLDS[name]())
    ended = host.fork()
    Engine(ended).repair(GUEST)
    after = truth(ended)
    decided = 0
    for point in every_crash(host, lambda engine: engine.repair(GUEST)):
        world = DEATHS[0][1](point.world)
        both = world.domains.set(UUID, replace(world.domains[OTHER], uuid=DomainUuid(UUID), name="old"))
        died = SimulatedHost(replace(world, domains=both))
        for each in list(contents(died, UUID).snapshots):
            with_old(died, each)
        died = SimulatedHost(replace(died.world, domains=died.world.domains.delete(UUID)))
        if not contents(died, OTHER).state.operation:
            continue
        decided += 1
        Engine(died).recover(GUEST)
        assert truth(died) == after, f"{point!r}"
    assert decided


def with_old(host: SimulatedHost, name: str) -> None:
    try:
        Engine(host).delete(UUID, DeleteRequest(name))
    except (Refused, NotFound):
        return
