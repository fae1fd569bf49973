"""In dom0: a disk for memory files that can be made to fail. Arguments: `make`, `fail` or `heal`, and a block device.

On the block device, all of which is ours, lies a device of the device mapper with a file system. Where it fails, each
block beyond the first `SOUND_BYTES` answers with an I/O error; the metadata of the file system lies before that.
Standard library only: dmsetup is no part of a plain host.
"""

import fcntl
import struct
import subprocess
import sys
from pathlib import Path

PLACE = "/srv/memory"
NAME = b"failing"
SECTOR = 512
SOUND_BYTES = 64 << 20
_HEAD = struct.Struct("=3I4II2IQ128s129s7s")
"""`struct dm_ioctl` of linux/dm-ioctl.h: version, sizes, counts, flags, event, device, name, UUID."""
_TARGET = struct.Struct("=QQiI16s")
"""`struct dm_target_spec`: first sector, sectors, status, where the next one is, type."""
_CREATE, _RESUME, _LOAD = 3, 6, 9
_AS_IT_IS = 1 << 10 | 1 << 11
"""Neither is the file system brought to rest before nor what is under way waited for, which may fail by now."""


def asked(command: int, *, flags: int = 0, targets: bytes = b"", count: int = 0) -> None:
    """One ioctl of the device mapper about our device. `OSError` where it refuses."""
    size = _HEAD.size + len(targets)
    head = _HEAD.pack(4, 0, 0, size, _HEAD.size, count, 0, flags, 0, 0, 0, NAME, b"", b"")
    with Path("/dev/mapper/control").open("rb") as control:
        fcntl.ioctl(control, 0xC000FD00 | _HEAD.size << 16 | command, bytearray(head + targets))


def target(first: int, last: int, kind: bytes, arguments: bytes) -> bytes:
    """A line of the table, from one sector up to another."""
    padded = arguments.ljust(-(-(len(arguments) + 1) // 8) * 8, b"\0")
    return _TARGET.pack(first, last - first, 0, _TARGET.size + len(padded), kind) + padded


def laid(device: str, *, sound: bool) -> None:
    """Let our device be as the one below it, or fail beyond its beginning."""
    sectors = int(Path(f"/sys/class/block/{Path(device).name}/size").read_text())
    border = sectors if sound else SOUND_BYTES // SECTOR
    lines = [target(0, border, b"linear", f"{device} 0".encode())]
    lines += [] if sound else [target(border, sectors, b"error", b"")]
    asked(_LOAD, targets=b"".join(lines), count=len(lines))
    asked(_RESUME, flags=_AS_IT_IS)


def main(what: str, device: str) -> None:
    if what == "make":
        subprocess.run(["modprobe", "dm-mod"], check=True)
        asked(_CREATE)
        laid(device, sound=True)
        Path(PLACE).mkdir(mode=0o700, exist_ok=True)
        # Without a journal, which would lie in the middle of the disk.
        subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "/dev/dm-0"], check=True)
        subprocess.run(["mount", "/dev/dm-0", PLACE], check=True)
        Path(PLACE).chmod(0o700)
    else:
        laid(device, sound=what == "heal")


if __name__ == "__main__":
    main(*sys.argv[1:])
