"""An archive of one snapshot as bytes: a plain tar file, the manifest first. Pure; who reads and writes is elsewhere.

    manifest.json          what is in it: members with their lengths and BLAKE2b sums, the domain, the snapshot
    record.libxl-json      the record of the snapshot, as the store has it
    memory                 the memory file, where there is one
    disk-VDEV.qcow2        each disk as it was, a standalone qcow2 image

Not compressed: qcow2 images hold only what was written, save files leave out pages of zeros, so what is left to gain
is little beside what is lost: lengths that are known before anything is written (no archive is larger unpacked than
packed), members that are found without reading those before them, and sums at the speed of the disk. `zstd` around it
is one command where a slow line lies between. Sums are BLAKE2b of 256 bits: `b2sum --length=256`.

Nothing in an archive is believed. There is exactly one sequence of bytes for a manifest, so a reader need not cope with
what tar can hold besides: names that lead elsewhere, links, devices, sparse files. All of these are `bad-archive`.
"""

# ruff: noqa: PLC0415 -- every planner knows of archives; tarfile and OpenSSL load when there is one

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from xensnap.errors import Failed
from xensnap.model import GuestKind

if TYPE_CHECKING:
    import hashlib

SCHEMA = "xensnap-archive/1"
MANIFEST, RECORD, MEMORY = "manifest.json", "record.libxl-json", "memory"
BLOCK_BYTES = 512
END = bytes(2 * BLOCK_BYTES)
MANIFEST_BYTES_MAX = 1 << 20
RECORD_BYTES_MAX = 16 << 20
MEMBER_BYTES_MAX = 1 << 62
SUM_BYTES = 32

_NO_SUM = "0" * (2 * SUM_BYTES)
_SUM = re.compile(r"[0-9a-f]{64}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_VDEV = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_SECTOR_BYTES = 512


class Member(msgspec.Struct, frozen=True):
    """One file in the archive. `vdev` and `disk_bytes`, the size that the guest sees, are those of a disk."""

    name: str
    size_bytes: int = MEMBER_BYTES_MAX
    blake2b: str = _NO_SUM
    vdev: str = ""
    disk_bytes: int = 0


class ArchivedDisk(msgspec.Struct, frozen=True):
    """A disk of the domain, as the guest sees it; whether the archive has it, its members tell."""

    vdev: str
    readonly: bool = False
    cdrom: bool = False


class ArchivedDomain(msgspec.Struct, frozen=True):
    """The domain that the snapshot is of. Its configuration stands in the record."""

    uuid: str
    name: str
    disks: tuple[ArchivedDisk, ...]
    kind: GuestKind | None = None
    memory_bytes: int = 0


class Manifest(msgspec.Struct, frozen=True, tag_field="schema", tag=SCHEMA):
    """What an archive holds. `version` and `host` tell what made it, and where; nothing depends on them.

    `blake2b` is the sum of the manifest itself, with zeros in its place.
    """

    snapshot: str
    operation: str
    created_s: int
    domain: ArchivedDomain
    members: tuple[Member, ...]
    version: str = ""
    host: str = ""
    blake2b: str = _NO_SUM

    def disk(self, vdev: str) -> Member | None:
        """The member with this disk, if there is one."""
        return next((member for member in self.members if member.vdev == vdev), None)

    @property
    def memory(self) -> Member | None:
        """The member with the memory, if there is one."""
        return next((member for member in self.members if member.name == MEMORY), None)


class Place(NamedTuple):
    """Where the content of a member begins, in bytes from the start of the archive."""

    member: Member
    offset: int


def disk_name(vdev: str) -> str:
    """What the member with this disk is called."""
    return f"disk-{vdev}.qcow2"


# --- out -------------------------------------------------------------------------------------------------------------


def room_bytes(manifest: Manifest) -> int:
    """How long the manifest is, whatever the lengths and sums of its members turn out to be."""
    open_ = tuple(
        msgspec.structs.replace(member, size_bytes=MEMBER_BYTES_MAX, blake2b=_NO_SUM) for member in manifest.members
    )
    return len(_text(msgspec.structs.replace(manifest, members=open_))) + 1


def beginning(manifest: Manifest) -> bytes:
    """The archive up to the head of its first member: as long for one whose members are not known yet."""
    room = room_bytes(manifest)
    return head(MANIFEST, room) + _text(manifest).ljust(room - 1) + b"\n" + padding(room)


def sealed(manifest: Manifest) -> Manifest:
    """The manifest with its own sum."""
    open_ = msgspec.structs.replace(manifest, blake2b=_NO_SUM)
    return msgspec.structs.replace(manifest, blake2b=new_sum(_text(open_)).hexdigest())


def new_sum(data: bytes = b"") -> "hashlib.blake2b":
    """What sums are made with."""
    import hashlib

    return hashlib.blake2b(data, digest_size=SUM_BYTES)


def head(name: str, size_bytes: int) -> bytes:
    """The block before the content of a member. Lengths from 8 GiB on are written as GNU tar does."""
    import tarfile

    member = tarfile.TarInfo(name)
    member.size, member.mode = size_bytes, 0o600
    block = member.tobuf(tarfile.GNU_FORMAT)
    assert len(block) == BLOCK_BYTES, "names are short"
    return block


def padding(size_bytes: int) -> bytes:
    """What fills the last block of a member of this length."""
    return bytes(-size_bytes % BLOCK_BYTES)


def _text(manifest: Manifest) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2)


# --- in --------------------------------------------------------------------------------------------------------------


def manifest_bytes(block: bytes, *, path: str) -> int:
    """How long the manifest is, from the first block of a file.

    Raises:
        Failed: id `bad-archive`: it is no archive of ours.
    """
    import tarfile

    if len(block) == BLOCK_BYTES:
        try:
            found = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except (tarfile.TarError, ValueError):
            pass
        else:
            if 0 < found.size <= MANIFEST_BYTES_MAX and block == head(MANIFEST, found.size):
                return found.size
    raise bad(path, f"it does not begin with {MANIFEST}")


def decode(text: bytes, *, path: str) -> Manifest:
    """Read a manifest.

    Raises:
        Failed: id `bad-archive`: it is none, is one of another version, or tells what cannot be.
    """
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise bad(path, f"{MANIFEST}: {error}") from error
    wrong = next(_wrong(manifest), None)
    if wrong:
        raise bad(path, f"{MANIFEST}: {wrong}")
    return manifest


def places(manifest: Manifest, manifest_length_bytes: int) -> tuple[Place, ...]:
    """Where each member is."""
    found: list[Place] = []
    at = BLOCK_BYTES + manifest_length_bytes + len(padding(manifest_length_bytes))
    for member in manifest.members:
        found.append(Place(member, at + BLOCK_BYTES))
        at += BLOCK_BYTES + member.size_bytes + len(padding(member.size_bytes))
    return tuple(found)


def length_bytes(found: tuple[Place, ...]) -> int:
    """How long the whole archive is."""
    last = found[-1]
    return last.offset + last.member.size_bytes + len(padding(last.member.size_bytes)) + len(END)


def bad(path: str, what: str) -> Failed:
    """The error of a file that is no archive, or is not whole."""
    remedy = "Copy it once more, or make it anew with `xensnap export`."
    return Failed(f"{path} is no archive of a snapshot that can be used: {what}", id="bad-archive", remedy=remedy)


def _wrong(manifest: Manifest) -> Iterator[str]:
    """All that a manifest of ours never says."""
    if manifest != sealed(manifest):
        yield "it is not what its own sum says"
    names = [member.name for member in manifest.members]
    vdevs = [disk.vdev for disk in manifest.domain.disks]
    if names[:1] != [RECORD]:
        yield f"its first member is not {RECORD}"
    if len({*names}) != len(names) or len({*vdevs}) != len(vdevs):
        yield "something stands in it twice"
    if not _UUID.fullmatch(manifest.domain.uuid) or not _UUID.fullmatch(manifest.operation):
        yield "a UUID is none"
    if not all(_VDEV.fullmatch(vdev) for vdev in vdevs):
        yield "a disk has a name that no disk can have"
    if not any(member.vdev for member in manifest.members):
        yield "it has no disk"
    for member in manifest.members:
        yield from _wrong_with(member, vdevs)


def _wrong_with(member: Member, vdevs: list[str]) -> Iterator[str]:
    name = member.name
    if member.vdev:
        if name != disk_name(member.vdev) or member.vdev not in vdevs:
            yield f"{name!r} is no disk of the domain"
        if not 0 < member.disk_bytes <= MEMBER_BYTES_MAX or member.disk_bytes % _SECTOR_BYTES:
            yield f"the disk {name!r} has {member.disk_bytes} bytes"
    elif name not in (RECORD, MEMORY):
        yield f"a member is called {name!r}"
    if not 0 <= member.size_bytes <= (RECORD_BYTES_MAX if name == RECORD else MEMBER_BYTES_MAX):
        yield f"{name!r} is {member.size_bytes} bytes long"
    if not _SUM.fullmatch(member.blake2b):
        yield f"the sum of {name!r} is none"
