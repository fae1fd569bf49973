"""Running real tools beside simulated ones."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path


def run(argv: Sequence[str], directory: Path) -> subprocess.CompletedProcess[bytes]:
    """A real tool, in a directory, in the C locale."""
    return subprocess.run(argv, capture_output=True, cwd=directory, check=False, env=os.environ | {"LC_ALL": "C"})
