"""Dirty bitmaps: which parts of an image were written to since somebody has begun to look. Values without effects."""

from collections.abc import Iterable

import msgspec

from simulator.disk.content import SECTOR, Run

replace = msgspec.structs.replace


class Bitmap(msgspec.Struct, frozen=True):
    """One bitmap of a node.

    Attributes:
        name: empty for one that a block job keeps for itself.
        granularity: bytes for which one bit stands.
        recording: whether writes are noted.
        dirty: which bits are set.
        doomed: whether a transaction under way will remove it.
    """

    name: str
    granularity: int
    recording: bool = True
    dirty: frozenset[int] = frozenset()
    doomed: bool = False


def marked(bitmap: Bitmap, runs: Iterable[Run]) -> Bitmap:
    """What was written is noted. A job's own bitmap is not: the job has copied the same before anybody looks."""
    if not bitmap.recording or not bitmap.name:
        return bitmap
    bits = {
        bit
        for low, high, _ in runs
        for bit in range(low * SECTOR // bitmap.granularity, -(-high * SECTOR // bitmap.granularity))
    }
    return replace(bitmap, dirty=bitmap.dirty | bits)


def cut(bitmap: Bitmap, size_bytes: int) -> Bitmap:
    """The bitmap of an image that has another size now."""
    bits = -(-size_bytes // bitmap.granularity)
    return replace(bitmap, dirty=frozenset(bit for bit in bitmap.dirty if bit < bits))


def merged(target: Bitmap, source: Bitmap, size_bytes: int) -> Bitmap:
    """All that one of the two has noted of an image of this size, as coarse as the first."""
    fine, coarse = target.granularity, source.granularity
    bits = {
        bit
        for each in source.dirty
        for bit in range(each * coarse // fine, -(-min((each + 1) * coarse, size_bytes) // fine))
    }
    return replace(target, dirty=target.dirty | bits)
