"""Steps on archives: making one, and copying out of one."""

import posixpath
from collections.abc import Callable
from contextlib import suppress

import msgspec
from msgspec.structs import replace

from xensnap.engine.archive import CHUNK_BYTES, is_made_by
from xensnap.engine.context import Context, directory, unbelieved
from xensnap.engine.step import StepBase
from xensnap.errors import Failed, NotFound
from xensnap.formats import archive
from xensnap.formats.archive import Manifest, Member
from xensnap.model import Format, Layer


class DiskSource(msgspec.Struct, frozen=True):
    """Where a disk is as it was at a snapshot: in an image and all below it, or in an internal snapshot of it."""

    vdev: str
    image: Layer
    snapshot_id: str = ""
    shared: bool = False
    """Whether a guest may write to the image."""


class WriteArchive(StepBase, frozen=True):
    """Write a snapshot into one file. It gets its name when it is whole and durable, and never over another file.

    One disk after the other is copied into an image of its own beside it, so that there is never more than one copy.
    """

    path: str
    manifest: Manifest
    record: str
    memory: str
    disks: tuple[DiskSource, ...]
    bytes_expected: int

    def says(self) -> str:
        """See StepBase."""
        return f"write the archive {self.path}"

    async def do(self, at: Context) -> None:
        """See StepBase. What an interrupted run has left is thrown away, unless that is the whole archive."""
        part = self._half(at)
        if not await is_made_by(at, self.path):
            await self._clean(at)
            await self._write(at, part)
            await at.host.files.sync(part)
            await at.host.files.rename(part, self.path, replace=False)
        await self._clean(at)
        await at.host.files.sync_dir(directory(self.path))

    async def undo(self, at: Context) -> None:
        """See StepBase. Our name for it is in the archive itself."""
        if await is_made_by(at, self.path):
            await at.host.files.remove(self.path)
        await self._clean(at)
        await at.host.files.sync_dir(directory(self.path))

    async def _write(self, at: Context, part: str) -> None:
        """The archive with an open manifest first, and then what has turned out in its place."""
        files = at.host.files
        await files.create(part, archive.beginning(self.manifest))
        written: list[Member] = []
        grown = at.growing()
        for member in self.manifest.members:
            if member.name == archive.RECORD:
                written.append(await self._packed_record(at, part, member))
                continue
            done = sum(each.size_bytes for each in written)

            def tell(length: int, done: int = done) -> None:
                grown(done + length, max(done + length, self.bytes_expected))

            written.append(await self._packed_file(at, part, member, tell))
        await files.append(part, archive.END)
        length = sum(each.size_bytes for each in written)
        at.tell(length, length)
        manifest = archive.sealed(replace(self.manifest, members=tuple(written)))
        for place in archive.places(manifest, archive.room_bytes(manifest)):
            head = archive.head(place.member.name, place.member.size_bytes)
            await files.write_part(part, head, offset=place.offset - archive.BLOCK_BYTES)
        await files.write_part(part, archive.beginning(manifest), offset=0)

    async def _packed_record(self, at: Context, part: str, member: Member) -> Member:
        data = self.record.encode()
        await at.host.files.append(part, archive.head(member.name, 0) + data + archive.padding(len(data)))
        return replace(member, size_bytes=len(data), blake2b=archive.new_sum(data).hexdigest())

    async def _packed_file(self, at: Context, part: str, member: Member, tell: Callable[[int], None]) -> Member:
        source = next((disk for disk in self.disks if disk.vdev == member.vdev), None)
        path = await self._copied(at, source) if source else self.memory
        await at.host.files.append(part, archive.head(member.name, 0))
        digest, length = archive.new_sum(), 0
        while True:
            data = await at.host.files.read_part(path, offset=length, length_bytes=CHUNK_BYTES)
            digest.update(data)
            length += len(data)
            is_last = len(data) < CHUNK_BYTES
            await at.host.files.append(part, data + (archive.padding(length) if is_last else b""))
            tell(length)
            if is_last:
                break
        if source:
            await at.host.files.remove(path)
        return replace(member, size_bytes=length, blake2b=digest.hexdigest())

    async def _copied(self, at: Context, disk: DiskSource) -> str:
        """The disk as a standalone image beside the archive."""
        path = self._copy(at, disk)
        await at.host.files.create(path)
        await at.host.images.copy_out(disk.image, snapshot_id=disk.snapshot_id, to=path, shared=disk.shared)
        image = await at.host.images.inspect(Layer(path, Format.QCOW2))
        member = self.manifest.disk(disk.vdev)
        if image.backing or not member or image.virtual_size_bytes != member.disk_bytes:
            raise unbelieved(f"{path} is not a copy of {disk.vdev}")
        return path

    def _half(self, at: Context) -> str:
        return f"{self._hidden(at)}.part"

    def _copy(self, at: Context, disk: DiskSource) -> str:
        return f"{self._hidden(at)}.{disk.vdev}.part"

    def _hidden(self, at: Context) -> str:
        """Names that nobody else has: they bear the end of the operation's id."""
        stem = posixpath.basename(self.path).encode()[:180].decode(errors="ignore")
        return f"{directory(self.path)}/.{stem}.{at.operation[-12:]}"

    async def _clean(self, at: Context) -> None:
        for path in (self._half(at), *(self._copy(at, disk) for disk in self.disks)):
            with suppress(NotFound):
                await at.host.files.remove(path)


class Receive(StepBase, frozen=True):
    """Copy one member of an archive into a file of its own, and hold it to its sum before anybody uses it.

    Instead of its first `skipped_bytes` the file begins with `beginning`.
    """

    archive: str
    offset: int
    size_bytes: int
    blake2b: str
    path: str
    what: str
    skipped_bytes: int = 0
    beginning: bytes = b""

    def says(self) -> str:
        """See StepBase."""
        return f"copy {self.what} out of {self.archive} to {self.path}"

    async def do(self, at: Context) -> None:
        """See StepBase. The name is new and ours, so what stands there comes from an interrupted run."""
        with suppress(NotFound):
            await at.host.files.remove(self.path)
        await at.host.files.create(self.path, self.beginning)
        digest, done = archive.new_sum(), 0
        grown = at.growing()
        while done < self.size_bytes:
            wanted = min(CHUNK_BYTES, self.size_bytes - done)
            data = await at.host.files.read_part(self.archive, offset=self.offset + done, length_bytes=wanted)
            if len(data) < wanted:
                raise archive.bad(self.archive, f"{self.what} ends after {done + len(data)} bytes")
            digest.update(data)
            await at.host.files.append(self.path, data[max(0, self.skipped_bytes - done) :])
            done += len(data)
            grown(done, self.size_bytes)
        if digest.hexdigest() != self.blake2b:
            raise archive.bad(self.archive, f"{self.what} is not what its sum says")
        await at.host.files.sync(self.path)
        await at.host.files.sync_dir(directory(self.path))

    async def undo(self, at: Context) -> None:
        """See StepBase."""
        await at.remove(self.path)


class AcceptImage(StepBase, frozen=True):
    """Give a disk that came from elsewhere its name, if it is an image that shows nothing but itself.

    A qcow2 image names other files by itself: a backing file, or one for its data. From elsewhere they could be any
    file of this host, or any place in the network, which the guest would then read. Only the header is looked at before
    that is known; no tool opens the image, and nothing else knows its name.
    """

    received: str
    path: str
    vdev: str
    size_bytes: int
    archive: str

    def says(self) -> str:
        """See StepBase."""
        return f"make sure that {self.received} is an image that stands alone, and call it {self.path}"

    async def do(self, at: Context) -> None:
        """See StepBase. Both names are new and ours."""
        layer = Layer(self.received, Format.QCOW2)
        try:
            image = await at.host.images.inspect(layer)
        except Failed as error:
            raise archive.bad(self.archive, error.cause) from error
        if image.backing or image.data_file or image.encrypted or image.snapshots or image.bitmaps or image.corrupt:
            what = f"the image of {self.vdev} does not stand alone, or holds more than one state"
            raise archive.bad(self.archive, what)
        if image.virtual_size_bytes != self.size_bytes:
            what = f"the image of {self.vdev} has {image.virtual_size_bytes} bytes, and not {self.size_bytes}"
            raise archive.bad(self.archive, what)
        found = await at.host.images.check(layer)
        if not found.clean:
            errors = found.corruptions + found.stale_flags
            what = f"the image of {self.vdev} has {errors} corruptions and {found.leaks} leaked clusters"
            raise archive.bad(self.archive, what)
        await at.remove(self.path)
        await at.host.files.rename(self.received, self.path, replace=False)
        await at.host.files.sync_dir(directory(self.path))

    async def undo(self, at: Context) -> None:
        """See StepBase."""
        await at.remove(self.path)
