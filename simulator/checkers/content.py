"""Whether every snapshot would still give back what was there when it was taken."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from simulator.checkers import Finding
from simulator.disk.chain import OpenError, visible, visible_at
from simulator.disk.content import SECTOR, Run
from simulator.disk.filesystem import FileSystem
from simulator.disk.image import Qcow2
from xensnap.model import DiskSnapshot, Kind, Layer

K = TypeVar("K")

Visible = tuple[int, tuple[Run, ...]]


def would_give(fs: FileSystem, disk: DiskSnapshot) -> Visible | None:
    """What a revert to this would show the guest; None where it cannot be had at all.

    The snapshot inside an image is found by its id where the record knows one, else by a tag that must be unique.
    """
    try:
        if disk.kind is Kind.EXTERNAL:
            size, runs = visible(fs, disk.image)
            # A frozen image may have been grown since by a commit; the disk is as large as the record says.
            return disk.size_bytes, cut(runs, disk.size_bytes) if disk.size_bytes < size else runs
        snapshot_id = disk.fingerprint.snapshot_id or _id_of(fs, disk.image, disk.tag)
        return visible_at(fs, disk.image, snapshot_id)
    except OpenError:
        return None


def cut(runs: tuple[Run, ...], size_bytes: int) -> tuple[Run, ...]:
    """The part of these runs that lies on a disk of this size."""
    end = -(-size_bytes // SECTOR)
    return tuple((low, min(high, end), write_id) for low, high, write_id in runs if low < end)


def _id_of(fs: FileSystem, layer: Layer, tag: str) -> str:
    stored = fs.inode(layer.path).stored
    tagged = stored.table.tags.get(tag.encode("utf-8", "surrogateescape"), ()) if isinstance(stored, Qcow2) else ()
    return str(tagged[0]) if len(tagged) == 1 else ""


def changed(
    fs: FileSystem,
    remembered: Mapping[K, Mapping[str, Visible]],
    snapshots: Iterable[tuple[K, Iterable[DiskSnapshot]]],
) -> Iterator[Finding]:
    """Each disk of each snapshot that would not give what was remembered under the snapshot's key."""
    for key, disks in snapshots:
        for disk in disks:
            wanted = remembered[key][disk.vdev]
            given = would_give(fs, disk)
            if given is None:
                yield Finding("snapshot-lost", f"{key} {disk.vdev}", f"nothing is left at {disk.image.path}")
            elif given != wanted:
                yield Finding("snapshot-changed", f"{key} {disk.vdev}", difference(wanted, given))


def difference(wanted: Visible, given: Visible) -> str:
    """Two contents told apart, shortly."""
    if wanted[0] != given[0]:
        return f"{given[0]} bytes instead of {wanted[0]}"
    less = sorted(set(wanted[1]) - set(given[1]))[:3]
    more = sorted(set(given[1]) - set(wanted[1]))[:3]
    return f"(sectors from, to, write) {more} instead of {less}"
