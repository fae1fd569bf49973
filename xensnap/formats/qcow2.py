"""The metadata of a qcow2 image: header, header extensions and snapshot table, from bytes to frozen values.

Nothing is read here: `metadata` is a generator that asks for spans of the file and is sent their bytes, so that the
caller does the I/O in its own way. One span for the header (a second where a large cluster holds more of it than
4 KiB), one for the snapshot table and one more for each further MiB of it.

Every length in the file is bounded before it is believed, with the bounds of QEMU 7.2.22 (`block/qcow2.c`,
`block/qcow2-snapshot.c`), so bytes from an enemy cost bounded time and memory and give only `Damaged`, which names the
offset. Names are bytes for QEMU; they become text with `surrogateescape`, so no byte of them is lost.
"""

from collections.abc import Generator
from struct import Struct
from typing import NamedTuple

from xensnap.errors import Damaged
from xensnap.model import InternalSnapshot

MAGIC = 0x514649FB
FIRST_READ_BYTES = 4096
TABLE_READ_BYTES = 1 << 20
SNAPSHOTS_MAX = 65536
SNAPSHOT_TABLE_BYTES_MAX = 64 << 20
SNAPSHOT_EXTRA_BYTES_MAX = 1024
BACKING_NAME_BYTES_MAX = 1023
BACKING_FORMAT_BYTES_MAX = 15
BITMAPS_MAX = 65535
L1_BYTES_MAX = 32 << 20
REFCOUNT_TABLE_BYTES_MAX = 8 << 20
OFFSET_BITS_MAX = 62
CLUSTER_BITS_MAX = 21

DIRTY, CORRUPT, EXTERNAL_DATA, COMPRESSION, EXTENDED_L2 = 1, 2, 4, 8, 16
INCOMPATIBLE_KNOWN = DIRTY | CORRUPT | EXTERNAL_DATA | COMPRESSION | EXTENDED_L2
AUTOCLEAR_BITMAPS = 1

END, BACKING_FORMAT, FEATURE_NAMES = 0, 0xE2792ACA, 0x6803F857
BITMAPS, CRYPTO, DATA_FILE = 0x23852875, 0x0537BE77, 0x44415441

# Of an L1 entry, the bits that are the L2 table's offset.
_L1_OFFSET_BITS = 0x00FFFFFFFFFFFE00

_HEADER = Struct(">IIQIIQIIQQIIQQQQII")
_V2_BYTES, _V3_BYTES = 72, 104
_EXTENSION = Struct(">II")
_ENTRY = Struct(">QIHHIIQII")
_TWO_SIZES = Struct(">QQ")
# What a usual entry takes, so that the table of a usual image comes with its first read.
_ENTRY_BYTES_USUAL = 160

Extensions = dict[int, tuple[int, bytes]]
"""Content of each header extension by its type, with the offset where it stands."""


class Span(NamedTuple):
    """Bytes of the file that are needed next. Fewer may be sent only where the file ends."""

    offset: int
    length_bytes: int


class Header(NamedTuple):
    """The header and its extensions. Not a dataclass: a chain of 500 makes 500 of them, at a third of the cost."""

    version: int
    cluster_size_bytes: int
    virtual_size_bytes: int
    refcount_bits: int
    encrypted: bool
    incompatible: int
    compatible: int
    autoclear: int
    l1_entries: int
    l1_offset: int
    snapshot_count: int
    snapshot_table_offset: int
    refcount_table_offset: int
    refcount_table_clusters: int
    backing_name: str
    backing_format: str
    data_file: str
    bitmaps: int

    @property
    def compat(self) -> str:
        """The version as `qemu-img create -o compat=` and `qemu-img info` call it."""
        return "0.10" if self.version == 2 else "1.1"


class Metadata(NamedTuple):
    """All that an image says about itself, but for where its clusters are."""

    header: Header
    snapshots: tuple[InternalSnapshot, ...]


class Truncated(Damaged):
    """The bytes end before the header does; more of the file may still hold the rest."""


def metadata(path: str, *, snapshots: bool = True) -> Generator[Span, bytes, Metadata]:
    """Read an image in steps: yields the spans it needs, is sent their bytes, returns what they say.

    Args:
        path: name of the image, for the errors only.
        snapshots: whether to read the snapshot table, too.

    Raises:
        Damaged: the bytes are no qcow2 image that QEMU 7.2.22 would open; the cause names the offset.
    """
    data = yield Span(0, FIRST_READ_BYTES)
    try:
        header = parse_header(data, path)
    except Truncated:
        # All of a header lies in the first cluster; its size has been checked by now if it was among these bytes.
        cluster_size = 1 << data[23] if len(data) == FIRST_READ_BYTES else 0
        if cluster_size <= FIRST_READ_BYTES:
            raise
        data += yield Span(FIRST_READ_BYTES, cluster_size - FIRST_READ_BYTES)
        header = parse_header(data, path)
    if not snapshots or not header.snapshot_count:
        return Metadata(header, ())
    return Metadata(header, (yield from _table(header, path)))


def holds_data(path: str) -> Generator[Span, bytes, bool]:
    """Whether an image has any cluster of its own, in steps as `metadata`: the header, the L1 table, L2 tables.

    L2 tables are read up to the first that is not empty, which is usually the first there is.
    """
    header = (yield from metadata(path, snapshots=False)).header
    position, end = header.l1_offset, header.l1_offset + header.l1_entries * 8
    while position < end:
        table = yield Span(position, min(end - position, TABLE_READ_BYTES))
        if not table:
            raise _damaged(path, position, "the file ends within the L1 table")
        for at in range(0, len(table) - 7, 8):
            if offset := int.from_bytes(table[at : at + 8], "big") & _L1_OFFSET_BITS:
                l2_table = yield Span(offset, header.cluster_size_bytes)
                if l2_table.strip(b"\0"):
                    return True
        position += len(table) & ~7 or 8
    return False


def parse_header(data: bytes, path: str) -> Header:
    """The header, its extensions and the backing file name.

    Args:
        data: the start of the file.
        path: name of the image, for the errors only.

    Raises:
        Truncated: `data` ends too early; with the whole first cluster this cannot be helped.
        Damaged: some field says what cannot be.
    """
    if len(data) < _V3_BYTES:  # a version 2 header is shorter, but no image is
        raise Truncated(f"{path}: ends within its header (at offset {len(data):#x})", path=path)
    (
        magic, version, name_offset, name_length, cluster_bits, size, crypt, l1_size, l1_offset, refcounts_offset,
        refcount_clusters, snapshot_count, snapshots_offset, incompatible, compatible, autoclear, order, length,
    ) = _HEADER.unpack_from(data)  # fmt: skip
    if magic != MAGIC:
        raise _damaged(path, 0, "no qcow2 image, the magic number is missing")
    if version not in (2, 3):
        raise _damaged(path, 4, f"qcow2 version {version} is not known")
    if not 9 <= cluster_bits <= CLUSTER_BITS_MAX:
        raise _damaged(path, 20, f"a cluster size of 2^{cluster_bits} is not between 2^9 and 2^21")
    cluster_size = 1 << cluster_bits
    if version == 2:
        incompatible = compatible = autoclear = 0
        order, length = 4, _V2_BYTES
    elif not _V3_BYTES <= length <= cluster_size:
        raise _damaged(path, 100, f"a header of {length} bytes is not possible")
    if name_offset > cluster_size:
        raise _damaged(path, 8, "the backing file name lies beyond the first cluster")
    if name_offset and name_length > min(BACKING_NAME_BYTES_MAX, cluster_size - name_offset):
        raise _damaged(path, 16, f"a backing file name of {name_length} bytes is too long")
    extensions = _extensions(data, length, name_offset or cluster_size, path)
    # Before all other checks: with a feature that we do not know, nothing else need mean what we think.
    if unknown := incompatible & ~INCOMPATIBLE_KNOWN:
        raise _unsupported(unknown, extensions, path)
    if order > 6:
        raise _damaged(path, 96, f"refcounts of 2^{order} bits are too wide")
    if crypt > 2:
        raise _damaged(path, 32, f"encryption method {crypt} is not known")
    if crypt == 2 and CRYPTO not in extensions:
        # Not for our sake: qemu-img 7.2.22 crashes on such an image.
        raise _damaged(path, 32, "LUKS encryption without its header extension")
    if size >> OFFSET_BITS_MAX:
        raise _damaged(path, 24, f"a disk of {size} bytes is too large")
    # All headers of this length have come with a compression type: 0 is zlib, and 1, zstd, needs the feature bit.
    compression = data[104] if length > 104 and len(data) > 104 else 0
    if compression != (incompatible & COMPRESSION != 0):
        raise _damaged(path, 104, f"compression type {compression} contradicts the feature bits")
    l2_entries = cluster_size // (16 if incompatible & EXTENDED_L2 else 8)
    if l1_size > L1_BYTES_MAX // 8 or l1_size < -(-size // (cluster_size * l2_entries)):
        raise _damaged(path, 36, f"an L1 table of {l1_size} entries does not fit a disk of {size} bytes")
    if not 0 < refcount_clusters <= REFCOUNT_TABLE_BYTES_MAX // cluster_size:
        raise _damaged(path, 56, f"a refcount table of {refcount_clusters} clusters is not possible")
    if snapshot_count > SNAPSHOTS_MAX:
        raise _damaged(path, 60, f"{snapshot_count} snapshots are too many")
    offsets = l1_offset | refcounts_offset | snapshots_offset
    if offsets & (cluster_size - 1) or offsets >> OFFSET_BITS_MAX:
        for at, offset in ((40, l1_offset), (48, refcounts_offset), (64, snapshots_offset)):
            if offset & (cluster_size - 1) or offset >> OFFSET_BITS_MAX:
                raise _damaged(path, at, f"no table can begin at {offset:#x}")
    return Header(
        version,
        cluster_size,
        size & ~511,  # QEMU counts in sectors, and a last partial one is not shown (of a raw image it is)
        1 << order,
        crypt != 0,
        incompatible,
        compatible,
        autoclear,
        l1_size,
        l1_offset,
        snapshot_count,
        snapshots_offset,
        refcounts_offset,
        refcount_clusters,
        _backing_name(data, name_offset, name_length, path) if name_offset else "",
        _backing_format(extensions, path) if BACKING_FORMAT in extensions else "",
        _data_file(extensions, path) if incompatible & EXTERNAL_DATA else "",
        _bitmaps(extensions, path, used=bool(autoclear & AUTOCLEAR_BITMAPS)) if BITMAPS in extensions else 0,
    )


def parse_snapshots(
    data: bytes, count: int, *, disk_size_bytes: int, path: str, offset: int = 0
) -> tuple[list[InternalSnapshot], int]:
    """As many whole entries of a snapshot table as there are in `data`.

    Args:
        data: bytes of the table, from the beginning of an entry.
        count: entries wanted at most.
        disk_size_bytes: the disk's size now, which entries without extra data (version 2) stand for.
        path: name of the image, for the errors only.
        offset: where in the file `data` begins, for the errors only.

    Returns:
        The entries, and how far behind the beginning of `data` the next one begins: perhaps beyond its end, because
        entries are padded to eight bytes and nobody need have written the last padding.
    """
    entries: list[InternalSnapshot] = []
    position, have = 0, len(data)
    unpack, size = _ENTRY.unpack_from, _ENTRY.size
    while len(entries) < count and position + size <= have:
        _, _, id_bytes, name_bytes, date_s, date_ns, clock_ns, state_bytes, extra_bytes = unpack(data, position)
        if extra_bytes > SNAPSHOT_EXTRA_BYTES_MAX:
            raise _damaged(path, offset + position + 36, f"{extra_bytes} bytes of extra data are too many")
        extra_at = position + size
        id_at = extra_at + extra_bytes
        name_at = id_at + id_bytes
        end = name_at + name_bytes
        if end > have:
            break
        disk_bytes = disk_size_bytes
        if extra_bytes >= 16:
            state_bytes, disk_bytes = _TWO_SIZES.unpack_from(data, extra_at)
        elif extra_bytes >= 8:
            state_bytes = int.from_bytes(data[extra_at : extra_at + 8], "big")
        entries.append(
            InternalSnapshot(
                data[id_at:name_at].decode("utf-8", "surrogateescape"),
                data[name_at:end].decode("utf-8", "surrogateescape"),
                date_s,
                date_ns,
                disk_bytes,
                state_bytes,
                clock_ns,
            )
        )
        position = end + 7 & ~7
    return entries, position


def _table(header: Header, path: str) -> Generator[Span, bytes, tuple[InternalSnapshot, ...]]:
    """The snapshot table in spans that never overlap: an entry cut off by one is finished with the next."""
    start = at = header.snapshot_table_offset
    snapshots: list[InternalSnapshot] = []
    rest = b""
    length = min(header.snapshot_count * _ENTRY_BYTES_USUAL, TABLE_READ_BYTES)
    while (left := header.snapshot_count - len(snapshots)) > 0:
        data = yield Span(at + len(rest), length)
        rest += data
        entries, used = parse_snapshots(rest, left, disk_size_bytes=header.virtual_size_bytes, path=path, offset=at)
        snapshots += entries
        rest = rest[used:]
        at += used
        if at - start > SNAPSHOT_TABLE_BYTES_MAX:
            raise _damaged(path, at, "the snapshot table is larger than 64 MiB")
        if len(data) < length and len(snapshots) < header.snapshot_count:
            raise _damaged(path, at, f"the file ends within the snapshot table, after {len(snapshots)} entries")
        length = TABLE_READ_BYTES
    return tuple(snapshots)


def _extensions(data: bytes, start: int, end: int, path: str) -> Extensions:
    """The header extensions between the header and the backing file name, or the end of the first cluster."""
    found: Extensions = {}
    at, have = start, len(data)
    while at < end:
        if at + 8 > have:
            raise Truncated(f"{path}: ends within its header extensions (at offset {have:#x})", path=path)
        kind, length = _EXTENSION.unpack_from(data, at)
        content = at + 8
        if content > end or length > end - content:
            raise _damaged(path, at, f"a header extension of {length} bytes is too large")
        if kind == END:
            break
        if content + length > have:
            raise Truncated(f"{path}: ends within its header extensions (at offset {have:#x})", path=path)
        found[kind] = (content, data[content : content + length])
        at = content + (length + 7 & ~7)
    return found


def _backing_name(data: bytes, offset: int, length: int, path: str) -> str:
    if offset + length > len(data):
        raise Truncated(f"{path}: ends within its backing file name (at offset {len(data):#x})", path=path)
    name = data[offset : offset + length]
    if b"\0" in name:
        raise _damaged(path, offset + name.index(b"\0"), "the backing file name holds a zero byte")
    return name.decode("utf-8", "surrogateescape")


def _backing_format(extensions: Extensions, path: str) -> str:
    at, content = extensions[BACKING_FORMAT]
    if len(content) > BACKING_FORMAT_BYTES_MAX:
        raise _damaged(path, at, f"a backing format name of {len(content)} bytes is too long")
    return content.decode("utf-8", "surrogateescape")


def _data_file(extensions: Extensions, path: str) -> str:
    at, content = extensions.get(DATA_FILE, (72, b""))
    if not content or b"\0" in content:
        raise _damaged(path, at, "the data is in another file, and no usable name says in which")
    return content.decode("utf-8", "surrogateescape")


def _bitmaps(extensions: Extensions, path: str, *, used: bool) -> int:
    """How many bitmaps there are: none where a program that does not know them has cleared the bit (`used`)."""
    at, content = extensions[BITMAPS]
    if len(content) != 24:
        raise _damaged(path, at, f"a bitmaps extension of {len(content)} bytes is not possible")
    count = int.from_bytes(content[:4], "big")
    if used and not 0 < count <= BITMAPS_MAX:
        raise _damaged(path, at, f"{count} bitmaps are not possible")
    return count if used else 0


def _unsupported(unknown: int, extensions: Extensions, path: str) -> Damaged:
    """Which incompatible features keep us from reading on, by the names that the image itself gives them."""
    table = extensions.get(FEATURE_NAMES, (0, b""))[1]
    names = {
        table[at + 1]: table[at + 2 : at + 48].rstrip(b"\0").decode("utf-8", "replace")
        for at in range(0, len(table) - 47, 48)
        if table[at] == 0
    }
    bits = [bit for bit in range(64) if unknown >> bit & 1]
    told = ", ".join(f"bit {bit} ({names[bit]})" if names.get(bit) else f"bit {bit}" for bit in bits)
    return Damaged(
        f"{path}: needs incompatible features that are not known: {told} (at offset 0x48)",
        path=path,
        remedy="Convert the image with the QEMU that made it.",
    )


def _damaged(path: str, offset: int, what: str) -> Damaged:
    return Damaged(f"{path}: {what} (at offset {offset:#x})", path=path)
