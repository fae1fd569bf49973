"""Simulated images as true qcow2 files, and true files as simulated images. From the format's specification.

A sector of a file that is read comes from a simulated write, if it looks like one; else it stands for its own bytes.
Compressed clusters are read as ordinary ones, and the image says that there were some. What has no place in a world is
refused: dirty bitmaps, whose bits are not kept, the state of a machine, and every feature that older programs must not
touch, such as another compression, a data file apart and encryption; but extended L2 entries are read and written.
"""

import struct
import zlib
from collections.abc import Hashable, Iterable, Iterator, Mapping
from functools import lru_cache

from immutables import Map

from simulator.core.unmodelled import NotModelled
from simulator.disk.content import (
    EMPTY,
    RESERVED,
    SECTOR,
    Content,
    Run,
    Value,
    bytes_of,
    cluster,
    foreign,
    pattern,
    runs_in,
)
from simulator.disk.image import PARTS, Qcow2, l2_entry_bytes, metadata
from simulator.disk.snapshots import Entry, Table

_COPIED = 1 << 63
_ZERO = 1
_OFFSET = 0x00FFFFFFFFFFFE00
_COMPRESSED = 1 << 62
_BACKING_FORMAT = 0xE2792ACA
_WINDOW_BITS = 12
_INCOMPATIBLE = ("dirty refcounts", "a mark of damage", "a data file apart", "another compression")
_EXTENDED_L2 = 16

MAGIC = b"QFI\xfb"
"""How a qcow2 file begins."""

_KEPT_MAX = 32
"""How many files are remembered: one that is copied piece by piece is asked for as often."""


# --- out -------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=_KEPT_MAX)
def encoded(image: Qcow2) -> bytes:
    """The file: whole, clean but for the clusters that leak, each shared cluster there once."""
    if image.corrupted or image.stale:
        raise NotModelled("a damaged image as a file: what is damaged in it is not known")
    if any(entry.state_bytes for entry in image.table):
        raise NotModelled("an image with a machine's state in it as a file: what QEMU has written there is not known")
    if image.bitmaps:
        raise NotModelled("an image with dirty bitmaps as a file: which bits are set is not known")
    if image.compression != "zlib":
        raise NotModelled(f"an image with {image.compression} as a file")
    if image.compressed:
        raise NotModelled("an image with compressed clusters as a file")
    return _Writer(image).file()


@lru_cache(maxsize=_KEPT_MAX)
def places(image: Qcow2) -> Mapping[int, int]:
    """Where that file would hold the clusters of the active layer, in bytes from its begin. Marked zeros have none.

    With extended L2 entries that of each part of a cluster, whatever is in it.
    """
    if image.corrupted or image.stale:
        raise NotModelled("where a damaged image holds what: what is damaged in it is not known")
    writer = _Writer(image)
    writer.file()
    return writer.places()


class _Writer:
    def __init__(self, image: Qcow2) -> None:
        self._image = image
        self._size = image.cluster_bytes
        self._clusters: list[bytes] = [b""]
        self._counts: list[int] = [1]
        self._entry_bytes = l2_entry_bytes(extended_l2=image.extended_l2)
        self._data: dict[tuple[int, Hashable], int] = {}

    def file(self) -> bytes:
        image = self._image
        l1 = self._tables(image.content, image.size_bytes, active=True)
        entries = [(entry, self._tables(entry.content, entry.size_bytes, active=False)) for entry in image.table]
        l1_at = self._placed(_words(self._marked(l1)))
        table = b"".join(self._entry(entry, self._placed(_words(tables)), len(tables)) for entry, tables in entries)
        table_at = self._placed(table) if table else 0
        for _ in range(image.leaked + image.pending):
            self._new(b"")
        counts_at, counts_clusters = self._refcounts()
        self._clusters[0] = self._header(l1_at, len(l1), table_at, counts_at, counts_clusters)
        return b"".join(each.ljust(self._size, b"\0") for each in self._clusters)

    def places(self) -> dict[int, int]:
        """Offsets by the index of the cluster, once the file is made."""
        image = self._image
        parts = PARTS if image.extended_l2 else 1
        placed = ((index, self._data.get((index, value))) for index, value in image.clusters(image.content).items())
        return {
            index * parts + part: number * self._size + part * image.sectors * SECTOR
            for index, number in placed
            if number is not None
            for part in range(parts)
        }

    def _new(self, data: bytes) -> int:
        self._clusters.append(data)
        self._counts.append(1)
        return len(self._clusters) - 1

    def _placed(self, data: bytes) -> int:
        """Where these bytes are, in as many clusters as they need, one after the other."""
        pieces = [data[at : at + self._size] for at in range(0, len(data), self._size)] or [b""]
        first, *_ = [self._new(piece) for piece in pieces]
        return first * self._size

    def _tables(self, content: Content, size_bytes: int, *, active: bool) -> list[int]:
        """The level 1 table of a layer, whose level 2 tables are placed."""
        per_table, words = self._size // self._entry_bytes, self._entry_bytes // 8
        clusters = -(-size_bytes // self._size)
        tables: dict[int, list[int]] = {}
        held = self._image.clusters(content)
        for index in sorted(held):
            entries = tables.setdefault(index // per_table, [0] * per_table * words)
            entries[index % per_table * words] = self._pointer(index, held[index], content)
            if self._image.extended_l2:
                entries[index % per_table * words + 1] = _allocation(content, index)
        found = [0] * max(1, -(-clusters // per_table))
        for place, entries in tables.items():
            if place < len(found):
                found[place] = self._placed(_words(entries))
        if active:
            self._active = {place: at for place, at in enumerate(found) if at}
        return found

    def _pointer(self, index: int, held: Hashable, content: Content) -> int:
        if held == 0 and self._image.version > 2:
            return 0 if self._image.extended_l2 else _ZERO
        known = self._data.get((index, held))
        if known is None:
            known = self._data[index, held] = self._new(self._bytes(index, content))
        else:
            self._counts[known] += 1
        return known * self._size

    def _bytes(self, index: int, content: Content) -> bytes:
        """What stands in a cluster of the file: its parts, where it has any; those without data have zeros."""
        parts, sectors = PARTS if self._image.extended_l2 else 1, self._image.sectors
        values = ((part * sectors, content.get(part, 0)) for part in range(index * parts, (index + 1) * parts))
        runs = [run for start, value in values for run in runs_in(value, start, sectors)]
        return bytes_of(runs, index * self._size, self._size)

    def _marked(self, l1: list[int]) -> list[int]:
        """Pointers of the active layer to what nobody shares say so."""
        for at in self._active.values():
            number = at // self._size
            entries = list(struct.unpack(f">{self._size // 8}Q", self._clusters[number]))
            for place in range(0, len(entries), self._entry_bytes // 8):
                if entries[place] & _OFFSET and self._counts[entries[place] // self._size] == 1:
                    entries[place] |= _COPIED
            self._clusters[number] = _words(entries)
        return [at | _COPIED if at else 0 for at in l1]

    def _entry(self, entry: Entry, l1_at: int, l1_size: int) -> bytes:
        identity = str(entry.number).encode()
        seconds, nanoseconds = divmod(entry.date_ns, 10**9)
        head = struct.pack(
            ">QIHHIIQII", l1_at, l1_size, len(identity), len(entry.tag), seconds, nanoseconds, entry.clock_ns, 0,
            16 if entry.live else 24,
        )  # fmt: skip
        extra = struct.pack(">QQ", 0, entry.size_bytes) + (b"" if entry.live else struct.pack(">Q", 0))
        whole = head + extra + identity + entry.tag
        return whole.ljust(-(-len(whole) // 8) * 8, b"\0")

    def _refcounts(self) -> tuple[int, int]:
        """The table of counts and its blocks, which count themselves, too."""
        per_block = self._size * 8 // self._image.refcount_bits
        blocks = tables = 0
        while True:
            total = len(self._clusters) + blocks + tables
            need = -(-total // per_block)
            if (need, -(-need * 8 // self._size)) == (blocks, tables):
                break
            blocks, tables = need, -(-need * 8 // self._size)
        table_at = self._placed(bytes(tables * self._size))
        first = len(self._clusters)
        for _ in range(blocks):
            self._new(b"")
        pointers = [(first + place) * self._size for place in range(blocks)]
        data = _words(pointers)
        for place in range(tables):
            self._clusters[table_at // self._size + place] = data[place * self._size : (place + 1) * self._size]
        for place in range(blocks):
            self._clusters[first + place] = self._block(place * per_block, per_block)
        return table_at, tables

    def _block(self, first: int, count: int) -> bytes:
        bits = self._image.refcount_bits
        counts = self._counts[first : first + count]
        if bits >= 8:
            return b"".join(number.to_bytes(bits // 8, "big") for number in counts)
        packed = bytearray(-(-len(counts) * bits // 8))
        for place, number in enumerate(counts):
            packed[place * bits // 8] |= number << (place * bits % 8)
        return bytes(packed)

    def _header(self, l1_at: int, l1_size: int, table_at: int, counts_at: int, counts_clusters: int) -> bytes:
        image = self._image
        third = image.version > 2
        length = 104 if third else 72
        form, name = image.backing_format.encode(), image.backing_name.encode("utf-8", "surrogateescape")
        extension = struct.pack(">II", _BACKING_FORMAT, len(form)) + form.ljust(-(-len(form) // 8) * 8, b"\0")
        extensions = (extension if form else b"") + bytes(8)
        name_at = length + len(extensions) if name else 0
        head = struct.pack(
            ">4sIQIIQIIQQIIQ", b"QFI\xfb", image.version, name_at, len(name), self._size.bit_length() - 1,
            image.size_bytes, 0, l1_size, l1_at, counts_at, counts_clusters, len(image.table.entries), table_at,
        )  # fmt: skip
        if third:
            incompatible = _EXTENDED_L2 if image.extended_l2 else 0
            head += struct.pack(">QQQII", incompatible, image.lazy, 0, image.refcount_bits.bit_length() - 1, length)
        return head + extensions + name


def _allocation(content: Content, index: int) -> int:
    """The second half of an extended L2 entry: a bit for each part with data, then one for each of zeros."""
    bits = 0
    for part in range(PARTS):
        value = content.get(index * PARTS + part)
        bits |= 0 if value is None else 1 << (part if value else part + PARTS)
    return bits


def _words(values: Iterable[int]) -> bytes:
    numbers = list(values)
    return struct.pack(f">{len(numbers)}Q", *numbers)


# --- in --------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=_KEPT_MAX)
def decoded(data: bytes) -> Qcow2:
    """The image in a file, without what stands below it. `NotModelled` where it holds what has no place in a world."""
    return _Reader(data).image()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        fields = struct.unpack_from(">4sIQIIQIIQQIIQ", data)
        (_, self._version, self._name_at, self._name_length, bits, self._disk_bytes) = fields[:6]
        (crypt, self._l1_size, self._l1_at, _, _, self._entries, self._table_at) = fields[6:]
        if self._version not in (2, 3) or not 9 <= bits <= 21 or not self._disk_bytes:
            raise ValueError(f"version {self._version}, clusters of 2^{bits} bytes, a disk of {self._disk_bytes}")
        self._size = 1 << bits
        self._known: dict[tuple[int, int], Value] = {}
        order = struct.unpack_from(">I", data, 96)[0] if self._version > 2 else 4
        self._refcount_bits = 1 << order
        incompatible, compatible, autoclear = struct.unpack_from(">QQQ", data, 72) if self._version > 2 else (0, 0, 0)
        if crypt or incompatible & ~_EXTENDED_L2:
            raise NotModelled(f"an image with {_features(incompatible & ~_EXTENDED_L2, crypt)} as a simulated one")
        if autoclear:
            raise NotModelled("an image with dirty bitmaps as a simulated one: which bits are set has no place there")
        self._extended_l2 = bool(incompatible & _EXTENDED_L2)
        self._sectors = self._size // SECTOR // (PARTS if self._extended_l2 else 1)
        self._lazy = bool(compatible & 1)
        self._inflated = False

    def image(self) -> Qcow2:
        content = self._layer(self._l1_at, self._l1_size)
        entries = list(self._snapshots())
        table = Table()
        for entry in entries:
            table = _holding(table, entry)
        name = self._data[self._name_at : self._name_at + self._name_length] if self._name_at else b""
        image = Qcow2(
            self._disk_bytes,
            self._size,
            self._version,
            self._refcount_bits,
            content,
            table,
            name.decode("utf-8", "surrogateescape"),
            self._backing_format(),
            end=-(-len(self._data) // self._size),
            own=EMPTY if entries else content,
            lazy=self._lazy,
            inflated=self._inflated,
            extended_l2=self._extended_l2,
        )
        layers = [content, *(entry.content for entry in entries)]
        clusters = {item for each in layers for item in image.clusters(each).items()}
        used = metadata(image) + len(clusters) + len(entries)
        return Qcow2(**{name: getattr(image, name) for name in image.__struct_fields__} | {"used": used})

    def _backing_format(self) -> str:
        at = struct.unpack_from(">I", self._data, 100)[0] if self._version > 2 else 72
        while at + 8 <= len(self._data):
            kind, length = struct.unpack_from(">II", self._data, at)
            if kind == _BACKING_FORMAT:
                return self._data[at + 8 : at + 8 + length].decode()
            if not kind:
                break
            at += 8 + -(-length // 8) * 8
        return ""

    def _layer(self, l1_at: int, l1_size: int) -> Content:
        words = l2_entry_bytes(extended_l2=self._extended_l2) // 8
        per_table = self._size // 8 // words
        found: dict[int, Value] = {}
        for place, pointer in enumerate(struct.unpack_from(f">{l1_size}Q", self._data, l1_at)):
            at = pointer & _OFFSET
            if not at:
                continue
            entries = struct.unpack_from(f">{self._size // 8}Q", self._data, at)
            for number, entry in enumerate(entries[::words]):
                index = place * per_table + number
                if self._extended_l2:
                    found.update(self._parts(index, entry, entries[number * words + 1]))
                elif (value := self._value(index, entry)) is not None:
                    found[index] = value
        return Map(found)

    def _parts(self, index: int, entry: int, bits: int) -> Iterator[tuple[int, Value]]:
        """What an extended L2 entry tells of, by part."""
        raw, step = self._raw(entry & _OFFSET), self._sectors * SECTOR
        if entry & _COMPRESSED:
            raw, bits = self._unpacked(entry), (1 << PARTS) - 1
        for number in range(PARTS):
            part = index * PARTS + number
            if bits >> number + PARTS & 1:
                yield part, 0
            elif bits >> number & 1:
                yield part, self._cluster(part, raw[number * step : (number + 1) * step]) or RESERVED

    def _value(self, index: int, entry: int) -> Value | None:
        if entry & _COMPRESSED:
            return self._inflate(index, entry)
        if self._version > 2 and entry & _ZERO:
            return 0
        at = entry & _OFFSET
        if not at:
            return None
        known = self._known.get((index, at))
        if known is None:
            known = self._known[index, at] = self._cluster(index, self._raw(at))
        return known

    def _raw(self, at: int) -> bytes:
        return self._data[at : at + self._size].ljust(self._size, b"\0")

    def _inflate(self, index: int, entry: int) -> Value:
        known = self._known.get((index, entry))
        if known is None:
            known = self._known[index, entry] = self._cluster(index, self._unpacked(entry))
        return known

    def _unpacked(self, entry: int) -> bytes:
        """A compressed cluster: its place, and how many sectors it reaches beyond its first, share one number."""
        self._inflated = True
        place_bits = 62 - (self._size.bit_length() - 1 - 8)
        at = entry & ((1 << place_bits) - 1)
        sectors = (entry & (_COMPRESSED - 1)) >> place_bits
        packed = self._data[at : at // SECTOR * SECTOR + (sectors + 1) * SECTOR]
        return _inflated(packed, self._size)

    def _cluster(self, index: int, raw: bytes) -> Value:
        start = index * self._sectors
        return cluster(list(_writes(raw, start)), start, self._sectors)

    def _snapshots(self) -> Iterator[Entry]:
        at = self._table_at
        for _ in range(self._entries):
            l1_at, l1_size, id_length, name_length, seconds, nanoseconds, clock, state, extra = struct.unpack_from(
                ">QIHHIIQII", self._data, at
            )
            if state or (extra >= 8 and any(self._data[at + 40 : at + 48])):
                raise NotModelled("an image with a machine's state in it as a simulated one")
            disk_bytes = struct.unpack_from(">Q", self._data, at + 48)[0] if extra >= 16 else self._disk_bytes
            identity_at = at + 40 + extra
            identity = self._data[identity_at : identity_at + id_length].decode()
            tag = self._data[identity_at + id_length : identity_at + id_length + name_length]
            content = self._layer(l1_at, l1_size)
            date_ns = seconds * 10**9 + nanoseconds
            yield Entry(int(identity), tag, date_ns, disk_bytes, content, extra < 24, clock)
            at = -(-(identity_at + id_length + name_length) // 8) * 8


def _holding(table: Table, entry: Entry) -> Table:
    """The table with one more entry, whose number may leave a hole behind the last."""
    same = (*table.tags.get(entry.tag, ()), entry.number)
    return Table(
        table.entries.set(entry.number, entry), table.tags.set(entry.tag, same), max(table.highest, entry.number)
    )


def _writes(raw: bytes, start: int) -> Iterator[Run]:
    """Which write each sector of these bytes comes from."""
    for at in range(0, len(raw), SECTOR):
        sector, piece = start + at // SECTOR, raw[at : at + SECTOR]
        number = int.from_bytes(piece[:8], "little")
        yield sector, sector + 1, number if piece == pattern(number, sector * SECTOR, SECTOR) else foreign(piece)


def _inflated(packed: bytes, size: int) -> bytes:
    try:
        return zlib.decompressobj(wbits=-_WINDOW_BITS).decompress(packed, size)
    except zlib.error as error:
        raise ValueError(f"a compressed cluster: {error}") from error


def _features(incompatible: int, crypt: int) -> str:
    named = [word for bit, word in enumerate(_INCOMPATIBLE) if incompatible >> bit & 1]
    return " and ".join([*named, *["encryption"] * bool(crypt)]) or f"unknown features {incompatible:#x}"
