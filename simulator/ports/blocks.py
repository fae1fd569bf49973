"""The `BlockLayer` port over a world: the QEMU of a running domain, asked over its monitor."""

# ruff: noqa: ARG002 -- jobs are not modelled yet

from collections.abc import Callable, Sequence

import msgspec

from simulator.core.effects import Effect, declare
from simulator.core.unmodelled import NotModelled
from simulator.disk.filesystem import FileSystem
from simulator.ports.children import Child
from simulator.ports.seat import GIVE_WAY, Seat
from simulator.qemu import points
from simulator.qemu.graph import Drive, Qemu
from simulator.qemu.points import External, Internal, QmpError
from simulator.world import World
from simulator.world.monitor import Transaction
from xensnap.errors import Busy, Failed, NotFound, Reason, Refused
from xensnap.hypervisor import Action, Job, Node, TakeInternal, TakeOverlay
from xensnap.model import Domain, Layer

replace = msgspec.structs.replace

_NODES = declare("qmp.query-nodes", "what a domain's QEMU has open is asked", writes=False)
_TRANSACTION = declare("qmp.transaction", "points of several disks are taken at one moment", writes=True)
_DELETE = declare("qmp.snapshot-delete", "an internal snapshot is removed by its QEMU", writes=True)

_PATIENCE_NS = 5_000_000_000


class SimulatedBlocks:
    """The disks of running domains."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat

    async def nodes(self, domain: Domain) -> tuple[Node, ...]:
        """The roots in the domain's order; of an HVM guest's disk both copies, until it has unplugged one."""
        await self._monitor(domain)
        world = await self._seat.look(_NODES, domain.name)
        return tuple(_node(drive, 0) for drive in _qemu(world, domain).drives)

    async def transaction(self, domain: Domain, actions: Sequence[Action]) -> None:
        """All or none; it goes on in QEMU when we die."""
        _one_each(actions)
        domid, _ = await self._monitor(domain)
        program = Transaction(domid, tuple(_asked(action) for action in actions))
        try:
            await Child(self._seat).run(_TRANSACTION, domain.name, lambda world: world.told(program))
        except QmpError as error:
            raise _failed(error) from None

    async def delete_internal(self, domain: Domain, vdev: str, *, tag: str, snapshot_id: str) -> None:
        """By tag and id, which must be of one entry."""

        def deleted(fs: FileSystem, qemu: Qemu) -> tuple[FileSystem, Qemu]:
            return points.deleted(fs, qemu, vdev, tag=tag, snapshot_id=snapshot_id)

        try:
            await self._told(_DELETE, domain, deleted)
        except LookupError as error:
            raise NotFound(f"{vdev} of {domain.name}: {error}", id="no-such-snapshot") from None

    async def commit(self, domain: Domain, vdev: str, *, top: Layer, base: Layer, job_id: str) -> Job:
        """Not modelled yet."""
        raise NotModelled("BlockLayer.commit")

    async def stream(self, domain: Domain, vdev: str, *, layer: Layer, base: Layer | None, job_id: str) -> Job:
        """Not modelled yet."""
        raise NotModelled("BlockLayer.stream")

    async def job(self, domain: Domain, job_id: str) -> Job:
        """Not modelled yet."""
        raise NotModelled("BlockLayer.job")

    # --- the monitor -------------------------------------------------------------------------------------------------

    async def _monitor(self, domain: Domain) -> tuple[int, Qemu]:
        """The domain's QEMU, when nobody else keeps its monitor: a second client is not answered (xen.md 19)."""
        seat = self._seat
        if _qemu(seat.world, domain).held == "libxenstat":
            await GIVE_WAY
            seat.cell.world = seat.world.slept(_PATIENCE_NS)
        qemu = _qemu(seat.world, domain)
        if qemu.held == "libxenstat":
            raise Busy(f"another program keeps the monitor of {domain.name}", id="monitor-busy")
        return domid_of(seat.world, domain), qemu

    async def _told(
        self, effect: Effect, domain: Domain, change: Callable[[FileSystem, Qemu], tuple[FileSystem, Qemu]]
    ) -> None:
        """One command that QEMU carries out at once."""
        domid, _ = await self._monitor(domain)

        def changed(world: World) -> tuple[World, None]:
            fs, qemu = change(world.fs, _qemu(world, domain))
            return replace(world, fs=fs, qemus=world.qemus.set(domid, qemu)), None

        try:
            await self._seat.change(effect, domain.name, changed)
        except QmpError as error:
            raise _failed(error) from None


def domid_of(world: World, domain: Domain) -> int:
    """The domid of the incarnation that is meant. `Failed`, effect none, where there is none."""
    found = world.xen.of(domain.uuid)
    if domain.domid is not None and any(each.domid == domain.domid for each in found):
        return domain.domid
    if not found:
        raise Failed(f"{domain.name} does not run", id="not-running", remedy="Start it, or look at it again.")
    return found[-1].domid


def _qemu(world: World, domain: Domain) -> Qemu:
    found = world.qemus.get(domid_of(world, domain))
    if found is None:
        raise Failed(f"the QEMU of {domain.name} is gone: Connection refused", id="monitor-gone")
    return found


def _node(drive: Drive, place: int) -> Node:
    node = drive.chain[place]
    backing = _node(drive, place + 1) if place + 1 < len(drive.chain) else None
    return Node(node.name, drive.vdev, node.layer, node.readonly, backing)


def _asked(action: Action) -> Internal | External:
    if isinstance(action, TakeInternal):
        return Internal(action.vdev, action.tag)
    return External(action.vdev, action.overlay)


def _one_each(actions: Sequence[Action]) -> None:
    """QEMU 7.2 aborts when it rolls back several points of one device (qemu.md 153)."""
    vdevs = [action.vdev for action in actions]
    files = [action.overlay.path for action in actions if isinstance(action, TakeOverlay)]
    for things in (vdevs, files):
        if twice := sorted({thing for thing in things if things.count(thing) > 1}):
            cause = f"one transaction would take two points of {', '.join(twice)}"
            raise Refused([Reason("one-point-each", cause, "Take them one after the other.")])


def _failed(error: QmpError) -> Failed:
    return Failed(f"QEMU: {error}", id="qmp-error")
