"""The block job of an operation: one at most, named after it, so that whoever recovers it finds the job."""

from contextlib import suppress

from xensnap.engine.context import Context
from xensnap.errors import Failed, NotFound
from xensnap.hypervisor import PATIENCE_S, Job
from xensnap.model import Layer


def job_id(at: Context) -> str:
    """What the operation's job is called."""
    return f"xensnap-{at.operation[-12:]}"


async def left_job(at: Context) -> Job | None:
    """The job that an interrupted run has left. Looked for before its QEMU is asked anything else.

    One that has ended unnoticed makes QEMU 7.2.22 crash when it is asked for its images.
    """
    running = await at.running()
    try:
        return await at.host.blocks.job(running, job_id(at)) if running else None
    except NotFound:
        return None


async def follow(at: Context, job: Job) -> None:
    """Return when a job is ready or over, and tell how far it is meanwhile. Errors as `Job.wait`."""
    await job.wait(progress=at.told(), patience_s=PATIENCE_S)


async def end_job(at: Context, layer: Layer) -> None:
    """End the operation's job, if there is one. It has changed nothing that is read, unless it has ended well before.

    A QEMU that is gone has no jobs. One that only cannot be asked still has the image open, and may go on with its job.

    Args:
        at: of which operation.
        layer: an image that the job works on.
    """
    with suppress(NotFound):
        try:
            job = await left_job(at)
            if job is not None:
                await job.cancel()
        except Failed as error:
            if error.id not in ("monitor-gone", "not-running", "job-failed"):
                raise
            if error.id == "monitor-gone" and await at.is_kept_open(layer):
                raise
