"""Steps that make a new domain: its disks, and that its host knows it."""

from xensnap.engine.context import Context, directory, unbelieved
from xensnap.engine.step import StepBase
from xensnap.errors import NotFound
from xensnap.model import Domain, Format, Image, Layer


class CopyDisk(StepBase, frozen=True):
    """Copy a disk as it was at a snapshot into a standalone image, whose name is new and ours.

    `shared`: a guest may write to the image that it is copied out of.
    """

    vdev: str
    source: Layer
    snapshot_id: str
    path: str
    size_bytes: int
    shared: bool = False

    def says(self) -> str:
        """See StepBase."""
        return f"copy {self.vdev} out of {self.source.path} into {self.path}"

    async def do(self, at: Context) -> None:
        """See StepBase. What an interrupted run has left may be half a copy, and half copies look like whole ones."""
        if await at.host.files.stat(self.path) is not None:
            await at.host.files.remove(self.path)
        await at.host.files.create(self.path)
        images = at.host.images
        await images.copy_out(self.source, snapshot_id=self.snapshot_id, to=self.path, shared=self.shared)
        image: Image = await at.host.images.inspect(Layer(self.path, Format.QCOW2))
        if image.backing or image.virtual_size_bytes != self.size_bytes:
            raise unbelieved(f"{self.path} is not a copy of {self.vdev}")
        await at.host.files.sync(self.path)
        await at.host.files.sync_dir(directory(self.path))

    async def undo(self, at: Context) -> None:
        """See StepBase. No domain has it before the operation is decided."""
        await at.remove(self.path)


class DefineDomain(StepBase, frozen=True):
    """Make the host know the domain, when all that it needs is there and decided."""

    domain: Domain
    configuration: str
    file: str

    def says(self) -> str:
        """See StepBase."""
        return f"define the domain {self.domain.name}"

    async def preflight(self, at: Context) -> None:
        """Whether the host would take it."""
        toolstack = at.host.toolstack
        await toolstack.require_definable(self.domain, configuration=self.configuration, file=self.file)

    async def do(self, at: Context) -> None:
        """See StepBase."""
        try:
            found = await at.host.toolstack.inspect(self.domain.uuid)
        except NotFound:
            await at.host.toolstack.define(self.domain, configuration=self.configuration, file=self.file)
            found = await at.host.toolstack.inspect(self.domain.uuid)
        wanted = {disk.vdev: disk.layer for disk in self.domain.disks if disk.path}
        if not wanted.items() <= {disk.vdev: disk.layer for disk in found.disks}.items():
            raise unbelieved(f"{self.domain.name} does not start from the disks that it was given")
