"""Stopping, going on and ending: QEMU's own run state, of which neither the guest's pauses nor xl know anything."""

import msgspec

from simulator.qemu.board import Board
from simulator.qemu.commands.command import Command, Result
from simulator.qemu.commands.draining import drained
from simulator.qemu.schema import Arguments

replace = msgspec.structs.replace


def _stop(board: Board, _arguments: Arguments) -> Result:
    if board.qemu.status != "running":
        return drained(board), {}
    return drained(replace(board, qemu=replace(board.qemu, status="paused")).happened("STOP")), {}


def _cont(board: Board, _arguments: Arguments) -> Result:
    if board.qemu.status == "running":
        return board, {}
    # Images that a migration has given up are taken back with it (xen-live.md A4).
    return replace(board, qemu=replace(board.qemu, status="running", inactive=False)).happened("RESUME"), {}


def _quit(board: Board, _arguments: Arguments) -> Result:
    ended = replace(board, qemu=replace(board.qemu, status="shutdown"))
    return ended.happened("SHUTDOWN", guest=False, reason="host-qmp-quit"), {}


COMMANDS = {
    "stop": Command({}, _stop, daemon=False),
    "cont": Command({}, _cont, daemon=False),
    "quit": Command({}, _quit),
}
