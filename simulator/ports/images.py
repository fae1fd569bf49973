"""The `ImageTool` port over a world: the header read natively, everything else by a simulated qemu-img."""

from collections.abc import Mapping

from simulator.core.effects import Effect, declare
from simulator.disk.chain import Link, OpenError, chain, seen
from simulator.disk.content import SECTOR
from simulator.disk.files import length
from simulator.disk.filesystem import FileSystem
from simulator.disk.image import Image as Stored
from simulator.disk.image import Qcow2, metadata
from simulator.disk.refcounts import leaks
from simulator.disk.snapshots import TAG_BYTES_MAX, Table
from simulator.ports.machine import openers
from simulator.ports.reading import (
    inode_of,
    opened_image,
    read_chain,
    read_extents,
    read_holds_data,
    read_image,
    read_is_at,
    require_present,
)
from simulator.ports.seat import GIVE_WAY, Seat
from simulator.tools import qemu_img
from simulator.tools.qemu_img import Program, ToolError
from simulator.world import World
from xensnap import errors
from xensnap.errors import Busy, NotFound, Reason, Refused, ToolFailed
from xensnap.hypervisor import CheckResult, Grown, Opener
from xensnap.model import Backing, Chain, Extent, Format, Image, InternalSnapshot, Layer

_INSPECT = declare("image.inspect", "an image's header and snapshot table are read", writes=False)
_CHAIN = declare("image.chain", "the headers of a whole chain are read", writes=False)
_REQUIRE_UNUSED = declare("image.require-unused", "it is made sure that nobody has an image open", writes=False)
_IN_USE = declare("image.in-use", "it is looked whether anybody has an image open", writes=False)
_HOLDS_DATA = declare("image.holds-data", "an image's cluster tables are read", writes=False)
_IS_AT = declare("image.is-at", "the first cluster tables of an image and of a snapshot are read", writes=False)
_EXTENTS = declare("image.extents", "all cluster tables of an image are read", writes=False)
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
_COPY = declare("image.copy", "an image file is copied as it is, and compared", writes=True)
_COPY_OUT = declare("qemu-img.copy-out", "a snapshot or a whole chain is copied into an image of its own", writes=True)

_CLUSTER = 65536
_PATIENCE_NS = 500_000_000


class SimulatedImageTool:
    """Images that nobody has open."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat

    async def inspect(self, layer: Layer) -> Image:
        """One image; what it stands on is not looked at."""
        return read_image((await self._seat.look(_INSPECT, layer.path)).fs, layer)

    async def chain(self, layer: Layer) -> Chain:
        """All of them, the active layer first; a backing file whose format the header does not say is refused."""
        fs = (await self._seat.look(_CHAIN, layer.path)).fs
        return read_chain(fs, layer)

    async def require_unused(self, layer: Layer) -> None:
        """The gate: `Busy` at once where somebody writes, and for a mere reader after half a second."""
        seat = self._seat
        world = await seat.look(_REQUIRE_UNUSED, layer.path)
        require_present(world.fs, layer.path)
        found = openers(world, layer.path)
        if found and not any(opener.writing for opener in found):
            await GIVE_WAY
            seat.cell.world = seat.world.slept(_PATIENCE_NS)
            found = openers(seat.world, layer.path)
        if found:
            raise _busy(layer.path, found)

    async def in_use(self, layer: Layer) -> bool | None:
        """Whether anybody has it open; everything in this world can be seen."""
        world = await self._seat.look(_IN_USE, layer.path)
        require_present(world.fs, layer.path)
        return bool(openers(world, layer.path))

    async def holds_data(self, layer: Layer) -> bool:
        """Whether it has clusters of its own."""
        fs = (await self._seat.look(_HOLDS_DATA, layer.path)).fs
        return read_holds_data(fs, layer)

    async def is_at(self, layer: Layer, *, snapshot_id: str) -> bool:
        """Whether the active state has just the clusters of a snapshot."""
        return read_is_at((await self._seat.look(_IS_AT, layer.path)).fs, layer, snapshot_id)

    async def extents(self, layer: Layer) -> Mapping[str, tuple[Extent, ...]]:
        """Which clusters each state of the image has, by the number of the write and the index."""
        return read_extents((await self._seat.look(_EXTENTS, layer.path)).fs, layer)

    async def create_overlay(self, path: str, *, backing: Backing, size_bytes: int) -> None:
        """An empty overlay in the empty file that is there."""
        _whole_sectors(size_bytes)
        await self.require_unused(Layer(path, Format.RAW))
        if length(inode_of(self._seat.world.fs, path).stored):
            cause = f"{path} is not empty, so it is not the file that was made for this overlay"
            raise Refused([Reason("overlay-not-empty", cause, "Choose another name for the overlay.")])
        await self._run(_CREATE, qemu_img.CreateOverlay(path, backing.name, _format(backing), size_bytes))

    async def snapshot_create(self, layer: Layer, *, tag: str) -> InternalSnapshot:
        """A new entry at the end of the table."""
        if len(tag.encode("utf-8", "surrogateescape")) > TAG_BYTES_MAX:
            cause = f"a snapshot's tag is longer than {TAG_BYTES_MAX} bytes: {tag[:40]!r}…"
            raise Refused([Reason("tag-too-long", cause, "Choose a shorter name.")])
        await self.require_unused(layer)
        if self._table(layer).by_tag(tag) is not None:
            raise Refused([Reason("tag-taken", f"{layer.path} already has a snapshot {tag!r}", "Choose another name.")])
        await self._run(_SNAPSHOT_CREATE, qemu_img.SnapshotCreate(layer, tag))
        table = self._table(layer)
        return table.entries[table.highest].told

    async def snapshot_apply(self, layer: Layer, *, snapshot_id: str) -> None:
        """The active layer as it was."""
        await self.require_unused(layer)
        self._entry(layer, snapshot_id)
        await self._run(_SNAPSHOT_APPLY, qemu_img.SnapshotApply(layer, snapshot_id))

    async def snapshot_delete(self, layer: Layer, *, tag: str, snapshot_id: str) -> None:
        """One entry less."""
        await self.require_unused(layer)
        self._entry(layer, snapshot_id, tag)
        await self._run(_SNAPSHOT_DELETE, qemu_img.SnapshotDelete(layer, tag, snapshot_id))

    async def commit(self, top: Layer, *, into: Layer, progress: Grown | None = None) -> None:
        """What the top holds, written down; too quick for anybody to be told of it."""
        del progress
        below = (await self.chain(top)).images[1:]
        target = read_image(self._seat.world.fs, into)
        if target.file not in {image.file for image in below}:
            raise NotFound(f"{into.path} is not below {top.path}", id="not-in-chain")
        _unwritten(self._seat.world, top.path)
        await self.require_unused(into)
        await self._run(_COMMIT, qemu_img.Commit(top, into))

    async def rebase(self, layer: Layer, *, backing: Backing | None, copy: bool, progress: Grown | None = None) -> None:
        """Another backing file, the content kept where `copy`; too quick for anybody to be told of it."""
        del progress
        await self.require_unused(layer)
        read_image(self._seat.world.fs, layer)
        name, form = (backing.name, _format(backing)) if backing else ("", "")
        known = errors.Effect.UNKNOWN if copy else errors.Effect.NONE
        await self._run(_REBASE, qemu_img.Rebase(layer, name, form, copy), known)

    async def resize(self, layer: Layer, *, size_bytes: int) -> None:
        """Another size."""
        _whole_sectors(size_bytes)
        await self.require_unused(layer)
        read_image(self._seat.world.fs, layer)
        await self._run(_RESIZE, qemu_img.Resize(layer, size_bytes), errors.Effect.NONE)

    async def check(self, layer: Layer, *, repair_leaks: bool = False) -> CheckResult:
        """Leaks and corruptions, by count."""
        if layer.format is Format.RAW:
            read_image(self._seat.world.fs, layer)
            return CheckResult()
        if repair_leaks:
            await self.require_unused(layer)
            if not (await self._checked(layer)).corruptions:
                await self._run(_REPAIR, qemu_img.Repair(layer), errors.Effect.NONE)
        return await self._checked(layer)

    async def _checked(self, layer: Layer) -> CheckResult:
        world = await self._seat.look(_CHECK, layer.path)
        _unwritten(world, layer.path)
        image = _links(world.fs, layer, ("qemu-img", "check", "-f", layer.format, layer.path))[0].image
        assert isinstance(image, Qcow2)
        return CheckResult(leaks(image), image.corrupted, image.stale)

    async def measure_bytes(self, layer: Layer) -> int:
        """As `qemu-img measure -O qcow2` reckons it: all metadata of a full image, and the clusters that hold data."""
        world = await self._seat.look(_MEASURE, layer.path)
        read_image(world.fs, layer)
        _unwritten(world, layer.path)
        argv = ("qemu-img", "measure", "-O", "qcow2", "-f", layer.format, layer.path)
        return measured(tuple(link.image for link in _links(world.fs, layer, argv)))

    async def copy(self, layer: Layer, *, to: str) -> None:
        """`cp` and `cmp`; not durable yet."""
        require_present(self._seat.world.fs, layer.path)
        _unwritten(self._seat.world, layer.path)
        await self.require_unused(Layer(to, Format.RAW))

        def copied(fs: FileSystem) -> FileSystem:
            return fs.update(to, lambda _: fs.inode(layer.path).stored)

        try:
            await self._seat.alter(_COPY, to, copied, (lambda fs: fs.update(to, lambda _: b"the first bytes"),))
        except OSError as error:
            words = f"{to}: {error.strerror}"
            raise ToolFailed(words, argv=("cp", layer.path, to), returncode=1, stderr=words) from None

    async def copy_out(self, layer: Layer, *, snapshot_id: str = "", to: str, shared: bool = False) -> None:
        """A standalone image of one snapshot, or of the present; not durable yet, as qemu-img leaves it."""
        require_present(self._seat.world.fs, layer.path)
        if not shared:
            _unwritten(self._seat.world, layer.path)
        await self.require_unused(Layer(to, Format.RAW))
        if snapshot_id:
            self._entry(layer, snapshot_id)
        else:
            await self.chain(layer)
        await self._run(_COPY_OUT, qemu_img.CopyOut(layer, snapshot_id, to, shared))

    def _table(self, layer: Layer) -> Table:
        if layer.format is not Format.QCOW2:
            cause = f"{layer.path}: {layer.format} images hold no internal snapshots"
            raise Refused([Reason("no-internal-snapshots", cause, "Take an external snapshot.")])
        image = opened_image(self._seat.world.fs, layer).image
        assert isinstance(image, Qcow2)
        return image.table

    def _entry(self, layer: Layer, snapshot_id: str, tag: str | None = None) -> None:
        entry = self._table(layer).by_id(snapshot_id)
        if entry is None or tag not in {None, entry.told.tag}:
            named = f"the id {snapshot_id!r}" + ("" if tag is None else f" and the tag {tag!r}")
            raise NotFound(f"{layer.path} has no snapshot with {named}", id="snapshot-not-in-image")

    # --- the child process -------------------------------------------------------------------------------------------

    async def _run(self, effect: Effect, program: Program, known: errors.Effect = errors.Effect.UNKNOWN) -> None:
        """Run one program to its end, giving way at each of its steps."""
        seat, cell = self._seat, self._seat.cell
        subject = program.written
        await GIVE_WAY
        if cell.watch is not None:
            cell.watch.begins(effect, subject, cell, (), seat.pid)
        # Others may have run since the gate was asked; nothing stands between this one and the start.
        if found := openers(cell.world, subject):
            raise _busy(subject, found)
        for path in qemu_img.undisturbed(program):
            _unwritten(cell.world, path)
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
        except Exception:
            # A fault: the child is gone, too. Not so when our own process is dropped here: then it is an orphan.
            cell.world = cell.world.ended(pid)
            raise
        cell.world = cell.world.ended(pid).counted()
        if cell.watch is not None:
            cell.watch.happened(effect, cell)


def _busy(path: str, found: tuple[Opener, ...]) -> Busy:
    who = ", ".join(f"{one.command[:80]!r} (pid {one.pid}{', writing' if one.writing else ''})" for one in found)
    remedy = "Shut down the guest that uses the image, or end that program, and try again."
    return Busy(f"{path} is open in {who}", id="image-open", remedy=remedy)


def _unwritten(world: World, path: str) -> None:
    """Nobody reads what somebody else writes; readers do not mind each other."""
    if writing := tuple(one for one in openers(world, path) if one.writing):
        raise _busy(path, writing)


def _links(fs: FileSystem, layer: Layer, argv: tuple[str, ...]) -> tuple[Link, ...]:
    opened_image(fs, layer)
    try:
        return chain(fs, layer)
    except OpenError as error:
        raise _failed(ToolError(f"Could not open '{layer.path}': {error}"), argv, errors.Effect.NONE) from None


def _format(backing: Backing) -> str:
    if backing.format is None:
        cause = f"the format of the backing file {backing.name!r} is not given"
        raise Refused([Reason("backing-format-missing", cause, "Say which it is; formats are never probed.")])
    return backing.format.value


def _whole_sectors(size_bytes: int) -> None:
    if size_bytes <= 0 or size_bytes % SECTOR:
        cause = f"a disk of {size_bytes} bytes is not possible, QEMU counts in sectors of {SECTOR}"
        raise Refused([Reason("not-whole-sectors", cause, f"Give a multiple of {SECTOR}.")])


def _failed(error: ToolError, program: Program | tuple[str, ...], known: errors.Effect) -> ToolFailed:
    argv = program if isinstance(program, tuple) else qemu_img.argv(program)
    return ToolFailed(error.words, argv=argv, returncode=1, stderr=f"{error.words}\n", effect=known)


def measured(images: tuple[Stored, ...]) -> int:
    """Bytes for a qcow2 copy with clusters of 64 KiB (facts: a 1 MiB image with one data cluster needs 393216)."""
    size = images[0].size_bytes
    sectors = _CLUSTER // SECTOR
    data = {
        index
        for start, end, write_id in seen(images)
        if write_id
        for index in range(start // sectors, -(-end // sectors))
    }
    l2_tables = -(-size // (_CLUSTER * _CLUSTER // 8))
    return (metadata(Qcow2(size)) + max(1, l2_tables) + len(data)) * _CLUSTER
