"""Backups: a disk as it is at one moment, copied into another image while the guest goes on writing.

While one is at work nothing else is done to any image: what is refused meanwhile, and how, is not modelled.
"""

from collections.abc import Callable

import msgspec

from simulator.core.unmodelled import NotModelled
from simulator.disk.chain import sectors
from simulator.disk.drivers import DRIVERS
from simulator.disk.image import Qcow2
from simulator.qemu import graph, jobs
from simulator.qemu.blockers import busy, standing_on
from simulator.qemu.board import Board, Left, Place, by_device, filename, found
from simulator.qemu.commands import work
from simulator.qemu.commands.command import Command, Result
from simulator.qemu.commands.draining import status_told
from simulator.qemu.commands.making import FORMATS, image_made
from simulator.qemu.commands.nodes import opened_drive
from simulator.qemu.graph import BACKUP, BlockJob, Drive
from simulator.qemu.points import QmpError
from simulator.qemu.schema import Arguments, Kind, enum, record, text, truth, whole

replace = msgspec.structs.replace

_GRANULE = 65536
_REPORTED = {"report", "auto"}


def at_work(board: Board) -> bool:
    """Whether a backup is not over."""
    return any(job.kind == BACKUP and not job.over for job in board.qemu.jobs)


def allowed(name: str) -> bool:
    """Whether a command is modelled while a backup is at work: questions, and what jobs and QEMU are told."""
    return name in _ALLOWED or name.startswith(("job-", "block-job-"))


_ALLOWED = {
    "query-version",
    "query-name",
    "query-status",
    "query-block",
    "query-named-block-nodes",
    "query-jobs",
    "query-block-jobs",
    "query-block-exports",
    "quit",
}


def _blockdev_backup(board: Board, arguments: Arguments) -> Result:
    return started(_to_node(board, arguments)), {}


def _drive_backup(board: Board, arguments: Arguments) -> Result:
    return started(_to_file(board, arguments)), {}


# --- as one of several actions ---------------------------------------------------------------------------------------


def _to_node(board: Board, arguments: Arguments) -> Board:
    """The job of a `blockdev-backup`, which has not started yet."""
    place = found(board.qemu, arguments["device"], arguments["device"])
    target = found(board.qemu, arguments["target"], arguments["target"])
    return _created(board, place, target, arguments)


def _to_file(board: Board, arguments: Arguments) -> Board:
    """The job of a `drive-backup`, which has not started yet. The file is there from now on (QEMU 7.2.22)."""
    place = found(board.qemu, arguments["device"], arguments["device"])
    _require_root(board, place, arguments["device"])
    if arguments["sync"] == "none":
        raise NotModelled("QMP: drive-backup of what is overwritten, into an image that stands on the disk")
    below = arguments["sync"] == "top" and len(place.drive.chain) > 1
    arguments = arguments if below or arguments["sync"] != "top" else arguments | {"sync": "full"}
    existing, path = arguments.get("mode") == "existing", arguments["target"]
    form = arguments.get("format", "" if existing else place.node.layer.format.value)
    if not existing:
        size = graph.current(board.fs, place.node).size_bytes
        backing = (filename(place.drive, 1), place.drive.chain[1].layer.format.value) if below else ("", "")
        board = image_made(board, path, form, size, *backing)
    try:
        board, drive = _opened(board, path, form)
        job_id = arguments.get("job-id", place.drive.device)
        # What is zero takes no room in the file (`blockdev.c` of 7.2.22).
        root = replace(drive.root, detect_zeroes="unmap")
        drive = replace(drive, vdev=root.name, chain=(root, *drive.chain[1:]), kept=job_id)
        after = board.having(board.fs, replace(board.qemu, drives=(*board.qemu.drives, drive)))
        return _created(after, place, Place(drive, 0), arguments)
    except QmpError as error:
        raise Left(str(error), board) from None


def _opened(board: Board, path: str, form: str) -> tuple[Board, Drive]:
    if form and form not in FORMATS:
        if form in DRIVERS:
            raise NotModelled(f"QMP: a backup in {form} format")
        raise QmpError(f"Unknown driver '{form}'")
    if not form:
        stored = getattr(board.fs.inodes.get(board.fs.find(path) or 0), "stored", None)
        form = "qcow2" if isinstance(stored, Qcow2) else "raw"
    return opened_drive(board, {"driver": form, "file": {"driver": "file", "filename": path}}, "")


def started(board: Board) -> Board:
    """Every backup that has been made begins: the guest's requests have waited until now."""
    made = [job for job in board.qemu.jobs if job.status == "created"]
    for job in made:
        board = status_told(status_told(board, job, "running"), job, "paused")
    for job in made:
        board = replace(board, qemu=board.qemu.doing(replace(job, status="running")))
        board = status_told(board, job, "running")
    for job in made:
        # One that has nothing to do is over before the command is.
        board = board if job.todo else work.step(board, replace(job, status="running"))
    return board


def taken_back(board: Board, left: Board) -> Board:
    """Of a list of actions that fails no backup has begun: the newest is given up first."""
    for job in reversed([job for job in left.qemu.jobs if job.status == "created"]):
        for status in ("aborting", "concluded", "null"):
            board = status_told(board, job, status)
    return board


# --- the job ---------------------------------------------------------------------------------------------------------


def _require_root(board: Board, place: Place, asked: str) -> None:
    """A node of which nothing is known that is in the way of a backup."""
    if place.file or place.at or standing_on(board.qemu, place.node.name):
        raise NotModelled("QMP: a backup of or into an image that others stand on, or a file")
    if words := busy(board.qemu, place, asked):
        if by_device(board.qemu, asked) is None and board.qemu.filtering(place.node.name):
            raise NotModelled("QMP: a backup of what lies below the filter of a job")
        raise QmpError(words)


def _require_modelled(arguments: Arguments) -> None:
    sync = arguments["sync"]
    if sync in {"incremental", "bitmap"} and "bitmap" not in arguments:
        raise QmpError(f"must provide a valid bitmap name for '{sync}' sync mode")
    if refused := [name for name in ("bitmap", "bitmap-mode", "x-perf") if name in arguments]:
        raise NotModelled(f"QMP: a backup with {refused[0]}")
    if arguments.get("compress"):
        raise NotModelled("QMP: a backup that is compressed")
    if not {arguments.get(f"on-{which}-error", "report") for which in ("source", "target")} <= _REPORTED:
        raise NotModelled("QMP: a backup that goes on after an error")


def _created(board: Board, place: Place, target: Place, arguments: Arguments) -> Board:
    """The job, the looks in QEMU's order."""
    _require_modelled(arguments)
    if (place.node.name, place.file) == (target.node.name, target.file):
        raise QmpError("Source and target cannot be the same")
    _require_root(board, place, arguments["device"])
    _require_root(board, target, arguments["target"])
    if target.drive.attached:
        raise NotModelled("QMP: a backup into the disk of a device")
    images = [graph.current(board.fs, each.node) for each in (place, target)]
    if sectors(images[0]) != sectors(images[1]):
        raise QmpError("Source and target image have different sizes")
    work.require_filter_name(board, arguments, "Could not create node: ")
    if target.node.readonly:
        raise QmpError("Could not create node: Block node is read-only")
    job_id = work.name_for_job(board, place.drive, arguments)
    board = work.created(board, job_id, arguments)
    clusters = images[1].cluster_bytes if isinstance(images[1], Qcow2) else 0
    granule = max(_GRANULE, clusters)
    sync = arguments["sync"]
    qemu = jobs.backup(board.fs, board.qemu, place.drive, target.drive, job_id=job_id, sync=sync, granule_bytes=granule)
    job = qemu.job(job_id)
    assert job is not None
    return board.having(board.fs, _announced(replace(board, qemu=qemu), job, arguments).qemu)


def _announced(board: Board, job: BlockJob, arguments: Arguments) -> Board:
    number = board.qemu.numbered
    made = replace(
        job,
        status="created",
        speed=arguments.get("speed", 0),
        auto_finalize=arguments.get("auto-finalize", True),
        auto_dismiss=arguments.get("auto-dismiss", True),
        filter_serial=number,
        filter_name=arguments.get("filter-node-name", f"#block{number}"),
    )
    return replace(board, qemu=replace(board.qemu, numbered=number + 1).doing(made))


_ON_ERROR = enum("report", "ignore", "enospc", "stop", "auto")
_COMMON: dict[str, Kind] = {
    "job-id?": text,
    "device": text,
    "sync": enum("top", "full", "none", "incremental", "bitmap"),
    "speed?": whole,
    "bitmap?": text,
    "bitmap-mode?": enum("on-success", "never", "always"),
    "compress?": truth,
    "on-source-error?": _ON_ERROR,
    "on-target-error?": _ON_ERROR,
    "auto-finalize?": truth,
    "auto-dismiss?": truth,
    "filter-node-name?": text,
    "x-perf?": record({"use-copy-range?": truth, "max-workers?": whole, "max-chunk?": whole}),
}
BLOCKDEV: dict[str, Kind] = {**_COMMON, "target": text}
DRIVE: dict[str, Kind] = {**_COMMON, "target": text, "format?": text, "mode?": enum("existing", "absolute-paths")}

PREPARED: dict[str, Callable[[Board, Arguments], Board]] = {"blockdev-backup": _to_node, "drive-backup": _to_file}
"""Each as one of several actions."""

COMMANDS = {
    "blockdev-backup": Command(BLOCKDEV, _blockdev_backup),
    "drive-backup": Command(DRIVE, _drive_backup),
}
