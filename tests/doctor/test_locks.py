"""The lock of a domain under the doctor: who is at work is no fault, and what he leaves or a stranger does to it is."""

from collections.abc import Iterator
from contextlib import suppress

import pytest

from simulator import SimulatedHost, after_engine_crash
from simulator.faults.crash import Orphans
from simulator.faults.damage import Garble, damaged
from tests.crash.harness import GUEST, every_crash
from tests.discovery.interleave import AsyncOperation, Work, effects, outcome
from tests.doctor.damages import UUID, off
from xensnap.engine.doctor import Finding, Severity
from xensnap.engine.engine import AsyncEngine, Engine
from xensnap.engine.locks import Holder
from xensnap.engine.request import CreateRequest, DeleteRequest, RevertRequest
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


def test_what_a_lock_says_of_somebody_is_read_back() -> None:
    holder = Holder("create a`b, process 7", 12, "somebody of ours", "5c84", 34)
    assert Holder.of(holder.note()) == holder
    assert Holder.of(b"somebody") is None
