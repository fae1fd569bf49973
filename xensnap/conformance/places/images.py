"""Images of this machine in the hands of whoever tries a host: made, written to as a guest would, and read."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xensnap.conformance.workplace import BLOCK_BYTES, Content, Missing, Program, Wish
from xensnap.hosts import VARIABLE
from xensnap.model import Disk

SMALL_BYTES = 24 << 20


def run(*argv: str) -> str:
    """What a program prints that has to succeed.

    Raises:
        RuntimeError: it has not, with its words.
    """
    environment = os.environ | {"LC_ALL": "C"}
    done = subprocess.run(  # noqa: S603 -- tools by name, arguments of our own
        argv, capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def our_command(*more: str, host: str) -> Program:
    """How xensnap is called here, on this host; `more` comes before the verb."""
    words = (sys.executable, "-m", "xensnap.cli", *more)
    return Program(words, {**os.environ, VARIABLE: host})


@contextmanager
def small_file_system(directory: Path) -> Iterator[None]:
    """A file system of 24 MiB over a directory of our own, in memory.

    Raises:
        Missing: it cannot be mounted, which takes rights that not everybody has.
    """
    try:
        run("mount", "-t", "tmpfs", "-o", f"size={SMALL_BYTES},mode=0700", "xensnap-conformance", str(directory))
    except (RuntimeError, OSError) as error:
        raise Missing(f"no file system can be mounted: {error}") from error
    try:
        yield
    finally:
        run("umount", "-l", str(directory))


@contextmanager
def ballast(directory: Path, free_bytes: int) -> Iterator[None]:
    """A file that leaves only so much room, in whole pages."""
    path, room = directory / "ballast", os.statvfs(directory)
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, room.f_bavail * room.f_frsize - free_bytes))
    try:
        yield
    finally:
        path.unlink()


def version(program: str) -> str:
    """The version that one of QEMU's programs tells."""
    return run(program, "--version").splitlines()[0].partition("version ")[2].split()[0]


def creating(path: str, wish: Wish) -> tuple[str, ...]:
    """The command that makes an image."""
    return ("qemu-img", "create", "-q", "-f", wish.format.value, path, str(wish.blocks * BLOCK_BYTES))


def write(disk: Disk, block: int, blocks: int, number: int, *, scratch: Path) -> None:
    """Write to a disk of a domain that is off; see `Workplace.write`. `scratch` is a directory of our own."""
    source = scratch / "pattern.tmp"
    source.write_bytes(number.to_bytes(8, "little") * (blocks * BLOCK_BYTES // 8))
    where = f"{block * BLOCK_BYTES} {blocks * BLOCK_BYTES}"
    run("qemu-io", "-f", disk.format.value, "-c", f"write -q -s {source} {where}", disk.path)
    source.unlink()


def shows(disk: Disk, *, scratch: Path) -> Content:
    """What a disk of a domain that is off shows; see `Workplace.shows`. `scratch` is a directory of our own."""
    target = scratch / "content.tmp"
    run("qemu-img", "convert", "-f", disk.format.value, "-O", "raw", disk.path, str(target))
    content = target.read_bytes()
    target.unlink()
    blocks = (content[at : at + BLOCK_BYTES] for at in range(0, len(content), BLOCK_BYTES))
    # A block that is from several writes is from none.
    return tuple(int.from_bytes(one[:8], "little") if one == one[:8] * (len(one) // 8) else -1 for one in blocks)
