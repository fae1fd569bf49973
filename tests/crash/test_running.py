"""Death at every effect of operations on a guest that runs; then `recover`.

After the death of the engine the guest runs, and what it reads (its page cache over its disks) is what it read before,
or what it read at the snapshot. After the death of the host it is off, and its disks are as before or as after.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from simulator import SimulatedHost, World
from simulator.checkers import guests
from tests.crash.harness import CLUSTER, DEATHS, GUEST, TRIED, Operation, every_crash, guest, held_by, nothing_is_left
from xensnap.engine.engine import Engine, plan_for
from xensnap.engine.request import CreateRequest, DeleteRequest, Fresh, RevertRequest
from xensnap.hypervisor import Capability, Then
from xensnap.model import RunState

UUID = "5c84adcc-bd59-488a-96d2-195f9b599cfe"


@pytest.fixture(autouse=True)
def hosts_that_run(monkeypatch: pytest.MonkeyPatch) -> None:
    able = SimulatedHost.capabilities | {Capability.RUNNING, Capability.MEMORY}
    monkeypatch.setattr(SimulatedHost, "capabilities", able)


@dataclass(frozen=True)
class Seen:
    """What the guest reads, or its disks if it is off; what the snapshots hold; the tree."""

    state: RunState
    reads: object
    held: object
    parents: object
    current: str | None


def seen(host: SimulatedHost) -> Seen:
    listing = Engine(host).list(GUEST)
    snapshots = listing.contents.snapshots
    parents = {name: snapshot.parent for name, snapshot in snapshots.items()}
    state = listing.domain.state
    reads = host.visible(GUEST) if state is RunState.OFF else host.guest_sees(GUEST)
    return Seen(state, reads, held_by(host, snapshots), parents, listing.current)


def running(kinds: str) -> SimulatedHost:
    """A guest that runs, has written before and after a checkpoint, and has not flushed all of it."""
    host = guest(kinds)
    host.start(UUID)
    vdevs = [disk.vdev for disk in Engine(host).view(GUEST).domain.disks]
    for vdev in vdevs:
        host.guest_writes(GUEST, vdev, 0, CLUSTER, flush=True)
        host.guest_writes(GUEST, vdev, CLUSTER, CLUSTER)
    Engine(host).create(GUEST, CreateRequest("first"))
    for vdev in vdevs:
        host.guest_writes(GUEST, vdev, 0, CLUSTER, flush=True)
        host.guest_writes(GUEST, vdev, 2 * CLUSTER, CLUSTER)
    return host


def judge(host: SimulatedHost, operation: Operation) -> int:
    ended = host.fork()
    operation(Engine(ended))
    tried = 0
    for point in every_crash(host, operation):
        for name, death in DEATHS:
            where = f"{point!r}, {name}"
            TRIED[f"running: {name.partition(',')[0]}"] += 1
            tried += 1
            allowed = [seen(host), seen(ended)]  # also after a power cut: a guest that was saved can come back whole
            if name.startswith("host"):
                allowed += [off(host, death), off(ended, death)]
            recovered(death(point.world), allowed, where)
    return tried


def off(host: SimulatedHost, death: Callable[[World], World]) -> Seen:
    return seen(SimulatedHost(death(host.world)))


def recovered(world: World, allowed: list[Seen], where: str) -> None:
    host = SimulatedHost(world)
    engine = Engine(host)
    engine.recover(GUEST)
    found = seen(host)
    assert found in allowed, f"between before and after: {where}"
    assert engine.recover(GUEST) is None, where
    findings = [
        finding for check in (guests.torn, guests.standing, guests.twins, guests.alone) for finding in check(host.world)
    ]
    assert not findings, f"{findings}: {where}"
    view = engine.view(GUEST)
    assert not view.pending, where
    memories = {snapshot.memory.rpartition("/")[2] for snapshot in view.snapshots.values() if snapshot.memory}
    nothing_is_left(host, view, where, also=memories)
    for name in view.snapshots:
        for request in (RevertRequest(name), DeleteRequest(name)):
            plan_for(view, request, Fresh("0" * 36, 0))


OPERATIONS: dict[str, Operation] = {
    "checkpoint": lambda engine: engine.create(GUEST, CreateRequest("second")),
    "disk-only": lambda engine: engine.create(GUEST, CreateRequest("second", disk_only=True)),
    "revert": lambda engine: engine.revert(GUEST, RevertRequest("first")),
    "replace": lambda engine: engine.create(GUEST, CreateRequest("first", replace=True)),
    "revert disks": lambda engine: engine.revert(GUEST, RevertRequest("first", Then.STOPPED, disks_only=True)),
    "delete": lambda engine: engine.delete(GUEST, DeleteRequest("first")),
}


@pytest.mark.parametrize("verb", OPERATIONS)
@pytest.mark.parametrize("kinds", ["i", "e", "ie"])
def test_die_at_every_effect(kinds: str, verb: str) -> None:
    assert judge(running(kinds), OPERATIONS[verb]) > 100


@pytest.mark.parametrize("kinds", ["i", "e", "ie"])
def test_a_checkpoint_brings_back_what_the_guest_read(kinds: str) -> None:
    host = running(kinds)
    before = host.fork()
    Engine(host).create(GUEST, CreateRequest("second"))
    assert host.guest_sees(GUEST) == before.guest_sees(GUEST)
    at_second = host.guest_sees(GUEST)
    host.guest_writes(GUEST, "xvda", 0, 4 * CLUSTER, flush=True)
    Engine(host).revert(GUEST, RevertRequest("second"))
    assert host.guest_sees(GUEST) == at_second
