"""Jobs that save the state of the whole machine inside its images, load it again, and delete it.

They are answered at once and always well; what has become of one stands in its error, which only `query-jobs` tells,
and it is there until somebody dismisses it. Nothing is taken back: a load that fails on one disk has reverted those
before it, and leaves the machine stopped. Under Xen the memory is not QEMU's: a save "succeeds" without it, and a load
reverts the disks under the guest that runs on and fails only then (trace xen/state-saved-by-qemu).

The human monitor's `savevm`, `loadvm` and `delvm` do the same to all images at once, and answer when they are done.
"""

import re
from collections.abc import Callable
from functools import partial

import msgspec

from simulator.core.unmodelled import NotModelled
from simulator.disk import operations as op
from simulator.disk.image import Qcow2
from simulator.disk.snapshots import Entry
from simulator.disk.text import date_of
from simulator.qemu import graph
from simulator.qemu.blockers import called
from simulator.qemu.board import Board, Place, by_node
from simulator.qemu.commands.command import Command, Result
from simulator.qemu.commands.draining import drained, status_told
from simulator.qemu.commands.work import free_job_id
from simulator.qemu.graph import BlockJob
from simulator.qemu.jobs import KINDS
from simulator.qemu.points import QmpError
from simulator.qemu.schema import Arguments, Kind, many, text

replace = msgspec.structs.replace

LOADING = "restore-vm"
"""How QEMU stands while it loads, and where a load has failed."""

Work = Callable[[Board, Arguments], Board]


class Failed(Exception):
    """The job, or what the human monitor does instead, ends in these words.

    Attributes:
        board: what it has done until then.
        reported: what QEMU has said of it by then, where it says such things: to the human who asks, or into its log.
    """

    def __init__(self, words: str, board: Board, reported: str = "") -> None:
        super().__init__(words)
        self.board = board
        self.reported = reported


def _job(kind: str, work: Work, board: Board, arguments: Arguments) -> Result:
    """A job from its beginning, before the reply, to its end, after it."""
    job = BlockJob(free_job_id(board, arguments["job-id"]), kind, vdev="", source="", target="", total_bytes=1)
    board = status_told(status_told(board, job, "created"), job, "running")
    try:
        after, error = work(board, arguments), ""
    except Failed as failed:
        after, error = failed.board, str(failed)
    told = replace(after, events=())
    for status in ("aborting", "concluded") if error else ("waiting", "pending", "concluded"):
        told = status_told(told, job, status)
    ended = replace(job, status="concluded", error=error)
    return replace(after, qemu=after.qemu.doing(ended), later=told.events), {}


# --- what they do ----------------------------------------------------------------------------------------------------


def _save(board: Board, arguments: Arguments) -> Board:
    tag, state = arguments["tag"], arguments["vmstate"]
    names = _require_able(board, _given(board, arguments))
    if all(_named(board, name, tag) for name in names):
        raise Failed(f"Snapshot '{tag}' already exists in one or more devices", board)
    _require_among(board, state, names)
    return _saved(board, names, tag, state)


def _saved(board: Board, names: list[str], tag: str, state: str) -> Board:
    running = board.qemu.status == "running"
    board = board.happened("STOP") if running else board
    board = drained(drained(board))
    for name in names:
        board = _taken(board, name, tag, board.qemu.state_bytes if name == state else 0)
    return board.happened("RESUME") if running else board


def _load(board: Board, arguments: Arguments) -> Board:
    return _loaded(board, arguments["tag"], lambda stopped: _given(stopped, arguments), arguments["vmstate"])


def _loaded(board: Board, tag: str, find: Callable[[Board], list[str]], state: str = "") -> Board:
    running = board.qemu.status == "running"
    if running:
        board = replace(board, qemu=replace(board.qemu, status=LOADING)).happened("STOP")
    board = drained(board)
    names = _require_able(board, find(board))
    # With no image at all there is none without the snapshot.
    if not all(_named(board, name, tag) for name in names):
        raise Failed(f"Snapshot '{tag}' does not exist in one or more devices", board)
    state = state or _first(board, names)
    _require_among(board, state, names)
    saved = _named(board, state, tag)
    if saved is None or not saved.state_bytes:
        raise Failed("This is a disk-only snapshot. Revert to it  offline using qemu-img", board)
    board = drained(board)
    for name in names:
        board, entry = _reverted(board, name, tag)
        if name == state:
            saved = entry
    if board.qemu.xen or not saved.state_bytes:
        # Words: QEMU 7.2's migration/savevm.c. That a load fails so was seen on Xen 4.17.7 (HVM, QEMU 7.2.22).
        reported = "loadvm: ram RAM loading not allowed on Xen" if board.qemu.xen else ""
        raise Failed("Error -22 while loading VM state", board, reported)
    return replace(board, qemu=replace(board.qemu, status="running")).happened("RESUME") if running else board


def _delete(board: Board, arguments: Arguments) -> Board:
    return _deleted(board, _require_able(board, _given(board, arguments)), arguments["tag"])


def _deleted(board: Board, names: list[str], tag: str) -> Board:
    for name in names:
        # That there is none is no error (qemu.md 174).
        if entry := _named(board, name, tag):
            board = drained(board, _place(board, name).drive.vdev)
            image = _image(_place(board, name), board)
            board = _put(board, name, op.snapshot_dropped(op.snapshot_forgotten(image, entry)))
    return board


# --- as the human monitor has them -----------------------------------------------------------------------------------


def savevm(board: Board, tag: str | None) -> Board:
    """All that is written to, with the state in the first; a snapshot of that name makes room (qemu.md 176)."""
    names = _require_able(board, every(board))
    board = _deleted(board, names, tag) if tag is not None else board
    own = f"vm-{re.sub('[^0-9]', '', date_of(board.now_ns // 10**9))}"
    return _saved(board, names, own if tag is None else tag, _first(board, names))


def loadvm(board: Board, tag: str) -> Board:
    """The machine as it was, by the tag."""
    return _loaded(board, tag, every)


def delvm(board: Board, tag: str) -> Board:
    """Every snapshot with this tag is gone; that there was none is no error."""
    return _deleted(board, _require_able(board, every(board)), tag)


def every(board: Board) -> list[str]:
    """The images that `savevm` takes: devices first, then what the monitor holds and nothing stands on."""
    if any(job.kind in KINDS for job in board.qemu.jobs):
        raise NotModelled("QMP: the machine's state by the human monitor while there is a block job")
    devices = [drive.root for drive in board.qemu.drives if drive.attached]
    below = {node.name for drive in board.qemu.drives for node in drive.chain[1:]}
    bare = [drive.root for drive in board.qemu.drives if not drive.attached and drive.root.name not in below]
    names = [node.name for node in (*devices, *sorted(bare, key=lambda node: node.serial)) if not node.readonly]
    return list(dict.fromkeys(names))


def _first(board: Board, names: list[str]) -> str:
    if not names:
        raise Failed("no block device can store vmstate for snapshot", board)
    return names[0]


# --- one image -------------------------------------------------------------------------------------------------------


def _taken(board: Board, name: str, tag: str, state_bytes: int) -> Board:
    image = op.snapshot_raised(_image(_place(board, name), board))
    if op.snapshot_refused(image) is not None:
        raise NotModelled("QMP: snapshot-save that fails half way")
    return _put(board, name, op.snapshot_entered(image, tag, board.now_ns, live=True, state_bytes=state_bytes))


def _reverted(board: Board, name: str, tag: str) -> tuple[Board, Entry]:
    """The disk is what it was. Unlike everything else here, this takes a tag for an id first."""
    place = _place(board, name)
    image = _image(place, board)
    entry = image.table.by_id(tag) or image.table.by_tag(tag)
    assert entry is not None, "that there is one with this tag was looked at before"
    if place.node.bitmaps:
        words = f"Could not load snapshot '{tag}' on '{called(board.qemu, place, None)}'"
        raise Failed(f"{words}: Device has active dirty bitmaps", board)
    counted = op.snapshot_counted(image, entry)
    return _put(board, name, op.snapshot_settled(op.snapshot_applied(counted, entry))), entry


def _put(board: Board, name: str, image: Qcow2) -> Board:
    place = _place(board, name)
    try:
        fs, node = graph.put(board.fs, place.node, image)
    except OSError as error:
        raise NotModelled(f"QMP: a job on the machine's state that fails half way: {error}") from None
    drive = replace(place.drive, chain=(*place.drive.chain[: place.at], node, *place.drive.chain[place.at + 1 :]))
    return board.having(fs.synced(node.number), board.qemu.having(drive))


def _image(place: Place, board: Board) -> Qcow2:
    image = graph.current(board.fs, place.node)
    assert isinstance(image, Qcow2), "only such images get so far"
    return image


def _named(board: Board, name: str, tag: str) -> Entry | None:
    return _image(_place(board, name), board).table.by_tag(tag)


# --- what must be so -------------------------------------------------------------------------------------------------


def _given(board: Board, arguments: Arguments) -> list[str]:
    names: list[str] = arguments["devices"]
    if not names:
        raise Failed("At least one device is required for snapshot", board)
    return names


def _require_able(board: Board, names: list[str]) -> list[str]:
    """All of these are nodes that are written to and can hold snapshots."""
    for name in names:
        if any(job.filter_name == name and not job.over for job in board.qemu.jobs):
            raise NotModelled("QMP: the machine's state in the filter of a job")
        if by_node(board.qemu, name) is None:
            raise Failed(f"No block device node '{name}'", board)
    for name in names:
        place = _place(board, name)
        image = graph.current(board.fs, place.node)
        if place.file or place.node.readonly or not isinstance(image, Qcow2):
            words = f"Device '{called(board.qemu, place, None)}' is writable but does not support snapshots"
            raise Failed(words, board)
    return names


def _require_among(board: Board, state: str, names: list[str]) -> None:
    if state not in names:
        raise Failed(f"vmstate block device '{state}' does not exist", board)


def _place(board: Board, name: str) -> Place:
    place = by_node(board.qemu, name)
    if place is None:
        raise QmpError(f"No block device node '{name}'")
    return place


_DELETED: dict[str, Kind] = {"job-id": text, "tag": text, "devices": many(text)}
_SAVED: dict[str, Kind] = {"job-id": text, "tag": text, "vmstate": text, "devices": many(text)}

COMMANDS = {
    "snapshot-save": Command(_SAVED, partial(_job, "snapshot-save", _save), daemon=False),
    "snapshot-load": Command(_SAVED, partial(_job, "snapshot-load", _load), daemon=False),
    "snapshot-delete": Command(_DELETED, partial(_job, "snapshot-delete", _delete), daemon=False),
}
