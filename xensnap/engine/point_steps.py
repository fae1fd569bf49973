"""Steps on internal snapshots: a point is a tag inside a qcow2 image."""

from typing import ClassVar

from xensnap.engine.context import Context, unbelieved
from xensnap.engine.names import SAFETY
from xensnap.engine.step import StepBase
from xensnap.errors import Effect, Failed, NotFound, Refused
from xensnap.model import Format, Image, InternalSnapshot, Layer, RunState

UNPLUG_LOOKS, UNPLUG_PAUSE_S = 60, 0.5
"""How long a guest that runs again is given to unplug its emulated disks. It takes a moment, but machines are busy."""


class PointStep(StepBase, frozen=True):
    """On a tag in the image of one disk that nobody has open."""

    vdev: str
    path: str
    tag: str

    @property
    def layer(self) -> Layer:
        """The image; only qcow2 has internal snapshots."""
        return Layer(self.path, Format.QCOW2)

    async def preflight(self, at: Context) -> None:
        """Nobody may have the image open."""
        await at.require_unused(self.layer)


class TakePoint(PointStep, frozen=True):
    """Put an internal snapshot into the image."""

    def says(self) -> str:
        """See StepBase."""
        return f"take an internal snapshot of {self.vdev}: tag {self.tag!r} in {self.path}"

    async def do(self, at: Context) -> None:
        """See StepBase. What bears the tag before we have tried is not ours; it was free when this was planned."""
        image = await at.host.images.inspect(self.layer)
        if image.tagged(self.tag):
            await require_free(at, self.layer, self.tag)
        else:
            try:
                await at.host.images.snapshot_create(self.layer, tag=self.tag)
            except Refused as error:
                if error.id == "tag-taken":
                    await leave_alone(at, self.layer, self.tag)
                raise
            if not (await at.host.images.inspect(self.layer)).tagged(self.tag):
                raise unbelieved(f"{self.path} has no snapshot {self.tag!r}")
        await at.host.files.sync(self.path)

    async def undo(self, at: Context) -> None:
        """See StepBase."""
        await drop_tag(at, self.vdev, self.layer, self.tag)


class ApplyPoint(PointStep, frozen=True):
    """Make the disk equal to an internal snapshot, with the safety point of the same image as the way back."""

    snapshot_id: str
    safety: str

    def says(self) -> str:
        """See StepBase."""
        return f"make {self.vdev} what it was at tag {self.tag!r}, in {self.path}"

    async def do(self, at: Context) -> None:
        """See StepBase."""
        await self._apply(at, self.tag, self.snapshot_id)
        await at.host.files.sync(self.path)

    async def undo(self, at: Context) -> None:
        """Without a safety point this step was never reached."""
        image = await at.image(self.layer)
        for entry in image.tagged(self.safety) if image else ():
            await self._apply(at, entry.tag, entry.id)
            await at.host.images.check(self.layer, repair_leaks=True)  # a killed `-a` leaves clusters counted twice
            await at.host.files.sync(self.path)

    async def _apply(self, at: Context, tag: str, snapshot_id: str) -> None:
        await at.host.images.snapshot_apply(self.layer, snapshot_id=snapshot_id)
        if not await at.host.images.is_at(self.layer, snapshot_id=snapshot_id):
            raise unbelieved(f"{self.path} is not what it was at tag {tag!r}")


class DropPoint(PointStep, frozen=True):
    """Remove an internal snapshot. One that is gone already is fine."""

    destroys: ClassVar[bool] = True
    snapshot_id: str = ""

    def says(self) -> str:
        """See StepBase."""
        return f"delete the internal snapshot of {self.vdev}: tag {self.tag!r} in {self.path}"

    async def do(self, at: Context) -> None:
        """See StepBase. The id is not known beforehand where the snapshot is made by the same plan."""
        image = await at.image(self.layer)
        if image is not None:
            found = image.tagged(self.tag)
            await _delete(at, self.vdev, image, tuple(e for e in found if self.snapshot_id in ("", e.id)))


class DropSafety(DropPoint, frozen=True):
    """Remove the safety point of a revert, once the guest that came back has the image open no more than once.

    An HVM guest that was restored has each image open twice until its kernel, once it runs, has unplugged the emulated
    disks, and what is changed through one copy is lost when the other writes its own table (Xen 4.17.7). Where it does
    not unplug them, because it stands still, the tag stays. It harms nobody: the next revert takes all such tags away,
    and so does the doctor.
    """

    async def do(self, at: Context) -> None:
        """See StepBase."""
        if await self._open_once(at) and (image := await at.image(self.layer)) is not None:
            old = tuple(entry for entry in image.snapshots if entry.tag.startswith(SAFETY))
            await _delete(at, self.vdev, image, old)

    async def _open_once(self, at: Context) -> bool:
        for _ in range(UNPLUG_LOOKS):
            domain = await at.running()
            if domain is None:
                return True
            written = [node.layer for node in await at.host.blocks.nodes(domain) if not node.readonly]
            if sum([await at.same_image(layer, self.layer) for layer in written]) < 2:
                return True
            if domain.state is not RunState.RUNNING:
                return False
            await at.host.machine.sleep(UNPLUG_PAUSE_S)
        return False


async def require_free(at: Context, layer: Layer, tag: str) -> None:
    """`Failed` where somebody has put a snapshot of this tag into the image since it was planned to be ours.

    That it is his is remembered, so that undoing leaves it. Whoever does the step again finds his own there.
    """
    if not at.again and await leave_alone(at, layer, tag):
        cause = f"{layer.path} has a snapshot {tag!r} by now, and it is not ours"
        raise Failed(cause, id="tag-taken", remedy="Choose another name, or delete that one by hand.")


async def leave_alone(at: Context, layer: Layer, tag: str) -> bool:
    """Remember that what bears this tag now is not ours; whether anything does."""
    image = await at.image(layer)
    if image is None or not image.tagged(tag):
        return False
    await at.facts.remember(at.operation, _theirs(layer, tag))
    return True


async def drop_tag(at: Context, vdev: str, layer: Layer, tag: str) -> None:
    """Remove whatever bears this tag, by whoever may: the QEMU that has the image open, or qemu-img.

    Not where somebody else had put it there before we came to do it.
    """
    image = await at.image(layer)
    if image is not None and _theirs(layer, tag) not in await at.facts.of(at.operation):
        await _delete(at, vdev, image, image.tagged(tag))


def _theirs(layer: Layer, tag: str) -> str:
    return f"{layer.path} had a snapshot {tag!r} before it was to be made"


async def _delete(at: Context, vdev: str, image: Image, entries: tuple[InternalSnapshot, ...]) -> None:
    """Delete these; a deletion that was interrupted, or failed, may have left clusters leaked.

    QEMU 7.2 writes the snapshot table first and gives the clusters back later, so leaks are the worst that is left.
    """
    opener = await at.opened_by(vdev, image.layer)
    if opener is not None:
        for entry in entries:
            try:
                await at.host.blocks.delete_internal(opener, vdev, tag=entry.tag, snapshot_id=entry.id)
            except NotFound as error:
                raise _forgotten(image, entry) from error
        await _require_gone(at, image, entries)
        return
    for entry in entries:
        await at.host.images.snapshot_delete(image.layer, tag=entry.tag, snapshot_id=entry.id)
    if not entries or at.again:
        await at.host.images.check(image.layer, repair_leaks=True)
    await _require_gone(at, image, entries)
    await at.host.files.sync(image.layer.path)


def _forgotten(image: Image, entry: InternalSnapshot) -> Failed:
    # QEMU 7.2.22 drops it from the table in its memory, also where it then cannot write that: no room, a bad disk.
    cause = (
        f"{image.layer.path} still has the snapshot {entry.tag!r}, and the QEMU that has it open knows it no more, "
        "since it could not write that: it can be deleted when the guest is off"
    )
    return Failed(cause, id="not-done", remedy="End the guest when that is possible.", effect=Effect.UNKNOWN)


async def _require_gone(at: Context, image: Image, entries: tuple[InternalSnapshot, ...]) -> None:
    """What was deleted must not be there any more, whatever was answered."""
    left = await at.image(image.layer) if entries else None
    for entry in entries:
        if left is not None and any(each.id == entry.id for each in left.tagged(entry.tag)):
            raise unbelieved(f"{image.layer.path} still has the snapshot {entry.tag!r}")
