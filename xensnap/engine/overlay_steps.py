"""Steps on overlays and chains: what external snapshots are made of."""

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from xensnap.engine.block_jobs import end_job, follow, job_id, left_job
from xensnap.engine.context import Context, directory, unbelieved
from xensnap.engine.step import StepBase
from xensnap.errors import Failed, NotFound
from xensnap.model import Backing, Domain, Format, Layer


class MakeOverlay(StepBase, frozen=True):
    """Make an empty overlay: exclusively, 0600, its backing file, format and size given, durable."""

    vdev: str
    path: str
    backing: Backing
    size_bytes: int

    @property
    def layer(self) -> Layer:
        """The overlay."""
        return Layer(self.path, Format.QCOW2)

    def says(self) -> str:
        """See StepBase."""
        return f"make an overlay for {self.vdev}: {self.path} on {self.backing.path}"

    async def do(self, at: Context) -> None:
        """See StepBase. The tool only fills the file, so mode and exclusiveness are ours."""
        if not await self._is_made(at):
            # One that died may have left it half made. Bearing our name it can be no other's, and holds nothing yet.
            if at.named_by_us(self.path) and await at.host.files.stat(self.path) is not None:
                await at.host.files.remove(self.path)
            await at.host.files.create(self.path)
            await at.host.images.create_overlay(self.path, backing=self.backing, size_bytes=self.size_bytes)
            if not await self._is_made(at):
                raise unbelieved(f"{self.path} is not the overlay that was asked for")
        await at.host.files.sync(self.path)
        await at.host.files.sync_dir(directory(self.path))

    async def undo(self, at: Context) -> None:
        """Remove it if it is ours: by its name, or because it is empty or just the overlay that was planned.

        One that a guest works on, or has worked on, stays: what it holds exists nowhere else.
        """
        stat = await at.host.files.stat(self.path)
        if stat is None or await in_use(at, self.vdev, self.path):
            return
        if at.named_by_us(self.path) or not stat.length_bytes or await self._is_made(at):
            await at.remove(self.path)

    async def must_go_on(self, at: Context) -> bool:
        """A guest that has been started on the overlay has put data there that exists nowhere else."""
        return await self._is_made(at) and await in_use(at, self.vdev, self.path)

    async def _is_made(self, at: Context) -> bool:
        image = await at.image(self.layer)
        below = image.backing if image else None
        base = Layer(self.backing.path, self.backing.format or Format.RAW)
        return below is not None and await at.same_image(Layer(below.path, base.format), base)


class ReuseOverlay(MakeOverlay, frozen=True):
    """Go on in an empty overlay that the operator has made. What is undone leaves it as it was found."""

    def says(self) -> str:
        """See StepBase."""
        return f"go on in the overlay that is there for {self.vdev}: {self.path} on {self.backing.path}"

    async def preflight(self, at: Context) -> None:
        """Nobody may have it open."""
        await at.host.images.require_unused(self.layer)

    async def do(self, at: Context) -> None:
        """See StepBase. It is only looked at, and made durable."""
        if not await self._is_made(at):
            raise Failed(f"{self.path} is not the overlay that it was", id="overlay-not-usable")
        await at.host.files.sync(self.path)
        await at.host.files.sync_dir(directory(self.path))

    async def undo(self, at: Context) -> None:
        """Nothing to do: it is the operator's file until the snapshot is decided."""


class LayerOf(msgspec.Struct, frozen=True):
    """The active layer of one disk."""

    vdev: str
    layer: Layer


class SwitchLayers(StepBase, frozen=True):
    """Let the domain start from other active layers, all disks at once. Their content must be the same, or unwanted.

    Where it is `unwanted`, nobody may have started the domain from the old ones meanwhile.
    """

    domain_uuid: str
    before: tuple[LayerOf, ...]
    after: tuple[LayerOf, ...]
    unwanted: bool = False

    def says(self) -> str:
        """See StepBase."""
        return "let the domain start from " + ", ".join(f"{new.layer.path} ({new.vdev})" for new in self.after)

    async def do(self, at: Context) -> None:
        """See StepBase. Right before it is seen to that nobody has given the domain anything else meanwhile."""
        await self._require_unmoved(at)
        await switch(at, {new.vdev: new.layer for new in self.after})
        if self.unwanted:
            await require_off(at)

    async def _require_unmoved(self, at: Context) -> None:
        """`Failed` where a disk starts from what it neither was found with nor shall have, or that is not there."""
        domain = await at.host.toolstack.inspect(self.domain_uuid)
        before = {old.vdev: old.layer for old in self.before}
        for new in self.after:
            disk, old = domain.disk(new.vdev), before.get(new.vdev, new.layer)
            if disk is not None and not (
                await at.same_image(disk.layer, old) or await at.same_image(disk.layer, new.layer)
            ):
                cause = f"{domain.name} starts {new.vdev} from {disk.path} by now, and not from {old.path}"
                raise Failed(cause, id="next-start-moved", remedy="Try again with the domain as it is now.")
            if await at.host.files.stat(new.layer.path) is None:
                cause = f"{new.layer.path} is not there, and {domain.name} was to start {new.vdev} from it"
                raise Failed(cause, id="image-missing", remedy="Look who has removed it, and try again.")

    async def undo(self, at: Context) -> None:
        """What stands as we found it or left it is put back; a domain that is gone has nothing to switch.

        Also what was never switched is set once more: that sweeps up what a dead process left half written.
        """
        try:
            domain = await at.host.toolstack.inspect(self.domain_uuid)
        except NotFound:
            return
        after = {new.vdev: new.layer for new in self.after}
        back = {}
        for old in self.before:
            disk, new = domain.disk(old.vdev), after.get(old.vdev, old.layer)
            if disk is not None and not await in_use(at, old.vdev, new.path):
                back[old.vdev] = await _back(at, disk.layer, old.layer, new)
        layers = {vdev: layer for vdev, layer in back.items() if layer is not None}
        if layers:
            await switch(at, layers)


class CommitDown(StepBase, frozen=True):
    """Write what an overlay holds into the image below it, which nobody else needs any more.

    The overlay reads the same before, meanwhile and afterwards, so this may stop anywhere. With `domain_uuid` the
    overlay is the active layer of `vdev`, and the domain is let start from the image below as soon as both are equal.
    """

    vdev: str
    top: Layer
    base: Layer
    size_bytes: int
    domain_uuid: str = ""

    def says(self) -> str:
        """See StepBase."""
        text = f"commit {self.top.path} down into {self.base.path}"
        return f"{text} and let {self.vdev} start from there" if self.domain_uuid else text

    async def preflight(self, at: Context) -> None:
        """Nobody may have either image open."""
        await at.require_unused(self.top)
        await at.require_unused(self.base)

    async def do(self, at: Context) -> None:
        """See StepBase. Once the domain starts from the base, the overlay is old and must not be committed again."""
        if await self._switched(at):
            return
        await at.require_unshared(self.base)
        await at.host.images.commit(self.top, into=self.base, progress=at.growing())
        base = await at.host.images.inspect(self.base)
        if base.virtual_size_bytes > self.size_bytes:
            await at.host.images.resize(self.base, size_bytes=self.size_bytes)
        await at.host.files.sync(self.base.path)
        if self.domain_uuid:
            await switch(at, {self.vdev: self.base})

    async def undo(self, at: Context) -> None:
        """Nothing to do: nobody needs what the base held, and the overlay has kept its own."""

    async def must_go_on(self, at: Context) -> bool:
        """Once the domain starts from the base, the guest may have written there."""
        return await self._switched(at)

    async def _switched(self, at: Context) -> bool:
        if not self.domain_uuid:
            return False
        disk = (await at.host.toolstack.inspect(self.domain_uuid)).disk(self.vdev)
        return disk is not None and await at.same_image(disk.layer, self.base)


class PullUp(StepBase, frozen=True):
    """Copy what an image reads from its backing file into it, and let it stand on what lies below that.

    The QEMU that has the image open does it where there is one, as a job while the guest goes on.
    """

    vdev: str
    layer: Layer
    backing: Backing | None

    def says(self) -> str:
        """See StepBase."""
        onto = self.backing.path if self.backing else "nothing"
        return f"copy what {self.layer.path} reads from its backing file into it, and stand it on {onto}"

    async def preflight(self, at: Context) -> None:
        """Nobody may have the image open."""
        await at.require_unused(self.layer)

    async def do(self, at: Context) -> None:
        """See StepBase. A job that an interrupted run has left is followed to its end."""
        job = await left_job(at)
        if job is not None:
            await follow(at, job)
        running = await at.opened_by(self.vdev, self.layer)
        if running is None:
            await _set_backing(at, self.layer, self.backing, copy=True)
        else:
            await self._stream(at, running)

    async def _stream(self, at: Context, running: Domain) -> None:
        """Its backing file goes when this is decided, so by then what came from there has to be durable."""
        if not await self._is_over(at):
            base = Layer(self.backing.path, self.backing.format or Format.RAW) if self.backing else None
            job = await at.host.blocks.stream(running, self.vdev, layer=self.layer, base=base, job_id=job_id(at))
            await follow(at, job)
        await at.host.blocks.flush(running)

    async def _is_over(self, at: Context) -> bool:
        """Somebody else can write the header of an image in use: the QEMU that has it open tells what it reads."""
        if not await at.stands_on(await at.host.images.inspect(self.layer), self.backing):
            return False
        below = await at.opened_below(self.vdev, self.layer)
        if below is None or self.backing is None:
            return below is None and self.backing is None
        return await at.same_image(below, Layer(self.backing.path, below.format))

    async def undo(self, at: Context) -> None:
        """The image reads the same at every instant, and its old backing file is still there: only a job must end."""
        await end_job(at, self.layer)


class Reback(StepBase, frozen=True):
    """Let an image stand on another file that reads the same as the one it stood on, `before` if that is given back."""

    vdev: str
    layer: Layer
    backing: Backing
    before: Backing | None = None

    def says(self) -> str:
        """See StepBase."""
        return f"stand {self.layer.path} on {self.backing.path}, which reads the same"

    async def preflight(self, at: Context) -> None:
        """Nobody may have the image open."""
        await at.require_unused(self.layer)

    async def do(self, at: Context) -> None:
        """See StepBase."""
        await _set_backing(at, self.layer, self.backing, copy=False)

    async def undo(self, at: Context) -> None:
        """See StepBase. A copy that goes with this operation needs no undoing."""
        if self.before is not None and await at.host.files.stat(self.layer.path) is not None:
            await _set_backing(at, self.layer, self.before, copy=False)


class RemoveImage(StepBase, frozen=True):
    """Unlink an image that we made and that nothing reaches any more."""

    destroys: ClassVar[bool] = True
    vdev: str
    layer: Layer
    inode: int
    generation: int = 0

    def says(self) -> str:
        """See StepBase."""
        return f"remove {self.layer.path}"

    async def preflight(self, at: Context) -> None:
        """Nobody may have the image open."""
        await at.require_unused(self.layer)

    async def do(self, at: Context) -> None:
        """See StepBase. Another file under its name is not the one that we made, and stays.

        So does one of which an old ledger tells no inode number, for nothing proves that it is ours, and one that
        another domain has come to stand on since this was planned.
        """
        path = self.layer.path
        if not self.inode:
            return
        if await at.is_still(path, self.inode, self.generation):
            await at.host.images.require_unused(self.layer)  # not even the domain itself may have it open
            if await at.needed_by(path):
                return
        await at.remove(path, inode=self.inode, generation=self.generation)


async def require_off(at: Context) -> None:
    """`Failed` where somebody has started the domain in the middle of an operation that has ended it."""
    if await at.running() is not None:
        cause = "somebody has started the domain meanwhile"
        raise Failed(cause, id="running-already", remedy="Try again, when nobody else works on it.")


async def switch(at: Context, layers: Mapping[str, Layer]) -> None:
    """Let the domain start from these layers, and look whether it will."""
    await at.host.toolstack.set_layers(at.domain_uuid, layers)
    domain = await at.host.toolstack.inspect(at.domain_uuid)
    for vdev, layer in layers.items():
        disk = domain.disk(vdev)
        if disk is None or disk.layer != layer:
            raise unbelieved(f"{domain.name} does not start {vdev} from {layer.path}")


async def in_use(at: Context, vdev: str, overlay: str) -> bool:
    """Whether a guest works on an overlay, or has worked on it.

    A QEMU that cannot be asked may not have written its tables yet: what it has open, it works on.
    """
    layer = Layer(overlay, Format.QCOW2)
    if tops := await at.tops(vdev):
        return await at.is_one_of(tops, layer)
    if await at.image(layer) is None:
        return False
    return await at.host.images.holds_data(layer) or await at.is_kept_open(layer)


async def _back(at: Context, now: Layer, old: Layer, new: Layer) -> Layer | None:
    """What a disk has to start from again, whatever the two are called by now; None where it is neither of them."""
    if now.path == new.path or (now.path != old.path and await at.same_image(now, new)):
        return old
    return now if await at.same_image(now, old) else None


async def _set_backing(at: Context, layer: Layer, backing: Backing | None, *, copy: bool) -> None:
    image = await at.host.images.inspect(layer)
    if not await at.stands_on(image, backing):
        await at.host.images.rebase(layer, backing=backing, copy=copy, progress=at.growing() if copy else None)
        if not await at.stands_on(await at.host.images.inspect(layer), backing):
            raise unbelieved(f"{layer.path} does not stand on {backing.path if backing else 'nothing'}")
    await at.host.files.sync(layer.path)
