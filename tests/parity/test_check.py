"""What `qemu-img check` tells of clusters that are counted wrongly, by the simulated tool and the real one."""

import re
import struct
import subprocess
from pathlib import Path

import pytest

from simulator import SimulatedHost
from simulator.faults.damage import Leak, damaged
from simulator.serve import programs

pytestmark = pytest.mark.real

CLUSTER = 65536
NAME = "/images/a.qcow2"
WORDS: tuple[list[str], ...] = (
    [],
    ["-q"],
    ["--output=json"],
    ["-r", "leaks"],
    ["-r", "leaks", "-q"],
    ["-r", "leaks", "--output=json"],
)


def number(image: bytearray, at: int) -> int:
    found: int = struct.unpack_from(">Q", image, at)[0] & 0x00FFFFFFFFFFFE00
    return found


def doubled(image: bytearray) -> None:
    """The second entry leads to the cluster of the first, too; its own leaks."""
    table = number(image, number(image, 40))
    image[table + 8 : table + 16] = image[table : table + 8]


def leaking(image: bytearray) -> None:
    """A cluster at the end is counted that nothing leads to."""
    counts = number(image, number(image, 48))
    struct.pack_into(">H", image, counts + len(image) // CLUSTER * 2, 1)
    image.extend(bytes(CLUSTER))


WRONG = {doubled: Leak(NAME, 1, 1), leaking: Leak(NAME, 1)}


def told(returncode: int, words: str) -> tuple[int, list[str]]:
    return returncode, [re.sub(r"cluster \d+", "cluster <number>", line) for line in words.splitlines()]


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
@pytest.mark.parametrize("wrong", WRONG)
def test_both_tell_the_same_lines_of_what_is_wrong(wrong, words, tmp_path: Path, qemu_img: str, qemu_io: str) -> None:
    path = tmp_path / "a.qcow2"
    subprocess.run([qemu_img, "create", "-q", "-f", "qcow2", path, "1M"], check=True)
    subprocess.run([qemu_io, "-c", f"write 0 {2 * CLUSTER}", path], check=True, capture_output=True)
    image = bytearray(path.read_bytes())
    wrong(image)
    path.write_bytes(image)
    real = subprocess.run([qemu_img, "check", *words, path], capture_output=True, text=True, check=False)
    host = SimulatedHost.fresh()
    host.create_image(NAME)
    world = damaged(host.world, WRONG[wrong])
    ours = programs.run(world, ("qemu-img", "check", *words, NAME))
    assert told(ours.returncode, ours.stderr) == told(real.returncode, real.stderr)
