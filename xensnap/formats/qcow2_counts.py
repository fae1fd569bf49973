"""Which clusters a qcow2 image counts beyond the end of its file.

A qemu-img that is killed between counting a cluster and writing it leaves such a count. `qemu-img check` looks no
further than the file reaches, so it tells of none and gives none back; once the file has grown that far it is a leak
like any other (measured: 7.2.22, `snapshot -c` killed by strace at the first write of its new snapshot table).
"""

from collections.abc import Generator

from xensnap.formats import qcow2
from xensnap.formats.qcow2 import Span

BEYOND_CLUSTERS_MAX = 1024
"""So far beyond the end is looked: one operation of qemu-img counts far fewer at once."""

_OFFSET_BITS = 0x00FFFFFFFFFFFE00


def end_of_counts(path: str, length_bytes: int) -> Generator[Span, bytes, int]:
    """Where the last cluster ends that is counted beyond the end of the file, in bytes; 0 where none is.

    In steps as `qcow2.metadata`: the header, an entry of the refcount table, a block of counts.

    Args:
        path: name of the image, for the errors only.
        length_bytes: of the file.

    Raises:
        Damaged: as `qcow2.metadata`.
    """
    header = (yield from qcow2.metadata(path, snapshots=False)).header
    cluster_bytes, bits = header.cluster_size_bytes, header.refcount_bits
    in_block = cluster_bytes * 8 // bits
    first = -(-length_bytes // cluster_bytes)
    end = first + BEYOND_CLUSTERS_MAX
    found = 0
    for block in range(first // in_block, -(-end // in_block)):
        if block * 8 >= header.refcount_table_clusters * cluster_bytes:
            break
        entry = yield Span(header.refcount_table_offset + block * 8, 8)
        if offset := int.from_bytes(entry, "big") & _OFFSET_BITS:
            counts = yield Span(offset, cluster_bytes)
            before = block * in_block
            for cluster in range(max(first, before), min(end, before + in_block)):
                if _count(counts, cluster - before, bits):
                    found = (cluster + 1) * cluster_bytes
    return found


def _count(counts: bytes, index: int, bits: int) -> int:
    """One of the counts of a block; where the file ends within the block, those that are missing are 0."""
    if bits >= 8:
        width = bits // 8
        return int.from_bytes(counts[index * width : (index + 1) * width], "big")
    byte = counts[index * bits // 8 : index * bits // 8 + 1]
    return int.from_bytes(byte, "big") >> index * bits % 8 & ((1 << bits) - 1)
