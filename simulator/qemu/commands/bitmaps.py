"""Dirty bitmaps by command. Those that shall be stored in the image are not modelled."""

from typing import Any

import msgspec

from simulator.core.unmodelled import NotModelled
from simulator.disk.bitmaps import GRANULARITY_MIN, default_granularity
from simulator.disk.image import Qcow2, Raw
from simulator.qemu import graph
from simulator.qemu.bitmap import Bitmap, merged
from simulator.qemu.board import Board, Place, by_device, by_node
from simulator.qemu.commands.command import Command, Result
from simulator.qemu.points import QmpError
from simulator.qemu.schema import Arguments, Kind, many, record, text, truth, uint32

replace = msgspec.structs.replace

_NAME_BYTES_MAX = 1023

MERGE_KILLS = "Segmentation fault: block-dirty-bitmap-merge of no bitmaps at all"

ENABLE_KILLS = "Segmentation fault: a transaction that enables a bitmap which is not there is taken back"


def _add(board: Board, arguments: Arguments) -> Result:
    node, name = arguments["node"], arguments["name"]
    if not name:
        raise QmpError("Bitmap name cannot be empty")
    place = _place(board, node, f"Cannot find device='{node}' nor node-name='{node}'")
    image = graph.current(board.fs, place.node)
    cluster_bytes = image.cluster_bytes if isinstance(image, Qcow2) else 0
    granularity = arguments.get("granularity", default_granularity(cluster_bytes))
    if granularity < GRANULARITY_MIN or granularity & (granularity - 1):
        raise QmpError(f"Granularity must be power of 2 and at least {GRANULARITY_MIN}")
    if arguments.get("persistent"):
        _refuse_to_store(place, name, image)
    if any(bitmap.name == name for bitmap in place.node.bitmaps):
        raise QmpError(f"Bitmap already exists: {name}")
    if len(name.encode()) > _NAME_BYTES_MAX:
        raise QmpError(f"Bitmap name too long: {name}")
    bitmap = Bitmap(name, granularity, recording=not arguments.get("disabled"))
    return _with(board, place, (bitmap, *place.node.bitmaps)), {}


def _refuse_to_store(place: Place, name: str, image: Raw | Qcow2) -> None:
    if isinstance(image, Raw):
        raise QmpError(f"Can't store persistent bitmaps to {place.called}: Operation not supported")
    if image.version == 2:
        words = f"Can't make bitmap '{name}' persistent in '{place.called}'"
        raise QmpError(f"{words}: Cannot store dirty bitmaps in qcow2 v2 files")
    raise NotModelled("QMP: a bitmap that is stored in its image")


def _remove(board: Board, arguments: Arguments) -> Result:
    return settled(doom(board, arguments)), {}


def doom(board: Board, arguments: Arguments) -> Board:
    """The removal as one of several actions: until they are all done, the bitmap is there and nobody may touch it."""
    place, bitmap = _found(board, arguments["node"], arguments["name"])
    return _changed(board, place, replace(bitmap, doomed=True))


def settled(board: Board) -> Board:
    """Without the bitmaps that were to be removed."""
    for drive in board.qemu.drives:
        for node in drive.chain:
            if any(bitmap.doomed for bitmap in node.bitmaps):
                left = tuple(bitmap for bitmap in node.bitmaps if not bitmap.doomed)
                board = _with(board, Place(drive, drive.chain.index(node)), left)
                return settled(board)
    return board


def clear(board: Board, arguments: Arguments) -> Result:
    """`block-dirty-bitmap-clear`."""
    place, bitmap = _found(board, arguments["node"], arguments["name"])
    return _changed(board, place, replace(bitmap, dirty=frozenset())), {}


def enable(board: Board, arguments: Arguments) -> Result:
    """`block-dirty-bitmap-enable`."""
    place, bitmap = _found(board, arguments["node"], arguments["name"])
    return _changed(board, place, replace(bitmap, recording=True)), {}


def disable(board: Board, arguments: Arguments) -> Result:
    """`block-dirty-bitmap-disable`."""
    place, bitmap = _found(board, arguments["node"], arguments["name"])
    return _changed(board, place, replace(bitmap, recording=False)), {}


def merge(board: Board, arguments: Arguments) -> Result:
    """`block-dirty-bitmap-merge`. Of an empty list QEMU 7.2.22 dies."""
    place, target = _found(board, arguments["node"], arguments["target"])
    size = graph.current(board.fs, place.node).size_bytes
    for each in arguments["bitmaps"]:
        node, name = (arguments["node"], each) if isinstance(each, str) else (each["node"], each["name"])
        other, source = _found(board, node, name)
        theirs = graph.current(board.fs, other.node).size_bytes
        if theirs != size:
            sizes = f"(destination size is {size}, source size is {theirs})"
            raise QmpError(f"Bitmaps are of different sizes {sizes} and can't be merged")
        target = merged(target, source, size)
    if not arguments["bitmaps"]:
        return replace(board, crashed=MERGE_KILLS), {}
    return _changed(board, place, target), {}


def known(board: Board, node: str, name: str) -> bool:
    """Whether there is such a node and such a bitmap of it."""
    drive = by_device(board.qemu, node)
    place = Place(drive, 0) if drive else by_node(board.qemu, node)
    return place is not None and any(bitmap.name == name for bitmap in place.node.bitmaps if name)


# --- how they are found ----------------------------------------------------------------------------------------------


def _place(board: Board, name: str, unknown: str) -> Place:
    drive = by_device(board.qemu, name)
    place = Place(drive, 0) if drive else by_node(board.qemu, name)
    if place is None:
        raise QmpError(unknown)
    if place.file or (drive and board.qemu.filtering(place.node.name)):
        raise NotModelled("QMP: a bitmap of a file's node, or of the filter of a job")
    return place


def _found(board: Board, node: str, name: str) -> tuple[Place, Bitmap]:
    place = _place(board, node, f"Node '{node}' not found")
    for bitmap in place.node.bitmaps:
        if name and bitmap.name == name:
            if bitmap.doomed:
                words = f"Bitmap '{name}' is currently in use by another operation and cannot be used"
                raise QmpError(words)
            return place, bitmap
    raise QmpError(f"Dirty bitmap '{name}' not found")


def _changed(board: Board, place: Place, bitmap: Bitmap) -> Board:
    same = tuple(bitmap if each.name == bitmap.name else each for each in place.node.bitmaps)
    return _with(board, place, same)


def _with(board: Board, place: Place, bitmaps: tuple[Bitmap, ...]) -> Board:
    return replace(board, qemu=board.qemu.having(graph.with_bitmaps(place.drive, place.at, bitmaps)))


def _source(value: Any, name: str, path: str) -> Any:
    """A bitmap of the same node by its name, or any by both names."""
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        raise QmpError(f"Invalid parameter type for '{name or 'null'}', expected: BlockDirtyBitmapOrStr")
    return record(ONE)(value, name, path)


ONE: dict[str, Kind] = {"node": text, "name": text}
ADDED: dict[str, Kind] = {**ONE, "granularity?": uint32, "persistent?": truth, "disabled?": truth}
MERGED: dict[str, Kind] = {"node": text, "target": text, "bitmaps": many(_source)}

COMMANDS = {
    "block-dirty-bitmap-add": Command(ADDED, _add),
    "block-dirty-bitmap-remove": Command(ONE, _remove),
    "block-dirty-bitmap-clear": Command(ONE, clear),
    "block-dirty-bitmap-enable": Command(ONE, enable),
    "block-dirty-bitmap-disable": Command(ONE, disable),
    "block-dirty-bitmap-merge": Command(MERGED, merge),
}
