"""The form of archives, beside what Python's tarfile makes of it."""

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from xensnap.errors import Failed
from xensnap.formats import archive
from xensnap.formats.archive import ArchivedDisk, ArchivedDomain, Manifest, Member

UUID = "5c84adcc-bd59-488a-96d2-195f9b599cfe"
GIB = 1 << 30


def manifest(*members: Member, disks: tuple[str, ...] = ("xvda",)) -> Manifest:
    domain = ArchivedDomain(UUID, "guest", tuple(ArchivedDisk(vdev) for vdev in disks))
    return archive.sealed(Manifest("s", UUID, 1_700_000_000, domain, members))


def content(name: str, data: bytes, **more: object) -> tuple[Member, bytes]:
    return Member(name, len(data), archive.new_sum(data).hexdigest(), **more), data  # type: ignore[arg-type]


def disk(data: bytes = b"disk", vdev: str = "xvda") -> tuple[Member, bytes]:
    return content(archive.disk_name(vdev), data, vdev=vdev, disk_bytes=1 << 20)


def whole(*contents: tuple[Member, bytes]) -> bytes:
    told = manifest(*(member for member, _ in contents))
    parts = [archive.beginning(told)]
    for member, data in contents:
        parts += [archive.head(member.name, member.size_bytes), data, archive.padding(len(data))]
    return b"".join([*parts, archive.END])


@given(st.binary(max_size=2000), st.binary(max_size=2000), st.binary(min_size=1, max_size=2000))
def test_tar_reads_what_is_written_and_finds_each_member_where_it_is_told(record, memory, image) -> None:
    members = (content(archive.RECORD, record), content(archive.MEMORY, memory), disk(image))
    data = whole(*members)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getnames() == [archive.MANIFEST, *(member.name for member, _ in members)]
        for member, expected in members:
            file = tar.extractfile(member.name)
            assert file is not None
            assert file.read() == expected
        text = tar.extractfile(archive.MANIFEST)
        assert text is not None
        told = archive.decode(text.read(), path="a")
    length = archive.manifest_bytes(data[: archive.BLOCK_BYTES], path="a")
    places = archive.places(told, length)
    assert [data[place.offset :][: place.member.size_bytes] for place in places] == [record, memory, image]
    assert archive.length_bytes(places) == len(data)
    assert data.startswith(archive.beginning(told))


@given(st.lists(st.integers(0, archive.MEMBER_BYTES_MAX), min_size=1, max_size=4))
def test_the_manifest_is_as_long_before_its_lengths_are_known(sizes) -> None:
    vdevs = tuple(f"xvd{letter}" for letter, _ in zip("abcd", sizes, strict=False))
    open_ = manifest(*(Member(archive.disk_name(vdev), vdev=vdev, disk_bytes=512) for vdev in vdevs), disks=vdevs)
    known = replace(
        open_,
        members=tuple(
            replace(member, size_bytes=size, blake2b="f" * 64)
            for member, size in zip(open_.members, sizes, strict=True)
        ),
    )
    assert len(archive.beginning(open_)) == len(archive.beginning(archive.sealed(known)))


@pytest.mark.parametrize("size", [0, 1, 8 * GIB - 1, 8 * GIB, 20_000 * GIB])
def test_members_of_any_length_have_a_head_that_tar_reads(size) -> None:
    found = tarfile.TarInfo.frombuf(archive.head("memory", size), "utf-8", "strict")
    assert (found.name, found.size, found.mode, found.isreg()) == ("memory", size, 0o600, True)


RECORD = Member(archive.RECORD, 10)
DISK = Member(archive.disk_name("xvda"), 10, vdev="xvda", disk_bytes=512)
HOSTILE = {
    "no record": (DISK,),
    "no disk": (RECORD,),
    "a path": (RECORD, DISK, Member("../../etc/passwd", 10)),
    "an absolute path": (RECORD, DISK, Member("/etc/passwd", 10)),
    "a disk under another name": (RECORD, replace(DISK, name="disk-xvdb.qcow2")),
    "a disk that is a path": (RECORD, replace(DISK, vdev="../x", name="disk-../x.qcow2")),
    "a disk that the domain has not": (RECORD, DISK, replace(DISK, vdev="xvdz", name="disk-xvdz.qcow2")),
    "twice": (RECORD, DISK, DISK),
    "a negative length": (RECORD, replace(DISK, size_bytes=-1)),
    "too long a record": (replace(RECORD, size_bytes=archive.RECORD_BYTES_MAX + 1), DISK),
    "too long": (RECORD, replace(DISK, size_bytes=archive.MEMBER_BYTES_MAX + 1)),
    "half a sector": (RECORD, replace(DISK, disk_bytes=100)),
    "no size": (RECORD, replace(DISK, disk_bytes=0)),
    "no sum": (RECORD, replace(DISK, blake2b="x")),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_manifest_that_xensnap_never_writes_is_none(what) -> None:
    room = archive.beginning(manifest(*HOSTILE[what]))
    length = archive.manifest_bytes(room[: archive.BLOCK_BYTES], path="a")
    with pytest.raises(Failed) as caught:
        archive.decode(room[archive.BLOCK_BYTES :][:length], path="a")
    assert caught.value.id == "bad-archive"


@pytest.mark.parametrize(
    ("old", "new"),
    [(UUID, "../../../etc/passwd"), ("xensnap-archive/1", "xensnap-archive/9"), ('"guest"', '"other"')],
)
def test_a_manifest_is_held_to_its_own_sum_and_version(old, new) -> None:
    text = archive.beginning(manifest(RECORD, DISK))[archive.BLOCK_BYTES :].rstrip(b"\0")
    with pytest.raises(Failed) as caught:
        archive.decode(text.replace(old.encode(), new.encode()), path="a")
    assert caught.value.id == "bad-archive"


@given(st.binary(max_size=600) | st.binary(min_size=512, max_size=512))
def test_no_block_of_noise_is_the_beginning_of_an_archive(block) -> None:
    with pytest.raises(Failed):
        archive.manifest_bytes(block, path="a")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE, tarfile.GNUTYPE_SPARSE]
)
def test_a_manifest_is_a_regular_file(kind) -> None:
    info = tarfile.TarInfo(archive.MANIFEST)
    info.type, info.size, info.linkname, info.mode = kind, 100, "/etc/passwd", 0o600
    with pytest.raises(Failed):
        archive.manifest_bytes(info.tobuf(tarfile.GNU_FORMAT)[:512], path="a")
