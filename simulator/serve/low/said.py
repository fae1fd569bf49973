"""What a client says over its line to a monitor: an effect where it is a command, so it can be seen and can fail."""

import json

from simulator.ports.seat import Cell
from simulator.serve.low import effects
from simulator.world import line
from simulator.world.line import Line


def said(cell: Cell, heard: Line, data: bytes) -> tuple[Line, bytes]:
    """The client has sent these bytes: its line from now on, and what QEMU answers.

    Raises:
        XensnapError: a fault on the line, of which the client learns nothing but that QEMU has hung up.
        NotModelled: nobody knows what QEMU would do.
    """
    effect = effects.of_command(_command(data))
    if effect is not None and cell.watch is not None:
        cell.watch.begins(effect, "", cell, (), 0)
    cell.world, after, answer = line.said(cell.world, heard, data)
    if effect is not None and effect.writes:
        cell.world = cell.world.counted()
        if cell.watch is not None:
            cell.watch.happened(effect, cell)
    return after, answer


def _command(data: bytes) -> str:
    """The name of the command in a message; empty where it is only a part of one, or none."""
    try:
        return str(json.loads(data)["execute"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
