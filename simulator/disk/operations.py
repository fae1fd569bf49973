"""What can be done to an image that nobody has open, as functions on values. The order and the tool stand in `tools`.

Numbers in comments are QEMU 7.2.22's behaviour, measured with qemu-img and qemu-io.
"""

from collections.abc import Iterable

import msgspec

from simulator.core.unmodelled import NotModelled
from simulator.disk.bitmaps import unusable
from simulator.disk.chain import sectors, seen, segments
from simulator.disk.content import EMPTY, RESERVED, SECTOR, Content, Run, Value, clip, cluster, over, runs_in, runs_of
from simulator.disk.image import BLOCK, PARTS, Image, Qcow2, Raw, metadata, too_large
from simulator.disk.refcounts import flagged, lowered, may_snapshot, raised, recounted, state_clusters
from simulator.disk.snapshots import SNAPSHOTS_MAX, Entry, stored

_ZEROED_CLUSTERS_MAX = 1 << 20
_REQUEST = 128

replace = msgspec.structs.replace


class QemuError(Exception):
    """An operation that QEMU refuses, in its words."""


def written(images: tuple[Image, ...], runs: Iterable[Run]) -> Image:
    """The top image with these runs written; a cluster that is only partly covered is completed from what was seen.

    Zeros written over whole clusters of a version 2 image without a backing file leave them unallocated, so a safe
    rebase of such an image onto one with data does not keep its content (measured: the data shines through).
    """
    top, lower = images[0], images[1:]
    size, limit = top.sectors, sectors(top)
    dropping = top.version == 2 and not lower
    clusters: dict[int, Value | None] = {}
    for start, end, write_id in runs:
        if isinstance(top, Qcow2) and top.extended_l2 and (write_id or start % size or (end % size and end < limit)):
            clusters |= _copied(top, lower, clusters, start // size, -(-end // size))
        for index in range(start // size, -(-end // size)):
            low, high = index * size, (index + 1) * size
            if start <= low and end >= (min(high, limit) if not write_id else high):
                clusters[index] = None if dropping and not write_id else write_id
                continue
            known = clusters[index] if index in clusters else top.content.get(index)
            if dropping and not write_id and known is None:
                clusters[index] = None
                continue
            before: Iterable[Run] = segments(lower, low, high) if known is None else runs_in(known, low, size)
            clusters[index] = _painted(before, low, high, start, end, write_id)
    return top.written(clusters)


def _copied(
    top: Qcow2, lower: tuple[Image, ...], clusters: dict[int, Value | None], first: int, last: int
) -> dict[int, Value]:
    """What else a write fills, where it goes from one part of a cluster up to another and a snapshot shares it.

    QEMU 7.2.22 copies such a cluster from the first of its parts that has data up to the last, with what shines through
    in between (trace img-extended-l2).
    """
    found: dict[int, Value] = {}
    if not len(top.table):
        return found
    for begin in range(first // PARTS * PARTS, last, PARTS):
        parts = range(begin, begin + PARTS)
        data = [index for index in parts if top.content.get(index)]
        if not data or any(index in top.own or clusters.get(index) for index in parts):
            continue
        touched = range(min(max(first, begin), data[0]), max(min(last, parts.stop), data[-1] + 1))
        for index in touched:
            low, high = index * top.sectors, (index + 1) * top.sectors
            known = clusters.get(index, top.content.get(index))
            found[index] = (
                cluster(segments(lower, low, high), low, high - low) if known is None else known
            ) or RESERVED
    return found


def _painted(before: Iterable[Run], low: int, high: int, start: int, end: int, write_id: int) -> Value:
    start, end = max(low, start), min(high, end)
    runs = list(before)
    return cluster([*clip(runs, low, start), (start, end, write_id), *clip(runs, end, high)], low, high - low)


def resized(images: tuple[Image, ...], size_bytes: int) -> Image:
    """The top image at another size.

    Shrinking drops whole clusters only: the tail of the last one comes back when the image grows again (measured).
    Growing over a longer backing file fills the new part with explicit zeros, which version 2 cannot (facts 48, 64).
    """
    top = images[0]
    if size_bytes <= 0:
        raise QemuError("New image size must be positive")
    if isinstance(top, Raw):
        return Raw(size_bytes, _cut(top, size_bytes))
    if size_bytes % SECTOR:
        raise QemuError("The new size must be a multiple of 512")
    if too_large(size_bytes, top.cluster_bytes, extended_l2=top.extended_l2):
        raise QemuError("Failed to grow the L1 table: File too large")
    if top.version == 2 and len(top.table):
        raise QemuError("Can't resize a v2 image which has snapshots")
    broken = next((bitmap for bitmap in top.bitmaps if bitmap.broken), None)
    if broken is not None:
        raise QemuError(unusable(broken))
    if size_bytes == top.size_bytes:
        return top
    if size_bytes < top.size_bytes:
        content, own = _cut(top, size_bytes), _cut(replace(top, content=top.own), size_bytes)
        freed = len(top.clusters(top.own)) - len(top.clusters(own))
        return replace(top, size_bytes=size_bytes, content=content, own=own, used=top.used - freed)
    grown = replace(top, size_bytes=size_bytes)
    if len(images) == 1 or sectors(images[1]) * SECTOR <= top.size_bytes:
        return grown
    return _zeroed(grown, images[1:], top.size_bytes // SECTOR, size_bytes // SECTOR)


def _zeroed(image: Qcow2, lower: tuple[Image, ...], low: int, high: int) -> Image:
    """Explicit zeros from sector `low` to the end. Up to the next cluster they are written, beyond it they are marked.

    Only marking needs version 3; so a version 2 overlay can grow within its last cluster (measured).
    """
    first, last = -(-low // image.sectors), -(-high // image.sectors)
    head = min(first * image.sectors, high)
    if head < high:
        if image.version == 2:
            raise QemuError("Failed to zero out new clusters: Operation not supported")
        if last - first > _ZEROED_CLUSTERS_MAX:
            raise NotModelled("growing an overlay by more than a million explicit zero clusters")
        image = image.written(dict.fromkeys(range(first, last), 0))
    return written((image, *lower), [(low, head, 0)]) if low < head else image


def _cut(image: Image, size_bytes: int) -> Content:
    """The clusters that still begin inside the disk. A raw file is cut to the byte."""
    whole = image.cluster_bytes if isinstance(image, Qcow2) else BLOCK
    limit = -(-size_bytes // whole) * (whole // (image.sectors * SECTOR))
    content = image.content
    gone = [index for index in content if index >= limit]
    if gone:
        with content.mutate() as changing:
            for index in gone:
                del changing[index]
            content = changing.finish()
    if isinstance(image, Raw) and content.get(limit - 1):
        low, high = (limit - 1) * image.sectors, limit * image.sectors
        end = -(-size_bytes // SECTOR)
        if end < high:
            before = runs_in(content[limit - 1], low, image.sectors)
            content = content.set(limit - 1, _painted(before, low, high, end, high, 0))
    return content


# --- internal snapshots ----------------------------------------------------------------------------------------------


def snapshot_raised(image: Image) -> Qcow2:
    """First half of `snapshot -c`: all that the snapshot will hold is counted once more."""
    if isinstance(image, Raw):
        raise QemuError("-95 (Operation not supported)")
    if len(image.table) >= SNAPSHOTS_MAX:
        raise QemuError("-27 (File too large)")
    # What nobody has shared until now says so still, and so does the table that holds it.
    own = len(image.clusters(image.own))
    return raised(image, len(image.clusters(image.content)) + 1, stale=own + bool(own))


def snapshot_refused(image: Qcow2) -> Qcow2 | None:
    """The image after `snapshot -c` that a narrow refcount stopped: one cluster leaks. None where it can go on."""
    return None if may_snapshot(image) else lowered(raised(image, 1), leaking=1)


def snapshot_entered(image: Qcow2, tag: str, now_ns: int, *, live: bool = False, state_bytes: int = 0) -> Qcow2:
    """Second half of `snapshot -c`: the table names the snapshot, so nothing leaks any more.

    Args:
        state_bytes: how much of a machine's state QEMU has written into the image for this snapshot.
    """
    entry = Entry(image.table.highest + 1, stored(tag), now_ns, image.size_bytes, image.content, live)
    entry = replace(entry, state_bytes=state_bytes)
    used = image.used + 1 + state_clusters(image, entry)
    end = max(image.end, used + image.leaked)
    return replace(lowered(image), table=image.table.added(entry), own=EMPTY, used=used, end=end)


def snapshot_counted(image: Qcow2, entry: Entry) -> Qcow2:
    """First part of `snapshot -a`: what the active layer will hold is counted once more."""
    return raised(image, len(image.clusters(entry.content)))


def snapshot_lowered(image: Qcow2, left: int) -> Qcow2:
    """Late in `snapshot -a` and `-d`: counts are lowered but for so many, flags are not yet those of clusters alone."""
    return flagged(replace(image, pending=min(image.pending, left)), stale=int(image.pending > 0))


def snapshot_settled(image: Qcow2) -> Qcow2:
    """Last part of `snapshot -a`: what only the old active layer held is given back."""
    return lowered(image)


def snapshot_applied(image: Qcow2, entry: Entry) -> Qcow2:
    """The switch of `snapshot -a`: the active layer is the snapshot's. What only the old one held is counted still."""
    freed = len(image.clusters(image.own))
    switched = replace(image, content=entry.content, size_bytes=entry.size_bytes, own=EMPTY, used=image.used - freed)
    return raised(lowered(switched), freed)


def snapshot_forgotten(image: Qcow2, entry: Entry) -> Qcow2:
    """First half of `snapshot -d`: the table is written without it; its clusters are counted still."""
    return raised(replace(image, table=image.table.removed(entry)), len(image.clusters(entry.content)) + 1)


def snapshot_dropped(image: Qcow2) -> Qcow2:
    """Second half of `snapshot -d`: what only the snapshot held is given back."""
    return recounted(lowered(image), metadata(image))


# --- copying between images ------------------------------------------------------------------------------------------


def share(runs: list[Run], part: int, parts: int) -> list[Run]:
    """One of several about equal shares of these runs, in order, cut where a large request would end."""
    total = sum(end - start for start, end, _ in runs)
    low, high = (total * edge // parts // _REQUEST * _REQUEST for edge in (part, part + 1))
    if part == parts - 1:
        high = total
    shared: list[Run] = []
    at = 0
    for start, end, write_id in runs:
        shared += clip([(start, end, write_id)], start + low - at, start + high - at)
        at += end - start
    return shared


def to_commit(images: tuple[Image, ...], into: int) -> list[Run]:
    """What lies above image number `into` of a chain, explicit zeros included: what a commit writes.

    Beyond the end of a shorter image in between the chain reads zeros, so those are written, too.
    """
    runs: list[Run] = []
    shorter: int | None = None
    for image in reversed(images[:into]):
        limit = sectors(image)
        if shorter is not None and shorter < limit:
            runs.append((shorter, limit, 0))
        runs = over(runs_of(image.content, image.sectors, limit), clip(runs, 0, limit))
        shorter = limit
    return runs


def emptied(image: Qcow2) -> Qcow2:
    """The overlay after a commit that leaves nothing in it: it shows its base."""
    return replace(image, content=EMPTY, own=EMPTY, used=image.used - len(image.clusters(image.own)))


def differing(image: Image, old: tuple[Image, ...], new: tuple[Image, ...]) -> list[Run]:
    """What a safe rebase copies in: whole clusters that the image does not hold and that the two backings differ in."""
    limit = sectors(image)
    was, will = seen(old), seen(new)
    borders = {run[0] // image.sectors for run in (*was, *will)}
    for start, end, _ in (*was, *will):
        borders.update(range(start // image.sectors, -(-end // image.sectors)))
    runs: list[Run] = []
    for index in sorted(borders):
        low, high = index * image.sectors, min((index + 1) * image.sectors, limit)
        if low >= limit or index in image.content:
            continue
        before = segments(old, low, high)
        if cluster(before, low, high - low) != cluster(segments(new, low, high), low, high - low):
            runs += before
    return runs
