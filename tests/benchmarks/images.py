"""Images as the benchmarks need them: with a thousand snapshots, or five hundred deep, in a moment.

qemu-img would take minutes for a thousand snapshots, since each rewrites the table. So one image is made by qemu-img,
and its table or its backing name is multiplied. Only metadata is ever read of these, and never a cluster.
"""

import subprocess
import tempfile
from pathlib import Path
from struct import pack, unpack_from

from tests.benchmarks.race import Race

CLUSTER = 65536
SIZE = "10G"


def tool(*argv: str) -> str:
    """Run a program to its good end."""
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def place(race: Race) -> Path:
    """A directory for as long as the test runs."""
    return Path(race.resources.enter_context(tempfile.TemporaryDirectory(prefix="xensnap-bench-")))


def file_system() -> str:
    """On what kind of file system `place` is."""
    target = Path(tempfile.gettempdir()).resolve()
    best = ("", "?")
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        _, point, kind = line.split()[:3]
        if target.is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]


def image_with_snapshots(path: Path, count: int, size: str = SIZE) -> Path:
    """An image with this many internal snapshots, all of them of nothing."""
    tool("qemu-img", "create", "-q", "-f", "qcow2", str(path), size)
    tool("qemu-img", "snapshot", "-c", "first", str(path))
    data = bytearray(path.read_bytes())
    (offset,) = unpack_from(">Q", data, 64)
    l1_table = bytes(data[offset : offset + 12])  # where it is, and how long
    extra = bytes(data[offset + 40 : offset + 64])
    table = b"".join(_entry(l1_table, extra, number) for number in range(1, count + 1))
    at = -(-len(data) // CLUSTER) * CLUSTER
    data[60:72] = pack(">IQ", count, at)
    data += bytes(at - len(data)) + table
    path.write_bytes(data + bytes(-len(data) % CLUSTER))
    return path


def _entry(l1_table: bytes, extra: bytes, number: int) -> bytes:
    id, name = b"%d" % number, b"snapshot-%d" % number
    entry = l1_table + pack(">HHIIQII", len(id), len(name), 1_700_000_000, 0, 0, 0, len(extra)) + extra + id + name
    return entry + bytes(-len(entry) % 8)


def chain_of(directory: Path, depth: int, size: str = SIZE) -> Path:
    """The top of a chain of empty images of this depth; 1 is an image without a backing file."""
    names = [f"c{number:04}.qcow2" for number in range(depth)]
    tool("qemu-img", "create", "-q", "-f", "qcow2", str(directory / names[0]), size)
    if depth > 1:
        second = directory / names[1]
        tool("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", names[0], str(second), size)
        data = second.read_bytes()
        for number in range(2, depth):
            (directory / names[number]).write_bytes(data.replace(names[0].encode(), names[number - 1].encode()))
    return directory / names[-1]
