"""Archives as files of the host: read as far as a plan needs it, without believing anything. See `formats.archive`."""

import msgspec

from xensnap.engine.context import Context
from xensnap.errors import Damaged, Failed, FileFailed, NotFound
from xensnap.formats import archive, savefile, snapshot_record
from xensnap.formats.archive import Manifest, Member, Place
from xensnap.hypervisor import Hypervisor
from xensnap.model import Snapshot

CHUNK_BYTES = 4 << 20
"""How much is read, summed and written at a time."""

_YEAR_10000_S = 253_402_300_800


class Archive(msgspec.Struct, frozen=True):
    """A well-formed archive: each member is where and as long as the manifest says, and nothing else is in it.

    The sums of disks and memory have not been looked at: that is done while they are copied out.
    """

    path: str
    manifest: Manifest
    snapshot: Snapshot
    places: tuple[Place, ...]
    head: savefile.Head | None = None
    """The head of its memory, where that is a save file of xl: it holds a configuration, which xl obeys."""

    def place(self, member: Member) -> Place:
        """Where a member's content is."""
        return next(place for place in self.places if place.member == member)


async def opened(host: Hypervisor, path: str) -> Archive:
    """Read what an archive says of itself.

    Raises:
        NotFound: there is no such file.
        Failed: id `bad-archive`: it is no archive, not whole, or its record is not what its sum says.
    """
    files = host.files
    manifest, length = await _manifest(host, path)
    places = archive.places(manifest, length)
    if await files.read_part(path, offset=0, length_bytes=_beginning_bytes(length)) != archive.beginning(manifest):
        raise archive.bad(path, "its manifest is not as xensnap writes it")
    at, before = _beginning_bytes(length), b""
    for place in places:
        expected = archive.head(place.member.name, place.member.size_bytes)
        if await files.read_part(path, offset=at, length_bytes=place.offset - at) != before + expected:
            raise archive.bad(path, f"{place.member.name} is not where and as long as the manifest says")
        at, before = place.offset + place.member.size_bytes, archive.padding(place.member.size_bytes)
    end = archive.length_bytes(places)
    if await files.read_part(path, offset=at, length_bytes=end - at + 1) != before + archive.END:
        raise archive.bad(path, f"it does not end after {end} bytes")
    snapshot = await _record(host, path, manifest, places[0])
    return Archive(path, manifest, snapshot, places, await _head(host, path, manifest, places))


async def is_made_by(at: Context, path: str) -> bool:
    """Whether the file is an archive that this very operation has made. None has its name before it is whole.

    `FileFailed` where it cannot be read, for then nobody knows.
    """
    stat = await at.host.files.stat(path)
    if stat is None or not stat.is_regular:
        return False
    try:
        manifest, _ = await _manifest(at.host, path)
    except FileFailed:
        raise
    except (NotFound, Failed):
        return False
    return manifest.operation == at.operation


async def _manifest(host: Hypervisor, path: str) -> tuple[Manifest, int]:
    """What a file says of itself, and how long that is in bytes."""
    block = await host.files.read_part(path, offset=0, length_bytes=archive.BLOCK_BYTES)
    length = archive.manifest_bytes(block, path=path)
    text = await host.files.read_part(path, offset=archive.BLOCK_BYTES, length_bytes=length)
    return archive.decode(text, path=path), length


def _beginning_bytes(manifest_length: int) -> int:
    return archive.BLOCK_BYTES + manifest_length + len(archive.padding(manifest_length))


async def _record(host: Hypervisor, path: str, manifest: Manifest, place: Place) -> Snapshot:
    data = await host.files.read_part(path, offset=place.offset, length_bytes=place.member.size_bytes)
    if archive.new_sum(data).hexdigest() != place.member.blake2b:
        raise archive.bad(path, f"{place.member.name} is not what its sum says")
    try:
        snapshot = snapshot_record.decode(data, path=f"{path}, {place.member.name}")
    except Damaged as error:
        raise archive.bad(path, error.cause) from error
    covered = {disk.vdev: disk.size_bytes for disk in snapshot.disks}
    if covered != {member.vdev: member.disk_bytes for member in manifest.members if member.vdev}:
        raise archive.bad(path, "its record tells of other disks than its manifest")
    if snapshot.name != manifest.snapshot or snapshot.domain_uuid != manifest.domain.uuid:
        raise archive.bad(path, "its record tells of another snapshot than its manifest")
    if bool(snapshot.memory) != (manifest.memory is not None):
        raise archive.bad(path, "its record tells otherwise of the memory than its manifest")
    if not 0 <= snapshot.creation_time_s < _YEAR_10000_S:
        raise archive.bad(path, f"it was made {snapshot.creation_time_s} seconds after 1970")
    return snapshot


async def _head(host: Hypervisor, path: str, manifest: Manifest, places: tuple[Place, ...]) -> savefile.Head | None:
    place = next((place for place in places if place.member == manifest.memory), None)
    if place is None:
        return None
    fixed = await host.files.read_part(
        path, offset=place.offset, length_bytes=min(savefile.FIXED_BYTES, place.member.size_bytes)
    )
    if not fixed.startswith(savefile.MAGIC):
        return None
    try:
        whole = savefile.length(fixed, path=path)
        if whole > place.member.size_bytes:
            raise archive.bad(path, "its memory ends within its head")
        return savefile.parse(await host.files.read_part(path, offset=place.offset, length_bytes=whole), path=path)
    except Damaged as error:
        raise archive.bad(path, f"its memory: {error.cause}") from error
