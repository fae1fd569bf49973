"""The images that a running QEMU has open, and what a guest's requests make of them.

QEMU under Xen takes no lock on them (xen.md 18). It reads header and tables of a qcow2 image when it opens it, and
from then on writes what it believes: what somebody else has changed meanwhile is overwritten, and the image is damaged.
"""

import errno
from collections.abc import Iterable
from os import strerror
from typing import Any

import msgspec
from immutables import Map

from simulator.core.unmodelled import NotModelled
from simulator.disk.chain import Link, OpenError, chain, image_in, sectors, shown
from simulator.disk.content import SECTOR, Run, clip
from simulator.disk.files import Inode, Open
from simulator.disk.filesystem import FileSystem
from simulator.disk.image import Image, Qcow2, Raw
from simulator.disk.operations import written
from simulator.qemu.bitmap import Bitmap, marked
from xensnap.model import Backend, Disk, Format, Layer

replace = msgspec.structs.replace

_FIRST_NUMBER = 100
_DEVICES = 2
"""How many devices QEMU has made for a guest that it emulates nothing for, before those of its disks."""
_BEFORE_IDE, _AFTER_IDE = 13, 10
"""The same for a whole PC without a screen: before its emulated disks, and between these and the others."""

GONE = "gone"
"""In the place of who keeps a monitor to himself: nobody gets to either of the two."""

PV_STATE_BYTES = 405
HVM_STATE_BYTES = 7227
"""What QEMU 7.2.22 under Xen 4.17.7 saves of a guest that it emulates nothing but disks for, and of a whole PC."""


class Node(msgspec.Struct, frozen=True):
    """One image that is open.

    Attributes:
        number: the inode behind the descriptor, whatever its name leads to by now.
        belief: what QEMU takes the file to hold.
        locked: whether QEMU holds its lock on the file, as it does where the image was opened over QMP.
        serial: grows with each node that is made; lists of nodes begin with the newest.
        file_name: what the node of the file below is called; empty where this is such a node itself.
        owned: whether the monitor holds it, so that it stays when nothing else needs it.
        file_owned: the same for the node of the file.
        expects: what its header calls its backing file, where QEMU has not opened that by this name itself; an image
            that stands on something else is called by all of its options (qemu.md 135). None where it has.
        bitmaps: its dirty bitmaps, the newest first.
        detect_zeroes: what becomes of zeros that are written like data.
        highest_bytes: where the highest write has ended that went through it since it was opened.
        file_readonly: whether its file is open for reading only, though it says that it can be written.
        below: what messages call the image that stands on it, where a job has put that there.
    """

    name: str
    layer: Layer
    number: int
    readonly: bool
    belief: Image
    locked: bool = False
    serial: int = 0
    file_name: str = ""
    owned: bool = False
    file_owned: bool = False
    expects: str | None = None
    below: str = ""
    bitmaps: tuple[Bitmap, ...] = ()
    file_readonly: bool = False
    detect_zeroes: str = "off"
    highest_bytes: int = 0

    @property
    def writes(self) -> bool:
        """Whether its file is open for writing."""
        return not self.readonly and not self.file_readonly


class Drive(msgspec.Struct, frozen=True):
    """A disk of the guest and the images it stands on, the root first.

    Attributes:
        vdev: the disk; of images that no disk stands on the node that was there first.
        ide: the emulated copy of an HVM guest.
        attached: whether a device of the guest stands on it.
        device: what QEMU calls the backend of that device, which is nothing for a disk of xenstore (xen.md 15).
        removable: whether the medium can be taken out.
        qdev: where QEMU has the device itself; empty where a backend has no device yet.
        kept: the job that keeps images which nothing stands on any more, until it is dismissed.
        writes, written_bytes, flushes: what the guest has asked of the device.
    """

    vdev: str
    chain: tuple[Node, ...]
    ide: bool = False
    attached: bool = True
    device: str = ""
    removable: bool = False
    qdev: str = ""
    kept: str = ""
    writes: int = 0
    written_bytes: int = 0
    flushes: int = 0

    @property
    def root(self) -> Node:
        """The image that is written to."""
        return self.chain[0]


BACKUP = "backup"
"""The kind of a job that copies a disk as it was at one moment."""


class BlockJob(msgspec.Struct, frozen=True):
    """A block job as `query-jobs` tells it, and what it works on.

    Attributes:
        source: the node it copies from (commit, backup) or into (stream).
        target: the node it copies into (commit, backup) or stops above (stream); empty where a stream takes everything.
        backing_name: what the image above shall call its backing file when all is done.
        total_bytes: how much there was to do, by QEMU's count; None where only sectors are counted.
        auto_finalize, auto_dismiss: whether it ends, and is forgotten, without being told.
        paused: somebody has paused it.
        filter_name, filter_serial: the node that QEMU puts above the images meanwhile.
        held: what it was doing when all was done but for what it must be told to do.
        ordered: it has been told to pivot, and has not yet.
        holds: the images that it does not let others change; a job that is over may, until it is dismissed.
        reopened: the image that it has opened for writing, and will close for writing at its end.
        moment: what a backup copies: all that the disk has shown when it began.
        granule_sectors: in pieces of which size it copies.
        todo: from which piece to which it has not copied yet.
        endless: whether it copies only what the guest is about to overwrite, until it is cancelled.
        on_error: what it shall do where something cannot be copied.
        broke_off: whether it has ended since something could not be copied.
    """

    id: str
    kind: str
    vdev: str
    source: str
    target: str
    status: str = "running"
    done_sectors: int = 0
    left_sectors: int = 0
    error: str = ""
    backing_name: str = ""
    total_bytes: int | None = None
    auto_finalize: bool = True
    auto_dismiss: bool = False
    paused: bool = False
    filter_name: str = ""
    filter_serial: int = 0
    held: str = ""
    speed: int = 0
    ordered: bool = False
    holds: tuple[str, ...] = ()
    reopened: str = ""
    moment: tuple[Run, ...] = ()
    granule_sectors: int = 0
    todo: tuple[tuple[int, int], ...] = ()
    endless: bool = False
    on_error: str = "report"
    broke_off: bool = False

    @property
    def over(self) -> bool:
        """Whether nothing is done any more; QEMU remembers it until somebody dismisses it."""
        return self.status == "concluded"


class Event(msgspec.Struct, frozen=True):
    """Something that every client is told."""

    name: str
    data: dict[str, Any]


class Qemu(msgspec.Struct, frozen=True):
    """One QEMU process.

    Attributes:
        held: who keeps one of its two monitors to himself: "libxl", "libxenstat" or nobody; "gone" where both their
            sockets are.
        inactive: its images are given up, as after a migration's end (xen-live.md A4).
        drained: the guest's requests wait.
        log: what it has written into its log file.
        status: its own run state, of which xl knows nothing (anchors: xl and QEMU are independent).
        name: what `query-name` answers.
        devices: how many devices without a name it has made.
        ears: the monitors that have a client, and what each has not been told yet.
        state_bytes: how much `snapshot-save` writes of the machine. Under Xen that is without the guest's memory.
        empty: what drives without a medium are called. Nothing else is modelled of them.
        xen: whether it serves a domain of Xen, into which nothing can be loaded again (trace xen/state-saved-by-qemu).
    """

    pid: int
    drives: tuple[Drive, ...] = ()
    jobs: tuple[BlockJob, ...] = ()
    held: str = ""
    inactive: bool = False
    drained: bool = False
    log: tuple[str, ...] = ()
    numbered: int = _FIRST_NUMBER
    status: str = "running"
    name: str = ""
    devices: int = _DEVICES
    ears: Map[str, tuple[Event, ...]] = Map()
    state_bytes: int = PV_STATE_BYTES
    empty: tuple[str, ...] = ()
    xen: bool = True

    def drive(self, vdev: str) -> Drive | None:
        """The disk that snapshots are taken of: of an HVM guest's two copies the one that is named after it."""
        return next((drive for drive in self.drives if drive.vdev == vdev and not drive.ide), None)

    def guests(self, vdev: str) -> Drive | None:
        """The disk that the guest's requests go to: the emulated one until it has been unplugged."""
        return next((drive for drive in self.drives if drive.vdev == vdev), None)

    def job(self, job_id: str) -> BlockJob | None:
        """The job with this id."""
        return next((job for job in self.jobs if job.id == job_id), None)

    def working(self, vdev: str) -> BlockJob | None:
        """A job that holds this disk."""
        return next((job for job in self.jobs if job.vdev == vdev and not job.over), None)

    def having(self, drive: Drive) -> "Qemu":
        """With this in the place of what the disk was, and of its images wherever else they are used."""
        same = (drive.vdev, drive.ide)
        drives = tuple(drive if (other.vdev, other.ide) == same else other for other in self.drives)
        if not all(other.attached for other in drives):
            drives = tuple(other if other is drive else _onto(other, drive.chain) for other in drives)
        return replace(self, drives=drives)

    def holding(self, name: str) -> BlockJob | None:
        """A job that this image is in use by, so that not much else can be done to it."""
        return next((job for job in reversed(self.jobs) if name in job.holds), None)

    def filtering(self, name: str) -> BlockJob | None:
        """The job whose filter stands between this image and all that stands on it."""
        return next((job for job in self.jobs if job.filter_name and job.source == name and not job.over), None)

    def telling(self, events: tuple[Event, ...], *, but: str = "") -> "Qemu":
        """All who listen will be told this; one of them has been already."""
        if not events:
            return self
        ears = self.ears
        for monitor, unheard in self.ears.items():
            if monitor != but:
                ears = ears.set(monitor, (*unheard, *events))
        return replace(self, ears=ears)

    def doing(self, job: BlockJob) -> "Qemu":
        """With this job, new or further on."""
        if self.job(job.id) is None:
            return replace(self, jobs=(*self.jobs, job))
        return replace(self, jobs=tuple(job if other.id == job.id else other for other in self.jobs))


def _onto(drive: Drive, chain: tuple[Node, ...]) -> Drive:
    """A drive whose images are these from the first on that they have in common."""
    names = [node.name for node in chain]
    for at, node in enumerate(drive.chain):
        if node.name in names:
            return replace(drive, chain=(*drive.chain[:at], *chain[names.index(node.name) :]))
    return drive


class Emulated(msgspec.Struct, frozen=True):
    """A disk that is also on QEMU's command line, where a PC has it.

    Attributes:
        place: which of the four that a PC has.
        number: by which xenstore knows it.
    """

    disk: Disk
    place: int
    number: int


def started(
    fs: FileSystem, pid: int, found: Iterable[Disk], *, emulated: Iterable[Emulated] | None = None
) -> tuple[FileSystem, Qemu]:
    """A QEMU with these disks open. One that does not open is not there; only the log tells (xen.md 8).

    Args:
        found: what xenstore has for it, in that order; what the kernel serves is not for QEMU (xen.md 17).
        emulated: what it was given on its command line to make the disks of a whole PC from; None where it is none.
    """
    qemu = Qemu(pid, state_bytes=PV_STATE_BYTES if emulated is None else HVM_STATE_BYTES)
    if emulated is not None:
        qemu = replace(qemu, devices=_BEFORE_IDE)
        for each in emulated:
            if each.disk.path:
                qemu = _attached(fs, qemu, each.disk, ide=each)
            else:
                qemu = replace(qemu, empty=(*qemu.empty, f"ide-{each.number}"))
        qemu = replace(qemu, devices=qemu.devices + _AFTER_IDE)
    for disk in found:
        qemu = _plugged(fs, qemu, disk)
    return opening(fs, qemu), qemu


def _plugged(fs: FileSystem, qemu: Qemu, disk: Disk) -> Qemu:
    if disk.backend is not Backend.QDISK:
        return qemu
    return _attached(fs, qemu, disk) if disk.path else replace(qemu, empty=(*qemu.empty, ""))


def _attached(fs: FileSystem, qemu: Qemu, disk: Disk, *, ide: Emulated | None = None) -> Qemu:
    number = qemu.numbered
    try:
        links = chain(fs, disk.layer)
        inode = fs.inodes[links[0].number]
    except OpenError as error:
        return replace(qemu, log=(*qemu.log, f"qemu-system-i386: {disk.vdev}: {error}"))
    if not disk.readonly and isinstance(inode, Inode) and inode.immutable:
        # xen-live.md B6: xl says that all is well, and the guest has no disk.
        words = f"Could not open '{disk.path}': {strerror(errno.EPERM)}"
        return replace(qemu, log=(*qemu.log, f"qemu-system-i386: {disk.vdev}: {words}"))
    nodes = []
    for place, link in enumerate(links):
        own = place == 0 and ide is None
        name = f"{disk.vdev}-{disk.format}" if own else f"#block{number + place}"
        layer = disk.layer if place == 0 else Layer(link.path, type(disk.format)(link.format))
        # What xenstore says of reading reaches the file alone, and a raw image takes no offence (transcript 15).
        raw = own and disk.readonly and disk.format is Format.RAW
        readonly = place > 0 or (disk.readonly and not raw)
        node = Node(name, layer, link.number, readonly, belief(link), locked=ide is not None, file_readonly=raw)
        nodes.append(replace(node, serial=number + place, file_name=f"#block{number + len(links) + place}"))
    qemu = replace(qemu, numbered=number + 2 * len(links))
    if ide is not None and disk.cdrom:
        device = f"ide-{ide.number}"
        drive = Drive(disk.vdev, tuple(nodes), ide=True, device=device, removable=True, qdev=device)
    else:
        device = f"ide{ide.place // 2}-hd{ide.place % 2}" if ide else ""
        qdev = f"/machine/unattached/device[{qemu.devices}]"
        drive = Drive(disk.vdev, tuple(nodes), ide=ide is not None, device=device, qdev=qdev)
        qemu = replace(qemu, devices=qemu.devices + 1)
    return replace(qemu, drives=(*qemu.drives, drive))


def belief(link: Link) -> Image:
    """What QEMU takes an image to hold that it opens now."""
    image = link.image
    if isinstance(image, Qcow2) and (image.bitmaps or image.lazy):
        what = "dirty bitmaps" if image.bitmaps else "lazy refcounts"
        raise NotModelled(f"{link.path}: an image with {what}, open in a running QEMU")
    return image


def opening(fs: FileSystem, qemu: Qemu) -> FileSystem:
    """The file system with exactly those files open that this QEMU has open."""
    # What a commit passes over is no content of any disk until it is done, and nobody may read it.
    unread = {name for job in qemu.jobs if job.kind == "commit" and not job.over for name in job.holds[1:-1]}
    wanted = tuple(
        (node.number, Open(qemu.pid, node.writes, node.locked, node.locked and node.name in unread))
        for drive in qemu.drives
        for node in drive.chain
    )
    return fs.having_open(qemu.pid, wanted)


def plugged(fs: FileSystem, qemu: Qemu, disk: Disk) -> tuple[FileSystem, Qemu]:
    """A disk is attached to a running domain; if it does not open, only the log tells."""
    after = _plugged(fs, qemu, disk)
    return opening(fs, after), after


def pulled(fs: FileSystem, qemu: Qemu, vdev: str) -> tuple[FileSystem, Qemu]:
    """A disk is detached from a running domain."""
    after = replace(qemu, drives=tuple(drive for drive in qemu.drives if drive.vdev != vdev))
    return opening(fs, after), after


def unplugged(fs: FileSystem, qemu: Qemu) -> tuple[FileSystem, Qemu]:
    """The guest's kernel has given up the emulated disks (xen.md 16), but no cdrom (QEMU's piix3 IDE, 7.2.22)."""
    after = replace(qemu, drives=tuple(drive for drive in qemu.drives if not drive.ide or drive.removable))
    return opening(fs, after), after


def kept_alone(qemu: Qemu, chain: tuple[Node, ...]) -> Qemu:
    """Images that nothing stands on any more: they stay from the first that the monitor or a job holds."""
    while chain and not chain[0].owned and not qemu.holding(chain[0].name):
        chain = chain[1:]
    if not chain or any(node.name == chain[0].name for drive in qemu.drives for node in drive.chain):
        return qemu
    return replace(qemu, drives=(*qemu.drives, Drive(chain[0].name, chain, attached=False)))


def forgotten(fs: FileSystem, qemu: Qemu, job_id: str) -> tuple[FileSystem, Qemu]:
    """A job is dismissed. What only it has kept open is closed."""
    qemu = replace(qemu, jobs=tuple(job for job in qemu.jobs if job.id != job_id))
    kept = [drive for drive in qemu.drives if drive.kept == job_id or let_go(qemu, drive)]
    qemu = replace(qemu, drives=tuple(drive for drive in qemu.drives if drive not in kept))
    for drive in kept:
        qemu = kept_alone(qemu, drive.chain)
    return opening(fs, qemu), qemu


def let_go(qemu: Qemu, drive: Drive) -> bool:
    """Whether nobody needs these images."""
    return not drive.attached and not drive.kept and not drive.root.owned and not qemu.holding(drive.root.name)


def current(fs: FileSystem, node: Node) -> Image:
    """What QEMU reads an image as. A raw image has no tables, so nothing of it can be out of date."""
    inode = fs.inodes[node.number]
    assert isinstance(inode, Inode)
    return image_in(inode.stored, node.layer) if isinstance(node.belief, Raw) else node.belief


def images(fs: FileSystem, drive: Drive) -> tuple[Image, ...]:
    """What the guest's requests are answered from, the root first."""
    return tuple(current(fs, node) for node in drive.chain)


def visible(fs: FileSystem, drive: Drive) -> tuple[int, tuple[Run, ...]]:
    """What the running disk shows: its size, and every run that is not zero."""
    stack = images(fs, drive)
    return stack[0].size_bytes, shown(stack)


def put(fs: FileSystem, node: Node, image: Image) -> tuple[FileSystem, Node]:
    """QEMU writes an image as it believes it to be. What others have done to it since is lost and leaks.

    Raises `OSError` as the file system does; nothing has changed then.
    """
    inode = fs.inodes[node.number]
    assert isinstance(inode, Inode)
    if isinstance(image, Qcow2) and inode.stored is not node.belief and inode.stored != node.belief:
        # Measured: a snapshot from outside is overwritten by the next one made over QMP, with the same id, and a
        # cluster leaks (xen.md 18). What becomes of an active layer changed from both sides nobody has measured.
        there = inode.stored
        same = isinstance(there, Qcow2) and there.content == node.belief.content
        image = replace(image, leaked=image.leaked + 1, corrupted=image.corrupted + (not same))
    return fs.store(node.number, image, node.layer.path), replace(node, belief=image)


def with_bitmaps(drive: Drive, at: int, bitmaps: tuple[Bitmap, ...]) -> Drive:
    """The drive with these bitmaps on one of its nodes."""
    node = replace(drive.chain[at], bitmaps=bitmaps)
    return replace(drive, chain=(*drive.chain[:at], node, *drive.chain[at + 1 :]))


def wrote(fs: FileSystem, qemu: Qemu, vdev: str, runs: Iterable[Run]) -> tuple[FileSystem, Qemu]:
    """The guest has written these runs to a disk, and flushed it. Raises `OSError` where it gets an error instead."""
    drive = qemu.guests(vdev)
    if drive is None or not drive.root.writes:
        raise OSError(errno.EIO, strerror(errno.EIO), vdev)
    stack = images(fs, drive)
    limit = sectors(stack[0])
    runs = [(low, min(high, limit), write_id) for low, high, write_id in runs if low < limit]
    fs, qemu = _saved_before(fs, qemu, drive, runs)
    image = written(stack, runs)
    after, root = put(fs, drive.root, image)
    highest = max((high * SECTOR for _, high, _ in runs), default=0)
    root = replace(root, bitmaps=tuple(marked(bitmap, runs) for bitmap in root.bitmaps))
    root = replace(root, highest_bytes=max(root.highest_bytes, highest))
    counted = replace(
        drive,
        writes=drive.writes + len(runs),
        written_bytes=drive.written_bytes + SECTOR * sum(high - low for low, high, _ in runs),
        flushes=drive.flushes + 1,
    )
    qemu = qemu.having(replace(counted, chain=(root, *drive.chain[1:])))
    if (job := qemu.working(vdev)) and job.kind != BACKUP:
        # What it has to copy is looked at anew; until then it is surely not done.
        qemu = qemu.doing(replace(job, left_sectors=max(1, job.left_sectors)))
    return after.synced(root.number), qemu


# --- backups ---------------------------------------------------------------------------------------------------------


def _saved_before(fs: FileSystem, qemu: Qemu, drive: Drive, runs: Iterable[Run]) -> tuple[FileSystem, Qemu]:
    """What a guest is about to overwrite is copied first, by every backup that has not got it yet.

    Where that fails the guest's write does, which is what QEMU does of itself (`on-cbw-error` of 7.2.22).
    """
    for job in qemu.jobs:
        if job.kind == BACKUP and not job.over and job.source == drive.root.name:
            size = job.granule_sectors
            pieces = {piece for low, high, _ in runs for piece in range(low // size, -(-high // size))}
            fs, qemu = backed_up(fs, qemu, job, [piece for piece in sorted(pieces) if _among(job.todo, piece)])
    return fs, qemu


def backed_up(fs: FileSystem, qemu: Qemu, job: BlockJob, pieces: list[int]) -> tuple[FileSystem, Qemu]:
    """These pieces of the moment of a backup are in its target, and are not copied again."""
    if not pieces:
        return fs, qemu
    drive = next(drive for drive in qemu.drives if drive.root.name == job.target)
    size = job.granule_sectors
    runs = [run for piece in pieces for run in clip(job.moment, piece * size, (piece + 1) * size)]
    fs, root = put(fs, drive.root, written(images(fs, drive), runs))
    root = replace(root, highest_bytes=max(root.highest_bytes, runs[-1][1] * SECTOR))
    qemu = qemu.having(replace(drive, chain=(root, *drive.chain[1:])))
    todo, count = _but(job.todo, pieces), len(pieces) * size
    return fs, qemu.doing(
        replace(job, todo=todo, done_sectors=job.done_sectors + count, left_sectors=job.left_sectors - count)
    )


def _among(spans: tuple[tuple[int, int], ...], piece: int) -> bool:
    return any(low <= piece < high for low, high in spans)


def _but(spans: tuple[tuple[int, int], ...], pieces: list[int]) -> tuple[tuple[int, int], ...]:
    """These spans without these pieces."""
    for piece in pieces:
        cut = ((part for part in ((low, min(high, piece)), (max(low, piece + 1), high))) for low, high in spans)
        spans = tuple((low, high) for parts in cut for low, high in parts if low < high)
    return spans
