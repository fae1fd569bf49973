"""Steps that let an image below a guest that runs take the place of the one above it, which is copied down into it.

    CopyDown   a job in the guest's QEMU copies while the guest goes on; what stood on the upper image stands on the
               lower one then. Nothing stands on a disk's active layer: there both hold the same from then on
    Pivot      the guest stands still for a moment: QEMU goes over to the lower image, the next start does, it goes on

Until something has gone over to the lower image all reads as before, and everything can be undone. From then on it is
finished. While a guest is taken from one image to the other it executes nothing, and both hold the same.
"""

from contextlib import suppress

from msgspec.structs import replace

from xensnap.engine.block_jobs import end_job, follow, job_id, left_job
from xensnap.engine.context import Context, unbelieved
from xensnap.engine.overlay_steps import switch
from xensnap.engine.step import StepBase
from xensnap.errors import Failed, Refused
from xensnap.model import Domain, Layer, RunState

STILL_S_MAX = 10.0
"""How long the last of it may make no headway while the guest stands still."""


class Lowering(StepBase, frozen=True):
    """On an image of a disk of a guest that runs, its active layer if nothing else is said, and the one right below."""

    vdev: str
    top: Layer
    base: Layer

    async def must_go_on(self, at: Context) -> bool:
        """There is no way back to an image that the guest does not write to any more."""
        return await self._is_over(at)

    async def _is_over(self, at: Context) -> bool:
        """Whether the guest works on the base, or would start from it."""
        domain = await at.domain()
        disk = domain.disk(self.vdev) if domain else None
        if domain is None or disk is None:
            return False
        if await at.same_image(disk.layer, self.base):
            return True
        return domain.state is not RunState.OFF and await self._writes_to_base(at, domain)

    async def _writes_to_base(self, at: Context, domain: Domain) -> bool:
        # Under Xen a disk is found by the names of its images. The overlay is closed when QEMU has gone over, and the
        # base, which is in the chain before and after, may have been opened by its file name only.
        disks = tuple(replace(disk, path=self.base.path) if disk.vdev == self.vdev else disk for disk in domain.disks)
        with suppress(Failed):  # a QEMU that is gone works on nothing
            for node in await at.host.blocks.nodes(replace(domain, disks=disks)):
                if node.vdev == self.vdev:
                    return await at.same_image(node.layer, self.base)
        return False


class CopyDown(Lowering, frozen=True):
    """Copy what an image holds into the one below it, while the guest goes on.

    With `above`, the image that stands on `top`, that stands on `base` at the end. Without, `top` is the active layer,
    and the job goes on with what the guest writes until it is told to go over.
    """

    above: Layer | None = None

    def says(self) -> str:
        """See StepBase."""
        text = f"copy what {self.top.path} holds down into {self.base.path} while the guest goes on"
        return f"{text}, and stand {self.above.path} on that" if self.above else text

    async def do(self, at: Context) -> None:
        """See StepBase. A job that an interrupted run has left is followed until it is ready, or over."""
        job = await left_job(at)
        if self.above is not None and await at.running() is None:
            await at.require_unshared(self.base)
            # QEMU 7.2.22 writes the header above before it makes the base durable: a power cut may keep only the first.
            await at.host.images.commit(self.top, into=self.base)
            await at.host.files.sync(self.base.path)
            return
        if job is None and not await self._is_over(at):
            await at.require_unshared(self.base)
            domain = await at.required()
            job = await at.host.blocks.commit(domain, self.vdev, top=self.top, base=self.base, job_id=job_id(at))
        if job is not None:
            await follow(at, job)
        if self.above is not None:
            if not await self._is_over(at):
                raise unbelieved(f"{self.above.path} does not stand on {self.base.path}")
            await at.host.files.sync(self.above.path)

    async def halt(self, at: Context) -> None:
        """A job that was told to go over may do it at any moment, so nothing is looked at before it is gone."""
        await end_job(at, self.top)

    async def undo(self, at: Context) -> None:
        """Nothing to do but to end the job: nobody needs what the base held, and what is above it reads the same."""
        await end_job(at, self.top)

    async def _is_over(self, at: Context) -> bool:
        if self.above is None:
            return await super()._is_over(at)
        image = await at.image(self.above)
        below = image.backing if image else None
        if below is None or not await at.same_image(Layer(below.path, self.base.format), self.base):
            return False
        # Somebody else can write the header of an image in use: only the QEMU that has it open tells what it reads.
        return await at.opened_by(self.vdev, self.top) is None


class Pivot(Lowering, frozen=True):
    """Let the guest go on in the image below its active layer, which reads the same, from now on and after a restart.

    `was` is the state of the guest when it was planned. With `flag` the overlay gets the immutable flag before the
    guest goes on: a file that only the operator can change may still name it.
    """

    was: RunState
    flag: bool

    def says(self) -> str:
        """See StepBase."""
        return f"let {self.vdev} go on in {self.base.path}, with the guest standing still for that moment"

    async def do(self, at: Context) -> None:
        """See StepBase. The job makes the base durable when it ends, so only then the domain may start from it."""
        if not await self._is_over(at):
            await self._go_over(at)
        await switch(at, {self.vdev: self.base})
        if self.flag:
            with suppress(Refused):
                await at.host.files.set_immutable(self.top.path, on=True)
        await self._let_go_on(at)

    async def undo(self, at: Context) -> None:
        """The guest goes on, on the overlay that it has never left."""
        await self._let_go_on(at)

    async def _go_over(self, at: Context) -> None:
        domain = await at.required()
        job = await left_job(at)
        if job is None:
            raise Failed(f"the job that copies {self.vdev} is gone", id="job-failed", remedy="Try again.")
        if domain.state is RunState.RUNNING:
            await at.host.toolstack.pause(domain)
        await job.complete(patience_s=STILL_S_MAX)
        if not await self._is_over(at):
            raise unbelieved(f"the guest does not write to {self.base.path}")

    async def _let_go_on(self, at: Context) -> None:
        domain = await at.running()
        if domain is not None and self.was is RunState.RUNNING and domain.state is RunState.PAUSED:
            await at.host.toolstack.unpause(domain)
