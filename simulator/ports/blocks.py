"""The `BlockLayer` port over a world: the QEMU of a running domain, asked over its monitor."""

import posixpath
from collections.abc import Callable, Sequence

import msgspec

from simulator.core.effects import Effect, declare
from simulator.disk.content import SECTOR
from simulator.disk.filesystem import FileSystem
from simulator.ports.children import Child
from simulator.ports.seat import GIVE_WAY, Seat
from simulator.qemu import graph, jobs, points
from simulator.qemu.graph import GONE, BlockJob, Drive, Qemu
from simulator.qemu.points import External, HungUp, Internal, QmpError
from simulator.world import World
from simulator.world.monitor import JOB_STEP_NS, Transaction, Work
from xensnap.errors import Busy, Failed, NotFound, Reason, Refused, Unknown
from xensnap.errors import Effect as Known
from xensnap.hypervisor import (
    PATIENCE_S,
    Action,
    Headway,
    Job,
    JobState,
    Node,
    TakeInternal,
    TakeOverlay,
    stalled,
)
from xensnap.model import Domain, Layer

replace = msgspec.structs.replace

_NODES = declare("qmp.query-nodes", "what a domain's QEMU has open is asked", writes=False)
_TRANSACTION = declare("qmp.transaction", "points of several disks are taken at one moment", writes=True)
_DELETE = declare("qmp.snapshot-delete", "an internal snapshot is removed by its QEMU", writes=True)

_COMMIT = declare("qmp.block-commit", "a job that writes images into one below them is started", writes=True)
_STREAM = declare("qmp.block-stream", "a job that copies up what lies below an image is started", writes=True)
_JOBS = declare("qmp.query-jobs", "how a job stands is asked", writes=False)
_WAIT = declare("qmp.job-wait", "time passes until a job is ready or over", writes=True)
_COMPLETE = declare("qmp.job-complete", "a job that is ready is told to pivot", writes=True)
_PIVOT = declare("qmp.job-pivot", "time passes until a job that was told to has pivoted", writes=True)
_CANCEL = declare("qmp.job-cancel", "a job is ended without a pivot", writes=True)
_FLUSH = declare("qmp.flush", "what a QEMU has written to its images is made durable", writes=True)
_DISMISS = declare("qmp.job-dismiss", "a job that is over is forgotten", writes=True)

_PATIENCE_NS = 5_000_000_000


GraphChange = Callable[[FileSystem, Qemu], tuple[FileSystem, Qemu]]


class SimulatedBlocks:
    """The disks of running domains."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat

    async def nodes(self, domain: Domain) -> tuple[Node, ...]:
        """The roots in the domain's order; of an HVM guest's disk both copies, until it has unplugged one."""
        await self._settled(domain)
        world = await self._seat.look(_NODES, domain.name)
        return tuple(_node(drive, 0) for drive in _qemu(world, domain).drives)

    async def transaction(self, domain: Domain, actions: Sequence[Action]) -> None:
        """All or none; it goes on in QEMU when we die."""
        _one_each(actions)
        domid = await self._settled(domain)
        program = Transaction(domid, tuple(_asked(action) for action in actions))
        try:
            await Child(self._seat).run(_TRANSACTION, domain.name, lambda world: world.told(program))
        except HungUp as error:
            raise Unknown(str(error), id="reply-lost") from None
        except QmpError as error:
            raise _failed(error) from None

    async def delete_internal(self, domain: Domain, vdev: str, *, tag: str, snapshot_id: str) -> None:
        """By tag and id, which must be of one entry."""
        await self._settled(domain)

        def deleted(fs: FileSystem, qemu: Qemu) -> tuple[FileSystem, Qemu]:
            return points.deleted(fs, qemu, vdev, tag=tag, snapshot_id=snapshot_id)

        try:
            await self.told(_DELETE, domain, deleted)
        except LookupError as error:
            raise NotFound(f"{vdev} of {domain.name}: {error}", id="no-such-snapshot") from None

    async def commit(self, domain: Domain, vdev: str, *, top: Layer, base: Layer, job_id: str) -> Job:
        """Active where `top` is the root; the files behind the names are compared before (design 5.13)."""
        await self._settled(domain)

        def started(fs: FileSystem, qemu: Qemu) -> tuple[FileSystem, Qemu]:
            upper, lower = (_as_open(fs, qemu, vdev, layer) for layer in (top, base))
            drive = _require_own_names(fs, qemu, vdev, upper, lower)
            above = drive.chain[max(0, jobs.place(drive, upper) - 1)].layer if drive else lower
            name = _name_within(above, lower)
            return jobs.commit(fs, qemu, vdev=vdev, top=upper, base=lower, job_id=job_id, backing_name=name)

        return await self._started(_COMMIT, domain, job_id, started)

    async def stream(self, domain: Domain, vdev: str, *, layer: Layer, base: Layer | None, job_id: str) -> Job:
        """Into the root, or into an image below it."""
        await self._settled(domain)

        def started(fs: FileSystem, qemu: Qemu) -> tuple[FileSystem, Qemu]:
            target, lower = _as_open(fs, qemu, vdev, layer), _as_open(fs, qemu, vdev, base) if base else None
            _require_own_names(fs, qemu, vdev, target)
            name = _name_within(target, lower) if lower is not None else ""
            return jobs.stream(fs, qemu, vdev=vdev, layer=target, base=lower, job_id=job_id, backing_name=name)

        return await self._started(_STREAM, domain, job_id, started)

    async def flush(self, domain: Domain) -> None:
        """Every root."""
        await self._settled(domain)

        def flushed(fs: FileSystem, qemu: Qemu) -> tuple[FileSystem, Qemu]:
            for drive in qemu.drives:
                fs = fs.synced(drive.root.number)
            return fs, qemu

        await self.told(_FLUSH, domain, flushed)

    async def job(self, domain: Domain, job_id: str) -> Job:
        """Found again by its id."""
        job = SimulatedJob(self._seat, self, domain, job_id)
        await job.state()
        return job

    async def _started(self, effect: Effect, domain: Domain, job_id: str, change: GraphChange) -> Job:
        try:
            await self.told(effect, domain, change, job_id=job_id)
        except LookupError as error:
            raise NotFound(str(error), id="not-in-chain") from None
        return SimulatedJob(self._seat, self, domain, job_id)

    async def _settled(self, domain: Domain) -> int:
        """The domid, where QEMU can be asked for its images: it dies of that (7.2.22) after a stream that is over."""
        domid, qemu = await self.monitor(domain)
        if ended := [job.id for job in qemu.jobs if job.over and job.kind == jobs.STREAM]:
            cause = f"the job {ended[0]} has ended, and who started it has not taken note of that yet"
            remedy = "If that program has died: `xensnap recover` for a job of ours, `job-dismiss` for another one."
            raise Busy(cause, id="job-unnoticed", remedy=remedy)
        return domid

    # --- the monitor -------------------------------------------------------------------------------------------------

    async def monitor(self, domain: Domain) -> tuple[int, Qemu]:
        """The domain's QEMU, when nobody else keeps its monitor: a second client is not answered (xen.md 19)."""
        seat = self._seat
        if _qemu(seat.world, domain).held == "libxenstat":
            await GIVE_WAY
            seat.cell.world = seat.world.slept(_PATIENCE_NS)
        qemu = _qemu(seat.world, domain)
        if qemu.held == "libxenstat":
            raise Busy(f"another program keeps the monitor of {domain.name}", id="monitor-busy")
        return domid_of(seat.world, domain), qemu

    async def told(self, effect: Effect, domain: Domain, change: GraphChange, *, job_id: str = "") -> None:
        """One command that QEMU carries out at once; with a job's id, that job goes on by itself from then on."""
        domid, _ = await self.monitor(domain)

        def changed(world: World) -> tuple[World, None]:
            # The guest may have rebooted since, and another QEMU has another monitor.
            if domid not in world.qemus or world.held(domid) == GONE:
                raise _gone(domain)
            fs, qemu = change(world.fs, world.qemus[domid])
            world = replace(world, fs=fs, qemus=world.qemus.set(domid, qemu))
            return world.told(Work(domid, job_id))[0] if job_id else world, None

        try:
            await self._seat.change(effect, domain.name, changed)
        except QmpError as error:
            raise _failed(error) from None


class SimulatedJob:
    """The `Job` port. Whoever sees the end first lets QEMU forget the job."""

    def __init__(self, seat: Seat, blocks: SimulatedBlocks, domain: Domain, job_id: str) -> None:
        self._seat = seat
        self._blocks = blocks
        self._domain = domain
        self.id = job_id

    async def state(self) -> JobState:
        """As `query-jobs` tells it."""
        await self._blocks.monitor(self._domain)
        return self._told(await self._seat.look(_JOBS, self.id))

    async def wait(
        self, *, progress: Callable[[JobState], None] | None = None, patience_s: float = PATIENCE_S
    ) -> JobState:
        """Time passes, in which QEMU and the guest go on; every step of the job is a place to die."""
        return await self._until(lambda state: state.ready or state.concluded, _WAIT, patience_s, progress)

    async def complete(self, *, patience_s: float = PATIENCE_S) -> None:
        """The base is the root from now on. Between the order and its execution is a place to die."""
        await self._blocks.told(_COMPLETE, self._domain, lambda fs, qemu: jobs.ordered(fs, qemu, self._job(qemu)))
        await self._until(lambda state: state.concluded, _PIVOT, patience_s)

    async def _until(
        self,
        done: Callable[[JobState], bool],
        effect: Effect,
        patience_s: float,
        progress: Callable[[JobState], None] | None = None,
    ) -> JobState:
        seat, cell = self._seat, self._seat.cell
        await seat.begin(effect, self.id)
        headway = Headway(patience_s, _seconds(cell.world))
        while True:
            state = self._told(cell.world)
            if progress:
                progress(state)
            if done(state):
                break
            if headway.is_lost(state, _seconds(cell.world)):
                raise stalled(self._domain.name, patience_s)
            if cell.watch is not None:
                cell.watch.halfway(effect, cell)
            await GIVE_WAY
            cell.world = cell.world.slept(JOB_STEP_NS)
        cell.world = cell.world.counted()
        if cell.watch is not None:
            cell.watch.happened(effect, cell)
        return await self._seen(state)

    async def cancel(self) -> None:
        """One that is over already is only forgotten; for one that has been told to pivot it is too late."""

        def cancelled(fs: FileSystem, qemu: Qemu) -> tuple[FileSystem, Qemu]:
            job = self._job(qemu)
            if job.over:
                return fs, qemu
            return (jobs.completed if job.ordered else jobs.cancelled)(fs, qemu, job)

        await self._blocks.told(_CANCEL, self._domain, cancelled)
        await self._dismissed()

    async def _seen(self, state: JobState) -> JobState:
        if state.concluded:
            await self._dismissed()
            if state.error:
                cause = f"the job {self.id} of {self._domain.name} failed: {state.error}"
                raise Failed(cause, id="job-failed", remedy="Look at the disk's chain.", effect=Known.UNKNOWN)
        return state

    async def _dismissed(self) -> None:
        await self._blocks.told(_DISMISS, self._domain, lambda fs, qemu: graph.forgotten(fs, qemu, self.id))

    def _told(self, world: World) -> JobState:
        job = self._job(_qemu(world, self._domain))
        done, total = job.done_sectors * SECTOR, (job.done_sectors + job.left_sectors) * SECTOR
        return JobState(job.id, done, total, ready=job.status == "ready", concluded=job.over, error=job.error)

    def _job(self, qemu: Qemu) -> BlockJob:
        job = qemu.job(self.id)
        if job is None:
            raise NotFound(f"QEMU of {self._domain.name} knows no job {self.id!r}", id="no-such-job")
        return job


def _seconds(world: World) -> float:
    return world.clock.monotonic_ns / 1e9


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
    if found is None or found.held == GONE:
        raise _gone(domain)
    return found


def _gone(domain: Domain) -> Failed:
    return Failed(f"the QEMU of {domain.name} is gone: Connection refused", id="monitor-gone")


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


def _as_open(fs: FileSystem, qemu: Qemu, vdev: str, layer: Layer) -> Layer:
    """An image of a disk as its QEMU calls it: the file is what it is known by, as on a real host."""
    drive, number = qemu.drive(vdev), fs.find(layer.path)
    chain = [node.layer for node in drive.chain] if drive else []
    called = [each for each in chain if number is not None and fs.find(each.path) == number]
    return layer if layer in chain or not called else called[0]


def _require_own_names(fs: FileSystem, qemu: Qemu, vdev: str, *layers: Layer) -> Drive | None:
    """QEMU opens images by name when it changes who may write them: a name must still lead to its image."""
    drive = qemu.drive(vdev)
    for layer in layers if drive else ():
        assert drive is not None
        if fs.find(layer.path) != drive.chain[jobs.place(drive, layer)].number:
            cause = f"{layer.path} is not the file that QEMU has open under this name"
            remedy = "Shut the domain down; somebody has renamed or replaced an image in use."
            raise Refused([Reason("image-replaced", cause, remedy)])
    return drive


def _name_within(image: Layer, backing: Layer) -> str:
    """What an image's header calls its backing file: relative within one directory, else absolute."""
    directory, name = posixpath.split(backing.path)
    if directory != posixpath.dirname(image.path):
        return backing.path
    return f"./{name}" if ":" in name else name


def _failed(error: QmpError) -> Failed:
    return Failed(f"QEMU: {error}", id="qmp-error")
