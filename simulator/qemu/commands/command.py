"""What a command of the monitor is."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from simulator.qemu.board import Board
from simulator.qemu.schema import Arguments, Kind

Result = tuple[Board, Any]


class Command(NamedTuple):
    """One command: its arguments in the order of QEMU's schema, and what it does.

    Attributes:
        do: `(board, arguments) -> (board, result)`; raises `QmpError`, which has changed nothing but what it says.
        daemon: whether qemu-storage-daemon has it, too.
    """

    members: Mapping[str, Kind]
    do: Callable[[Board, Arguments], Result]
    daemon: bool = True
