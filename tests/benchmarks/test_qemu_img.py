"""G8: what qemu-img does to an image, by the simulated tool with the same command lines and by the real one."""

import subprocess
from pathlib import Path

import pytest

from simulator.disk.filesystem import FileSystem
from simulator.tools.img.run import run as simulated
from tests.benchmarks.images import place
from tests.benchmarks.race import Goal, Race, Side, Sides

pytestmark = pytest.mark.real

OURS, THEIRS = "simulated qemu-img", "qemu-img"
HERE = "/images"
LINES = {
    "create": ["create", "-q", "-f", "qcow2", "new", "1G"],
    "snapshot -c": ["snapshot", "-c", "s", "image"],
    "info": ["info", "--output=json", "image"],
    "check": ["check", "-q", "image"],
}


def _ours(fs: FileSystem, argv: list[str]) -> FileSystem:
    """The files after one command line; nothing of it stays for the next round."""
    done = simulated(fs, argv, cwd=HERE, now_ns=0)
    assert not done.returncode, done.stderr
    return done.fs


def _theirs(directory: Path, argv: list[str]) -> None:
    subprocess.run(["qemu-img", *argv], cwd=directory, check=True, capture_output=True)


@pytest.mark.parametrize("side", [OURS, THEIRS])
@pytest.mark.parametrize("what", LINES)
def test_a_command_line(race: Race, qemu_img, what: str, side: str) -> None:
    def sides() -> Sides:
        directory, begin = place(race), ["create", "-q", "-f", "qcow2", "image", "1G"]
        _theirs(directory, begin)
        fs = _ours(FileSystem().mkdir(HERE), begin)
        return {
            OURS: Side(lambda: _ours(fs, LINES[what]), times=20),
            THEIRS: Side(lambda: _theirs(directory, LINES[what])),
        }

    goal = Goal("G8", f"qemu-img {what}", THEIRS, OURS, at_least=10)
    race(f"qemu-img {what}", sides, goals=(goal,))
