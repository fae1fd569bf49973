"""How much an operation writes at most, on which file system, and whether that is there. Pure.

Bounds, not guesses: what is refused here would have failed half-way, and what is let through has room. Directories on
one file system share what is free there.
"""

from collections.abc import Iterable, Iterator

import msgspec

from xensnap.engine.context import directory
from xensnap.engine.view import View
from xensnap.errors import Reason
from xensnap.model import Image, Snapshot

BYTES_PER_DISK = 1 << 20
"""Upper bound of what a new overlay or a new internal snapshot writes, but for the tables of very large disks."""

TABLES_SHARE = 1 << 13
"""One byte of tables for this many bytes of disk: 8 bytes for each cluster of 64 KiB."""

MEMORY_EXTRA = 1 << 24
"""What a save writes besides the guest's pages: the state of its devices, page types, the frames of the stream."""


class Need(msgspec.Struct, frozen=True):
    """Bytes that something writes at most into a directory."""

    place: str
    bytes: int
    what: str


def for_tables(path: str, size_bytes: int, vdev: str, image: Image | None = None) -> Need:
    """What a new overlay takes for a disk of this size, or a new tag in an image, which copies its upper table."""
    upper_bytes = 8 * -(-size_bytes // _covered_bytes(image)) if image and image.cluster_size_bytes else 0
    tables_bytes = max(size_bytes // TABLES_SHARE, upper_bytes)
    return Need(directory(path), BYTES_PER_DISK + tables_bytes, f"the tables of {vdev}")


def for_memory(view: View, path: str) -> Iterator[Need]:
    """What saving the guest's memory takes; nothing where the host does not tell how much it has."""
    if path and view.domain.memory_bytes:
        yield Need(directory(path), view.domain.memory_bytes + MEMORY_EXTRA, "the memory of the guest")


def for_revert(view: View, snapshot: Snapshot, safety: str) -> Iterator[Need]:
    """What a revert takes: the way back, which is memory and tags, and new overlays."""
    yield from for_memory(view, safety)
    for disk in snapshot.disks:
        path = disk.overlay.path if disk.overlay else disk.image.path
        yield for_tables(path, disk.size_bytes, disk.vdev, view.images.get(path))


def for_merge(above: Image, into: Image) -> Need:
    """What it takes to write all that one image holds into another, none of whose clusters may be there yet.

    One with larger clusters takes a whole one for each that is written, and one of whose tables each covers less of the
    disk takes more tables. It never grows further than to hold all of the disk.
    """
    held = above.allocated_bytes
    if above.cluster_size_bytes and into.cluster_size_bytes:
        worst = _written_bytes(above, into)
        held = min(worst, max(held, _whole_bytes(above.virtual_size_bytes, into) - into.allocated_bytes))
    return Need(directory(into.layer.path), held + BYTES_PER_DISK, f"what {above.layer.path} holds")


def _written_bytes(above: Image, into: Image) -> int:
    """What the clusters of one image take in another, each in a place of its own, with tables and counts."""
    unit, taken = _unit_bytes(above), _unit_bytes(into)
    pieces = -(-above.allocated_bytes // unit)
    data = pieces * max(unit, taken)
    covered, cluster = _covered_bytes(into), into.cluster_size_bytes
    tables = 0
    if covered < _covered_bytes(above) or cluster > max(unit, taken):  # else those of `above` are pieces, too
        tables = cluster * min(pieces * max(1, unit // covered), -(-above.virtual_size_bytes // covered))
    return data + tables + _counts_bytes(data + tables, into)


def _whole_bytes(size_bytes: int, image: Image) -> int:
    """What an image takes that holds all of a disk and no snapshot."""
    tables = image.cluster_size_bytes * -(-size_bytes // _covered_bytes(image))
    return size_bytes + tables + _counts_bytes(size_bytes + tables, image)


def _counts_bytes(used_bytes: int, image: Image) -> int:
    """The reference counts of so many bytes of clusters."""
    return -(-used_bytes // image.cluster_size_bytes) * max(image.refcount_bits, 8) // 8


def _unit_bytes(image: Image) -> int:
    """The least that is allocated of an image at once: a cluster, or the 32nd part of an extended one."""
    return image.cluster_size_bytes // (32 if image.extended_l2 else 1)


def _covered_bytes(image: Image) -> int:
    """How much of the disk one table covers: a cluster full of entries of 8 bytes, or of 16 that tell of parts."""
    return image.cluster_size_bytes * (image.cluster_size_bytes // (16 if image.extended_l2 else 8))


def bytes_of(needs: Iterable[Need]) -> int:
    """All of it."""
    return sum(need.bytes for need in needs)


def against(view: View, needs: Iterable[Need]) -> Iterator[Reason]:
    """A refusal with the numbers for each file system that has too little. One that was not looked at has enough."""
    wanted: dict[int | str, list[Need]] = {}
    for need in needs:
        if need.place in view.free_bytes:
            wanted.setdefault(view.file_systems.get(need.place, need.place), []).append(need)
    for sharing in wanted.values():
        place, total = sharing[0].place, bytes_of(sharing)
        free = view.free_bytes[place]
        if free < total:
            parts = ", ".join(f"{need.bytes} for {need.what}" for need in sharing)
            cause = f"{place} has {free} bytes free, and up to {total} are needed: {parts}"
            yield Reason("no-space", cause, "Make room there, or put overlays and memory elsewhere.")
