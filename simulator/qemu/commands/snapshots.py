"""Points in time: internal snapshots, overlays, and lists of both that are taken together or not at all."""

from typing import Any

import msgspec

from simulator.core.unmodelled import NotModelled
from simulator.disk import operations as op
from simulator.disk.image import Qcow2
from simulator.disk.told import snapshot_info
from simulator.qemu import graph, points
from simulator.qemu.blockers import busy, read, root
from simulator.qemu.board import (
    Board,
    Left,
    Place,
    by_device,
    by_node,
    filename,
    found,
    opened_node,
    require_name,
)
from simulator.qemu.commands import backups, bitmaps
from simulator.qemu.commands.command import Command, Result
from simulator.qemu.commands.draining import drained
from simulator.qemu.commands.making import FORMATS, image_made, written_out
from simulator.qemu.graph import Drive
from simulator.qemu.points import QmpError
from simulator.qemu.schema import Arguments, Kind, enum, many, record, tagged, text
from xensnap.model import Format, Layer

replace = msgspec.structs.replace

# --- internal --------------------------------------------------------------------------------------------------------


def _internal(board: Board, arguments: Arguments) -> Result:
    device = arguments["device"]
    place = root(board.qemu, device)
    fs, qemu = points.internal(board.fs, board.qemu, place.drive, arguments["name"], board.now_ns, called=device)
    return board.having(fs, qemu), {}


def _delete_internal(board: Board, arguments: Arguments) -> Result:
    device, snapshot_id, name = arguments["device"], arguments.get("id"), arguments.get("name")
    place = root(board.qemu, device)
    if snapshot_id is None and name is None:
        raise QmpError("Name or id must be provided")
    image = graph.current(board.fs, place.node)
    if not isinstance(image, Qcow2):
        raise QmpError("Failed to get a snapshot list: Operation not supported")
    entry = next(
        (
            each
            for each in image.table
            if (snapshot_id is None or each.told.id == snapshot_id) and (name is None or each.told.tag == name)
        ),
        None,
    )
    if entry is None:
        told_id, told_name = ("null" if part is None else part for part in (snapshot_id, name))
        raise QmpError(f"Snapshot with id '{told_id}' and name '{told_name}' does not exist on device '{device}'")
    image = op.snapshot_dropped(op.snapshot_forgotten(image, entry))
    if place.node.readonly:
        # The file keeps it, but this QEMU has forgotten it (qemu.md 119).
        node = replace(place.node, belief=image)
        qemu = board.qemu.having(replace(place.drive, chain=(node, *place.drive.chain[1:])))
        words = "Failed to remove snapshot from snapshot list: Operation not permitted"
        raise Left(words, replace(board, qemu=qemu))
    fs, node = graph.put(board.fs, place.node, image)
    qemu = board.qemu.having(replace(place.drive, chain=(node, *place.drive.chain[1:])))
    return board.having(fs.synced(node.number), qemu), snapshot_info(entry)


# --- external --------------------------------------------------------------------------------------------------------


def _require_unblocked(board: Board, place: Place, asked: str | None) -> None:
    """No job holds the node, and nothing stands on it."""
    if words := busy(board.qemu, place, asked):
        raise Left(words, drained(board, place.drive.vdev))


def _external(board: Board, arguments: Arguments) -> Result:
    board = _overlaid_by_file(board, arguments)
    return _unreferenced_closed(board), {}


def _overlaid_by_file(board: Board, arguments: Arguments) -> Board:
    """`blockdev-snapshot-sync`: an overlay is made, or opened where it exists, and the disk stands on it."""
    place = found(board.qemu, arguments.get("device"), _node_given(board, arguments))
    _require_unblocked(board, place, arguments.get("device"))
    name, path = arguments.get("snapshot-node-name", ""), arguments["snapshot-file"]
    if arguments.get("node-name") is not None and "snapshot-node-name" not in arguments:
        raise QmpError("New overlay node-name missing")
    if name and (by_node(board.qemu, name) or by_device(board.qemu, name)):
        raise QmpError("New overlay node-name already in use")
    form = arguments.get("format", "qcow2")
    if arguments.get("mode") != "existing":
        board = _overlay_made(board, place, path, form)
    try:
        checked = name if "snapshot-node-name" in arguments else None
        board, node = _overlay_opened(board, path, form, checked, readonly=place.node.readonly)
    except QmpError as error:
        raise Left(str(error), board) from None
    node = replace(node, expects=node.belief.backing_name)
    return _stacked(board, place, Drive(node.name, (node,), attached=False))


def _node_given(board: Board, arguments: Arguments) -> str | None:
    """Both may be given: then only the device is looked up, unless there is none such (qemu.md 125)."""
    del board
    node: str | None = arguments.get("node-name")
    return node


def _overlay_made(board: Board, place: Place, path: str, form: str) -> Board:
    size = graph.current(board.fs, place.node).size_bytes
    backing = place.node.layer.format.value if place.node.file_name else "file"
    return image_made(board, path, form, size, filename(place.drive, place.at), backing)


def _overlay_opened(board: Board, path: str, form: str, name: str | None, *, readonly: bool) -> tuple[Board, Any]:
    """The overlay, open as what it shall stand on."""
    if form not in FORMATS:
        raise QmpError(f"Unknown driver '{form}'")
    if board.fs.find(path) is None:
        raise QmpError(f"Could not open '{path}': No such file or directory")
    if name is not None:
        require_name(name)
    board, node = opened_node(board, Layer(path, Format(form)), name=name or "", readonly=readonly)
    if form == "raw":
        raise QmpError("The overlay does not support backing images")
    return board, node


def _snapshot(board: Board, arguments: Arguments) -> Result:
    return _overlaid_by_node(board, arguments), {}


def _overlaid_by_node(board: Board, arguments: Arguments) -> Board:
    """`blockdev-snapshot`: a node that stands alone becomes the overlay."""
    place = found(board.qemu, arguments["node"], arguments["node"])
    _require_unblocked(board, place, arguments["node"])
    overlay = found(board.qemu, arguments["overlay"], arguments["overlay"])
    if read(board.qemu, overlay):
        raise QmpError("The overlay is already in use")
    node = overlay.node
    stands_on_itself = any(each.name == node.name for each in place.drive.chain)
    if overlay.at and not stands_on_itself:
        raise NotModelled("QMP: blockdev-snapshot onto an image that others stand on")
    if len(overlay.drive.chain) > overlay.at + 1:
        raise QmpError("The overlay already has a backing image")
    if node.layer.format is not Format.QCOW2:
        raise QmpError("The overlay does not support backing images")
    if stands_on_itself:
        raise QmpError(f"Making '{place.node.name}' a backing child of '{node.name}' would create a cycle")
    assert isinstance(node.belief, Qcow2)
    node = replace(node, expects=node.belief.backing_name)
    qemu = replace(board.qemu, drives=tuple(each for each in board.qemu.drives if each is not overlay.drive))
    return _stacked(replace(board, qemu=qemu), place, replace(overlay.drive, chain=(node,)))


def _stacked(board: Board, place: Place, overlay: Drive) -> Board:
    """The overlay is the root; what was it is frozen."""
    old = place.drive
    lower = replace(old.root, readonly=True, below="", locked=old.root.locked or not old.attached)
    chain = (*overlay.chain, lower, *old.chain[1:])
    drive = replace(old if old.attached else overlay, chain=chain)
    others = tuple(each for each in board.qemu.drives if each is not old)
    where = board.qemu.drives.index(old)
    drives = (*others[:where], drive, *others[where:])
    return board.having(board.fs, replace(board.qemu, drives=drives))


def _unreferenced_closed(board: Board) -> Board:
    """On images that no device stands on, the new overlay is closed again at once (qemu.md 131)."""
    for drive in board.qemu.drives:
        if graph.let_go(board.qemu, drive):
            others = tuple(each for each in board.qemu.drives if each is not drive)
            board = board.having(board.fs, graph.kept_alone(replace(board.qemu, drives=others), drive.chain))
            return _unreferenced_closed(board)
    return board


# --- several at once -------------------------------------------------------------------------------------------------

_INTERNAL: dict[str, Kind] = {"device": text, "name": text}
_EXTERNAL: dict[str, Kind] = {
    "device?": text,
    "node-name?": text,
    "snapshot-file": text,
    "snapshot-node-name?": text,
    "format?": text,
    "mode?": enum("existing", "absolute-paths"),
}
_OVERLAY: dict[str, Kind] = {"node": text, "overlay": text}

ACTIONS = (
    "abort",
    "block-dirty-bitmap-add",
    "block-dirty-bitmap-remove",
    "block-dirty-bitmap-clear",
    "block-dirty-bitmap-enable",
    "block-dirty-bitmap-disable",
    "block-dirty-bitmap-merge",
    "blockdev-backup",
    "blockdev-snapshot",
    "blockdev-snapshot-internal-sync",
    "blockdev-snapshot-sync",
    "drive-backup",
)
ACTION: Kind = tagged(
    "type",
    {},
    {
        "abort": {"data": record({})},
        "block-dirty-bitmap-add": {"data": record(bitmaps.ADDED)},
        "block-dirty-bitmap-remove": {"data": record(bitmaps.ONE)},
        "block-dirty-bitmap-clear": {"data": record(bitmaps.ONE)},
        "block-dirty-bitmap-enable": {"data": record(bitmaps.ONE)},
        "block-dirty-bitmap-disable": {"data": record(bitmaps.ONE)},
        "block-dirty-bitmap-merge": {"data": record(bitmaps.MERGED)},
        "blockdev-backup": {"data": record(backups.BLOCKDEV)},
        "blockdev-snapshot": {"data": record(_OVERLAY)},
        "blockdev-snapshot-internal-sync": {"data": record(_INTERNAL)},
        "blockdev-snapshot-sync": {"data": record(_EXTERNAL)},
        "drive-backup": {"data": record(backups.DRIVE)},
    },
    enum(*ACTIONS),
)

_OVERLAYS = {"blockdev-snapshot", "blockdev-snapshot-sync"}
_POINTS = {*_OVERLAYS, "blockdev-snapshot-internal-sync", *backups.PREPARED}

ABORTS = "../../block/io.c:525: bdrv_do_drained_end: Assertion `bs->quiesce_counter > 0' failed."


def _transaction(board: Board, arguments: Arguments) -> Result:
    after, done = board, list[str]()
    for action in arguments["actions"]:
        kind, data = action["type"], action["data"]
        try:
            _require_individual(kind, arguments)
            done.append(_touched(after, data) if kind in _POINTS else "")
            after = _acted(after, kind, data)
            if after.crashed:
                return after, {}
        except QmpError as error:
            left = error.board if isinstance(error, Left) else after
            if kind == "block-dirty-bitmap-enable" and not bitmaps.known(after, data["node"], data["name"]):
                return replace(after, crashed=bitmaps.ENABLE_KILLS), {}
            raise _undone(board, left, arguments["actions"], done, error) from None
    return backups.started(_unreferenced_closed(bitmaps.settled(after))), {}


def _require_individual(kind: str, arguments: Arguments) -> None:
    if kind != "abort" and arguments.get("properties", {}).get("completion-mode") == "grouped":
        if kind in backups.PREPARED:
            raise NotModelled("QMP: backups that end well all together or not at all")
        raise QmpError(f"Action '{kind}' does not support Transaction property completion-mode = grouped")


def _acted(board: Board, kind: str, data: Arguments) -> Board:
    match kind:
        case "blockdev-snapshot-internal-sync":
            return _internal(board, data)[0]
        case "blockdev-snapshot-sync":
            return _overlaid_by_file(board, data)
        case "blockdev-snapshot":
            return _overlaid_by_node(board, data)
        case "abort":
            raise QmpError("Transaction aborted using Abort action")
        case "block-dirty-bitmap-remove":
            return bitmaps.doom(board, data)
    if kind in backups.PREPARED:
        return backups.PREPARED[kind](board, data)
    return bitmaps.COMMANDS[kind].do(board, data)[0]


def _touched(board: Board, data: Arguments) -> str:
    """Which drive an action is about; empty where it cannot be said."""
    try:
        names = data.get("device", data.get("node")), data.get("node-name", data.get("node", data.get("device")))
        return found(board.qemu, *names).drive.vdev
    except QmpError:
        return ""


def _undone(before: Board, left: Board, actions: list[Arguments], done: list[str], error: QmpError) -> Left:
    """The graph is as before, but images that were made stay, and what they overwrote is lost (qemu.md 16, 148).

    Where several points of one device are taken back and the first was external, QEMU aborts (qemu.md 153).
    """
    board = replace(before, output=left.output)
    for path, image in left.made[len(before.made) :]:
        board = replace(board, fs=written_out(board.fs, path, image))
    succeeded, failed = done[:-1], done[-1] if done else ""
    kinds = [action["type"] for action in actions]
    for place, vdev in enumerate(succeeded):
        if kinds[place] in _OVERLAYS and vdev and vdev in succeeded[place + 1 :]:
            board = replace(board, crashed=ABORTS)
        again = vdev and vdev == failed and kinds[len(succeeded)] in {*_OVERLAYS, *backups.PREPARED}
        if kinds[place] in backups.PREPARED and again:
            # QEMU 7.2.22 dies of it, now of one signal and now of another.
            raise NotModelled("QMP: a transaction that fails at a second action on a disk that it shall back up")
    if not backups.PREPARED.keys().isdisjoint(kinds):
        board = backups.taken_back(replace(board, events=left.events), left)
    return Left(str(error), board, error.error_class)


COMMANDS = {
    "blockdev-snapshot-internal-sync": Command(_INTERNAL, _internal),
    "blockdev-snapshot-delete-internal-sync": Command({"device": text, "id?": text, "name?": text}, _delete_internal),
    "blockdev-snapshot-sync": Command(_EXTERNAL, _external),
    "blockdev-snapshot": Command(_OVERLAY, _snapshot),
    "transaction": Command(
        {
            "actions": many(ACTION),
            "properties?": record({"completion-mode?": enum("individual", "grouped")}),
        },
        _transaction,
    ),
}
