"""Raw images that dom0's kernel serves to a guest, files through a loop device; QEMU knows none of them (xen.md 17)."""

import errno
from collections.abc import Iterable
from os import strerror

from simulator.disk import chain
from simulator.disk.content import Run
from simulator.disk.filesystem import FileSystem
from simulator.disk.operations import written
from xensnap.model import Disk


def wrote(fs: FileSystem, disk: Disk, runs: Iterable[Run]) -> FileSystem:
    """The guest has written these runs, and flushed them. Raises `OSError` where it gets an error instead."""
    if disk.readonly:
        raise OSError(errno.EIO, strerror(errno.EIO), disk.vdev)
    link = chain.opened(fs, disk.layer)
    limit = chain.sectors(link.image)
    runs = [(low, min(high, limit), write_id) for low, high, write_id in runs if low < limit]
    return fs.store(link.number, written((link.image,), runs), disk.path).synced(link.number)


def visible(fs: FileSystem, disk: Disk) -> tuple[int, tuple[Run, ...]]:
    """What the guest reads from it: its size, and every run that is not zero."""
    return chain.visible(fs, disk.layer)
