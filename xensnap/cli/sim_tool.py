"""What stands behind the tools on the PATH of `sim run`: one call of one program on the simulated host's world."""

import os
import sys
from collections.abc import Sequence

from xensnap import hosts
from xensnap.errors import XensnapError

NOT_MODELLED = 70
"""The exit code where the simulator does not know what the real program would do. No real tool here has it."""


def main(name: str, argv: Sequence[str]) -> int:
    """Run a simulated program as the real one would run; its exit code."""
    try:
        choice = hosts.choose(None)
        place = hosts.SimulatedPlace(choice.directory)
        programs = hosts.import_simulator("simulator.serve.programs")
        ended = hosts.import_simulator("simulator.serve.ended")
        with place.locked(wait_s=60.0):
            world = place.read()
            done = programs.run(world, (name, *argv), ended.Told(cwd=os.getcwd()))  # noqa: PTH109 -- text in the model
            place.write(done.world)
    except NotImplementedError as error:
        print(f"xensnap simulator: not modelled: {error}", file=sys.stderr)  # noqa: T201 -- this is a program
        return NOT_MODELLED
    except XensnapError as error:
        print(f"xensnap simulator: {error}", file=sys.stderr)  # noqa: T201 -- as above
        return NOT_MODELLED
    _write(sys.stdout.fileno(), done.stdout)
    _write(sys.stderr.fileno(), done.stderr)
    code: int = done.returncode
    return code


def _write(descriptor: int, text: str) -> None:
    data = text.encode("utf-8", "surrogateescape")
    while data:
        data = data[os.write(descriptor, data) :]
