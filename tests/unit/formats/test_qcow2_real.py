"""The qcow2 codec against images that the real qemu-img makes: it must say what `qemu-img info` says."""

import json
import os
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xensnap.errors import Damaged
from xensnap.formats import qcow2

pytestmark = pytest.mark.real

MIB = 1 << 20
ODD_NAMES = (b"", b"twice", b"twice", "größe".encode(), b"\xff\xfe", b"x" * 300, b"a\nb", b"-x", b"2", b"a/b c")
HEADER_BYTES = 640
NOT_TIMED, TRIES = b"Unable to get accurate CPU usage", 10
"""LUKS times how its key is derived, and gives up where the clock of the process has hardly moved (7.2.22)."""


@pytest.fixture
def tool(qemu_img, tmp_path):
    def run(*arguments):
        tries = (
            subprocess.run([qemu_img, *arguments], cwd=tmp_path, capture_output=True, timeout=60, check=False)
            for _ in range(TRIES)
        )
        done = next((each for each in tries if NOT_TIMED not in each.stderr), None)
        assert done is not None, NOT_TIMED
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def read(path: Path, asked: list[qcow2.Span] | None = None) -> qcow2.Metadata:
    """The codec's answer, with the spans that it asked for."""
    steps = qcow2.metadata(str(path))
    with path.open("rb") as file:
        try:
            span = next(steps)
            while True:
                if asked is not None:
                    asked.append(span)
                file.seek(span.offset)
                span = steps.send(file.read(span.length_bytes))
        except StopIteration as end:
            return end.value


def as_told(name: str) -> str:
    """A name as qemu-img's JSON has it: ended by a zero byte, with bytes that are no UTF-8 turned into U+FFFD."""
    return name.partition("\0")[0].encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def assert_told_alike(path: Path, info: dict) -> None:
    header, snapshots = read(path)
    details = info["format-specific"]["data"]
    assert header.virtual_size_bytes == info["virtual-size"]
    assert header.cluster_size_bytes == info["cluster-size"]
    assert header.compat == details["compat"]
    assert header.refcount_bits == details["refcount-bits"]
    assert as_told(header.backing_name) == info.get("backing-filename", "")
    assert header.backing_format == info.get("backing-filename-format", "")
    assert header.encrypted == info.get("encrypted", False)
    assert bool(header.incompatible & qcow2.DIRTY) == info["dirty-flag"]
    assert bool(header.incompatible & qcow2.CORRUPT) == details.get("corrupt", False)
    assert bool(header.incompatible & qcow2.EXTENDED_L2) == details.get("extended-l2", False)
    assert header.data_file == details.get("data-file", "")
    assert header.bitmaps == len(details.get("bitmaps", []))
    assert [
        {
            "id": as_told(one.id),
            "name": as_told(one.tag),
            "vm-state-size": one.vm_state_bytes,
            "date-sec": one.date_s,
            "date-nsec": one.date_ns,
            "vm-clock-sec": one.vm_clock_ns // 10**9,
            "vm-clock-nsec": one.vm_clock_ns % 10**9,
            "icount": 0,
        }
        for one in snapshots
    ] == info.get("snapshots", [])


def info_of(tool, path: Path) -> dict:
    return json.loads(tool("info", "-U", "-f", "qcow2", "--output=json", str(path)))


@pytest.mark.parametrize("compat", ["0.10", "1.1"])
@pytest.mark.parametrize("cluster", [1 << bits for bits in range(9, 22)])
def test_every_cluster_size_and_version(tool, tmp_path, cluster, compat):
    path = tmp_path / "a"
    tool("create", "-q", "-f", "qcow2", "-o", f"cluster_size={cluster},compat={compat}", path, "5M")
    for name in ODD_NAMES:
        tool("snapshot", "-c", os.fsdecode(name), path)
    assert_told_alike(path, info_of(tool, path))
    tags = [entry.tag.encode("utf-8", "surrogateescape") for entry in read(path).snapshots]
    assert tags == [name[:255] for name in ODD_NAMES]


@pytest.mark.parametrize(
    "options",
    [
        "refcount_bits=1",
        "refcount_bits=64",
        "lazy_refcounts=on",
        "extended_l2=on,cluster_size=128k",
        "compression_type=zstd",
        "data_file=other",
        "data_file=other,data_file_raw=on",
        "encrypt.format=aes,encrypt.key-secret=s",
        "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10",
        "backing_fmt=raw,backing_file=base",
        'backing_fmt=qcow2,backing_file=json:{"driver":"qcow2"}',
    ],
)  # fmt: skip
def test_every_feature(tool, tmp_path, options):
    path = tmp_path / "a"
    arguments = ("-u", "--object", "secret,id=s,data=secret", "-o", options)
    tool("create", "-q", "-f", "qcow2", *arguments, path, "1M")
    assert_told_alike(path, info_of(tool, path))


def test_bitmaps_are_counted(tool, tmp_path):
    path = tmp_path / "a"
    tool("create", "-q", "-f", "qcow2", path, "1M")
    for name in ("b0", "b1"):
        tool("bitmap", "--add", path, name)
    assert_told_alike(path, info_of(tool, path))


def test_the_longest_backing_name(tool, tmp_path):
    path = tmp_path / "a"
    tool("create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", "b" * 1023, path, "1M")
    assert_told_alike(path, info_of(tool, path))


def test_an_old_image_that_was_resized(tool, tmp_path):
    path = tmp_path / "a"
    tool("create", "-q", "-f", "qcow2", "-o", "compat=0.10", path, "1M")
    tool("snapshot", "-c", "old", path)
    tool("amend", "-f", "qcow2", "-o", "compat=1.1", path)
    tool("resize", "-q", "-f", "qcow2", path, "2M")
    tool("snapshot", "-c", "new", path)
    assert [entry.disk_size_bytes for entry in read(path).snapshots] == [MIB, 2 * MIB]
    assert_told_alike(path, info_of(tool, path))


def make_old(path: Path) -> None:
    """Take the extra data out of the snapshot table, as QEMU before 1.1 wrote it; entries keep their length."""
    data = bytearray(path.read_bytes())
    count, at = struct.unpack_from(">IQ", data, 60)
    out = bytearray()
    position = at
    for _ in range(count):
        entry = list(struct.unpack_from(">QIHHIIQII", data, position))
        names = data[position + 40 + entry[8] :][: entry[2] + entry[3]]
        position = position + 40 + entry[8] + len(names) + 7 & ~7
        entry[8] = 0
        out += struct.pack(">QIHHIIQII", *entry) + names
        out += bytes(-len(out) % 8)
    data[at : at + len(out)] = out
    path.write_bytes(data)


def test_entries_without_extra_data_have_the_size_of_the_disk(tool, tmp_path):
    path = tmp_path / "a"
    tool("create", "-q", "-f", "qcow2", "-o", "compat=0.10", path, "1M")
    for name in ("one", "two", "three"):
        tool("snapshot", "-c", name, path)
    make_old(path)
    # QEMU tells no instruction count where the entry has none.
    info = info_of(tool, path)
    info["snapshots"] = [{"icount": 0} | one for one in info["snapshots"]]
    assert_told_alike(path, info)
    assert [entry.disk_size_bytes for entry in read(path).snapshots] == [MIB] * 3


@pytest.mark.parametrize("count", [0, 1, 30, 300])
def test_any_number_of_snapshots_in_few_reads(tool, tmp_path, count):
    path = tmp_path / "a"
    tool("create", "-q", "-f", "qcow2", path, "1M")
    if count:
        tool("snapshot", "-c", "snapshot 1", path)
        multiply(path, count)
    assert_told_alike(path, info_of(tool, path))
    asked: list[qcow2.Span] = []
    assert len(read(path, asked).snapshots) == count
    assert len(asked) <= (2 if count else 1)


def multiply(path: Path, count: int, *, name_bytes: int = 40) -> None:
    """Write a table of many entries behind the image, all of the first one's clusters."""
    data = bytearray(path.read_bytes())
    _, at = struct.unpack_from(">IQ", data, 60)
    first = struct.unpack_from(">QIHHIIQII", data, at)
    extra = data[at + 40 : at + 40 + first[8]]
    table = bytearray()
    for number in range(1, count + 1):
        tag, name = str(number).encode(), f"snapshot {number}".encode().ljust(name_bytes, b".")
        table += struct.pack(">QIHHIIQII", *first[:2], len(tag), len(name), *first[4:]) + extra + tag + name
        table += bytes(-len(table) % 8)
    end = -(-len(data) // 65536) * 65536
    data += bytes(end - len(data)) + table
    struct.pack_into(">IQ", data, 60, count, end)
    path.write_bytes(data)


@pytest.mark.parametrize(("count", "name_bytes"), [(3000, 40), (3000, 255), (65536, 255), (400, 65535)])
def test_a_large_table_takes_three_reads_and_one_for_each_mebibyte(tool, tmp_path, count, name_bytes):
    path = tmp_path / "a"
    tool("create", "-q", "-f", "qcow2", path, "1M")
    tool("snapshot", "-c", "s", path)
    multiply(path, count, name_bytes=name_bytes)
    asked: list[qcow2.Span] = []
    snapshots = read(path, asked).snapshots
    assert [entry.tag for entry in snapshots[-2:]] == [
        f"snapshot {number}".ljust(name_bytes, ".") for number in (count - 1, count)
    ]
    table_bytes = path.stat().st_size - asked[1].offset
    assert len(asked) <= 3 + -(-table_bytes // MIB)
    ends = [span.offset for span in asked[2:]]
    assert ends == [span.offset + span.length_bytes for span in asked[1:-1]]


@pytest.fixture(scope="module")
def seeds(qemu_img, tmp_path_factory) -> list[Path]:
    """Images to damage: both versions, with a backing file, snapshots and bitmaps."""
    directory = tmp_path_factory.mktemp("seeds")
    made = []
    for number, options in enumerate(("compat=0.10", "compat=1.1", "compat=1.1,backing_fmt=raw,backing_file=base")):
        path = directory / str(number)
        commands = [["create", "-q", "-u", "-f", "qcow2", "-o", options, path, "1M"]]
        commands += [["rebase", "-u", "-f", "qcow2", "-b", "", path]] if "backing" in options else []
        commands += [["snapshot", "-c", name, path] for name in ("one", "two")]
        commands += [["bitmap", "--add", path, "b"]] if "0.10" not in options else []
        commands += [["rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", "base", path]] if "backing" in options else []
        for command in commands:
            subprocess.run([qemu_img, *command], check=True, capture_output=True, timeout=60)
        made.append(path)
    return made


# Where the codec is stricter: QEMU reads zeros behind the end of a file, ends a name at a zero byte, and knows no
# largest file.
STRICTER = ("ends within", "zero byte", "no table can begin")
# What QEMU looks into and the codec, which has no use for it, does not.
DEEPER = b"bitmap"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    which=st.integers(0, 2),
    at=st.integers(0, 120) | st.integers(0, HEADER_BYTES),
    byte=st.sampled_from([0, 1, 2, 3, 127, 128, 255]) | st.integers(0, 255),
)
def test_a_damaged_header_is_refused_where_qemu_refuses_it(seeds, qemu_img, tmp_path, which, at, byte):
    image = bytearray(seeds[which].read_bytes())
    image[at] = byte
    path = tmp_path / "a"
    path.write_bytes(image)
    command = [qemu_img, "info", "-f", "qcow2", "--output=json", path]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    if done.returncode == 0:
        info = json.loads(done.stdout)
        # The instruction count is not read; QEMU tells none where the entry has none.
        if "snapshots" in info:
            info["snapshots"] = [one | {"icount": 0} for one in info["snapshots"]]
        try:
            assert_told_alike(path, info)
        except Damaged as error:
            if not any(words in str(error) for words in STRICTER):
                raise
    elif DEEPER not in done.stderr.lower():
        with pytest.raises(Damaged):
            read(path)
