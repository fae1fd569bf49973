"""The lock of a domain under the doctor: who is at work is no fault, and what he leaves or a stranger does to it is."""

from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from simulator import SimulatedHost, after_engine_crash
from simulator.faults.crash import Orphans
from simulator.faults.damage import Garble, Link, NewUuid, Vanish, damaged
from tests.crash.harness import GUEST, every_crash
from tests.discovery.interleave import AsyncOperation, Work, effects, outcome
from tests.doctor.damages import OTHER, UUID, off
from xensnap.engine.doctor import Finding, Severity
from xensnap.engine.engine import AsyncEngine, Engine
from xensnap.engine.locks import Holder
from xensnap.engine.request import CreateRequest, DeleteRequest, RevertRequest
from xensnap.errors import Effect, FileFailed
from xensnap.hypervisor import drive

LOCK = f"/var/lib/xen/snapshots/{UUID}/lock"
AT_WORK: dict[str, AsyncOperation] = {
    "create": lambda engine: engine.create(GUEST, CreateRequest("more")),
    "revert": lambda engine: engine.revert(GUEST, RevertRequest("root")),
    "delete": lambda engine: engine.delete(GUEST, DeleteRequest("leaf")),
}


def found(host: SimulatedHost) -> dict[str, Finding]:
    """What another process is told meanwhile."""
    return {each.id: each for each in Engine(host.another()).diagnose(GUEST).found}


def going_on(host: SimulatedHost, operation: AsyncOperation, *, every: int) -> Iterator[SimulatedHost]:
    """The host after every so many effects of an operation."""
    for count in range(0, effects(host, operation), every):
        busy = host.fork()
        work: Work = outcome(operation(AsyncEngine(busy)))
        for _ in range(count):
            work.send(None)
        yield busy
        with suppress(StopIteration):
            while True:
                work.send(None)


@pytest.mark.parametrize("verb", AT_WORK)
def test_a_healthy_world_is_healthy_while_somebody_is_at_work_on_it(verb: str) -> None:
    working = 0
    for busy in going_on(off("ie"), AT_WORK[verb], every=7):
        told = found(busy)
        assert not [each for each in told.values() if each.severity is not Severity.NOTE]
        if LOCK in told.get("at-work", Finding("", Severity.NOTE, "", "")).subject:
            working += 1
            assert f"`{verb}`" in told["at-work"].cause
    assert working > 5


def test_a_child_that_outlives_its_engine_is_named_until_it_has_ended() -> None:
    left = 0
    for point in every_crash(off("i"), lambda engine: engine.create(GUEST, CreateRequest("more"))):
        died = SimulatedHost(after_engine_crash(point.world, Orphans.RUNNING))
        holders = died.world.fs.locks.get(died.world.fs.find(LOCK) or 0, ())
        told = found(died)
        assert ("lock-left" in told) == bool(holders), f"{point!r}"
        if holders:
            left += 1
            assert "qemu-img" in told["lock-left"].cause
            Engine(died).recover(GUEST)
            assert not found(died)
    assert left


def test_a_note_that_does_not_tell_who_holds_the_lock_is_told_with_who_has_it_open() -> None:
    host = off("i")
    held = drive(host.another().files.lock(LOCK, note=Holder("create", 1, "root", "boot", 0).note()))
    broken = SimulatedHost(damaged(host.world, Garble(LOCK)))
    (told,) = found(broken).values()
    assert (told.id, told.repair) == ("lock-damaged", None)
    assert "pid" in told.cause
    drive(held.release())
    assert not found(SimulatedHost(damaged(host.world, Garble(LOCK)))), (
        "nobody holds it, and the next one writes it anew"
    )


def test_a_lock_with_a_second_name_is_told_and_left_alone() -> None:
    host = SimulatedHost(damaged(off("i").world, Link(LOCK, "/images/lock")))
    (told,) = found(host).values()
    assert (told.id, told.severity, told.repair) == ("hard-linked", Severity.ERROR, None)
    before = host.world.fs
    works: list[Callable[[], object]] = [
        lambda: Engine(host).repair(GUEST),
        lambda: Engine(host).create(GUEST, CreateRequest("more")),
    ]
    for work in works:
        with pytest.raises(FileFailed) as caught:
            work()
        assert caught.value.effect is Effect.NONE
    assert host.world.fs == before


def stores(host: SimulatedHost) -> list[tuple[str, Finding]]:
    """What another process is told of the stores of nobody."""
    return [(each.domain, found) for each in Engine(host.another()).diagnose_stores_of_nobody() for found in each.found]


def left_alone() -> SimulatedHost:
    """A host with the lock of a domain that is gone, of an operation that was refused before it had begun."""
    host = SimulatedHost(damaged(off("i").world, NewUuid(UUID, OTHER)))
    store = host.world.fs.names(LOCK.removesuffix("/lock"))
    world = host.world
    for name in store:
        if name != "lock":
            world = damaged(world, Vanish(LOCK.removesuffix("lock") + name))
    return SimulatedHost(world)


def test_the_lock_of_a_domain_that_nobody_knows_is_told_and_removed() -> None:
    host = left_alone()
    ((uuid, told),) = stores(host)
    assert (uuid, told.id, told.severity, told.subject) == (UUID, "lock-of-nobody", Severity.NOTE, LOCK)
    (done,) = Engine(host).diagnose_stores_of_nobody(repair=True)
    assert [each.id for each in done.repaired] == ["lock-of-nobody"]
    assert not stores(host)
    assert host.world.fs.find(LOCK) is None
    drive(drive(host.files.lock(LOCK, note=b"the next one")).release())


def test_a_lock_that_is_held_is_never_removed() -> None:
    host = left_alone()
    held = drive(host.another().files.lock(LOCK, note=Holder("create", 1, "root", "boot", 0).note()))
    assert [told.id for _, told in stores(host)] == ["lock-left"]
    Engine(host).diagnose_stores_of_nobody(repair=True)
    assert host.world.fs.find(LOCK) is not None
    drive(held.release())


def test_a_store_of_nobody_that_holds_more_than_a_lock_keeps_it() -> None:
    host = SimulatedHost(damaged(off("i").world, NewUuid(UUID, OTHER)))
    before = host.world.fs
    assert not Engine(host).diagnose_stores_of_nobody(repair=True)
    assert host.world.fs == before


def test_what_a_lock_says_of_somebody_is_read_back() -> None:
    holder = Holder("create a`b, process 7", 12, "somebody of ours", "5c84", 34)
    assert Holder.of(holder.note()) == holder
    assert Holder.of(b"somebody") is None
