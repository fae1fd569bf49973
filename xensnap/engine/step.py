"""What every step can do. A step is data: it is planned, printed, journalled and read back, by whoever recovers."""

from typing import ClassVar

import msgspec

from xensnap.engine.context import Context
from xensnap.engine.state import HiddenBase, OurFile


class Remains(msgspec.Struct, frozen=True):
    """An overlay that stayed although its snapshot did not come about, and the image that it stands on."""

    base: HiddenBase
    overlay: OurFile


class StepBase(msgspec.Struct, frozen=True, tag=True):
    """One thing to do.

    `do` and `undo` look before they act, so that both can be repeated: recovery calls them without knowing how far the
    process came that died.
    """

    destroys: ClassVar[bool] = False
    """Whether what it takes away cannot be had back."""

    repeats: ClassVar[bool] = False
    """Whether a step before the decision is done once more by a recovery after it.

    A record and the decision become durable together, so a power cut may keep the one and lose the other.
    """

    def says(self) -> str:
        """The step in one line, for a person."""
        raise NotImplementedError

    async def preflight(self, at: Context) -> None:
        """Try what can be tried without changing anything; raises what `do` would raise."""

    async def do(self, at: Context) -> None:
        """Make it so. Harmless where it is so already."""
        raise NotImplementedError

    async def undo(self, at: Context) -> None:
        """Make it as it was. Harmless where it was never done. Only for steps before the decision."""

    async def halt(self, at: Context) -> None:
        """End what goes on by itself, such as a job in a QEMU, so that what is looked at next stays as it is.

        Before an operation that is not decided yet is brought to one of its two ends. Harmless where nothing goes on.
        """

    async def must_go_on(self, at: Context) -> bool:  # noqa: ARG002 - steps that have to look override this
        """Whether undoing would lose something that came after: then the operation is finished instead."""
        return False

    async def can_go_on(self, at: Context) -> bool:  # noqa: ARG002 - steps that have to look override this
        """Whether the operation can still be finished by doing the steps again."""
        return True

    async def remains(self, at: Context) -> tuple[Remains, ...]:  # noqa: ARG002 - as above
        """What undoing had to leave, because a guest works on it."""
        return ()
