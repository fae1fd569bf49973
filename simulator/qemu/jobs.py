"""Block jobs: commit and stream, copying a part at each step while the guest goes on writing.

QEMU opens an image anew by its file name when it changes who may write it. A name that leads to another file by then is
followed without a word, and the data goes there (measured: silent corruption).
"""

import errno
from os import strerror

import msgspec

from simulator.core.unmodelled import NotModelled
from simulator.disk import operations as op
from simulator.disk.bitmaps import default_granularity
from simulator.disk.chain import OpenError, holes, opened, sectors, seen, segments
from simulator.disk.content import SECTOR, Run, clip, filled, over
from simulator.disk.files import Inode
from simulator.disk.filesystem import FileSystem
from simulator.disk.image import Image, Qcow2
from simulator.qemu import graph
from simulator.qemu.bitmap import Bitmap
from simulator.qemu.graph import BACKUP, BlockJob, Drive, Node, Qemu
from simulator.qemu.points import QmpError
from xensnap.model import Layer

replace = msgspec.structs.replace

STEP_SECTORS = 512
"""How much a job copies at each step. A guest that writes more in that time is never caught up with."""
COMMIT = "commit"
STREAM = "stream"
_PIECES_MAX = 1 << 20
KINDS = frozenset({COMMIT, STREAM, BACKUP})
"""The jobs that work on the images of one disk."""


def commit(
    fs: FileSystem, qemu: Qemu, *, vdev: str, top: Layer, base: Layer, job_id: str, backing_name: str
) -> tuple[FileSystem, Qemu]:
    """`block-commit`: active where `top` is the root, which gets ready and pivots; else it ends by itself."""
    drive = _free(qemu, vdev, job_id)
    if qemu.holding(drive.root.name):
        raise QmpError("Need a root block node")
    upper, lower = place(drive, top), place(drive, base)
    if lower <= upper:
        raise QmpError(f"Can't find '{base.path}' in the backing chain")
    names = [node.name for node in drive.chain]
    _require_free(qemu, drive, names[max(upper - 1, 0) : lower + 1])
    closed = drive.chain[lower].readonly
    fs, qemu, drive = _reopened(fs, qemu, drive, lower)
    if any(bitmap.recording for bitmap in drive.chain[lower].bitmaps):
        raise NotModelled("a commit into an image whose writes are recorded in a bitmap")
    qemu, drive = _followed(fs, qemu, drive, lower) if not upper else (qemu, drive)
    job = BlockJob(job_id, COMMIT, vdev, names[upper], names[lower], backing_name=backing_name)
    # One that ends below the root holds that, too, which it is named after. What the root could pivot to stays open.
    holds = (*names[: min(upper, 1)], *names[upper : lower + 1])
    job = replace(job, holds=holds, reopened=names[lower] if upper and closed else "")
    stack = graph.images(fs, drive)
    size = stack[upper].size_bytes
    if stack[lower].size_bytes < size:
        try:
            fs, qemu = _put(fs, qemu, drive, lower, op.resized(stack[lower:], size))
        except op.QemuError:
            # The command has succeeded; the job fails (qemu.md 169).
            return _ended(fs, qemu.doing(job), job, "Operation not supported")
        except OSError as error:
            return _ended(fs, qemu.doing(job), job, strerror(error.errno or errno.EIO))
    return fs, _measured(fs, qemu, job)


def _followed(fs: FileSystem, qemu: Qemu, drive: Drive, lower: int) -> tuple[Qemu, Drive]:
    """The root has a bitmap without a name, by which a commit knows what the guest writes meanwhile."""
    target = graph.current(fs, drive.chain[lower])
    bitmap = Bitmap("", default_granularity(target.cluster_bytes if isinstance(target, Qcow2) else 0))
    drive = graph.with_bitmaps(drive, 0, (bitmap, *drive.root.bitmaps))
    return qemu.having(drive), drive


def unfollowed(drive: Drive) -> Drive:
    """Nobody looks any more at what the guest writes."""
    return graph.with_bitmaps(drive, 0, tuple(bitmap for bitmap in drive.root.bitmaps if bitmap.name))


def stream(
    fs: FileSystem, qemu: Qemu, *, vdev: str, layer: Layer, base: Layer | None, job_id: str, backing_name: str
) -> tuple[FileSystem, Qemu]:
    """`block-stream`: what lies between the two, or all that lies below, is copied up.

    Not modelled: tables that are in QEMU's memory only when the job ends, and go with a QEMU that dies (qemu.md 182).
    """
    drive = _free(qemu, vdev, job_id)
    upper = place(drive, layer)
    into = graph.current(fs, drive.chain[upper])
    if isinstance(into, Qcow2) and into.extended_l2:
        raise NotModelled("a stream into an image with extended L2 entries, of which QEMU may die (qemu.md 189)")
    lower = place(drive, base) if base is not None else len(drive.chain)
    if lower <= upper:
        raise QmpError(f"Node '{drive.chain[lower].name}' is not a backing image of '{drive.chain[upper].name}'")
    names = [node.name for node in drive.chain]
    _require_free(qemu, drive, names[upper:lower])
    closed = drive.chain[upper].readonly
    if upper or closed:
        fs, qemu, drive = _reopened(fs, qemu, drive, upper)
    target = names[lower] if base is not None else ""
    holds = tuple(names[upper:lower])
    job = BlockJob(job_id, STREAM, vdev, names[upper], target, backing_name=backing_name, holds=holds)
    job = replace(job, reopened=names[upper] if closed else "")
    return fs, _measured(fs, qemu, job)


def backup(
    fs: FileSystem, qemu: Qemu, drive: Drive, target: Drive, *, job_id: str, sync: str, granule_bytes: int
) -> Qemu:
    """`blockdev-backup`: the disk as it is at this moment is copied into the root of another drive.

    Args:
        sync: `full` for all of it, `top` for what the root itself holds, `none` for what the guest overwrites from now.
    """
    stack = graph.images(fs, drive)
    size, granule = sectors(stack[0]), granule_bytes // SECTOR
    count = -(-size // granule)
    if count > _PIECES_MAX:
        raise NotModelled("a backup of more than a million pieces")
    todo: tuple[tuple[int, int], ...] = ((0, count),) if count else ()
    if sync == "top" and isinstance(stack[0], Qcow2):
        cluster = stack[0].sectors
        held = ((at * cluster // granule, -(-(at + 1) * cluster // granule)) for at in stack[0].content)
        pieces = {piece for low, high in held for piece in range(low, min(high, count))}
        todo = tuple((piece, piece + 1) for piece in sorted(pieces))
    left_sectors = granule * sum(high - low for low, high in todo)
    job = BlockJob(
        job_id,
        BACKUP,
        drive.vdev,
        drive.root.name,
        target.root.name,
        left_sectors=left_sectors,
        total_bytes=left_sectors * SECTOR,
        holds=(drive.root.name, target.root.name),
        moment=tuple(filled(seen(stack), 0, size)),
        granule_sectors=granule,
        todo=todo,
        endless=sync == "none",
    )
    bitmap = Bitmap("", granule_bytes, recording=False)
    source = graph.with_bitmaps(drive, 0, (bitmap, *drive.root.bitmaps))
    return qemu.having(source).doing(job)


def _backed_up(fs: FileSystem, qemu: Qemu, job: BlockJob) -> tuple[FileSystem, Qemu]:
    """Some pieces more, the first of those that are left; at its end what was opened for it alone is closed."""
    if job.endless:
        return fs, qemu
    if not job.todo:
        return _ended(fs, qemu, job, "")
    count = max(1, STEP_SECTORS // job.granule_sectors)
    pieces = [piece for low, high in job.todo[:count] for piece in range(low, min(high, low + count))][:count]
    return graph.backed_up(fs, qemu, job, pieces)


def worked(fs: FileSystem, qemu: Qemu, job: BlockJob) -> tuple[FileSystem, Qemu]:
    """One step more. An error ends the job, and the command that looks at it next tells."""
    if job.kind == BACKUP:
        try:
            return _backed_up(fs, qemu, job)
        except OSError as error:
            return _broken_off(fs, qemu, job, error)
    if job.ordered:
        return completed(fs, qemu, job)
    runs = left(fs, qemu, job)
    part = _first(runs, STEP_SECTORS)
    try:
        fs, qemu = _copied(fs, qemu, job, part)
    except OSError as error:
        return _broken_off(fs, qemu, job, error)
    try:
        job = replace(job, done_sectors=job.done_sectors + _sum(part), left_sectors=_sum(runs) - _sum(part))
        if job.left_sectors:
            return fs, qemu.doing(job)
        if job.kind == COMMIT and _at(qemu, job, job.source) == 0:
            return _target_synced(fs, qemu, job), qemu.doing(replace(job, status="ready"))
        return _settled(fs, qemu, job)
    except OSError as error:
        return _ended(fs, qemu, job, strerror(error.errno or errno.EIO))


def emptied(fs: FileSystem, qemu: Qemu, drive: Drive) -> tuple[FileSystem, Qemu]:
    """The human monitor's `commit`: all at once into the next image, and nothing is left in the root.

    The next image is as writable as it was before (QEMU 7.2.22), which a commit that was cancelled can have left it.
    """
    closed = drive.chain[1].readonly
    fs, qemu, drive = _reopened(fs, qemu, drive, 1)
    top, *lower = graph.images(fs, drive)
    try:
        if lower[0].size_bytes < top.size_bytes:
            lower[0] = op.resized(tuple(lower), top.size_bytes)
        base = op.written(tuple(lower), op.to_commit((top, *lower), 1))
        fs, qemu = _put(fs, qemu, drive, 1, base)
        assert isinstance(top, Qcow2), "only such an image stands on another"
        fs, qemu = _put(fs, qemu, _same(qemu, drive), 0, op.emptied(top))
    except (op.QemuError, OSError) as error:
        raise NotModelled(f"QMP: human-monitor-command 'commit' that fails: {error}") from None
    drive = _same(qemu, drive)
    for node in drive.chain[:2]:
        fs = fs.synced(node.number)
    qemu = qemu.having(_with(drive, 1, replace(drive.chain[1], readonly=closed)))
    return graph.opening(fs, qemu), qemu


def _same(qemu: Qemu, drive: Drive) -> Drive:
    return next(other for other in qemu.drives if (other.vdev, other.ide) == (drive.vdev, drive.ide))


def ordered(fs: FileSystem, qemu: Qemu, job: BlockJob) -> tuple[FileSystem, Qemu]:
    """`job-complete` is answered before anything has come of it."""
    _require_ready(job)
    return fs, qemu.doing(replace(job, ordered=True))


def completed(fs: FileSystem, qemu: Qemu, job: BlockJob) -> tuple[FileSystem, Qemu]:
    """What `job-complete` asks for: the guest's requests wait while the rest is copied, then the base is the root."""
    _require_ready(job)
    runs = left(fs, qemu, job)
    try:
        fs, qemu = _copied(fs, qemu, job, runs)
    except OSError as error:
        return _broken_off(fs, qemu, job, error)
    drive = drive_of(qemu, job)
    fs = _target_synced(fs, qemu, job)
    # What comes into the place of a root is written to if that was (QEMU 7.2.22).
    base, *below = drive.chain[_at(qemu, job, job.target) :]
    qemu = qemu.having(replace(drive, chain=(replace(base, readonly=drive.root.readonly), *below)))
    done = replace(job, status="concluded", done_sectors=job.done_sectors + _sum(runs), left_sectors=0, holds=())
    return graph.opening(fs, qemu), qemu.doing(done)


def _require_ready(job: BlockJob) -> None:
    if job.status != "ready":
        raise QmpError(f"Job '{job.id}' in state '{job.status}' cannot accept command verb 'complete'")


def cancelled(fs: FileSystem, qemu: Qemu, job: BlockJob) -> tuple[FileSystem, Qemu]:
    """`job-cancel`: no pivot; what was copied stays where it is and is shown by nobody."""
    if job.over:
        raise QmpError(f"Job '{job.id}' in state 'concluded' cannot accept command verb 'cancel'")
    return _ended(fs, qemu, job, "")


def left(fs: FileSystem, qemu: Qemu, job: BlockJob) -> list[Run]:
    """What is still to be copied."""
    drive = drive_of(qemu, job)
    stack = graph.images(fs, drive)
    upper = _at(qemu, job, job.source)
    if job.kind == COMMIT:
        lower = _at(qemu, job, job.target)
        return _unlike(op.to_commit(stack[upper:], lower - upper), stack[lower:])
    lower = _at(qemu, job, job.target) if job.target else len(stack)
    between = stack[upper + 1 :]
    runs: list[Run] = []
    for low, high, write_id in clip(op.to_commit(between, lower - upper - 1), 0, sectors(stack[upper])):
        runs += [(start, end, write_id) for start, end in holes(stack[upper], low, high)]
    return runs


def require_alone(qemu: Qemu, drive: Drive) -> None:
    """No other job works on any of these images."""
    names = {node.name for node in drive.chain}
    if any(not job.over and not names.isdisjoint(job.holds) for job in qemu.jobs):
        raise NotModelled("two block jobs at once in one chain")


def place(drive: Drive, layer: Layer) -> int:
    """Where this image is in the running chain, the root being 0. `LookupError` where it is not."""
    for number, node in enumerate(drive.chain):
        if node.layer.path == layer.path:
            return number
    there = ", ".join(node.layer.path for node in drive.chain)
    raise LookupError(f"{layer.path} is not in the running chain: {there}")


# --- steps of a job --------------------------------------------------------------------------------------------------


def _free(qemu: Qemu, vdev: str, job_id: str) -> Drive:
    if not job_id:
        raise QmpError("Invalid job ID ''")
    if qemu.job(job_id):
        raise QmpError(f"Job ID '{job_id}' already in use")
    drive = qemu.drive(vdev)
    if drive is None:
        raise QmpError(f"Cannot find device='{vdev}' nor node-name='{vdev}'")
    return drive


def _require_free(qemu: Qemu, drive: Drive, names: list[str]) -> None:
    for name in names:
        if job := qemu.holding(name):
            raise QmpError(f"Node '{name}' is busy: block device is in use by block job: {job.kind}")
    require_alone(qemu, drive)


def _reopened(fs: FileSystem, qemu: Qemu, drive: Drive, where: int) -> tuple[FileSystem, Qemu, Drive]:
    """An image is opened for writing, by its name: whatever file has that name now."""
    node = drive.chain[where]
    path = node.layer.path
    try:
        link = opened(fs, node.layer)
    except OpenError as error:
        raise QmpError(str(error)) from None
    inode = fs.inodes[link.number]
    if isinstance(inode, Inode) and inode.immutable:
        raise QmpError(f"Could not open '{path}': {strerror(errno.EPERM)}")
    if node.readonly and node.locked:
        _require_alone_in(fs, qemu, node)
    again = replace(node, number=link.number, belief=link.image, readonly=False)
    drive = _with(drive, where, again)
    qemu = qemu.having(drive)
    return graph.opening(fs, qemu), qemu, drive


def _require_alone_in(fs: FileSystem, qemu: Qemu, node: Node) -> None:
    """Nobody else has the file locked, this very QEMU's other nodes included."""
    nodes = {each.name: each for other in qemu.drives for each in other.chain if each.number == node.number}
    strangers = [each for each in fs.opens.get(node.number, ()) if each.locked and each.pid != qemu.pid]
    if strangers or any(each.locked for name, each in nodes.items() if name != node.name):
        raise QmpError('Failed to get "write" lock')


def _copied(fs: FileSystem, qemu: Qemu, job: BlockJob, runs: list[Run]) -> tuple[FileSystem, Qemu]:
    if not runs:
        return fs, qemu
    drive = drive_of(qemu, job)
    where = _at(qemu, job, job.target if job.kind == COMMIT else job.source)
    return _put(fs, qemu, drive, where, op.written(graph.images(fs, drive)[where:], runs))


def _settled(fs: FileSystem, qemu: Qemu, job: BlockJob) -> tuple[FileSystem, Qemu]:
    """All is copied: the header above says where it goes on from now, and what lies between is closed."""
    drive = drive_of(qemu, job)
    if job.kind == COMMIT:
        above, below = _at(qemu, job, job.source) - 1, _at(qemu, job, job.target)
    else:
        above = _at(qemu, job, job.source)
        below = _at(qemu, job, job.target) if job.target else len(drive.chain)
    closed = drive.chain[above].readonly
    if closed:
        fs, qemu, drive = _reopened(fs, qemu, drive, above)
    if job.kind == STREAM and above + 1 == len(drive.chain):
        # Where something stands below, its name is written even if nothing lay between (measured: 7.2.22).
        return _ended(fs, qemu, job, "")
    form = drive.chain[below].layer.format.value if below < len(drive.chain) else ""
    image = graph.current(fs, drive.chain[above])
    if not isinstance(image, Qcow2):
        raise NotModelled(f"a block job that ends below a {drive.chain[above].layer.format} image")
    name = job.backing_name if form else ""
    fs, qemu = _put(fs, qemu, drive, above, replace(image, backing_name=name, backing_format=form))
    drive = drive_of(qemu, job)
    renamed = replace(drive.chain[above], expects=name, readonly=closed)
    lower = tuple(replace(node, below=_called(drive, above)) for node in drive.chain[below : below + 1])
    chain = (*drive.chain[:above], renamed, *lower, *drive.chain[below + 1 :])
    qemu = qemu.having(replace(drive, chain=chain))
    return _ended(fs, qemu, job, "", holds=job.holds)


def _broken_off(fs: FileSystem, qemu: Qemu, job: BlockJob, error: OSError) -> tuple[FileSystem, Qemu]:
    """Something cannot be copied: a job that is to tell of it ends."""
    number = error.errno or errno.EIO
    if job.on_error in {"ignore", "stop"} or (job.on_error != "report" and number == errno.ENOSPC):
        raise NotModelled(f"a block job that goes on after an error (on-error {job.on_error})")
    return _ended(fs, qemu, replace(job, broke_off=True), strerror(number))


def _ended(
    fs: FileSystem, qemu: Qemu, job: BlockJob, error: str, *, holds: tuple[str, ...] = ()
) -> tuple[FileSystem, Qemu]:
    """Nothing is done any more, and what it has opened for writing is closed for that.

    What is closed for writing is made durable, and nothing else (measured: QEMU 7.2.22, a stream into the root).

    Args:
        holds: what a commit holds from now on; a stream goes on to hold what it did, however it has ended.
    """
    if job.kind == BACKUP:
        fs, qemu = _target_closed(fs, qemu, job)
    holds = job.holds if job.kind == STREAM else holds
    drive = drive_of(qemu, job)
    for node in drive.chain[1:]:
        fs = fs if node.readonly else fs.synced(node.number)
    chain = tuple(replace(node, readonly=True) if node.name == job.reopened else node for node in drive.chain)
    qemu = qemu.having(unfollowed(_hung_anew(replace(drive, chain=chain), job.source)))
    return graph.opening(fs, qemu), qemu.doing(replace(job, status="concluded", error=error, holds=holds))


def _target_closed(fs: FileSystem, qemu: Qemu, job: BlockJob) -> tuple[FileSystem, Qemu]:
    """What a backup has opened by itself is closed, and durable; an image of the monitor's is neither."""
    opened_for_it = [drive for drive in qemu.drives if drive.kept == job.id]
    for drive in opened_for_it:
        fs = fs.synced(drive.root.number)
    return fs, replace(qemu, drives=tuple(drive for drive in qemu.drives if drive not in opened_for_it))


def _hung_anew(drive: Drive, source: str) -> Drive:
    """The job's filter above its source is gone, and messages call what stands there as it is called by now."""
    chain = (
        (replace(node, below=_called(drive, at - 1)) if node.name == source else node)
        for at, node in enumerate(drive.chain)
    )
    return replace(drive, chain=tuple(chain))


def _called(drive: Drive, at: int) -> str:
    """What `Node.below` says of a node that hangs below this one: the device's name, or nothing, for the node's own."""
    return drive.device if drive.attached and at == 0 else ""


def _target_synced(fs: FileSystem, qemu: Qemu, job: BlockJob) -> FileSystem:
    """A commit of the root makes its target durable when it gets ready, and when it pivots."""
    return fs.synced(drive_of(qemu, job).chain[_at(qemu, job, job.target)].number)


def _measured(fs: FileSystem, qemu: Qemu, job: BlockJob) -> Qemu:
    return qemu.doing(replace(job, left_sectors=_sum(left(fs, qemu.doing(job), job))))


def _put(fs: FileSystem, qemu: Qemu, drive: Drive, where: int, image: Image) -> tuple[FileSystem, Qemu]:
    fs, node = graph.put(fs, drive.chain[where], image)
    return fs, qemu.having(_with(drive, where, node))


def _with(drive: Drive, where: int, node: Node) -> Drive:
    return replace(drive, chain=(*drive.chain[:where], node, *drive.chain[where + 1 :]))


def drive_of(qemu: Qemu, job: BlockJob) -> Drive:
    """The disk that a job works on."""
    drive = qemu.drive(job.vdev)
    assert drive is not None, "a disk does not go while a job holds it"
    return drive


def _at(qemu: Qemu, job: BlockJob, name: str) -> int:
    return [node.name for node in drive_of(qemu, job).chain].index(name)


def _unlike(runs: list[Run], below: tuple[Image, ...]) -> list[Run]:
    """The parts of these runs that the images below do not show already."""
    limit = sectors(below[0])
    different: list[Run] = []
    for low, high, write_id in runs:
        there = over(segments(below, low, min(high, limit)), [(low, high, 0)])
        different += [(start, end, write_id) for start, end, found in there if found != write_id]
    return different


def _first(runs: list[Run], count: int) -> list[Run]:
    part: list[Run] = []
    for low, high, write_id in runs:
        if count <= 0:
            break
        part.append((low, min(high, low + count), write_id))
        count -= high - low
    return part


def _sum(runs: list[Run]) -> int:
    return sum(high - low for low, high, _ in runs)
