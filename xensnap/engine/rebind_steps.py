"""Steps that bring what is kept under one UUID to another one, of the same domain."""

from typing import ClassVar

from xensnap.engine.context import Context, directory, unbelieved
from xensnap.engine.step import StepBase
from xensnap.engine.trash_steps import ThrowAway
from xensnap.formats.trashed import Trashed
from xensnap.model import DomainUuid


class FormerStep(StepBase, frozen=True):
    """On the store of another UUID, whose lock is held, too."""

    former: DomainUuid


class MoveHere(FormerStep, frozen=True):
    """Give one file of the other store its place in this one: that very file, and over no other."""

    name: str
    to: str
    inode: int

    def says(self) -> str:
        """See StepBase."""
        return f"move {self.name} here from what was kept under {self.former}"

    async def do(self, at: Context) -> None:
        """See StepBase."""
        await self._move(at, self._there(at), self._here(at))
        stat = await at.host.files.stat(self._here(at))
        if stat is None or stat.file.inode != self.inode:
            raise unbelieved(f"{self._here(at)} is not what was to be moved there")

    async def undo(self, at: Context) -> None:
        """See StepBase."""
        await self._move(at, self._here(at), self._there(at))

    async def _move(self, at: Context, old: str, new: str) -> None:
        stat = await at.host.files.stat(old)
        if stat is not None and stat.file.inode == self.inode:
            await at.host.files.rename(old, new, replace=False)
        await at.host.files.sync_dir(directory(new))
        await at.host.files.sync_dir(directory(old))

    def _there(self, at: Context) -> str:
        return f"{at.host.root}/{self.former}/{self.name}"

    def _here(self, at: Context) -> str:
        return f"{at.store.directory}/{self.to}"


class KeepThrown(StepBase, frozen=True):
    """Have a record in the trash here, as it is in that of the other store."""

    trashed: Trashed

    def says(self) -> str:
        """See StepBase."""
        return f"put the record of {self.trashed.snapshot.name!r} into the trash here, too"

    async def do(self, at: Context) -> None:
        """See StepBase."""
        await ThrowAway(self.trashed).do(at)

    async def undo(self, at: Context) -> None:
        """See StepBase."""
        await at.remove(at.store.trashed(self.trashed.snapshot.name))


class StartAsNow(StepBase, frozen=True):
    """Let the host know for good what the domain starts from next: what it was told of the other UUID goes."""

    def says(self) -> str:
        """See StepBase."""
        return "note what the domain starts from next"

    async def do(self, at: Context) -> None:
        """See StepBase. A domain that has gone meanwhile is known by its records."""
        if (domain := await at.domain()) is not None:
            layers = {disk.vdev: disk.layer for disk in domain.disks if disk.path}
            await at.host.toolstack.set_layers(domain.uuid, layers)


class LeaveStore(FormerStep, frozen=True):
    """Take out of the other store what is kept here now. Images that are in there stay where they are."""

    destroys: ClassVar[bool] = True
    names: tuple[str, ...]

    def says(self) -> str:
        """See StepBase."""
        return f"keep nothing of this under {self.former} any more"

    async def do(self, at: Context) -> None:
        """See StepBase."""
        place = f"{at.host.root}/{self.former}"
        for name in self.names:
            if await at.host.files.stat(f"{place}/{name}") is not None:
                await at.host.files.remove(f"{place}/{name}")
        await at.host.files.sync_dir(place)
