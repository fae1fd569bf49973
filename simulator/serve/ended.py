"""How a simulated program has ended."""

import msgspec

from simulator.world import World


class Ended(msgspec.Struct, frozen=True):
    """Exit code, output, and the world after it."""

    world: World
    returncode: int = 0
    stdout: str = ""
    stderr: str = ""


class Told(msgspec.Struct, frozen=True):
    """Where a program runs: the working directory, and what it can read on its standard input."""

    cwd: str = "/"
    stdin: bytes = b""
