"""Dirty bitmaps that are stored in a qcow2 image: names, grains and flags, as `qemu-img bitmap` and `info` know them.

Which bits are set is not kept: only a running QEMU could tell, and none is simulated on such an image. The bitmaps of a
running QEMU, which are never stored, stand in `simulator.qemu.bitmap`.
"""

from collections.abc import Iterable

import msgspec

replace = msgspec.structs.replace

NAME_BYTES_MAX = 1023
BITMAPS_MAX = 65535
GRANULARITY_MIN = 512
_DEFAULT_MIN, _DEFAULT_MAX = 4096, 65536


class StoredBitmap(msgspec.Struct, frozen=True):
    """One bitmap.

    Attributes:
        enabled: whether it notes what is written; told as the flag `auto`.
        taken: marked as in use by the program that has the image open for writing.
        broken: found marked by a later program, since whoever had marked it died. It can only be removed.
    """

    name: str
    granularity_bytes: int
    enabled: bool = True
    taken: bool = False
    broken: bool = False

    @property
    def flags(self) -> list[str]:
        """What the image says about it, in QEMU's order."""
        return ["in-use"] * (self.taken or self.broken) + ["auto"] * self.enabled


Bitmaps = tuple[StoredBitmap, ...]


def unusable(bitmap: StoredBitmap) -> str:
    """QEMU's words for one that is lost."""
    return (
        f"Bitmap '{bitmap.name}' is inconsistent and cannot be used\n"
        "Try block-dirty-bitmap-remove to delete this bitmap from disk"
    )


def taken(bitmaps: Bitmaps) -> Bitmaps:
    """An image is opened for writing: QEMU 7.2.22 marks all its bitmaps; one that is marked already is lost."""
    return tuple(replace(each, broken=True) if each.taken else replace(each, taken=not each.broken) for each in bitmaps)


def released(bitmaps: Bitmaps) -> Bitmaps:
    """The image is closed: what was not lost before is stored and unmarked."""
    return tuple(replace(each, taken=False) for each in bitmaps)


def default_granularity(cluster_bytes: int) -> int:
    """That of an image with clusters of this size, or with none."""
    return min(max(cluster_bytes, _DEFAULT_MIN), _DEFAULT_MAX) if cluster_bytes else _DEFAULT_MAX


def stored_bytes(bitmaps: Iterable[StoredBitmap], disk_bytes: int, cluster_bytes: int) -> int:
    """How much of a copy they would take: every bitmap with all its bits, its table, and one directory."""
    total = directory = 0
    for each in bitmaps:
        bits = -(-disk_bytes // each.granularity_bytes)
        clusters = _whole(-(-bits // 8), cluster_bytes) // cluster_bytes
        total += clusters * cluster_bytes + _whole(clusters * 8, cluster_bytes)
        directory += _whole(24 + len(each.name.encode("utf-8", "surrogateescape")), 8)
    return total + _whole(directory, cluster_bytes)


def _whole(length: int, unit: int) -> int:
    return -(-length // unit) * unit
