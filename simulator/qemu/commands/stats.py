"""`query-blockstats`: what has been read and written.

A guest's reads are not simulated and nothing takes time, so what counts them is zero. How far a file was written to is
told as its length, since where a qcow2 image puts its tables is not kept, and nothing is ever discarded in it: the real
one gives the room of a table back that it has written anew (QEMU 7.2.22: 64 KiB with a second internal snapshot).
"""

from typing import Any

from simulator.core.unmodelled import NotModelled
from simulator.disk.image import Qcow2
from simulator.disk.told import Told
from simulator.qemu import graph
from simulator.qemu.board import Board, Place, places, require_media
from simulator.qemu.commands.command import Command, Result
from simulator.qemu.graph import Drive, Node
from simulator.qemu.schema import Arguments, truth

_KINDS = ("rd", "wr", "flush", "unmap")


def _blockstats(board: Board, arguments: Arguments) -> Result:
    if any(not job.over for job in board.qemu.jobs):
        raise NotModelled("QMP: query-blockstats while a job is at work")
    if not arguments.get("query-nodes"):
        require_media(board.qemu)
        return board, [_of_device(board, drive) for drive in board.qemu.drives if drive.attached]
    told: list[Told] = []
    # The oldest comes first, and a file before what stands on it.
    for place in {place.node.name: place for place in reversed(places(board.qemu))}.values():
        node = place.node
        if node.file_name:
            told.append(_of_file(board, node))
        told.append(_of_node(board, place, alone=True))
    return board, told


def _of_device(board: Board, drive: Drive) -> Told:
    told: Told = {"device": drive.device}
    told |= {"qdev": drive.qdev} if drive.qdev else {}
    return told | _of_node(board, Place(drive, 0), drive, alone=False)


def _of_node(board: Board, place: Place, drive: Drive | None = None, *, alone: bool) -> Told:
    node = place.node
    if not node.file_name:
        return _protocol(board, node, node.name)
    told: Told = {"node-name": node.name, "stats": _stats(node.highest_bytes, drive)}
    told["parent"] = _of_file(board, node)
    if not alone and place.at + 1 < len(place.drive.chain):
        told["backing"] = _of_node(board, Place(place.drive, place.at + 1), alone=False)
    return told


def _of_file(board: Board, node: Node) -> Told:
    return _protocol(board, node, node.file_name)


def _protocol(board: Board, node: Node, name: str) -> Told:
    image = graph.current(board.fs, node)
    highest = image.length_bytes if node.highest_bytes and isinstance(image, Qcow2) else node.highest_bytes
    discards = {"discard-nb-ok": 0, "discard-nb-failed": 0, "discard-bytes-ok": 0}
    return {"node-name": name, "stats": _stats(highest, None), "driver-specific": {"driver": "file", **discards}}


def _stats(highest_bytes: int, drive: Drive | None) -> Told:
    """`BlockDeviceStats`, the members in QEMU's order; only a device counts what is asked of it."""
    writes, written, flushes = (drive.writes, drive.written_bytes, drive.flushes) if drive else (0, 0, 0)
    told: dict[str, Any] = {"rd_bytes": 0, "wr_bytes": written, "unmap_bytes": 0}
    told |= {"rd_operations": 0, "wr_operations": writes, "flush_operations": flushes, "unmap_operations": 0}
    told |= {f"{kind}_total_time_ns": 0 for kind in ("rd", "wr", "flush", "unmap")}
    told |= {"wr_highest_offset": highest_bytes, "rd_merged": 0, "wr_merged": 0, "unmap_merged": 0}
    told |= {"idle_time_ns": 0} if writes else {}
    told |= {f"{fate}_{kind}_operations": 0 for fate in ("failed", "invalid") for kind in _KINDS}
    return told | {"account_invalid": drive is not None, "account_failed": drive is not None, "timed_stats": []}


COMMANDS = {"query-blockstats": Command({"query-nodes?": truth}, _blockstats)}
