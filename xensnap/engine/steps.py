"""All kinds of step as one type, so that a plan can be written down and read back."""

from xensnap.engine.archive_steps import AcceptImage, Receive, WriteArchive
from xensnap.engine.birth_steps import CopyDisk, DefineDomain
from xensnap.engine.configuration_steps import Configure
from xensnap.engine.context import Context
from xensnap.engine.flag_steps import Freeze, Thaw
from xensnap.engine.live_steps import (
    Checkpoint,
    EndDomain,
    LetRun,
    RemoveMemory,
    RestoreMemory,
    SaveAway,
    StartDomain,
    TakePoints,
)
from xensnap.engine.overlay_steps import (
    CommitDown,
    MakeOverlay,
    PullUp,
    Reback,
    RemoveImage,
    ReuseOverlay,
    SwitchLayers,
)
from xensnap.engine.pivot_steps import CopyDown, Pivot
from xensnap.engine.point_steps import ApplyPoint, DropPoint, DropSafety, TakePoint
from xensnap.engine.quiet_steps import TakeQuietPoints
from xensnap.engine.rebind_steps import KeepThrown, LeaveStore, MoveHere, StartAsNow
from xensnap.engine.relocate_steps import CopyImage, Park
from xensnap.engine.repair_steps import GiveBackLeaks, PutBack, RemoveFile, ResumeGuest, SetAside, WatchGuest
from xensnap.engine.step import StepBase
from xensnap.engine.store_steps import (
    RemoveRecord,
    RemoveSidecar,
    RewriteRecord,
    StayRecognised,
    WriteRecord,
    WriteSidecar,
)
from xensnap.engine.trash_steps import KeepGivenUp, RemoveTrashed, ThrowAway

OneStep = (
    TakePoint
    | ApplyPoint
    | DropPoint
    | DropSafety
    | MakeOverlay
    | ReuseOverlay
    | SwitchLayers
    | Configure
    | CommitDown
    | CopyDown
    | Pivot
    | PullUp
    | Reback
    | RemoveImage
    | WriteRecord
    | RewriteRecord
    | RemoveRecord
    | WriteSidecar
    | StayRecognised
    | RemoveSidecar
    | TakePoints
    | TakeQuietPoints
    | Checkpoint
    | SaveAway
    | EndDomain
    | RestoreMemory
    | LetRun
    | StartDomain
    | RemoveMemory
    | Freeze
    | Thaw
    | SetAside
    | PutBack
    | RemoveFile
    | GiveBackLeaks
    | ResumeGuest
    | WatchGuest
    | MoveHere
    | KeepThrown
    | StartAsNow
    | LeaveStore
    | ThrowAway
    | KeepGivenUp
    | RemoveTrashed
    | WriteArchive
    | Receive
    | AcceptImage
    | CopyDisk
    | DefineDomain
    | CopyImage
    | Park
)


class Together(StepBase, frozen=True):
    """Steps on different images, done side by side."""

    steps: tuple[OneStep, ...]

    def says(self) -> str:
        """See StepBase."""
        return "; ".join(step.says() for step in self.steps)

    async def preflight(self, at: Context) -> None:
        """See StepBase."""
        for step in self.steps:
            await step.preflight(at)

    async def do(self, at: Context) -> None:
        """See StepBase."""
        if len(self.steps) == 1:
            await self.steps[0].do(at)
        else:
            await at.host.gather(*(step.do(at) for step in self.steps))

    async def halt(self, at: Context) -> None:
        """See StepBase."""
        for step in self.steps:
            await step.halt(at)

    async def undo(self, at: Context) -> None:
        """One after the other: this is rare, and the way back should be simple."""
        for step in reversed(self.steps):
            await step.undo(at)

    async def must_go_on(self, at: Context) -> bool:
        """See StepBase."""
        for step in self.steps:
            if await step.must_go_on(at):
                return True
        return False

    async def can_go_on(self, at: Context) -> bool:
        """See StepBase."""
        for step in self.steps:
            if not await step.can_go_on(at):
                return False
        return True


Step = OneStep | Together
