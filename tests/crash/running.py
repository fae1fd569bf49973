"""What the crash tests of running guests share: a guest with a past, what can be told of it, and its judges.

After the death of the engine the guest runs, and what it reads (its page cache over its disks) is what it read before,
or what it read at the snapshot. After the death of the host it is off, and its disks are as before or as after.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

from simulator import SimulatedHost, World
from simulator.checkers import Finding, guests, starts, two_writers
from simulator.xen import save_file
from tests.crash.harness import (
    CLUSTER,
    DEATHS,
    GUEST,
    TRIED,
    Death,
    Operation,
    Place,
    Tag,
    configured,
    every_crash,
    held_by,
    memory_in,
    nothing_is_left,
    sampled,
)
from xensnap.engine.engine import Engine, plan_for
from xensnap.engine.request import CreateRequest, DeleteRequest, Fresh, Quiesce, RevertRequest
from xensnap.errors import Usage
from xensnap.hypervisor import Then
from xensnap.model import Disk, Format, RunState

UUID = "5c84adcc-bd59-488a-96d2-195f9b599cfe"


@dataclass(frozen=True)
class Seen:
    """What the guest reads, or its disks if it is off; what the snapshots hold; the tree."""

    state: RunState
    reads: object
    held: object
    parents: object
    pins: object
    current: str | None
    configuration: object


def seen(host: SimulatedHost) -> Seen:
    listing = Engine(host).list(GUEST)
    snapshots = listing.contents.snapshots
    parents = {name: snapshot.parent for name, snapshot in snapshots.items()}
    pins = {name for name, snapshot in snapshots.items() if snapshot.pin}
    state = listing.domain.state
    reads = host.visible(GUEST) if state is RunState.OFF else host.guest_sees(GUEST)
    return Seen(state, reads, held_by(host, snapshots), parents, pins, listing.current, configured(host))


def running(kinds: str, kind: str = "pv", *, host_kind: type[SimulatedHost] = SimulatedHost) -> SimulatedHost:
    """A guest that runs, has written before and after a checkpoint `first`, and has not flushed all of it.

    A disk for each letter, `i` for qcow2 and `e` for raw. The parent of `first` is `disks`, which has no memory.
    """
    host = host_kind.fresh()
    disks = []
    for number, letter in enumerate(kinds):
        form = Format.QCOW2 if letter == "i" else Format.RAW
        layer = host.create_image(f"/images/xvd{'abcd'[number]}.{form}", form, 4 * CLUSTER)
        disks.append(Disk(f"xvd{'abcd'[number]}", layer.path, layer.format))
    host.add_domain(GUEST, UUID, disks, kind=kind)
    host.start(UUID)
    for disk in disks:
        host.guest_writes(GUEST, disk.vdev, 3 * CLUSTER, CLUSTER, flush=True)
    Engine(host).create(GUEST, CreateRequest("disks", disk_only=True))
    for disk in disks:
        host.guest_writes(GUEST, disk.vdev, 0, CLUSTER, flush=True)
        host.guest_writes(GUEST, disk.vdev, CLUSTER, CLUSTER)
    Engine(host).create(GUEST, CreateRequest("first"))
    for disk in disks:
        host.guest_writes(GUEST, disk.vdev, 0, CLUSTER, flush=True)
        host.guest_writes(GUEST, disk.vdev, 2 * CLUSTER, CLUSTER)
    return host


OPERATIONS: dict[str, Operation] = {
    "checkpoint": lambda engine: engine.create(GUEST, CreateRequest("second")),
    "checkpoint live": lambda engine: engine.create(GUEST, CreateRequest("second", live=True)),
    "checkpoint and stop": lambda engine: engine.create(GUEST, CreateRequest("second", then=Then.STOPPED)),
    "disks": lambda engine: engine.create(GUEST, CreateRequest("second", disk_only=True)),
    "quiet disks": lambda engine: engine.create(
        GUEST, CreateRequest("second", disk_only=True, quiesce=Quiesce.REQUIRE)
    ),
    "revert": lambda engine: engine.revert(GUEST, RevertRequest("first")),
    "revert disks": lambda engine: engine.revert(GUEST, RevertRequest("disks")),
    "replace": lambda engine: engine.create(GUEST, CreateRequest("first", replace=True)),
    "revert disks and stop": lambda engine: engine.revert(GUEST, RevertRequest("first", Then.STOPPED, disks_only=True)),
    "delete": lambda engine: engine.delete(GUEST, DeleteRequest("first")),
    "delete oldest": lambda engine: engine.delete(GUEST, DeleteRequest("disks")),
    "delete all": lambda engine: engine.delete(GUEST, DeleteRequest("disks", children=True)),
}

PLAIN = ("checkpoint", "disks", "revert", "delete")
CASES = [
    *((kinds, verb) for verb in PLAIN for kinds in ("i", "e", "ie")),
    *(("ie", verb) for verb in OPERATIONS if verb not in PLAIN),
]
"""The layouts and operations that are tried."""


def guest_for(verb: str, kinds: str, *, host_kind: type[SimulatedHost] = SimulatedHost) -> SimulatedHost:
    """The guest that an operation is tried on; a PV guest cannot be saved live."""
    return running(kinds, "pvh" if "live" in verb else "pv", host_kind=host_kind)


def findings(world: World) -> Iterator[Finding]:
    """All that must not be when an operation is over."""
    for check in (guests.torn, guests.standing, guests.twins, guests.alone, starts.elsewhere, two_writers.open_twice):
        yield from check(world)


def judge(
    host: SimulatedHost,
    operation: Operation,
    deaths: tuple[Death, ...] = DEATHS,
    *,
    twice: int = 0,
    every: int = 1,
    at: Place | None = None,
) -> int:
    """Die everywhere, recover, and compare with before and after; how many deaths were tried.

    Args:
        host: the world to start from.
        operation: what is interrupted.
        deaths: how.
        twice: after every so many deaths, die again at every effect of the recovery.
        every: of all deaths every so many are tried.
        at: the one place where it dies, instead of everywhere.
    """
    ended = host.fork()
    operation(Engine(ended))
    tried = 0
    may_be: dict[str, list[Seen]] = {}
    for name, death in deaths:
        may_be[name] = [seen(host), seen(ended)]  # also after a power cut: a guest that was saved can come back whole
        if name.startswith("host"):
            may_be[name] += [off(each, death) for each in (host, *flushed(host), ended)]
    for point, (name, death) in sampled(host, operation, deaths, every, at):
        where, allowed = f"{point!r}, {name}", may_be[name]
        TRIED[f"running: {name.partition(',')[0]}"] += 1
        tried += 1
        world = death(point.world)
        recovered(type(host)(world), allowed, where)
        if twice and tried % twice == 0:
            for second in every_crash(type(host)(world), lambda engine: engine.recover(GUEST)):
                TRIED["running: again while recovering"] += 1
                tried += 1
                recovered(type(host)(death(second.world)), allowed, f"{where}; then {second!r}")
    for name, death in deaths:
        TRIED[f"running: {name.partition(',')[0]}"] += 1
        tried += 1
        _acknowledged(type(host)(death(ended.world)), seen(ended), f"it was acknowledged; {name}")
    return tried


def _acknowledged(host: SimulatedHost, after: Seen, where: str) -> None:
    """Nothing that has ended comes undone. A guest is off after a power cut, and may have lost what it had cached."""
    assert Engine(host).recover(GUEST) is None, where
    found = seen(host)
    kept = found if found.state is after.state else replace(found, state=after.state, reads=after.reads)
    assert kept == after, where
    sound(host, where)


def off(host: SimulatedHost, death: Callable[[World], World]) -> Seen:
    return seen(type(host)(death(host.world)))


def flushed(host: SimulatedHost) -> list[SimulatedHost]:
    """As before, with all that the guest had cached on its disks: a freeze does that, and it may do so at any time.

    None where it does nothing, being off or standing still.
    """
    fork = host.fork()
    try:
        fork.guest_flush(GUEST)
    except Usage:
        return []
    return [fork]


def recovered(host: SimulatedHost, allowed: list[Seen], where: str) -> None:
    Engine(host).recover(GUEST)
    found = seen(host)
    assert found in allowed, f"between before and after: {where}"
    sound(host, where)


def sound(host: SimulatedHost, where: str, *, harmed: Collection[str] = (), strange: Collection[Tag] = ()) -> None:
    """Nothing is open, torn, lost, standing still or left over, and every snapshot can be reverted to and deleted.

    What the memory of one is was compared before; here it only has to be whole, but where the test has `harmed` it.
    Tags that are `strange` were there before and are none of ours.
    """
    engine = Engine(host)
    assert engine.recover(GUEST) is None, where
    assert not list(findings(host.world)), f"{list(findings(host.world))}: {where}"
    view = engine.view(GUEST)
    assert not view.pending, where
    thrown = (each.snapshot for each in view.trashed.values())
    memories = {each.memory for each in (*view.snapshots.values(), *thrown, *view.state.let_go) if each.memory}
    for path in memories - set(harmed):
        save_file.read_memory(memory_in(host, path))
    nothing_is_left(host, view, where, also={path.rpartition("/")[2] for path in memories}, strange=strange)
    for name, snapshot in view.snapshots.items():
        for request in (RevertRequest(name), DeleteRequest(name, accept=("pinned",) if snapshot.pin else ())):
            plan_for(view, request, Fresh("0" * 36, 0))
