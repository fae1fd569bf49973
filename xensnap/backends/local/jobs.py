"""Block jobs of a running QEMU. They outlive us: all that is kept is their id.

Jobs are started so that QEMU keeps their outcome until somebody has taken note of it; by default it would forget a
failed job together with the reason. Whoever sees the end first (`wait`, `complete`, `cancel`, of whatever process)
dismisses the job and closes the images that are no longer in use.

A job that lets an image stand on another one writes the header of that image when it ends, and the tables that lead to
what it has copied may be in QEMU's memory then: a QEMU that dies just there leaves an image that reads what it read
long ago, and is called clean (measured: 7.2.22, killed when `block-stream` was concluded). Such jobs are started so
that they wait (`pending`) before the header is written; whoever looks after one makes all durable first: `copied`.
"""

from collections.abc import Callable

from xensnap.backends.local import copied, graph
from xensnap.backends.local.machine import clock_s, sleep
from xensnap.backends.local.qmp import CommandFailed, connected
from xensnap.backends.local.replies import JobInfo, ask
from xensnap.errors import Effect, Failed, NotFound
from xensnap.hypervisor import (
    PATIENCE_S,
    Files,
    Headway,
    ImageTool,
    JobState,
    Monitor,
    MonitorConnector,
    stalled,
)
from xensnap.model import Domain

_FIRST_PAUSE_S = 0.005
PAUSE_S_MAX = 0.25
"""How long nobody looks after a job that is waited for, at most."""
# An active commit that has copied all: `standby` while the guest is paused (qapi/job.json).
_READY = ("ready", "standby")
_REMEDY = "Look at the disk's chain."


class BlockJob:
    """The `Job` port.

    Args:
        connector: reaches the domain's monitor; it is held for single questions only, never for the job's life.
        domain: whose QEMU it runs in.
        id: its id.
        files: make durable what it has copied.
        images: tell whether it has arrived.
    """

    def __init__(
        self, connector: MonitorConnector, domain: Domain, id: str, *, files: Files, images: ImageTool
    ) -> None:
        self._connector = connector
        self._domain = domain
        self.id = id
        self._files = files
        self._images = images

    async def state(self) -> JobState:
        """See `Job.state`."""
        async with connected(self._connector, self._domain) as monitor:
            return _state(await self._job(monitor))

    async def wait(
        self, *, progress: Callable[[JobState], None] | None = None, patience_s: float = PATIENCE_S
    ) -> JobState:
        """See `Job.wait`."""
        return await self._until(lambda state: state.ready or state.concluded, progress, patience_s=patience_s)

    async def complete(self, *, patience_s: float = PATIENCE_S) -> None:
        """See `Job.complete`. `Failed` after it was let go is unknown: QEMU ran into an error on the last stretch."""
        async with connected(self._connector, self._domain) as monitor:
            await monitor.execute("job-complete", {"id": self.id})
        try:
            await self._until(lambda state: state.concluded, patience_s=patience_s)
        except Failed as error:
            raise Failed(error.cause, id=error.id, remedy=error.remedy, effect=Effect.UNKNOWN) from error

    async def cancel(self) -> None:
        """See `Job.cancel`. `NotFound`: it had ended before."""
        async with connected(self._connector, self._domain) as monitor:
            if not _state(await self._job(monitor)).concluded:
                # For an active commit this is the abrupt end, without a last round of copying.
                try:
                    await monitor.execute("job-cancel", {"id": self.id})
                except CommandFailed:
                    if not _state(await self._job(monitor)).concluded:  # it may have ended just then
                        raise
        await self._until(lambda state: state.concluded, fails=False)

    async def _until(
        self,
        done: Callable[[JobState], bool],
        progress: Callable[[JobState], None] | None = None,
        *,
        patience_s: float = PATIENCE_S,
        fails: bool = True,
    ) -> JobState:
        pause_s = _FIRST_PAUSE_S
        headway = Headway(patience_s, await clock_s())
        while True:
            try:
                state = await self._looked_after()
            except Failed as error:
                if error.id != "monitor-gone":
                    raise
                cause = f"the job {self.id} ended with its QEMU: {error.cause}"
                raise Failed(cause, id="job-failed", remedy=_REMEDY, effect=Effect.UNKNOWN) from error
            if progress:
                progress(state)
            if state.concluded and state.error and fails:
                cause = f"the job {self.id} of {self._domain.name} failed: {state.error}"
                raise Failed(cause, id="job-failed", remedy=_REMEDY, effect=Effect.UNKNOWN)
            if done(state):
                return state
            if headway.is_lost(state, await clock_s()):
                raise stalled(self._domain.name, patience_s)
            await sleep(pause_s)
            pause_s = min(pause_s * 1.5, PAUSE_S_MAX)

    async def _looked_after(self) -> JobState:
        """Its state; one that waits to end is let go, one that has ended is dismissed, and what that frees closed."""
        async with connected(self._connector, self._domain) as monitor:
            job = await self._job(monitor)
            if job.status != "pending":
                return await self._noted(monitor, job)
            copying = await copied.flushed(monitor, self.id, self._files)
        # The tables of a large image take a while to read.
        await copied.require_arrived(copying, self._images)
        async with connected(self._connector, self._domain) as monitor:
            await monitor.execute("job-finalize", {"id": self.id})
            return await self._noted(monitor, await self._job(monitor))

    async def _noted(self, monitor: Monitor, job: JobInfo) -> JobState:
        state = _state(job)
        if state.concluded:
            await monitor.execute("job-dismiss", {"id": self.id})
            await graph.close_unused(monitor)
        return state

    async def _job(self, monitor: Monitor) -> JobInfo:
        for job in await ask(monitor, "query-jobs", tuple[JobInfo, ...]):
            if job.id == self.id:
                return job
        raise NotFound(f"QEMU of {self._domain.name} knows no job {self.id!r}", id="no-such-job")


def _state(job: JobInfo) -> JobState:
    return JobState(
        job.id,
        job.current_progress,
        job.total_progress,
        ready=job.status in _READY,
        concluded=job.status == "concluded",
        error=job.error,
    )
