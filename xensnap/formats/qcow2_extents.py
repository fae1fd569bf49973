"""Where the clusters of a qcow2 image are, for the active state and for every internal snapshot in it.

With extended L2 entries each of the 32 parts of a cluster is told of apart, for it can be read from the backing file.

As `qcow2.metadata`, this asks for spans of the file and is sent their bytes. An L2 table that several states share, as
most are, is read and decoded once. Compressed clusters count as whole ones.
"""

from collections.abc import Generator, Iterator
from struct import Struct, unpack

from xensnap.errors import Damaged
from xensnap.formats import qcow2
from xensnap.formats.qcow2 import Header, Span
from xensnap.model import ZEROS, Extent

_ENTRY = Struct(">QIHHIIQII")
_OFFSET_BITS = 0x00FFFFFFFFFFFE00
_COMPRESSED, _ZERO = 1 << 62, 1
_PARTS = 32
_ALL_THERE = (1 << _PARTS) - 1

Steps = Generator[Span, bytes, tuple[Extent, ...]]


def extents(path: str) -> Generator[Span, bytes, dict[str, tuple[Extent, ...]]]:
    """Read all clusters in steps: what the active state has under "", and each snapshot under its id.

    Args:
        path: name of the image, for the errors only.

    Raises:
        Damaged: as `qcow2.metadata`, or a table lies beyond the end of the file.
    """
    header = (yield from qcow2.metadata(path, snapshots=False)).header
    tables: dict[int, list[Extent]] = {}
    found = {"": (yield from _state(path, header, header.l1_offset, header.l1_entries, tables))}
    for snapshot_id, l1_offset, l1_entries in (yield from _snapshots(path, header)):
        if l1_entries * 8 > qcow2.L1_BYTES_MAX:
            raise _damaged(path, l1_offset, f"an L1 table of {l1_entries} entries is too large")
        found[snapshot_id] = yield from _state(path, header, l1_offset, l1_entries, tables)
    return found


def is_at(path: str, snapshot_id: str) -> Generator[Span, bytes, bool | None]:
    """Whether the active state leads to just the L2 tables that a snapshot leads to; None without such a snapshot.

    `snapshot -a` makes the one table a copy of the other, and fills up the shorter one with zeros (QEMU 7.2.22). Flags
    are left out: only one of two states can say that a table is its own.

    Args:
        path: name of the image, for the errors only.
        snapshot_id: which snapshot.

    Raises:
        Damaged: as `extents`.
    """
    header = (yield from qcow2.metadata(path, snapshots=False)).header
    for found, l1_offset, l1_entries in (yield from _snapshots(path, header)):
        if found == snapshot_id:
            active = yield from _tables(path, header.l1_offset, header.l1_entries)
            return active == (yield from _tables(path, l1_offset, l1_entries))
    return None


def _tables(path: str, l1_offset: int, l1_entries: int) -> Generator[Span, bytes, dict[int, int]]:
    """The places of the L2 tables of one state, by number."""
    if l1_entries * 8 > qcow2.L1_BYTES_MAX:
        raise _damaged(path, l1_offset, f"an L1 table of {l1_entries} entries is too large")
    data = (yield Span(l1_offset, l1_entries * 8)) if l1_entries else b""
    if len(data) < l1_entries * 8:
        raise _damaged(path, l1_offset, "the file ends within an L1 table")
    places = (entry & _OFFSET_BITS for entry in unpack(f">{l1_entries}Q", data))
    return {number: place for number, place in enumerate(places) if place}


def _snapshots(path: str, header: Header) -> Generator[Span, bytes, list[tuple[str, int, int]]]:
    """Id of each snapshot, with the place and the number of entries of its L1 table."""
    found: list[tuple[str, int, int]] = []
    at = header.snapshot_table_offset
    for _ in range(header.snapshot_count):
        head = yield Span(at, _ENTRY.size)
        if len(head) < _ENTRY.size:
            raise _damaged(path, at, "the file ends within the snapshot table")
        l1_offset, l1_entries, id_bytes, name_bytes, _, _, _, _, extra_bytes = _ENTRY.unpack(head)
        if extra_bytes > qcow2.SNAPSHOT_EXTRA_BYTES_MAX:
            raise _damaged(path, at + 36, f"{extra_bytes} bytes of extra data are too many")
        name = yield Span(at + _ENTRY.size + extra_bytes, id_bytes)
        found.append((name.decode("utf-8", "surrogateescape"), l1_offset, l1_entries))
        at += _ENTRY.size + extra_bytes + id_bytes + name_bytes + 7 & ~7
    return found


def _state(path: str, header: Header, l1_offset: int, l1_entries: int, tables: dict[int, list[Extent]]) -> Steps:
    """The extents of one state, neighbours joined."""
    wide = header.incompatible & qcow2.EXTENDED_L2 != 0
    entries = header.cluster_size_bytes // (16 if wide else 8)
    covered = entries * header.cluster_size_bytes
    if not l1_entries:
        return ()
    data = yield Span(l1_offset, l1_entries * 8)
    if len(data) < l1_entries * 8:
        raise _damaged(path, l1_offset, "the file ends within an L1 table")
    joined: list[Extent] = []
    for number, entry in enumerate(unpack(f">{l1_entries}Q", data)):
        offset = entry & _OFFSET_BITS
        if not offset:
            continue
        found = tables.get(offset)
        if found is None:
            table = yield Span(offset, header.cluster_size_bytes)
            if len(table) < header.cluster_size_bytes:
                raise _damaged(path, offset, "the file ends within an L2 table")
            found = []
            for extent in _wide(table) if wide else _decoded(table, version=header.version):
                _add(found, extent)
            if header.snapshot_count:  # who may have the same table
                tables[offset] = found
        for start, length, place in found:
            _add(joined, Extent(number * covered + start, length, place))
    return tuple(joined)


def is_compressed(extent: Extent) -> bool:
    """Whether an extent is a compressed cluster, which is never written again where it is."""
    return extent.place >= _apart(_COMPRESSED)


def _decoded(table: bytes, *, version: int) -> Iterator[Extent]:
    """Each cluster that an L2 table of one cluster has, from where its own part of the disk begins."""
    size = len(table)
    for index, word in enumerate(unpack(f">{size // 8}Q", table)):
        if not word:
            continue
        if word & _COMPRESSED:
            yield Extent(index * size, size, _apart(word))
        elif version > 2 and word & _ZERO:
            yield Extent(index * size, size, ZEROS)
        elif word & _OFFSET_BITS:
            yield Extent(index * size, size, word & _OFFSET_BITS)


def _wide(table: bytes) -> Iterator[Extent]:
    """The same of an L2 table with extended entries: which parts of a cluster are there, and which ones are zeros."""
    size = len(table)
    words = unpack(f">{size // 8}Q", table)
    for index, word in enumerate(words[::2]):
        if word & _COMPRESSED:
            yield Extent(index * size, size, _apart(word))
        elif parts := words[2 * index + 1]:
            if parts == _ALL_THERE:
                yield Extent(index * size, size, word & _OFFSET_BITS)
                continue
            part_bytes = size // _PARTS
            for part in range(_PARTS):
                start = part * part_bytes
                if parts >> part & 1:
                    yield Extent(index * size + start, part_bytes, (word & _OFFSET_BITS) + start)
                elif parts >> _PARTS + part & 1:
                    yield Extent(index * size + start, part_bytes, ZEROS)


def _apart(word: int) -> int:
    """A place for a compressed cluster: beyond every offset, apart from all others."""
    return (word & ~(1 << 63)) << qcow2.CLUSTER_BITS_MAX


def _add(joined: list[Extent], extent: Extent) -> None:
    if joined:
        last = joined[-1]
        touches = last.start_bytes + last.length_bytes == extent.start_bytes
        if touches and extent.place == (ZEROS if last.place == ZEROS else last.place + last.length_bytes):
            joined[-1] = Extent(last.start_bytes, last.length_bytes + extent.length_bytes, last.place)
            return
    joined.append(extent)


def _damaged(path: str, offset: int, what: str) -> Damaged:
    return Damaged(f"{path}: {what} (at offset {offset:#x})", path=path)
