"""Images of this machine in the hands of whoever tries a host: made, written to as a guest would, and read."""

import os
import subprocess
from pathlib import Path

from xensnap.conformance.workplace import BLOCK_BYTES, Content, Wish
from xensnap.model import Disk


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
