"""qemu-img 7.2.22 as programs: frozen arguments, named steps, and the words it ends with.

Between any two steps the process can die or be left behind by its parent. Which steps there are follows its system
calls: every writing command ends with an fdatasync but `convert`, whose copy is durable only when somebody syncs it.
"""

import errno
from collections.abc import Callable
from os import strerror
from typing import Any

import msgspec

from simulator.core.unmodelled import NotModelled
from simulator.disk import bitmaps
from simulator.disk import operations as op
from simulator.disk.chain import Link, OpenError, backing_path, chain, opened, shown
from simulator.disk.content import SECTOR
from simulator.disk.files import Inode
from simulator.disk.filesystem import FileSystem
from simulator.disk.image import Image, Qcow2, fresh_qcow2
from simulator.disk.refcounts import flagged, may_apply, repaired
from simulator.disk.snapshots import Entry
from xensnap.model import Format, Layer

BACKING_NAME_MAX = 1023
BITMAPS_ACTIVE = "Device has active dirty bitmaps"
"""What any bitmap, also a disabled one, makes `snapshot -a` say."""

_PARTS = 3


class ToolError(Exception):
    """The program ends with return code 1 and these words on stderr.

    Attributes:
        fs: what it leaves behind, or None where it has changed nothing.
        stdout: what it has said before.
    """

    stdout = ""

    def __init__(self, words: str, fs: FileSystem | None = None) -> None:
        super().__init__(words)
        self.words = f"qemu-img: {words}"
        self.fs = fs


class OfImage(msgspec.Struct, frozen=True):
    """What works on one image."""

    layer: Layer

    @property
    def written(self) -> str:
        """The file that it opens for writing; each program has one."""
        return self.layer.path

    @property
    def read(self) -> tuple[str, ...]:
        """The files that it opens for reading, whose content it needs to stay."""
        return ()


class CreateOverlay(msgspec.Struct, frozen=True, tag="create-overlay"):
    """`qemu-img create -u`: an empty overlay in an existing empty file."""

    path: str
    backing_name: str
    backing_format: str
    size_bytes: int

    @property
    def written(self) -> str:
        """See `OfImage`."""
        return self.path

    @property
    def read(self) -> tuple[str, ...]:
        """See `OfImage`. With `-u` the backing file is not opened."""
        return ()


class SnapshotCreate(OfImage, frozen=True, tag="snapshot-create"):
    """`qemu-img snapshot -c`."""

    tag: str


class SnapshotApply(OfImage, frozen=True, tag="snapshot-apply"):
    """`qemu-img snapshot -a ID`."""

    snapshot_id: str


class SnapshotDelete(OfImage, frozen=True, tag="snapshot-delete"):
    """`qemu-img snapshot -d TAG`, for the one entry that was looked up before."""

    tag: str
    snapshot_id: str


class Commit(msgspec.Struct, frozen=True, tag="commit"):
    """`qemu-img commit -d -b INTO TOP`."""

    top: Layer
    into: Layer

    @property
    def written(self) -> str:
        """See `OfImage`."""
        return self.into.path

    @property
    def read(self) -> tuple[str, ...]:
        """See `OfImage`."""
        return (self.top.path,)


class Rebase(OfImage, frozen=True, tag="rebase"):
    """`qemu-img rebase`, safe where `copy`, else with `-u`. No backing name means none.

    A safe one writes through, as ours does: else a kill loses what it has copied, which is not modelled.
    """

    backing_name: str
    backing_format: str
    copy: bool


class Resize(OfImage, frozen=True, tag="resize"):
    """`qemu-img resize --shrink`."""

    size_bytes: int


class Repair(OfImage, frozen=True, tag="repair"):
    """`qemu-img check -r leaks`."""


class CopyOut(OfImage, frozen=True, tag="copy-out"):
    """`qemu-img convert -l snapshot.id=ID -O qcow2`, into an existing empty file; without an id, of what is shown.

    `shared`: with `-U`, whoever writes to the image meanwhile.
    """

    snapshot_id: str
    to: str
    shared: bool = False

    @property
    def written(self) -> str:
        """See `OfImage`."""
        return self.to

    @property
    def read(self) -> tuple[str, ...]:
        """See `OfImage`."""
        return (self.layer.path,)


Program = CreateOverlay | SnapshotCreate | SnapshotApply | SnapshotDelete | Commit | Rebase | Resize | Repair | CopyOut

Step = tuple[str, Callable[[FileSystem, Any, int], FileSystem]]
"""A name, and what it makes of the file system, given the program and the time."""


def argv(program: Program) -> tuple[str, ...]:
    """The command line that the real host would run."""
    match program:
        case CreateOverlay(path, name, form, size):
            return ("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", name, "-F", form, path, str(size))
        case SnapshotCreate(layer, tag):
            return ("qemu-img", "snapshot", "-c", tag, layer.path)
        case SnapshotApply(layer, snapshot_id):
            return ("qemu-img", "snapshot", "-a", snapshot_id, layer.path)
        case SnapshotDelete(layer, tag, _):
            return ("qemu-img", "snapshot", "-d", tag, layer.path)
        case Commit(top, into):
            return ("qemu-img", "commit", "-q", "-d", "-f", top.format, "-b", into.path, top.path)
        case Rebase(layer, name, form, copy):
            mode = ("-t", "writethrough") if copy else ("-u",)
            return ("qemu-img", "rebase", *mode, "-f", layer.format, "-b", name, "-F", form, layer.path)
        case Resize(layer, size):
            return ("qemu-img", "resize", "-q", "--shrink", "-f", layer.format, layer.path, str(size))
        case Repair(layer):
            return ("qemu-img", "check", "-q", "-r", "leaks", "-f", layer.format, layer.path)
        case CopyOut(layer, snapshot_id, to, shared):
            how = ("-U",) if shared else ()
            wanted = ("-l", f"snapshot.id={snapshot_id}") if snapshot_id else ()
            return ("qemu-img", "convert", *how, "-n", *wanted, "-f", layer.format, "-O", "qcow2", layer.path, to)


def undisturbed(program: Program) -> tuple[str, ...]:
    """Those of the files that it reads which nobody may write to meanwhile."""
    return () if isinstance(program, CopyOut) and program.shared else program.read


def steps(program: Program) -> tuple[Step, ...]:
    """What it does, in order."""
    return _STEPS[type(program)]


def begin(fs: FileSystem, program: Program) -> None:
    """Open what the program opens. Raises `ToolError` in its words where that fails; nothing has changed then."""
    if isinstance(program, CreateOverlay):
        return
    image = _written_image(fs, program)
    if image is not None and image.lazy:
        raise NotModelled("what a qemu-img that may die leaves of an image with lazy refcounts")
    if isinstance(program, Rebase) and not program.copy:
        _link(fs, program.layer)
    else:
        _chain(fs, program.top if isinstance(program, Commit) else program.layer)
    path = program.written
    inode = fs.inodes.get(fs.find(path) or 0)
    if isinstance(inode, Inode) and inode.immutable:
        raise ToolError(f"Could not open '{path}': Could not open '{path}': Operation not permitted")


def _chain(fs: FileSystem, layer: Layer) -> tuple[Link, ...]:
    try:
        return chain(fs, layer)
    except OpenError as error:
        raise ToolError(f"Could not open '{layer.path}': {error}") from None


def _link(fs: FileSystem, layer: Layer) -> Link:
    try:
        return opened(fs, layer)
    except OpenError as error:
        raise ToolError(f"Could not open '{layer.path}': {error}") from None


def _images(links: tuple[Link, ...]) -> tuple[Image, ...]:
    return tuple(link.image for link in links)


def _put(fs: FileSystem, path: str, image: Image | bytes, trouble: str, *, synced: bool = True) -> FileSystem:
    """Store an image; a full or failing file system ends the program with `trouble` and the reason."""
    inode = fs.find(path)
    if inode is None:
        return fs  # unlinked meanwhile: it goes on in a file that nobody can find any more
    try:
        after = fs.store(inode, image, path)
    except OSError as error:
        number = error.errno or errno.EIO
        raise ToolError(trouble.format(number=-number, reason=strerror(number)), fs) from None
    return after.synced(inode) if synced else after


def _qcow2(fs: FileSystem, layer: Layer) -> Qcow2:
    image = _link(fs, layer).image
    assert isinstance(image, Qcow2)
    return image


# --- create ----------------------------------------------------------------------------------------------------------


def _overlay_laid_out(fs: FileSystem, program: CreateOverlay, _now: int) -> FileSystem:
    # A header without its tables: no longer empty, not yet an image.
    return _put(fs, program.path, b"QFI\xfb" + bytes(4092), f"{program.path}: {{reason}}")


def _overlay_written(fs: FileSystem, program: CreateOverlay, _now: int) -> FileSystem:
    if len(program.backing_name.encode("utf-8", "surrogateescape")) > BACKING_NAME_MAX:
        name, form = program.backing_name, program.backing_format
        words = f"{program.path}: Could not assign backing file '{name}' with format '{form}': Invalid argument"
        raise ToolError(words, fs)
    image = fresh_qcow2(program.size_bytes, backing_name=program.backing_name, backing_format=program.backing_format)
    return _put(fs, program.path, image, f"{program.path}: Could not write qcow2 header: {{reason}}")


# --- internal snapshots ----------------------------------------------------------------------------------------------


def _refcounts_raised(fs: FileSystem, program: SnapshotCreate, _now: int) -> FileSystem:
    image, path = _link(fs, program.layer).image, program.layer.path
    trouble = f"Could not create snapshot '{program.tag}': {{number}} ({{reason}})"
    try:
        raised = op.snapshot_raised(image)
    except op.QemuError as error:
        raise ToolError(f"Could not create snapshot '{program.tag}': {error}") from None
    assert isinstance(image, Qcow2)
    refused = op.snapshot_refused(image)
    if refused is not None:
        words = f"Could not create snapshot '{program.tag}': -22 (Invalid argument)"
        raise ToolError(words, _put(fs, path, refused, trouble))
    return _put(fs, path, raised, trouble)


def _flags_cleared(fs: FileSystem, program: SnapshotCreate, _now: int) -> FileSystem:
    image = flagged(_qcow2(fs, program.layer))
    return _put(fs, program.layer.path, image, f"Could not create snapshot '{program.tag}': {{number}} ({{reason}})")


def _table_written(fs: FileSystem, program: SnapshotCreate, now: int) -> FileSystem:
    image = op.snapshot_entered(_qcow2(fs, program.layer), program.tag, now)
    return _put(fs, program.layer.path, image, f"Could not create snapshot '{program.tag}': {{number}} ({{reason}})")


def _wanted(fs: FileSystem, program: SnapshotApply | SnapshotDelete | CopyOut) -> Entry:
    image = _link(fs, program.layer).image
    found = image.table.by_id(program.snapshot_id) if isinstance(image, Qcow2) else None
    if found is None:  # somebody has deleted it since it was looked up
        raise ToolError(_not_found(program), fs)
    return found


def _not_found(program: SnapshotApply | SnapshotDelete | CopyOut) -> str:
    match program:
        case SnapshotApply():
            return _trouble(program, "load it").format(reason="No such file or directory")
        case SnapshotDelete():
            return f"Could not delete snapshot '{program.tag}': snapshot not found"
        case _:
            return "Failed to load snapshot: Can't find snapshot"


def _size_set(fs: FileSystem, program: SnapshotApply, _now: int) -> FileSystem:
    entry = _wanted(fs, program)
    if _qcow2(fs, program.layer).bitmaps:
        raise ToolError(f"Could not apply snapshot '{program.snapshot_id}': {BITMAPS_ACTIVE}")
    if _qcow2(fs, program.layer).size_bytes == entry.size_bytes:
        return fs
    images = _images(_chain(fs, program.layer))
    trouble = f"Could not apply snapshot '{program.snapshot_id}': {{reason}}"
    try:
        return _put(fs, program.layer.path, op.resized(images, entry.size_bytes), trouble)
    except op.QemuError as error:
        raise ToolError(trouble.format(number=0, reason=error)) from None


def _snapshot_counted(fs: FileSystem, program: SnapshotApply, _now: int) -> FileSystem:
    if not may_apply(_qcow2(fs, program.layer), _wanted(fs, program)):
        words = f"Could not apply snapshot '{program.snapshot_id}': Failed to load snapshot: Invalid argument"
        raise ToolError(words, fs)
    image = op.snapshot_counted(_qcow2(fs, program.layer), _wanted(fs, program))
    return _put(fs, program.layer.path, image, _trouble(program, "load it"))


def _layer_switched(fs: FileSystem, program: SnapshotApply, _now: int) -> FileSystem:
    image = op.snapshot_applied(_qcow2(fs, program.layer), _wanted(fs, program))
    return _put(fs, program.layer.path, image, _trouble(program, "load it"))


def _trouble(program: SnapshotApply | SnapshotDelete, what: str) -> str:
    """The words for a disk that fails, with a place for the reason. `snapshot -a` does not tell at what it failed."""
    if isinstance(program, SnapshotApply):
        return f"Could not apply snapshot '{program.snapshot_id}': Failed to load snapshot: {{reason}}"
    return f"Could not delete snapshot '{program.tag}': Failed to {what}: {{reason}}"


def _refcounts_lowered(fs: FileSystem, program: SnapshotApply | SnapshotDelete, _now: int) -> FileSystem:
    image = op.snapshot_lowered(_qcow2(fs, program.layer), left=1)
    return _put(fs, program.layer.path, image, _trouble(program, "free the cluster and L1 table"))


def _old_layer_dropped(fs: FileSystem, program: SnapshotApply, _now: int) -> FileSystem:
    image = op.snapshot_settled(_qcow2(fs, program.layer))
    return _put(fs, program.layer.path, image, _trouble(program, "load it"))


def _entry_removed(fs: FileSystem, program: SnapshotDelete, _now: int) -> FileSystem:
    image = op.snapshot_forgotten(_qcow2(fs, program.layer), _wanted(fs, program))
    return _put(fs, program.layer.path, image, _trouble(program, "remove snapshot from snapshot list"))


def _refcounts_dropped(fs: FileSystem, program: SnapshotDelete, _now: int) -> FileSystem:
    image = op.snapshot_dropped(_qcow2(fs, program.layer))
    return _put(fs, program.layer.path, image, _trouble(program, "update snapshot status in disk"))


# --- commit, rebase, resize, check, convert --------------------------------------------------------------------------


def _position(links: tuple[Link, ...], program: Commit) -> int:
    places = [index for index, link in enumerate(links) if index and link.path == program.into.path]
    if len(links) == 1:
        raise ToolError("Image does not have a backing file")
    if not places:
        raise ToolError(f"Did not find '{program.into.path}' in the backing chain of '{program.top.path}'")
    return places[0]


def _base_grown(fs: FileSystem, program: Commit, _now: int) -> FileSystem:
    links = _chain(fs, program.top)
    place = _position(links, program)
    images = _images(links[place:])
    if images[0].size_bytes >= links[0].image.size_bytes:
        return fs
    try:
        grown = op.resized(images, links[0].image.size_bytes)
    except op.QemuError:
        raise ToolError("Block job failed: Operation not supported") from None
    return _put(fs, links[place].path, grown, "Block job failed: {reason}")


def _committed(part: int) -> Callable[[FileSystem, Commit, int], FileSystem]:
    def copied(fs: FileSystem, program: Commit, _now: int) -> FileSystem:
        links = _chain(fs, program.top)
        place = _position(links, program)
        runs = op.share(op.to_commit(_images(links), place), part, _PARTS)
        image = op.written(_images(links[place:]), runs)
        return _put(fs, links[place].path, image, "Block job failed: {reason}", synced=part == _PARTS - 1)

    return copied


def _new_backing(fs: FileSystem, program: Rebase) -> tuple[Image, ...]:
    if not program.backing_name:
        return ()
    path = backing_path(program.layer.path, program.backing_name)
    # Both may be open where neither has tables, which are not shared (measured: 7.2.22); the header is refused later.
    alone = Format.QCOW2 in (program.layer.format, Format(program.backing_format))
    if alone and path == program.layer.path:
        words = f'Failed to get shared "write" lock\nIs another process using the image [{path}]?'
        raise ToolError(f"Could not open new backing file '{program.backing_name}': {words}")
    try:
        links = chain(fs, Layer(path, Format(program.backing_format)))
    except OpenError as error:
        error.require_end(fs.number(program.layer.path))
        raise ToolError(f"Could not open new backing file '{program.backing_name}': {error}") from None
    for depth, link in enumerate(links):
        if alone and fs.find(program.layer.path) == link.number:
            words = f'Failed to get shared "write" lock\nIs another process using the image [{link.path}]?'
            words = "Could not open backing file: " * depth + words
            raise ToolError(f"Could not open new backing file '{program.backing_name}': {words}")
    return _images(links)


def _rebased(part: int) -> Callable[[FileSystem, Rebase, int], FileSystem]:
    def copied(fs: FileSystem, program: Rebase, _now: int) -> FileSystem:
        if not program.copy:
            return fs
        images = _images(_chain(fs, program.layer))
        # What is copied already does not differ any more, so each part takes its share of what is left.
        runs = op.share(op.differing(images[0], images[1:], _new_backing(fs, program)), 0, _PARTS - part)
        trouble = "Error while writing to COW image: {reason}"
        return _put(fs, program.layer.path, op.written(images, runs), trouble, synced=False)

    return copied


def _backing_written(fs: FileSystem, program: Rebase, _now: int) -> FileSystem:
    name = program.backing_name
    trouble = f"Could not change the backing file to '{name}': {{reason}}"
    image = _link(fs, program.layer).image
    if not isinstance(image, Qcow2):
        raise ToolError(trouble.format(number=0, reason="Operation not supported"), fs)
    if len(name.encode("utf-8", "surrogateescape")) > BACKING_NAME_MAX:
        raise ToolError(trouble.format(number=0, reason="Invalid argument"), fs)
    if name and not program.backing_format:
        raise ToolError(trouble.format(number=0, reason="backing format must be specified"), fs)
    changed = msgspec.structs.replace(image, backing_name=name, backing_format=program.backing_format if name else "")
    return _put(fs, program.layer.path, changed, trouble)


def _size_written(fs: FileSystem, program: Resize, _now: int) -> FileSystem:
    try:
        image = op.resized(_images(_chain(fs, program.layer)), program.size_bytes)
    except op.QemuError as error:
        raise ToolError(str(error)) from None
    return _put(fs, program.layer.path, image, "Failed to update the image size: {reason}")


def _leaks_given_back(fs: FileSystem, program: Repair, _now: int) -> FileSystem:
    image = _link(fs, program.layer).image
    if not isinstance(image, Qcow2):
        raise ToolError("This image format does not support checks")
    return _put(fs, program.layer.path, repaired(image), "Check failed: {reason}")


def _target_laid_out(fs: FileSystem, program: CopyOut, _now: int) -> FileSystem:
    if fs.inode(program.to).stored != b"":
        raise NotModelled("qemu-img convert into a file that is not empty")
    size_bytes = _copied_from(fs, program)[0].size_bytes
    return _put(fs, program.to, fresh_qcow2(-(-size_bytes // SECTOR) * SECTOR), "error while converting: {reason}")


def _copied_from(fs: FileSystem, program: CopyOut) -> tuple[Image, ...]:
    """The chain that is copied: as it is, or with the snapshot on top."""
    images = _images(_chain(fs, program.layer))
    if not program.snapshot_id:
        return images
    entry = _wanted(fs, program)
    return msgspec.structs.replace(images[0], content=entry.content, size_bytes=entry.size_bytes), *images[1:]


def _copied_out(part: int) -> Callable[[FileSystem, CopyOut, int], FileSystem]:
    def copied(fs: FileSystem, program: CopyOut, _now: int) -> FileSystem:
        runs = op.share(list(shown(_copied_from(fs, program))), part, _PARTS)
        target = _link(fs, Layer(program.to, Format.QCOW2)).image
        return _put(fs, program.to, op.written((target,), runs), "error while writing: {reason}", synced=False)

    return copied


def _written_image(fs: FileSystem, program: Program) -> Qcow2 | None:
    inode = fs.inodes.get(fs.find(program.written) or 0)
    return inode.stored if isinstance(inode, Inode) and isinstance(inode.stored, Qcow2) else None


def _with_bitmaps(fs: FileSystem, program: Program, change: Callable[[bitmaps.Bitmaps], bitmaps.Bitmaps]) -> FileSystem:
    image, path = _written_image(fs, program), program.written
    if image is None or not image.bitmaps:
        return fs
    changed = msgspec.structs.replace(image, bitmaps=change(image.bitmaps))
    return fs.store(fs.number(path), changed, path).sync(path)


def _marking(own: tuple[Step, ...]) -> tuple[Step, ...]:
    """These steps; from the first to the end the dirty bitmaps of what is written are marked as in use."""
    return tuple(
        (name, _marked(step, begins=place == 0, ends=place == len(own) - 1)) for place, (name, step) in enumerate(own)
    )


def _marked(step: Callable[[FileSystem, Any, int], FileSystem], *, begins: bool, ends: bool) -> Any:
    def done(fs: FileSystem, program: Program, now: int) -> FileSystem:
        if begins:
            fs = _with_bitmaps(fs, program, bitmaps.taken)
        try:
            fs = step(fs, program, now)
        except ToolError as error:
            if error.fs is not None or not begins:
                released = _with_bitmaps(error.fs or fs, program, bitmaps.released)
                error.fs = error.fs if released is fs else released
            raise
        return _with_bitmaps(fs, program, bitmaps.released) if ends else fs

    return done


_STEPS: dict[type, tuple[Step, ...]] = {
    CreateOverlay: (("file laid out", _overlay_laid_out), ("header written", _overlay_written)),
    SnapshotCreate: (
        ("refcounts raised", _refcounts_raised),
        ("flags cleared", _flags_cleared),
        ("table written", _table_written),
    ),
    SnapshotApply: (
        ("size set", _size_set),
        ("snapshot counted", _snapshot_counted),
        ("layer switched", _layer_switched),
        ("refcounts lowered", _refcounts_lowered),
        ("flags set", _old_layer_dropped),
    ),
    SnapshotDelete: (
        ("table written", _entry_removed),
        ("refcounts lowered", _refcounts_lowered),
        ("flags set", _refcounts_dropped),
    ),
    Commit: (
        ("base grown", _base_grown),
        *((f"copied {part + 1} of {_PARTS}", _committed(part)) for part in range(_PARTS)),
    ),
    Rebase: (
        *((f"copied {part + 1} of {_PARTS}", _rebased(part)) for part in range(_PARTS)),
        ("header written", _backing_written),
    ),
    Resize: (("size written", _size_written),),
    Repair: (("leaks given back", _leaks_given_back),),
    CopyOut: (
        ("target laid out", _target_laid_out),
        *((f"copied {part + 1} of {_PARTS}", _copied_out(part)) for part in range(_PARTS)),
    ),
}
_STEPS = {program: _marking(own) for program, own in _STEPS.items()}
