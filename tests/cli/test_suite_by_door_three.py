"""The engine's own tests once more, through the code of the real Xen host, executables on a PATH and monitors' sockets.

Ordinary runs try the scenarios and a share of the rest; `nox -s deep` tries all of them.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from xensnap.served import PASSED

PROJECT = Path(__file__).parents[2]
LIMIT_S = 1800
SEED = 3
PARTS = {
    "scenarios": (["tests/scenarios"], 1.0),
    "a share of the rest": (["tests/unit/engine", "tests/doctor/test_damages.py"], 1 / 32),
}
LEAST = {"scenarios": (50, 2000), "a share of the rest": (3, 100)}
"""How many tests must have worked on a host, and how many programs must have been started, at the least."""


@pytest.mark.parametrize("part", PARTS)
def test_the_engine_does_the_same_through_processes_and_sockets(part: str) -> None:
    where, share = PARTS[part]
    what = ["--door=three", "-m", "not every_effect", f"--share={share}", f"--share-seed={SEED}"]
    argv = [sys.executable, "-m", "pytest", "-n0", "-q", "-p", "no:cacheprovider", *what, *where]
    done = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    told = re.search(r"^through executables and sockets: \d+ \((.*)\)$", done.stdout, re.MULTILINE)
    assert told, done.stdout
    passed = {name: int(count) for name, _, count in (each.rpartition(" ") for each in told[1].split(", "))}
    tests, programs = LEAST[part]
    assert passed["tests"] >= tests, told[0]
    assert passed["programs"] >= programs, told[0]
    PASSED.update(passed)
