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


def for_tables(path: str, size_bytes: int, vdev: str) -> Need:
    """What a new overlay, or a new tag in an image, takes for a disk of this size."""
    return Need(directory(path), BYTES_PER_DISK + size_bytes // TABLES_SHARE, f"the tables of {vdev}")


def for_memory(view: View, path: str) -> Iterator[Need]:
    """What saving the guest's memory takes; nothing where the host does not tell how much it has."""
    if path and view.domain.memory_bytes:
        yield Need(directory(path), view.domain.memory_bytes + MEMORY_EXTRA, "the memory of the guest")


def for_revert(view: View, snapshot: Snapshot, safety: str) -> Iterator[Need]:
    """What a revert takes: the way back, which is memory and tags, and new overlays."""
    yield from for_memory(view, safety)
    for disk in snapshot.disks:
        yield for_tables(disk.overlay.path if disk.overlay else disk.image.path, disk.size_bytes, disk.vdev)


def for_merge(above: Image, into: Image) -> Need:
    """What it takes to write all that one image holds into another, none of whose clusters may be there yet."""
    return Need(directory(into.layer.path), above.allocated_bytes + BYTES_PER_DISK, f"what {above.layer.path} holds")


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
