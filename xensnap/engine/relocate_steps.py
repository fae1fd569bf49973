"""Steps that bring images elsewhere: an exact copy under its name there, and the old file out of the way."""

from xensnap.engine.context import Context, directory
from xensnap.engine.overlay_steps import in_use
from xensnap.engine.step import StepBase
from xensnap.errors import Failed
from xensnap.model import Layer

PARKED = ".parked-"
"""Between the name of an image that was brought elsewhere and the end of the operation that did it."""


class CopyImage(StepBase, frozen=True):
    """An exact copy of an image file in another directory, durable. It still stands on what the original stands on.

    It is made under a name that only this operation gives, and which file it is is written down before it gets its
    own: so whoever undoes this knows it from a stranger's.
    """

    vdev: str
    layer: Layer
    to: str

    @property
    def copy(self) -> Layer:
        """The copy."""
        return Layer(self.to, self.layer.format)

    def says(self) -> str:
        """See StepBase."""
        return f"copy {self.layer.path} to {self.to}, and compare"

    async def preflight(self, at: Context) -> None:
        """Nobody may have the image open."""
        await at.host.images.require_unused(self.layer)

    async def do(self, at: Context) -> None:
        """See StepBase."""
        if await at.has_made(self.to):
            await at.remove(self._partial(at))  # a second name of it: giving one a file that may not be there takes two
            return
        files, partial = at.host.files, self._partial(at)
        if await files.stat(partial) is not None:
            await files.remove(partial)
        await files.create(partial)
        await at.host.images.copy(self.layer, to=partial)
        await files.sync(partial)
        await files.sync_dir(directory(self.to))
        if await files.stat(self.to) is not None:
            raise Failed(f"{self.to} is there by now", id="image-exists", remedy="Choose another directory.")
        await at.note_made(self.to, now=partial)
        await files.rename(partial, self.to, replace=False)
        await files.sync_dir(directory(self.to))

    async def undo(self, at: Context) -> None:
        """See StepBase."""
        await at.remove(self._partial(at))
        await at.remove_made(self.to)

    async def must_go_on(self, at: Context) -> bool:
        """Once the domain starts from the copy, a guest may have written there."""
        domain = await at.domain()
        disk = domain.disk(self.vdev) if domain else None
        return disk is not None and await at.same_image(disk.layer, self.copy)

    def _partial(self, at: Context) -> str:
        return f"{directory(self.to)}/.{at.operation[-12:]}.{self.to.rpartition('/')[2]}"


class Park(StepBase, frozen=True):
    """Give an image that was brought elsewhere a name that nobody takes it by. It stays until the trash is emptied."""

    vdev: str
    layer: Layer
    inode: int
    to: str
    generation: int = 0

    def says(self) -> str:
        """See StepBase."""
        return f"park {self.layer.path} as {self.to}"

    async def do(self, at: Context) -> None:
        """See StepBase. QEMU opens images by name, so not even the domain itself may have it open.

        One that another domain has come to stand on since this was planned keeps its name.
        """
        path = self.layer.path
        if await at.is_still(path, self.inode, self.generation) and not await at.needed_by(path):
            if await in_use(at, self.vdev, path) and await at.running() is not None:
                raise Failed(f"a guest works on {path}", id="image-open", remedy="Shut it down.")
            await at.host.files.rename(path, self.to)
        await at.host.files.sync_dir(directory(path))
