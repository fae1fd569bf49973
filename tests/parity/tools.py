"""Running real tools beside simulated ones, and counting how often both were asked the same."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

ENDS_WITHIN_S = 60
COMPARED: dict[str, int] = {}
"""How often both qemu-img were given the same, by the subcommand, in this process."""


def counted(subcommand: str) -> None:
    """One step more that both tools have taken, and come out alike."""
    COMPARED[subcommand] = COMPARED.get(subcommand, 0) + 1


def run(argv: Sequence[str], directory: Path) -> subprocess.CompletedProcess[bytes]:
    """A real tool, in a directory, in the C locale. One that never ends is an error."""
    env = os.environ | {"LC_ALL": "C"}
    return subprocess.run(argv, capture_output=True, cwd=directory, check=False, env=env, timeout=ENDS_WITHIN_S)
