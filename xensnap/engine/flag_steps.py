"""Steps on the immutable flag of frozen images.

A cold start from the operator's own file would write to the image that it names, below the overlays that stand on it.
The flag stops that, and writes on descriptors that are open already: root ignores modes.
"""

from contextlib import suppress

from xensnap.engine.context import Context
from xensnap.engine.overlay_steps import in_use
from xensnap.engine.step import StepBase
from xensnap.errors import Refused
from xensnap.model import Layer


class Freeze(StepBase, frozen=True):
    """Nobody writes to an image any more, whoever tries. Not `required`: where that can be had.

    `overlay` is what the disk `vdev` goes on with above it.
    """

    path: str
    vdev: str = ""
    overlay: str = ""
    required: bool = True

    def says(self) -> str:
        """See StepBase."""
        return f"let nobody write to {self.path}: set its immutable flag"

    async def do(self, at: Context) -> None:
        """See StepBase."""
        try:
            await at.host.files.set_immutable(self.path, on=True)
        except Refused:
            if self.required:
                raise

    async def undo(self, at: Context) -> None:
        """See StepBase. Below an overlay that a guest works on, or has worked on, it stays frozen.

        An image that was to be made before may not be there.
        """
        if self.overlay and await in_use(at, self.vdev, self.overlay):
            return
        with suppress(Refused):
            if await at.host.files.stat(self.path) is not None:
                await at.host.files.set_immutable(self.path, on=False)


class Thaw(StepBase, frozen=True):
    """An image may be written or removed again. One that has no flag is fine.

    With `closed`, the same image with its format, not before nobody has it open.
    """

    path: str
    closed: Layer | None = None

    def says(self) -> str:
        """See StepBase."""
        return f"clear the immutable flag of {self.path}"

    async def do(self, at: Context) -> None:
        """See StepBase. The image may be gone already, when this is done again."""
        if await at.host.files.stat(self.path) is not None and await at.host.files.is_immutable(self.path):
            if self.closed is not None:
                await at.host.images.require_unused(self.closed)
            await at.host.files.set_immutable(self.path, on=False)

    async def undo(self, at: Context) -> None:
        """See StepBase."""
        with suppress(Refused):
            await at.host.files.set_immutable(self.path, on=True)
