"""Running real tools beside simulated ones, and counting how often both were asked the same."""

import os
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

ENDS_WITHIN_S = 600
"""Far more than the slowest needs: to widen all refcounts to 64 bits, qemu-img 7.2.22 reckons for six seconds."""

# How often a real tool and ours were given the same and came out alike, in this process.
WITH_QEMU_IMG: Counter[str] = Counter()
"""By the subcommand; `fails` and `is killed` where it was not let come to its end."""
WITH_QEMU: Counter[str] = Counter()
"""By the command of the monitor."""
WITH_STORAGE_DAEMON: Counter[str] = Counter()
"""By the command of the monitor."""


def run(argv: Sequence[str], directory: Path) -> subprocess.CompletedProcess[bytes]:
    """A real tool, in a directory, in the C locale. One that never ends is an error."""
    env = os.environ | {"LC_ALL": "C"}
    return subprocess.run(argv, capture_output=True, cwd=directory, check=False, env=env, timeout=ENDS_WITHIN_S)
