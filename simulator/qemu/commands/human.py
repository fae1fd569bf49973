"""The human monitor, of which one thing is asked over QMP: to make an image durable. Its errors are replies, too."""

import msgspec

from simulator.core.unmodelled import NotModelled
from simulator.qemu import board as boards
from simulator.qemu.board import Board
from simulator.qemu.commands.command import Command, Result
from simulator.qemu.points import QmpError
from simulator.qemu.schema import Arguments, text, whole


def _said(board: Board, arguments: Arguments) -> Result:
    """`qemu-io NODE flush`, by which tables that QEMU has in its memory reach the file, and the file the disk."""
    words = arguments["command-line"].split()
    if len(words) != 3 or (words[0], words[2]) != ("qemu-io", "flush"):
        raise NotModelled(f"QMP: human-monitor-command {arguments['command-line']!r}")
    drive = boards.by_device(board.qemu, words[1])
    try:
        node = drive.root if drive else boards.found(board.qemu, None, words[1]).node
    except QmpError as error:
        return board, f"Error: {error}\r\n"
    return msgspec.structs.replace(board, fs=board.fs.synced(node.number)), ""


COMMANDS = {"human-monitor-command": Command({"command-line": text, "cpu-index?": whole}, _said, daemon=False)}
