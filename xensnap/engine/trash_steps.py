"""Steps on the trash: a record is written there before it goes from where it was."""

from typing import ClassVar

from msgspec.structs import replace

from xensnap.engine.context import Context
from xensnap.engine.step import StepBase
from xensnap.engine.store_steps import completed
from xensnap.formats import trashed as texts
from xensnap.formats.trashed import Trashed
from xensnap.model import Kind, RunState


class ThrowAway(StepBase, frozen=True):
    """Write the record of a snapshot into the trash."""

    trashed: Trashed

    def says(self) -> str:
        """See StepBase."""
        return f"put the record of {self.trashed.snapshot.name!r} into the trash"

    async def do(self, at: Context) -> None:
        """See StepBase."""
        path = at.store.trashed(self.trashed.snapshot.name)
        snapshot = await completed(at, self.trashed.snapshot)
        await at.host.files.replace(path, texts.encode(replace(self.trashed, snapshot=snapshot)))
        await at.host.files.sync_dir(at.store.directory)


class KeepGivenUp(ThrowAway, frozen=True):
    """Keep what a revert gives up: its record goes into the trash, and what it holds stays where it is.

    `older` are the names of what was given up before, which goes when this is kept.
    """

    older: tuple[str, ...] = ()

    def says(self) -> str:
        """See StepBase."""
        snapshot = self.trashed.snapshot
        without = "" if snapshot.state is RunState.OFF else ", without its memory,"
        instead = f" instead of {', '.join(map(repr, self.older))}" if self.older else ""
        return f"keep what is given up{without} in the trash as {snapshot.name!r}{instead}"

    async def preflight(self, at: Context) -> None:
        """Nobody may have an overlay open that is left, or what is kept would change under its record."""
        for disk in self.trashed.snapshot.disks:
            if disk.kind is Kind.EXTERNAL:
                await at.require_unused(disk.image)


class RemoveTrashed(StepBase, frozen=True):
    """Take a record out of the trash: the snapshot is back, or gone for good."""

    destroys: ClassVar[bool] = True
    name: str

    def says(self) -> str:
        """See StepBase."""
        return f"take {self.name!r} out of the trash"

    async def do(self, at: Context) -> None:
        """See StepBase."""
        await at.remove(at.store.trashed(self.name))
