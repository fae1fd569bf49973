"""Steps that only repairs need: putting files aside and back, and giving lost space back."""

from typing import ClassVar

from xensnap.engine.context import Context, directory
from xensnap.engine.live_steps import put_back
from xensnap.engine.step import StepBase
from xensnap.errors import Failed
from xensnap.model import Layer, RunState

ASIDE = ".aside-"
"""What the name of a file goes on with that was put aside, before the end of the operation's id."""


class SetAside(StepBase, frozen=True):
    """Give a file another name in its directory, so that nothing of it is lost and nobody takes it for ours."""

    path: str

    def says(self) -> str:
        """See StepBase."""
        return f"put {self.path} aside"

    async def do(self, at: Context) -> None:
        """See StepBase. Once it is aside, whatever has the name by then is the new one."""
        aside = self._aside(at)
        if await at.host.files.stat(aside) is None and await at.host.files.stat(self.path) is not None:
            await at.host.files.rename(self.path, aside)
        await at.host.files.sync_dir(directory(self.path))

    async def undo(self, at: Context) -> None:
        """See StepBase."""
        if await at.host.files.stat(self._aside(at)) is not None:
            await at.host.files.rename(self._aside(at), self.path)
            await at.host.files.sync_dir(directory(self.path))

    def _aside(self, at: Context) -> str:
        return f"{self.path}{ASIDE}{at.operation[-12:]}"


class PutBack(StepBase, frozen=True):
    """Give an image back the name that everything knows it by. Nobody may have it open: QEMU opens again by name."""

    layer: Layer
    found: str
    inode: int

    def says(self) -> str:
        """See StepBase."""
        return f"call {self.found} {self.layer.path} again"

    async def preflight(self, at: Context) -> None:
        """Nobody may have it open."""
        if await at.host.files.stat(self.found) is not None:
            await at.host.images.require_unused(Layer(self.found, self.layer.format))

    async def do(self, at: Context) -> None:
        """See StepBase."""
        await self._move(at, self.found, self.layer.path)

    async def undo(self, at: Context) -> None:
        """See StepBase."""
        await self._move(at, self.layer.path, self.found)

    async def _move(self, at: Context, old: str, new: str) -> None:
        stat, taken = await at.host.files.stat(old), await at.host.files.stat(new)
        if stat is not None and stat.file.inode == self.inode and (taken is None or taken.file == stat.file):
            await at.host.images.require_unused(Layer(old, self.layer.format))
            await at.host.files.rename(old, new, replace=False)
        await at.host.files.sync_dir(directory(old))
        await at.host.files.sync_dir(directory(new))


class RemoveFile(StepBase, frozen=True):
    """Remove a file that an operation of ours has left and nothing needs; another one under its name stays."""

    destroys: ClassVar[bool] = True
    path: str
    inode: int
    generation: int = 0

    def says(self) -> str:
        """See StepBase."""
        return f"remove {self.path}"

    async def do(self, at: Context) -> None:
        """See StepBase."""
        await at.remove(self.path, inode=self.inode, generation=self.generation)


class GiveBackLeaks(StepBase, frozen=True):
    """Give back the clusters of an image that are counted and that nothing refers to, and put flags right by that."""

    layer: Layer

    def says(self) -> str:
        """See StepBase."""
        return f"give back the leaked clusters of {self.layer.path}"

    async def preflight(self, at: Context) -> None:
        """Nobody may have the image open."""
        await at.require_unused(self.layer)

    async def do(self, at: Context) -> None:
        """See StepBase."""
        left = await at.host.images.check(self.layer, repair_leaks=True)
        await at.host.files.sync(self.layer.path)
        if not left.clean:
            raise Failed(f"{self.layer.path}: clusters stay leaked, or its tables have errors", id="not-done")


class WatchGuest(StepBase, frozen=True):
    """Let somebody watch a guest again whose watcher has been lost. There is nothing to undo: that does no harm."""

    def says(self) -> str:
        """See StepBase."""
        return "watch the guest in the place of the xl that was lost"

    async def do(self, at: Context) -> None:
        """See StepBase. A guest that has ended meanwhile needs nobody."""
        if (domain := await at.running()) is not None:
            await at.host.toolstack.watch(domain)


class ResumeGuest(StepBase, frozen=True):
    """Let a guest go on that a save which died has left suspended."""

    def says(self) -> str:
        """See StepBase."""
        return "let the guest go on, which a save has left suspended"

    async def do(self, at: Context) -> None:
        """See StepBase."""
        await put_back(at, RunState.RUNNING)
