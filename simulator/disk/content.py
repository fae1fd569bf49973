"""What a disk holds, without holding bytes: each cluster names the write that filled it.

A write has a number, unique in its world; 0 means zeros. A cluster is one number, or a tuple of numbers for equal parts
of it. The bytes of a sector are a pure function of the write's number and the sector's place on the guest's disk, so
content can move between images of any cluster size and still be compared exactly.

A file of the real tools may hold what no simulated write has put there. Such a sector has the number that its own bytes
make, above those of all writes.
"""

from collections.abc import Iterable, Iterator

from immutables import Map

SECTOR = 512

Value = int | tuple[int, ...]
"""The content of one cluster."""

RESERVED: Value = (0,)
"""A cluster that has its place in the file and holds zeros there, which differs from one that is only marked as 0."""

Content = Map[int, Value]
"""Cluster index to content. A cluster that is not in it is not allocated, which differs from one that is 0."""

Run = tuple[int, int, int]
"""A stretch of a disk, in sectors: start, end, and the write that is there."""

EMPTY: Content = Map()

_FOREIGN = 1 << SECTOR * 8


def pattern(write_id: int, offset: int, length: int) -> bytes:
    """The bytes that a write has put at this place of a disk. Write 0 gives zeros."""
    if not write_id:
        return bytes(length)
    first, last = offset // SECTOR, -(-(offset + length) // SECTOR)
    if write_id >= _FOREIGN:
        sector = (write_id - _FOREIGN).to_bytes(SECTOR, "little")
        return (sector * (last - first))[offset - first * SECTOR :][:length]
    head = write_id.to_bytes(8, "little")
    whole = b"".join((head + sector.to_bytes(8, "little")) * (SECTOR // 16) for sector in range(first, last))
    return whole[offset - first * SECTOR :][:length]


def foreign(sector: bytes) -> int:
    """The number of a sector that no simulated write has filled."""
    return _FOREIGN | int.from_bytes(sector, "little")


def moved(runs: Iterable[Run], by: int) -> Iterator[Run]:
    """These runs so many sectors further on: the same bytes at another place, which is no write's place any more."""
    for start, end, write_id in runs:
        if not write_id or write_id >= _FOREIGN:
            yield start + by, end + by, write_id
            continue
        for sector in range(start, end):
            yield sector + by, sector + by + 1, foreign(pattern(write_id, sector * SECTOR, SECTOR))


def bytes_of(runs: Iterable[Run], offset: int, length: int) -> bytes:
    """The bytes of a range that these runs cover without gaps."""
    pieces: list[bytes] = []
    for start, end, write_id in runs:
        low, high = max(start * SECTOR, offset), min(end * SECTOR, offset + length)
        if low < high:
            pieces.append(pattern(write_id, low, high - low))
    return b"".join(pieces)


def runs_in(value: Value, start: int, sectors: int) -> Iterator[Run]:
    """The runs of one cluster that begins at sector `start`."""
    if isinstance(value, int):
        yield start, start + sectors, value
        return
    step = sectors // len(value)
    for index, write_id in enumerate(value):
        yield start + index * step, start + (index + 1) * step, write_id


def cluster(runs: Iterable[Run], start: int, sectors: int) -> Value:
    """The shortest value for a cluster that these runs cover without gaps."""
    inside = [(max(low, start), min(high, start + sectors), write_id) for low, high, write_id in runs]
    inside = [run for run in inside if run[0] < run[1]]
    first = inside[0][2]
    if all(write_id == first for _, _, write_id in inside):
        return first
    # The largest part that every border is a multiple of: the lowest bit that is set in any of them.
    borders = sectors
    for low, _, _ in inside:
        borders |= low - start
    step = borders & -borders
    return tuple(write_id for low, high, write_id in inside for _ in range((high - low) // step))


def runs_of(content: Content, sectors: int, limit: int) -> list[Run]:
    """All allocated runs below sector `limit`, in order, equal neighbours joined. Explicit zeros are runs of 0."""
    runs: list[Run] = []
    for index in sorted(content):
        if index * sectors >= limit:
            break
        for start, end, write_id in runs_in(content[index], index * sectors, sectors):
            _add(runs, start, min(end, limit), write_id)
    return runs


def over(top: list[Run], bottom: list[Run]) -> list[Run]:
    """What is seen when `top` lies over `bottom`."""
    seen: list[Run] = []
    below = iter(bottom)
    under = next(below, None)
    for start, end, write_id in top:
        while under is not None and under[0] < start:
            _add(seen, under[0], min(under[1], start), under[2])
            under = next(below, None) if under[1] <= start else (start, under[1], under[2])
        while under is not None and under[0] < end:
            under = next(below, None) if under[1] <= end else (end, under[1], under[2])
        _add(seen, start, end, write_id)
    while under is not None:
        _add(seen, *under)
        under = next(below, None)
    return seen


def clip(runs: Iterable[Run], low: int, high: int) -> list[Run]:
    """The part of these runs from sector `low` up to `high`."""
    return [(max(start, low), min(end, high), write_id) for start, end, write_id in runs if start < high and end > low]


def filled(runs: Iterable[Run], low: int, high: int) -> list[Run]:
    """The same range with zeros where there was nothing."""
    return over(clip(runs, low, high), [(low, high, 0)]) if low < high else []


def _add(runs: list[Run], start: int, end: int, write_id: int) -> None:
    """Append a run, joining it with an equal one that it touches."""
    if start >= end:
        return
    if runs and runs[-1][2] == write_id and runs[-1][1] == start:
        runs[-1] = (runs[-1][0], end, write_id)
    else:
        runs.append((start, end, write_id))
