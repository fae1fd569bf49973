"""Steps on the store: records, and the copies of them that stand beside the images."""

from typing import ClassVar

from msgspec.structs import replace

from xensnap.engine import names
from xensnap.engine.context import QUIET, Context, directory
from xensnap.engine.step import StepBase
from xensnap.errors import Damaged, NotFound
from xensnap.formats import snapshot_record
from xensnap.model import Consistency, DiskSnapshot, Fingerprint, Image, Kind, Snapshot


class WriteRecord(StepBase, frozen=True):
    """Write the record of a snapshot, completed with what its images say now."""

    repeats: ClassVar[bool] = True
    snapshot: Snapshot

    def says(self) -> str:
        """See StepBase."""
        return f"write the record of {self.snapshot.name!r}"

    async def do(self, at: Context) -> None:
        """See StepBase. Its name becomes durable with the decision, which is in the same directory."""
        text = snapshot_record.encode(await completed(at, self.snapshot))
        await at.host.files.replace(at.store.record(self.snapshot.name), text)

    async def undo(self, at: Context) -> None:
        """See StepBase."""
        await at.remove(at.store.record(self.snapshot.name))


class RewriteRecord(StepBase, frozen=True):
    """Write the record of a snapshot anew after the decision: it must be durable before what it told of goes."""

    snapshot: Snapshot

    def says(self) -> str:
        """See StepBase."""
        return f"write the record of {self.snapshot.name!r} anew"

    async def do(self, at: Context) -> None:
        """See StepBase."""
        await WriteRecord(self.snapshot).do(at)
        await at.host.files.sync_dir(at.store.directory)


class RemoveRecord(StepBase, frozen=True):
    """Remove the record of a snapshot that has been decided to be gone."""

    destroys: ClassVar[bool] = True
    name: str

    def says(self) -> str:
        """See StepBase."""
        return f"remove the record of {self.name!r}"

    async def do(self, at: Context) -> None:
        """See StepBase. Under an older file name only what tells of it: the names of `d.x` and `x` overlap."""
        domain_uuid = at.store.directory.rpartition("/")[2]
        for file_name in names.older_record_files(self.name):
            path = f"{at.store.directory}/{file_name}"
            if await _is_copy_of(at, path, self.name, domain_uuid):
                await at.host.files.remove(path)
        await at.remove(at.store.record(self.name))


class WriteSidecar(StepBase, frozen=True):
    """Put a copy of a record beside an image, from which a lost store can be rebuilt."""

    path: str
    snapshot: Snapshot

    def says(self) -> str:
        """See StepBase."""
        return f"write a copy of the record to {self.path}"

    async def do(self, at: Context) -> None:
        """See StepBase."""
        await at.host.files.replace(self.path, snapshot_record.encode(await completed(at, self.snapshot)))
        await at.host.files.sync_dir(directory(self.path))

    async def undo(self, at: Context) -> None:
        """See StepBase."""
        if await _is_copy_of(at, self.path, self.snapshot.name, self.snapshot.domain_uuid):
            await at.remove(self.path)


class RemoveSidecar(StepBase, frozen=True):
    """Remove the copy of a record; one that tells of another snapshot by now stays."""

    path: str
    name: str
    domain_uuid: str

    def says(self) -> str:
        """See StepBase."""
        return f"remove the copy of the record at {self.path}"

    async def do(self, at: Context) -> None:
        """See StepBase."""
        if await _is_copy_of(at, self.path, self.name, self.domain_uuid):
            await at.remove(self.path)


class StayRecognised(StepBase, frozen=True):
    """See to it that snapshots know their images again if what follows stops halfway and is undone.

    A merge changes the file of an image that reads the same throughout, and undoing does not change it back.
    """

    records: tuple[RewriteRecord | WriteSidecar, ...]

    def says(self) -> str:
        """See StepBase."""
        names_ = sorted({repr(record.snapshot.name) for record in self.records})
        return f"keep {', '.join(names_)} recognisable, should what follows stop halfway"

    async def do(self, at: Context) -> None:
        """Nothing yet."""

    async def undo(self, at: Context) -> None:
        """Undone after what follows it: the records tell of the image as it has been left."""
        for record in self.records:
            await record.do(at)


async def _is_copy_of(at: Context, path: str, name: str, domain_uuid: str) -> bool:
    try:
        found = snapshot_record.decode(await at.host.files.read(path), path=path)
    except (NotFound, Damaged):
        return False
    return found.name == name and found.domain_uuid == domain_uuid


async def completed(at: Context, snapshot: Snapshot) -> Snapshot:
    """The snapshot with the fingerprints that were left open, taken from its images as they are now.

    One that stands already is kept, or an image that a stranger changed would pass for the right one. Ids and dates of
    internal snapshots are QEMU's to give, so they are looked up after the fact; looking also serves the recoverer, who
    was not there when they were given.
    """
    disks: list[DiskSnapshot] = []
    for disk in snapshot.disks:
        image = await at.image(disk.image) if disk.fingerprint == Fingerprint() else None
        disks.append(disk if image is None else replace(disk, fingerprint=fingerprint(disk, image)))
    memory = await at.host.files.stat(snapshot.memory) if snapshot.memory and not snapshot.memory_bytes else None
    length = snapshot.memory_bytes if memory is None else memory.length_bytes
    grade = snapshot.consistency
    if grade is Consistency.CRASH and disks != list(snapshot.disks) and QUIET in await at.facts.of(at.operation):
        grade = Consistency.QUIESCED
    return replace(snapshot, disks=tuple(disks), memory_bytes=length, consistency=grade)


def fingerprint(disk: DiskSnapshot, image: Image) -> Fingerprint:
    """How this disk snapshot is recognised in its image; an empty one if it is not there."""
    if disk.kind is Kind.EXTERNAL:
        return Fingerprint(
            inode=image.file.inode,
            file_length_bytes=image.file_length_bytes,
            backing=image.backing.path if image.backing else "",
        )
    entries = image.tagged(disk.tag)
    if not entries:
        return Fingerprint()
    return Fingerprint(snapshot_id=entries[0].id, date_s=entries[0].date_s, date_ns=entries[0].date_ns)
