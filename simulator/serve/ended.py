"""How a simulated program runs: where, and how it has ended or what it is still at."""

from collections.abc import Callable

import msgspec

from simulator.world import World
from simulator.world.life import XlError
from simulator.world.programs import XlProgram


class Ended(msgspec.Struct, frozen=True):
    """Exit code, output, and the world after it."""

    world: World
    returncode: int = 0
    stdout: str = ""
    stderr: str = ""


class Told(msgspec.Struct, frozen=True):
    """Where a program runs: the working directory, what it can read on its standard input, and who has started it.

    `parent` is a process of the world; 0 where nobody there has.
    """

    cwd: str = "/"
    stdin: bytes = b""
    parent: int = 0


class Hangs(Exception):
    """A program never ends: whoever waits for it must give up by himself."""


class Working(msgspec.Struct, frozen=True):
    """An xl that takes several steps, between any two of which it can die.

    Attributes:
        world: before its first step.
        told: how it ends in the world after its last step, or after the one that failed.
    """

    world: World
    program: XlProgram
    told: Callable[[World, XlError | None], Ended]
