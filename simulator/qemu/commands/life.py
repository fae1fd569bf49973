"""Stopping, going on and ending: QEMU's own run state, of which neither the guest's pauses nor xl know anything."""

import msgspec

from simulator.core.unmodelled import NotModelled
from simulator.qemu.board import Board
from simulator.qemu.commands import work
from simulator.qemu.commands.command import Command, Result
from simulator.qemu.commands.draining import drained
from simulator.qemu.graph import HVM_STATE_BYTES
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


def _powerdown(board: Board, _arguments: Arguments) -> Result:
    if board.qemu.state_bytes == HVM_STATE_BYTES:
        raise NotModelled("QMP: system_powerdown of a whole PC, whose guest hears of it")
    # A machine without such a button only tells that it was pressed.
    return board.happened("POWERDOWN"), {}


def _quit(board: Board, _arguments: Arguments) -> Result:
    ended = replace(board, qemu=replace(board.qemu, status="shutdown"))
    return work.given_up(ended.happened("SHUTDOWN", guest=False, reason="host-qmp-quit")), {}


COMMANDS = {
    "stop": Command({}, _stop, daemon=False),
    "cont": Command({}, _cont, daemon=False),
    "quit": Command({}, _quit),
    "system_powerdown": Command({}, _powerdown, daemon=False),
}
