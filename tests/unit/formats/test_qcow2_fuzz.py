"""The qcow2 codec on bytes from an enemy: only `Damaged` comes out, soon, whatever they claim."""

import struct
import time
import tracemalloc
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xensnap.errors import Damaged
from xensnap.formats import qcow2, qcow2_counts
from xensnap.model import InternalSnapshot

T = TypeVar("T")
MIB = 1 << 20
PATH = "/images/a.qcow2"
V2 = ">IIQIIQIIQQIIQ"
FIELDS = (
    "magic", "version", "backing_offset", "backing_size", "cluster_bits", "size", "crypt", "l1_size", "l1_offset",
    "refcount_offset", "refcount_clusters", "snapshots", "snapshots_offset",
)  # fmt: skip
SOUND = dict(
    zip(FIELDS, (qcow2.MAGIC, 3, 0, 0, 16, MIB, 0, 1, 0x30000, 0x10000, 1, 0, 0x50000), strict=True),
    incompatible=0, compatible=0, autoclear=0, refcount_order=4, header_length=104,
)  # fmt: skip
WIDE = {"backing_offset", "size", "l1_offset", "refcount_offset", "snapshots_offset"} | {
    "incompatible", "compatible", "autoclear",
}  # fmt: skip


def header(extensions: bytes = bytes(8), **fields: int) -> bytes:
    """A header of version 3 (or the first part of one, for version 2) with some fields set otherwise."""
    all_fields = SOUND | fields
    start = struct.pack(V2, *(all_fields[name] for name in FIELDS))
    rest = [all_fields[name] for name in ("incompatible", "compatible", "autoclear", "refcount_order", "header_length")]
    return start + (struct.pack(">QQQII", *rest) if all_fields["version"] == 3 else b"") + extensions


def extension(kind: int, content: bytes) -> bytes:
    return struct.pack(">II", kind, len(content)) + content + bytes(-len(content) % 8)


def entry(id: bytes = b"1", name: bytes = b"s", extra: bytes = bytes(16)) -> bytes:
    fields = struct.pack(">QIHHIIQII", 0x40000, 1, len(id), len(name), 7, 8, 9, 10, len(extra))
    whole = fields + extra + id + name
    return whole + bytes(-len(whole) % 8)


def read(file: bytes, asked: list[qcow2.Span] | None = None) -> qcow2.Metadata:
    return stepped(qcow2.metadata(PATH), file, asked)


def stepped(steps: Generator[qcow2.Span, bytes, T], file: bytes, asked: list[qcow2.Span] | None = None) -> T:
    try:
        span = next(steps)
        while True:
            if asked is not None:
                asked.append(span)
            span = steps.send(file[span.offset : span.offset + span.length_bytes])
    except StopIteration as end:
        return end.value


def image(table: bytes = b"", **fields: int) -> bytes:
    return header(bytes(8), **fields).ljust(SOUND["snapshots_offset"], b"\0") + table


# --- What is refused, and where --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "offset"),
    [
        ({"magic": 0}, 0x0),
        ({"version": 4}, 0x4),
        ({"backing_offset": 65537}, 0x8),
        ({"backing_offset": 200, "backing_size": 1024}, 0x10),
        ({"backing_offset": 65536, "backing_size": 1}, 0x10),
        ({"cluster_bits": 8}, 0x14),
        ({"cluster_bits": 22}, 0x14),
        ({"cluster_bits": 0xFFFFFFFF}, 0x14),
        ({"size": 1 << 63}, 0x18),
        ({"crypt": 3}, 0x20),
        ({"crypt": 2}, 0x20),
        ({"l1_size": 0}, 0x24),
        ({"l1_size": 1 << 23}, 0x24),
        ({"size": 1 << 40}, 0x24),
        ({"l1_offset": 7}, 0x28),
        ({"refcount_offset": 0xFFFFFFFFFFFF0000}, 0x30),
        ({"refcount_clusters": 0}, 0x38),
        ({"refcount_clusters": 129}, 0x38),
        ({"snapshots": 65537}, 0x3C),
        ({"snapshots_offset": 1}, 0x40),
        ({"incompatible": 1 << 63}, 0x48),
        ({"refcount_order": 7}, 0x60),
        ({"header_length": 96}, 0x64),
        ({"header_length": 65537}, 0x64),
        ({"incompatible": qcow2.EXTERNAL_DATA}, 0x48),
    ],
)
def test_each_field_is_bounded_and_the_error_names_its_offset(fields, offset):
    with pytest.raises(Damaged) as caught:
        read(image(**fields))
    assert str(caught.value).endswith(f"(at offset {offset:#x})")
    assert caught.value.path == PATH


def test_a_sound_header_is_read():
    assert read(image()).header.virtual_size_bytes == MIB
    assert read(image(version=2)).header.compat == "0.10"


def test_unknown_features_are_named_as_the_image_names_them():
    names = b"".join(
        bytes([kind, bit]) + name.ljust(46, b"\0") for kind, bit, name in ((0, 40, b"time travel"), (1, 41, b"other"))
    )
    file = header(extension(qcow2.FEATURE_NAMES, names) + bytes(8), incompatible=1 << 40 | 1 << 41)
    with pytest.raises(Damaged, match=r"bit 40 \(time travel\), bit 41 \(at offset 0x48\)"):
        read(file)


def test_each_bit_that_is_known_is_told():
    for bit in (qcow2.DIRTY, qcow2.CORRUPT, qcow2.EXTENDED_L2):
        assert read(image(incompatible=bit)).header.incompatible == bit


def test_the_compression_type_and_its_feature_bit_belong_together():
    zstd = {"incompatible": qcow2.COMPRESSION, "header_length": 112}
    assert read(header(b"\1" + bytes(15), **zstd)).header.incompatible == qcow2.COMPRESSION
    for content, fields in ((bytes(16), zstd), (b"\1" + bytes(15), {"header_length": 112}), (b"\2" + bytes(15), zstd)):
        with pytest.raises(Damaged, match="compression"):
            read(header(content, **fields))


def test_extensions_are_told():
    extensions = (
        extension(qcow2.BACKING_FORMAT, b"raw")
        + extension(0x12345678, b"whatever")
        + extension(qcow2.DATA_FILE, b"the data")
        + extension(qcow2.BITMAPS, struct.pack(">IIQQ", 3, 0, 100, 0x60000))
    )
    name = b"base\xff"
    at = 104 + len(extensions)
    fields = {"backing_offset": at, "backing_size": len(name), "incompatible": qcow2.EXTERNAL_DATA, "autoclear": 1}
    told = read(header(extensions + name, **fields)).header
    assert (told.backing_format, told.backing_name, told.data_file, told.bitmaps) == (
        "raw",
        "base\udcff",
        "the data",
        3,
    )
    assert read(header(extensions + name, **fields | {"autoclear": 0})).header.bitmaps == 0


@pytest.mark.parametrize(
    "extensions",
    [
        struct.pack(">II", 1, 0xFFFFFFFF),
        struct.pack(">II", 1, 65536 - 104),
        extension(qcow2.BACKING_FORMAT, b"x" * 16),
        extension(qcow2.BITMAPS, b"short"),
        extension(qcow2.BITMAPS, bytes(24)),
    ],
)
def test_extensions_are_bounded(extensions):
    with pytest.raises(Damaged):
        read(header(extensions, autoclear=1).ljust(65536, b"\0"))


def test_a_header_larger_than_the_first_read_takes_one_more():
    extensions = b"".join(extension(0x1000 + number, bytes(1000)) for number in range(20))
    asked: list[qcow2.Span] = []
    file = header(extensions + extension(qcow2.BACKING_FORMAT, b"qed"), backing_offset=30000, backing_size=4)
    told = read(file.ljust(30000, b"\0") + b"base", asked).header
    assert (told.backing_format, told.backing_name) == ("qed", "base")
    assert asked == [(0, 4096), (4096, 65536 - 4096)]


def test_a_file_that_ends_early_is_damaged_wherever_it_ends():
    file = image(entry() + entry(b"2", b"t"), snapshots=2)
    whole = read(file)
    assert [(one.id, one.tag) for one in whole.snapshots] == [("1", "s"), ("2", "t")]
    for length in [*range(130), *range(SOUND["snapshots_offset"], len(file))]:
        try:
            told = read(file[:length])
        except Damaged:
            continue
        # Only the padding of the last entry may be missing.
        assert told == whole
        assert length > len(file) - 8


def test_an_entry_may_have_no_extra_data_or_half_or_more_than_is_known():
    table = b"".join(
        entry(extra=extra)
        for extra in (b"", struct.pack(">Q", 5), struct.pack(">QQ", 5, 6), struct.pack(">QQQ", 5, 6, 7), bytes(1024))
    )
    told = read(image(table, snapshots=5)).snapshots
    assert [(one.vm_state_bytes, one.disk_size_bytes) for one in told] == [(10, MIB), (5, MIB), (5, 6), (5, 6), (0, 0)]
    with pytest.raises(Damaged, match="extra data"):
        read(image(entry(extra=bytes(1025)), snapshots=1))


def test_a_table_that_claims_too_much_is_refused_before_it_is_read_to_its_end():
    count = 65536
    table = entry(b"1" * 65535, b"s" * 65535)
    repeats = 100 * MIB // len(table)
    start = SOUND["snapshots_offset"]

    class Endless:
        """A file of 100 MiB that need not exist."""

        def __getitem__(self, wanted: slice) -> bytes:
            if wanted.start < start:
                return image(snapshots=count)[wanted]
            if wanted.start - start >= repeats * len(table):
                return b""
            shift = (wanted.start - start) % len(table)
            length = wanted.stop - wanted.start
            return (table * (length // len(table) + 2))[shift : shift + length]

    tracemalloc.start()
    before = time.process_time()
    with pytest.raises(Damaged, match="64 MiB"):
        read(Endless())  # type: ignore[arg-type]
    assert time.process_time() - before < 5
    assert tracemalloc.get_traced_memory()[1] < 300 * MIB
    tracemalloc.stop()


# --- Anything at all -------------------------------------------------------------------------------------------------


@given(st.binary(max_size=600))
def test_any_bytes_are_read_or_damaged(file):
    survives(struct.pack(">II", qcow2.MAGIC, 3) + file)
    survives(file)


INTERESTING = st.sampled_from([0, 1, 7, 104, 511, 512, 65535, 65536, MIB, 1 << 31, (1 << 32) - 1])
WIDER = INTERESTING | st.sampled_from([1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 0x50000, 0x10000])


@given(
    st.fixed_dictionaries(
        {},
        optional={name: (WIDER if name in WIDE else INTERESTING) for name in SOUND if name not in ("magic", "version")}
        | {"version": st.sampled_from([2, 3]), "cluster_bits": st.integers(0, 24), "snapshots": st.integers(0, 5)},
    ),
    st.lists(st.tuples(st.sampled_from([0xE2792ACA, 0x6803F857, 0x23852875, 0x44415441, 9]), st.binary(max_size=60))),
    st.binary(max_size=400),
)
def test_any_fields_are_read_or_damaged(fields, extensions, table):
    packed = b"".join(extension(kind, content) for kind, content in extensions)
    file = header(packed, **fields).ljust(SOUND["snapshots_offset"], b"\0") + table
    survives(file)


names = st.binary(max_size=300)
entries = st.tuples(names, names, st.sampled_from([0, 8, 16, 24, 100]).map(bytes))


@given(st.lists(entries, max_size=30), st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=3))
def test_any_table_is_read_as_it_was_written_or_damaged_where_it_was_changed(all_entries, changes):
    table = bytearray(b"".join(entry(*one) for one in all_entries))
    file = image(bytes(table), snapshots=len(all_entries))
    told = read(file).snapshots
    assert [encoded(one) for one in told] == [(id, name) for id, name, _ in all_entries]
    for at, byte in changes:
        if at < len(table):
            table[at] = byte
    survives(image(bytes(table), snapshots=len(all_entries)))


@given(st.lists(entries, max_size=20), st.integers(1, 200))
def test_however_the_table_is_cut_into_reads_the_entries_are_the_same(all_entries, cut):
    table = b"".join(entry(*one) for one in all_entries)
    whole, end = qcow2.parse_snapshots(table, len(all_entries), disk_size_bytes=MIB, path=PATH)
    assert end == len(table)
    parts: list[InternalSnapshot] = []
    start = 0
    for stop in range(cut, len(table) + cut, cut):
        found, used = qcow2.parse_snapshots(
            table[start:stop], len(all_entries) - len(parts), disk_size_bytes=MIB, path=PATH, offset=start
        )
        parts += found
        start += used
    assert parts == whole


def encoded(one: InternalSnapshot) -> tuple[bytes, bytes]:
    return one.id.encode("utf-8", "surrogateescape"), one.tag.encode("utf-8", "surrogateescape")


def survives(file: bytes) -> None:
    """Only values and `Damaged` with an offset come out, with few and bounded reads; also of the look for clusters."""
    asked: list[qcow2.Span] = []
    with suppressed_damage():
        read(file, asked)
    assert len(asked) <= 4
    with suppressed_damage():
        assert stepped(qcow2.holds_data(PATH), file, asked) in (True, False)
    with suppressed_damage():
        beyond = stepped(qcow2_counts.end_of_counts(PATH, len(file)), file, asked) - len(file)
        assert beyond <= qcow2_counts.BEYOND_CLUSTERS_MAX << qcow2.CLUSTER_BITS_MAX
    assert all(0 <= span.offset < 1 << 63 and 0 < span.length_bytes <= 2 * MIB for span in asked)


@contextmanager
def suppressed_damage() -> Iterator[None]:
    try:
        yield
    except Damaged as error:
        if "at offset 0x" not in str(error):
            raise
