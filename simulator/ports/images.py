"""The `ImageTool` port over a world: the header read natively, everything else by a simulated qemu-img."""

from simulator.core.effects import Effect, declare
from simulator.disk.chain import Link, OpenError, backing_path, chain, opened, seen
from simulator.disk.filesystem import FileSystem
from simulator.disk.image import Image as Stored
from simulator.disk.image import Qcow2
from simulator.disk.operations import metadata
from simulator.disk.refcounts import leaks
from simulator.ports.machine import openers
from simulator.ports.seat import GIVE_WAY, Seat
from simulator.tools import qemu_img
from simulator.tools.qemu_img import Program, ToolError
from simulator.world import World
from xensnap import errors
from xensnap.errors import Busy, Damaged, NotFound, Reason, Refused, ToolFailed
from xensnap.hypervisor import CheckResult
from xensnap.model import Backing, Chain, FileId, Format, Image, InternalSnapshot, Layer

_INSPECT = declare("image.inspect", "an image's header and snapshot table are read", writes=False)
_CHAIN = declare("image.chain", "the headers of a whole chain are read", writes=False)
_CREATE = declare("qemu-img.create-overlay", "an empty overlay is made", writes=True)
_SNAPSHOT_CREATE = declare("qemu-img.snapshot-create", "an internal snapshot is taken", writes=True)
_SNAPSHOT_APPLY = declare("qemu-img.snapshot-apply", "an internal snapshot is made active", writes=True)
_SNAPSHOT_DELETE = declare("qemu-img.snapshot-delete", "an internal snapshot is removed", writes=True)
_COMMIT = declare("qemu-img.commit", "an image is written into one below it", writes=True)
_REBASE = declare("qemu-img.rebase", "an image gets another backing file", writes=True)
_RESIZE = declare("qemu-img.resize", "a disk is made larger or smaller", writes=True)
_CHECK = declare("qemu-img.check", "an image is checked", writes=False)
_REPAIR = declare("qemu-img.repair", "leaked clusters are given back", writes=True)
_MEASURE = declare("qemu-img.measure", "the space that a copy would need is reckoned", writes=False)
_COPY_OUT = declare("qemu-img.copy-out", "an internal snapshot is copied into an image of its own", writes=True)

_CLUSTER = 65536


class SimulatedImageTool:
    """Images that nobody has open."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat

    async def inspect(self, layer: Layer) -> Image:
        """One image; what it stands on is not looked at."""
        fs = (await self._seat.look(_INSPECT, layer.path)).fs
        try:
            return told(fs, opened(fs, layer))
        except OpenError as error:
            raise _unreadable(error) from None

    async def chain(self, layer: Layer) -> Chain:
        """All of them, the active layer first."""
        fs = (await self._seat.look(_CHAIN, layer.path)).fs
        try:
            return Chain(tuple(told(fs, link) for link in chain(fs, layer)))
        except OpenError as error:
            raise _unreadable(error) from None

    async def create_overlay(self, path: str, *, backing: Backing, size_bytes: int) -> None:
        """An empty overlay in the empty file that is there."""
        fs = self._seat.world.fs
        _present(fs, path)
        if fs.inode(path).stored != b"":
            reason = Reason("not-empty", f"{path} is not empty", "Give a file that was made for this overlay.")
            raise Refused([reason])
        form = backing.format.value if backing.format else ""
        await self._run(_CREATE, qemu_img.CreateOverlay(path, backing.name, form, size_bytes))

    async def snapshot_create(self, layer: Layer, *, tag: str) -> InternalSnapshot:
        """A new entry at the end of the table."""
        link = self._present(layer)
        if isinstance(link.image, Qcow2) and link.image.table.by_tag(tag) is not None:
            cause = f"{layer.path} has an internal snapshot {tag!r} already"
            raise Refused([Reason("tag-taken", cause, "Choose another tag.")])
        await self._run(_SNAPSHOT_CREATE, qemu_img.SnapshotCreate(layer, tag))
        image = opened(self._seat.world.fs, layer).image
        assert isinstance(image, Qcow2)
        return image.table.entries[image.table.highest].told()

    async def snapshot_apply(self, layer: Layer, *, snapshot_id: str) -> None:
        """The active layer as it was."""
        self._entry(layer, snapshot_id)
        await self._run(_SNAPSHOT_APPLY, qemu_img.SnapshotApply(layer, snapshot_id))

    async def snapshot_delete(self, layer: Layer, *, tag: str, snapshot_id: str) -> None:
        """One entry less."""
        if self._entry(layer, snapshot_id).tag != tag:
            raise NotFound(f"{layer.path}: snapshot {snapshot_id} is not called {tag!r}", id="no-such-snapshot")
        await self._run(_SNAPSHOT_DELETE, qemu_img.SnapshotDelete(layer, tag, snapshot_id))

    async def commit(self, top: Layer, *, into: Layer) -> None:
        """What the top holds, written down."""
        self._present(top)
        self._present(into)
        await self._run(_COMMIT, qemu_img.Commit(top, into))

    async def rebase(self, layer: Layer, *, backing: Backing | None, copy: bool) -> None:
        """Another backing file, the content kept where `copy`."""
        self._present(layer)
        name = backing.name if backing else ""
        form = backing.format.value if backing and backing.format else ""
        known = errors.Effect.UNKNOWN if copy else errors.Effect.NONE
        await self._run(_REBASE, qemu_img.Rebase(layer, name, form, copy), known)

    async def resize(self, layer: Layer, *, size_bytes: int) -> None:
        """Another size."""
        self._present(layer)
        await self._run(_RESIZE, qemu_img.Resize(layer, size_bytes), errors.Effect.NONE)

    async def check(self, layer: Layer, *, repair_leaks: bool = False) -> CheckResult:
        """Leaks and corruptions, by count."""
        if repair_leaks and isinstance(self._present(layer).image, Qcow2):
            await self._run(_REPAIR, qemu_img.Repair(layer), errors.Effect.NONE)
        world = await self._seat.look(_CHECK, layer.path)
        self._present(layer)
        image = self._opened(world.fs, layer, ("qemu-img", "check", "-f", layer.format, layer.path))[0].image
        return CheckResult(leaks(image), image.corrupted) if isinstance(image, Qcow2) else CheckResult()

    async def measure_bytes(self, layer: Layer) -> int:
        """As `qemu-img measure -O qcow2` reckons it: all metadata of a full image, and the clusters that hold data."""
        world = await self._seat.look(_MEASURE, layer.path)
        self._present(layer)
        argv = ("qemu-img", "measure", "-O", "qcow2", "-f", layer.format, layer.path)
        return measured(tuple(link.image for link in self._opened(world.fs, layer, argv)))

    async def copy_out(self, layer: Layer, *, snapshot_id: str, to: str) -> None:
        """A standalone image of one snapshot; not durable yet, as qemu-img leaves it."""
        self._entry(layer, snapshot_id)
        _present(self._seat.world.fs, to)
        await self._run(_COPY_OUT, qemu_img.CopyOut(layer, snapshot_id, to))

    # --- the child process -------------------------------------------------------------------------------------------

    async def _run(self, effect: Effect, program: Program, known: errors.Effect = errors.Effect.UNKNOWN) -> None:
        """Run one program to its end, giving way at each of its steps."""
        seat, cell = self._seat, self._seat.cell
        subject = qemu_img.writes(program)[0]
        gate(cell.world, program)
        await GIVE_WAY
        if cell.watch is not None:
            cell.watch.begins(effect, subject, cell, (), seat.pid)
        # Others have run since: the gate is what stands directly before the start.
        gate(cell.world, program)
        try:
            cell.world, pid = cell.world.spawned(program, parent=seat.pid)
        except ToolError as error:
            raise _failed(error, program, errors.Effect.NONE) from None
        try:
            while not cell.world.at_end(pid):
                if cell.watch is not None:
                    cell.watch.halfway(effect, cell)
                cell.world = cell.world.advanced(pid)
                await GIVE_WAY
        except ToolError as error:
            nothing = error.fs is None
            cell.world = (cell.world if error.fs is None else cell.world.with_fs(error.fs)).ended(pid)
            raise _failed(error, program, errors.Effect.NONE if nothing else known) from None
        cell.world = cell.world.ended(pid).counted()
        if cell.watch is not None:
            cell.watch.happened(effect, cell)

    def _present(self, layer: Layer) -> Link:
        fs = self._seat.world.fs
        _present(fs, layer.path)
        try:
            return opened(fs, layer)
        except OpenError as error:
            argv = ("qemu-img", "info", "-f", layer.format, layer.path)
            raise _failed(ToolError(f"Could not open '{layer.path}': {error}"), argv, errors.Effect.NONE) from None

    def _opened(self, fs: FileSystem, layer: Layer, argv: tuple[str, ...]) -> tuple[Link, ...]:
        try:
            return chain(fs, layer)
        except OpenError as error:
            raise _failed(ToolError(f"Could not open '{layer.path}': {error}"), argv, errors.Effect.NONE) from None

    def _entry(self, layer: Layer, snapshot_id: str) -> InternalSnapshot:
        image = self._present(layer).image
        entry = image.table.by_id(snapshot_id) if isinstance(image, Qcow2) else None
        if entry is None:
            raise NotFound(f"{layer.path} has no internal snapshot with id {snapshot_id}", id="no-such-snapshot")
        return entry.told()


def gate(world: World, program: Program) -> None:
    """No process has open what the program writes, and none writes what it reads: QEMU under Xen takes no lock."""
    for path in qemu_img.writes(program):
        for opener in openers(world, path):
            raise Busy(f"{path} is open in process {opener.pid} ({opener.command})", id="image-open")
    for path in qemu_img.reads(program):
        for opener in openers(world, path):
            if opener.writing:
                raise Busy(f"{path} is written by process {opener.pid} ({opener.command})", id="image-open")


def _present(fs: FileSystem, path: str) -> None:
    if fs.find(path) is None:
        raise NotFound(f"{path} is not there", id="no-such-image")


def _failed(error: ToolError, program: Program | tuple[str, ...], known: errors.Effect) -> ToolFailed:
    argv = program if isinstance(program, tuple) else qemu_img.argv(program)
    return ToolFailed(error.words, argv=argv, returncode=1, stderr=f"{error.words}\n", effect=known)


def _unreadable(error: OpenError) -> errors.XensnapError:
    if error.missing:
        return NotFound(f"{error.path} is not there", id="no-such-image")
    return Damaged(f"{error.path}: {error}", path=error.path)


def told(fs: FileSystem, link: Link) -> Image:
    """An image as its header tells it."""
    image: Stored = link.image
    file = FileId(fs.device, link.number)
    layer = Layer(link.path, Format(link.format))
    if not isinstance(image, Qcow2):
        return Image(layer, file, image.size_bytes, image.length_bytes, image.allocated_bytes)
    backing = None
    if image.backing_name:
        form = Format(image.backing_format) if image.backing_format else None
        backing = Backing(image.backing_name, backing_path(link.path, image.backing_name), form)
    return Image(
        layer,
        file,
        image.size_bytes,
        image.length_bytes,
        image.allocated_bytes,
        cluster_size_bytes=image.cluster_bytes,
        compat=image.compat,
        refcount_bits=image.refcount_bits,
        backing=backing,
        snapshots=tuple(entry.told() for entry in image.table),
        corrupt=bool(image.corrupted),
    )


def measured(images: tuple[Stored, ...]) -> int:
    """Bytes for a qcow2 copy with clusters of 64 KiB (facts: a 1 MiB image with one data cluster needs 393216)."""
    size = images[0].size_bytes
    sectors = _CLUSTER // 512
    data = {
        index
        for start, end, write_id in seen(images)
        if write_id
        for index in range(start // sectors, -(-end // sectors))
    }
    l2_tables = -(-size // (_CLUSTER * _CLUSTER // 8))
    return (metadata(Qcow2(size)) + max(1, l2_tables) + len(data)) * _CLUSTER
