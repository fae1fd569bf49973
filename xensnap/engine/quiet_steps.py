"""The step that takes points while the guest's file systems are frozen, and that never leaves them so."""

from xensnap.engine.context import QUIET, Context
from xensnap.engine.live_steps import LiveStep
from xensnap.engine.step import Remains
from xensnap.errors import Effect, Failed, XensnapError
from xensnap.hypervisor import GuestAgent
from xensnap.model import Domain, RunState

FREEZING = "the file systems of the guest are about to be frozen"
THAWED = "the file systems of the guest are not frozen"

THAW_TRIES = 3
THAW_PAUSE_S = 1.0
"""A thaw that fails is tried again after this long; then it is left to `recover`."""


class TakeQuietPoints(LiveStep, frozen=True):
    """The points of all disks of a running guest at one moment at which its file systems are quiet.

    That a freeze is about to be asked for is durable before it is, so whoever recovers knows whether to thaw. `domid`
    is the incarnation that is asked: in one that has rebooted since nothing is frozen. With `required` there is no
    snapshot of a guest that was not quiet.
    """

    timeout_s: float
    required: bool
    domid: int | None = None

    def says(self) -> str:
        """See StepBase."""
        unless = "" if self.required else " if it can"
        return f"let the guest freeze its file systems{unless}, take the points of all disks, and thaw: {self.said()}"

    async def do(self, at: Context) -> None:
        """See StepBase. Once they are taken it does not matter whether the guest still runs."""
        if await self._taken(at):
            await self._thaw(at)
            return
        domain = await at.required()
        await self._require_not_overtaken(at)
        frozen = await self._freeze(at, domain)
        try:
            await at.host.blocks.transaction(domain, [point.action() for point in self.points])
        except XensnapError:
            await self._thaw(at)
            raise
        thawed = await self._thaw(at)
        await self._require_taken(at)
        if frozen and thawed >= frozen:
            await at.facts.remember(at.operation, QUIET)
        elif self.required:
            cause = f"{domain.name} went on writing before its disks were taken: {thawed} of {frozen} file systems"
            raise Failed(cause, id="not-quiet", remedy="Try again, or leave out --quiesce.", effect=Effect.UNKNOWN)

    async def undo(self, at: Context) -> None:
        """See StepBase. Overlays in use stay: what they hold exists nowhere else."""
        await self._thaw(at)
        await self._drop_tags(at)

    async def must_go_on(self, at: Context) -> bool:
        """An overlay that the guest works on holds what exists nowhere else."""
        return bool(await self._in_use(at))

    async def can_go_on(self, at: Context) -> bool:
        """A moment that was not quiet, or of which nobody knows it, is none that was required."""
        if await self._overtaken(at):
            return False
        return not self.required or QUIET in await at.facts.of(at.operation)

    async def remains(self, at: Context) -> tuple[Remains, ...]:
        """See StepBase."""
        return await self._left_over(at)

    async def _freeze(self, at: Context, domain: Domain) -> int:
        """How many file systems are frozen; none where the guest cannot and need not."""
        agent = at.host.agent
        if agent is None or domain.domid != self.domid:
            return 0
        await at.facts.remember(at.operation, FREEZING)
        try:
            return await agent.freeze(domain, timeout_s=self.timeout_s)
        except XensnapError as error:
            if error.effect is not Effect.NONE:
                await self._thaw(at)
            else:
                await at.facts.remember(at.operation, THAWED)
            if self.required:
                raise
            return 0

    async def _thaw(self, at: Context) -> int:
        """How many file systems were still frozen until now. One that cannot be thawed keeps the operation open."""
        agent, domain = at.host.agent, await at.running()
        told = [fact for fact in await at.facts.of(at.operation) if fact in {FREEZING, THAWED}]
        if agent is None or not told or told[-1] == THAWED:
            return 0
        thawed = 0
        if domain is not None and domain.domid == self.domid and domain.state in {RunState.RUNNING, RunState.PAUSED}:
            thawed = await _thawed(at, agent, domain)
        await at.facts.remember(at.operation, THAWED)
        return thawed


async def _thawed(at: Context, agent: GuestAgent, domain: Domain) -> int:
    for tries_left in reversed(range(THAW_TRIES)):
        try:
            return await agent.thaw(domain)
        except XensnapError as error:
            if not tries_left:
                raise Failed(
                    f"the file systems of {domain.name} may still be frozen: {error.cause}",
                    id="left-frozen",
                    remedy="Run `xensnap recover` when its agent answers, or thaw it from within (fsfreeze -u).",
                    effect=Effect.UNKNOWN,
                ) from error
            await at.host.machine.sleep(THAW_PAUSE_S)
    raise AssertionError("the last try returns or raises")
