"""Before a merge beside a running guest may end: all that it has copied is in the file, and not in QEMU's memory alone.

QEMU tells nobody that a flush has failed, so it is not asked: the tables in the file are read.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

from xensnap.backends.local import graph
from xensnap.backends.local.graph import Copying
from xensnap.errors import Effect, Failed
from xensnap.formats.qcow2_extents import is_compressed
from xensnap.hypervisor import Files, ImageTool, Monitor
from xensnap.model import ZEROS, Extent, Format


async def flushed(monitor: Monitor, job: str, files: Files) -> Copying:
    """Let what a merge has copied reach the disk; what it copies.

    Args:
        monitor: of the QEMU in which the job waits to be let go.
        job: its id.
        files: tell whether the disk took it.

    Raises:
        Failed: `qmp-answer`, it is no merge.
        FileFailed: it did not reach the disk.
    """
    copying = (await graph.read(monitor)).copying(job)
    await graph.flush(monitor, files, copying.node, copying.into)
    return copying


async def require_arrived(copying: Copying, images: ImageTool) -> None:
    """All that a merge has copied is in the file of its image, which has been flushed.

    Args:
        copying: what it copies.
        images: read the tables of its images.

    Raises:
        Failed: `job-failed`, QEMU could not write some of the tables.
    """
    if copying.into.format is not Format.QCOW2:
        return  # it has no tables
    image = await images.inspect(copying.into)
    has = _arrived(copying, await images.extents(copying.into))
    seen_bytes = image.virtual_size_bytes
    for layer in copying.out_of:
        # An image hides what lies below it, also beyond its own end.
        seen_bytes = min(seen_bytes, (await images.inspect(layer)).virtual_size_bytes)
        missing = first_missing((await images.extents(layer))[""], has, size_bytes=seen_bytes)
        if missing is not None:
            cause = f"QEMU cannot write the tables of {image.layer.path}: "
            cause += f"byte {missing} of the disk is in {layer.path} only"
            raise _failed(cause, "Look whether its file system is full or its disk broken, and try again.")
    if copying.below is not None:
        shown_bytes = min(image.virtual_size_bytes, (await images.inspect(copying.below)).virtual_size_bytes)
        hidden = Extent(seen_bytes, shown_bytes - seen_bytes, ZEROS)
        missing = first_missing([hidden], has, size_bytes=shown_bytes)
        if missing is not None:
            cause = f"from byte {missing} on the disk would show what {copying.below.path} holds, which was hidden"
            raise _failed(cause, "Merge it when the domain is off.")


def _failed(cause: str, remedy: str) -> Failed:
    return Failed(cause, id="job-failed", remedy=remedy, effect=Effect.UNKNOWN)


def _arrived(copying: Copying, states: Mapping[str, Sequence[Extent]]) -> Sequence[Extent]:
    """What of an image may be what has been copied into it."""
    if not copying.over:
        return states[""]
    written = (extent for extent in own(states) if not is_compressed(extent))
    return [extent for extent in written if copying.detects_zeros or extent.place != ZEROS]


def own(states: Mapping[str, Sequence[Extent]]) -> Iterator[Extent]:
    """What the active state of an image does not share with an internal snapshot: what was written since, is there.

    Args:
        states: what each state has, see `ImageTool.extents`.
    """
    shared = sorted(
        (extent.place, extent.place + extent.length_bytes)
        for state, extents in states.items()
        for extent in extents
        if state and extent.place != ZEROS
    )
    furthest = [end for _, end in shared]
    for at in range(1, len(shared)):
        furthest[at] = max(furthest[at - 1], furthest[at])
    for extent in states[""]:
        if extent.place == ZEROS:
            yield extent
            continue
        place, end = extent.place, extent.place + extent.length_bytes
        at = bisect_left(furthest, place + 1)
        while place < end:
            next_, behind = shared[at] if at < len(shared) else (end, end)
            if place < next_:
                yield Extent(extent.start_bytes + place - extent.place, min(next_, end) - place, place)
            place = max(place, behind)
            at += 1


def first_missing(had: Sequence[Extent], has: Sequence[Extent], *, size_bytes: int) -> int | None:
    """Where on a disk of this size begins what the first ones cover and the second ones do not; None: nowhere.

    Both are in the order of the disk.
    """
    at = 0
    for extent in had:
        start, end = extent.start_bytes, min(_end(extent), size_bytes)
        while start < end:
            while at < len(has) and _end(has[at]) <= start:
                at += 1
            if at == len(has) or has[at].start_bytes > start:
                return start
            start = _end(has[at])
    return None


def _end(extent: Extent) -> int:
    return extent.start_bytes + extent.length_bytes
