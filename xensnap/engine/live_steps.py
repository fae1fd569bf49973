"""Steps on a domain that runs: points of all disks at one moment, and memory with them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import ClassVar

import msgspec

from xensnap.engine.context import Context, directory, unbelieved
from xensnap.engine.overlay_steps import LayerOf, in_use, require_off
from xensnap.engine.point_steps import drop_tag, leave_alone, require_free
from xensnap.engine.state import HiddenBase, OurFile
from xensnap.engine.step import Remains, StepBase
from xensnap.errors import Effect, Failed, XensnapError
from xensnap.hypervisor import Action, TakeInternal, TakeOverlay, Then, Watcher
from xensnap.model import Domain, Format, Layer, RunState

REBOOTS_MAX = 3
"""How often a guest may reboot while its watcher is being stopped."""

PARTIAL = ".part"
"""What the name of a memory file ends with until it is complete."""


class Point(msgspec.Struct, frozen=True):
    """Where one disk's point goes: a tag in its active layer, or an overlay above it."""

    vdev: str
    image: Layer
    tag: str = ""
    overlay: str = ""

    def action(self) -> Action:
        """The point as part of a transaction."""
        if self.overlay:
            return TakeOverlay(self.vdev, Layer(self.overlay, Format.QCOW2))
        return TakeInternal(self.vdev, self.tag)

    def says(self) -> str:
        """The point in words."""
        return f"{self.vdev} above {self.image.path}" if self.overlay else f"{self.vdev} as tag {self.tag!r}"


class LiveStep(StepBase, frozen=True):
    """On points that QEMU takes."""

    points: tuple[Point, ...]

    def said(self) -> str:
        """The points in words."""
        return ", ".join(point.says() for point in self.points)

    async def _in_use(self, at: Context) -> tuple[Point, ...]:
        """The points whose overlays a guest works on, or has worked on."""
        return tuple([p for p in self.points if p.overlay and await in_use(at, p.vdev, p.overlay)])

    async def _taken(self, at: Context) -> bool:
        """Whether the transaction has been. Overlays alone tell that only where there are no tags.

        A guest that reboots starts from the overlays, taken or not. Where it does, and a tag is missing, the moment of
        the one is past, and that of the other has never been.
        """
        tags = [point for point in self.points if point.tag]
        for point in tags:
            image = await at.image(point.image)
            if image is None or not image.tagged(point.tag):
                return False
        return bool(tags) or bool(await self._in_use(at))

    async def _overtaken(self, at: Context) -> bool:
        """Whether the guest works on overlays above points of which others were never taken."""
        return bool(await self._in_use(at)) and not await self._taken(at)

    async def _require_not_overtaken(self, at: Context) -> None:
        """`Failed` where the guest has started from its overlays before the other points were taken."""
        if await self._overtaken(at):
            cause = "the guest has started anew meanwhile, and its disks are of two moments"
            raise Failed(cause, id="guest-gone", remedy="Try again with the domain as it is now.")

    async def _require_taken(self, at: Context) -> None:
        """No point is believed that cannot be seen. What became of a guest that has ended since, nobody can see."""
        for point in self.points:
            if point.tag:
                image = await at.image(point.image)
                if image is not None and not image.tagged(point.tag):
                    raise unbelieved(f"{point.image.path} has no snapshot {point.tag!r}")
            elif (tops := await at.tops(point.vdev)) and not await at.is_one_of(
                tops, Layer(point.overlay, Format.QCOW2)
            ):
                raise unbelieved(f"the guest works on {', '.join(tops)} as {point.vdev}, not on {point.overlay}")

    async def _require_free_tags(self, at: Context) -> None:
        for point in self.points:
            if point.tag:
                await require_free(at, point.image, point.tag)

    async def _left_over(self, at: Context) -> tuple[Remains, ...]:
        """The overlays that a guest works on, with what they stand on."""
        return tuple(
            Remains(HiddenBase(point.vdev, point.image.path, point.image.format), OurFile(point.overlay, "overlay"))
            for point in await self._in_use(at)
        )

    async def _drop_tags(self, at: Context) -> None:
        for point in self.points:
            if point.tag:
                await drop_tag(at, point.vdev, point.image, point.tag)


class TakePoints(LiveStep, frozen=True):
    """The points of all disks of a running guest at one moment; it goes on meanwhile."""

    def says(self) -> str:
        """See StepBase."""
        return f"take the points of all disks at one moment: {self.said()}"

    async def do(self, at: Context) -> None:
        """See StepBase. Once they are taken it does not matter whether the guest still runs."""
        await self._require_free_tags(at)
        if await self._taken(at):
            return
        domain = await at.required()
        await self._require_not_overtaken(at)
        await _take(at, domain, self.points)
        await self._require_taken(at)

    async def undo(self, at: Context) -> None:
        """See StepBase. Overlays in use stay: then the operation is finished instead, or they have a hidden base."""
        await self._drop_tags(at)

    async def must_go_on(self, at: Context) -> bool:
        """An overlay that the guest works on holds what exists nowhere else."""
        return bool(await self._in_use(at))

    async def can_go_on(self, at: Context) -> bool:
        """The points are of one moment, or none is taken yet."""
        return not await self._overtaken(at)

    async def remains(self, at: Context) -> tuple[Remains, ...]:
        """See StepBase."""
        return await self._left_over(at)


class Checkpoint(LiveStep, frozen=True):
    """Memory and disks of one moment: the guest executes nothing between the two."""

    memory: str
    was: RunState
    then: Then = Then.SAME
    live: bool = False
    max_downtime_s: float | None = None

    def says(self) -> str:
        """See StepBase."""
        how = "while the guest runs" if self.live else "with the guest stopped"
        if self.max_downtime_s is not None:
            how += f", which may stand still for {self.max_downtime_s:g} s"
        return f"save the memory to {self.memory} {how}, and at its last moment the points of all disks: {self.said()}"

    async def do(self, at: Context) -> None:
        """See StepBase. The file gets its name when it is complete; a name that somebody else has taken is not ours."""
        if await at.has_made(self.memory):
            await at.remove(self._partial(at))  # a second name of it: giving one a file that may not be there takes two
            return
        await self._require_free(at)
        await self._require_free_tags(at)
        partial = self._partial(at)
        await at.host.files.create(partial)
        await _save(at, partial, self.points, then=self.then, live=self.live, max_downtime_s=self.max_downtime_s)
        await self._require_taken(at)
        await self._require_covered(at)
        await self._require_free(at)
        await at.host.files.sync(partial)
        await at.note_made(self.memory, now=partial)
        await at.host.files.rename(partial, self.memory, replace=False)
        await at.host.files.sync_dir(directory(self.memory))

    async def undo(self, at: Context) -> None:
        """The guest goes on as it was, if it is there; the half-written memory and the tags go."""
        await put_back(at, self.was)
        await self._drop_tags(at)
        await at.remove(self._partial(at))
        await at.remove_made(self.memory)

    async def must_go_on(self, at: Context) -> bool:
        """A complete checkpoint whose overlays are in use already is finished rather than taken apart."""
        return await at.has_made(self.memory) and bool(await self._in_use(at))

    async def can_go_on(self, at: Context) -> bool:
        """Memory that was not saved at that moment cannot be had any more."""
        return await at.has_made(self.memory)

    async def remains(self, at: Context) -> tuple[Remains, ...]:
        """See StepBase."""
        return await self._left_over(at)

    async def _require_covered(self, at: Context) -> None:
        """`Failed` where a disk was attached meanwhile: the memory knows it, and no point of it was taken."""
        domain, covered = await at.domain(), {point.vdev for point in self.points}
        for disk in domain.disks if domain is not None else ():
            if disk.path and not disk.readonly and not disk.cdrom and disk.vdev not in covered:
                cause = f"{disk.vdev} was attached meanwhile, and the memory of the guest must not come back without it"
                raise Failed(cause, id="disk-not-covered", remedy="Take the checkpoint again.", effect=Effect.UNKNOWN)

    async def _require_free(self, at: Context) -> None:
        """`Failed` where somebody has put a file there since this was planned."""
        if await at.host.files.stat(self.memory) is not None:
            cause = f"{self.memory} is there by now, and is not ours"
            raise Failed(cause, id="memory-exists", remedy="Name another file: --memory.")

    def _partial(self, at: Context) -> str:
        """What the file is called until it is complete: a name that only this operation gives."""
        return f"{self.memory}.{at.operation[-12:]}{PARTIAL}"


class SaveAway(StepBase, frozen=True):
    """Save the memory of the guest that a revert is going to end, so that a failure can bring it back."""

    memory: str
    was: RunState
    layers: tuple[LayerOf, ...]

    def says(self) -> str:
        """See StepBase."""
        return f"save the memory of the guest to {self.memory} and end it: the way back, if anything fails"

    async def do(self, at: Context) -> None:
        """See StepBase. What runs after the memory was saved is the guest of the snapshot, come back already.

        The guest is ended only when its memory has its name: what has none may be a fragment, and goes. And the memory
        gets its name only when the disks are durable, on which what the guest remembers to have written must be.
        """
        if await at.host.files.stat(self.memory) is not None:
            return
        partial = self.memory + PARTIAL
        await at.host.files.create(partial)
        await _save(at, partial, (), then=Then.PAUSED, live=False)
        await self._make_disks_durable(at)
        await at.host.files.sync(partial)
        await at.host.files.rename(partial, self.memory)
        await at.host.files.sync_dir(directory(self.memory))
        domain = await at.running()
        if domain is None:  # somebody else has ended it: its memory is what was saved all the same
            return
        if domain.state is RunState.RUNNING:
            cause = "somebody has let the guest go on meanwhile, and its memory is not what was saved"
            raise Failed(cause, remedy="Try again.", effect=Effect.UNKNOWN)
        await at.host.toolstack.destroy(domain)

    async def undo(self, at: Context) -> None:
        """Bring the guest back, standing still until nothing could bring it back a second time.

        A guest that had run on from this memory would have written to its disks: restoring the same memory again would
        destroy its file systems.
        """
        whole = await at.host.files.stat(self.memory) is not None
        if whole or (self.was is RunState.RUNNING and await at.host.files.stat(self.memory + PARTIAL) is not None):
            await end_unfinished(at)
        if whole and await at.running() is None:
            await self._restore(at, self.memory)
        elif await at.host.files.stat(self.memory + PARTIAL) is not None and await at.running() is None:
            # The guest ended by itself, or with the host. If it was complete by then, the guest comes back whole;
            # else no guest comes of it, and the disks are all there is.
            with suppress(Failed):
                await self._restore(at, self.memory + PARTIAL)
        await at.remove(self.memory + PARTIAL)
        await at.remove(self.memory)
        await put_back(at, self.was)

    async def _make_disks_durable(self, at: Context) -> None:
        """A QEMU that has ended meanwhile has made its images durable when it closed them."""
        domain = await at.running()
        try:
            if domain is not None:
                await at.host.blocks.flush(domain)
        except Failed:
            if await at.running() is not None:
                raise

    async def _restore(self, at: Context, memory: str) -> None:
        """On the disks that it had when it was saved: one that was detached before that is in no memory of it."""
        domain = await at.domain()
        layers = {each.vdev: each.layer for each in self.layers if domain is None or domain.disk(each.vdev)}
        await at.host.toolstack.restore(memory, uuid=at.domain_uuid, layers=layers, paused=True)

    async def can_go_on(self, at: Context) -> bool:
        """Going on needs no more of it than that the guest was ended."""
        running = await at.running()
        return await at.host.files.stat(self.memory) is not None and (running is None or running.never_ran)


ENDED = "the guest has been ended"
"""The fact that what runs from then on has been started since."""


class EndDomain(StepBase, frozen=True):
    """End a guest for good: its memory cannot be saved, or nobody wants it to go on.

    `remembered`, that is written down durably: a step after it may start another, which is ours to end again.
    """

    destroys: ClassVar[bool] = True
    remembered: bool = False

    def says(self) -> str:
        """See StepBase."""
        return "end the guest"

    async def do(self, at: Context) -> None:
        """See StepBase."""
        domain = await at.running()
        if domain is not None:
            await at.host.toolstack.destroy(domain)
        if self.remembered:
            await at.facts.remember(at.operation, ENDED)

    async def undo(self, at: Context) -> None:
        """Nothing brings it back; its disks are as it left them."""


class RestoreMemory(StepBase, frozen=True):
    """Bring the guest of a checkpoint back, standing still, on the disks of that moment.

    `safety` is the memory of the guest before it; only while that is there is the guest that runs ours to end again.
    `remembered`, that guest's memory could not be saved, and that it was ended is on record instead.
    Of a `configuration` the guest gets what may differ from the one that is in the memory file.
    """

    memory: str
    layers: tuple[LayerOf, ...]
    safety: str = ""
    configuration: str = ""
    remembered: bool = False

    def says(self) -> str:
        """See StepBase."""
        return f"restore the memory of {self.memory}, standing still"

    async def do(self, at: Context) -> None:
        """See StepBase. What the toolstack says of it is not believed: every disk must be the one that was meant.

        It is never done again, so a guest that is there has been started by somebody else, from the disks alone.
        """
        await require_off(at)
        layers = {each.vdev: each.layer for each in self.layers}
        domain = await at.host.toolstack.restore(
            self.memory, uuid=at.domain_uuid, layers=layers, paused=True, configuration=self.configuration
        )
        tops = {node.vdev: node.layer.path for node in await at.host.blocks.nodes(domain)}
        for vdev, layer in layers.items():
            if tops.get(vdev, layer.path) != layer.path:
                raise Failed(f"the restored guest has {tops[vdev]} as {vdev}, not {layer.path}", id="wrong-disk")

    async def undo(self, at: Context) -> None:
        """See StepBase."""
        domain = await at.running()
        if domain is not None and await self._has_left(at):
            await at.host.toolstack.destroy(domain)

    async def _has_left(self, at: Context) -> bool:
        """Whether the guest of before was ended; where there was none, it was off."""
        if self.safety:
            return await at.host.files.stat(self.safety) is not None
        return not self.remembered or ENDED in await at.facts.of(at.operation)

    async def can_go_on(self, at: Context) -> bool:  # noqa: ARG002 - whatever has come of it
        """A guest that stands still has written nothing: undoing loses nothing, and nobody has to guess."""
        return False


class LetRun(StepBase, frozen=True):
    """Let a guest that was restored standing still run; one that is gone by now stays gone."""

    def says(self) -> str:
        """See StepBase."""
        return "let the guest run"

    async def do(self, at: Context) -> None:
        """See StepBase."""
        domain = await at.domain()
        if domain is not None and domain.state is RunState.PAUSED:
            await at.host.toolstack.unpause(domain)


class StartDomain(StepBase, frozen=True):
    """Start a domain from its disks."""

    paused: bool = False

    def says(self) -> str:
        """See StepBase."""
        return "start the domain, standing still" if self.paused else "start the domain"

    async def do(self, at: Context) -> None:
        """See StepBase."""
        await end_unfinished(at)
        if await at.running() is None:
            await at.host.toolstack.create(at.domain_uuid, paused=self.paused)


class RemoveMemory(StepBase, frozen=True):
    """Remove a memory file of ours; with an inode, only if it is still that very file."""

    destroys: ClassVar[bool] = True
    memory: str
    inode: int = 0
    generation: int = 0

    def says(self) -> str:
        """See StepBase."""
        return f"remove {self.memory}"

    async def do(self, at: Context) -> None:
        """See StepBase."""
        await at.remove(self.memory, inode=self.inode, generation=self.generation)


async def end_unfinished(at: Context) -> None:
    """End what an interrupted start or restore has left: it has executed nothing, and may lack who watches it."""
    domain = await at.running()
    if domain is not None and domain.state is RunState.PAUSED and domain.never_ran:
        await at.host.toolstack.destroy(domain)


async def put_back(at: Context, was: RunState) -> None:
    """Let a guest that we stopped be as it was."""
    if await at.running() is None:
        return
    domain, watcher = await _held(at)
    async with _continued(at, watcher):
        if domain.state is RunState.SUSPENDED:
            await at.host.toolstack.resume(domain)
            domain = await at.required()
        if was is RunState.RUNNING and domain.state is RunState.PAUSED:
            await at.host.toolstack.unpause(domain)
        elif was is RunState.PAUSED and domain.state is RunState.RUNNING:
            await at.host.toolstack.pause(domain)


@asynccontextmanager
async def _continued(at: Context, watcher: Watcher | None) -> AsyncIterator[None]:
    """Let a watcher go on in the end, but never beside a suspended guest: it takes that for the guest's end, and ends.

    Where the guest could not be revived, or nobody can say, the watcher stands still until `recover`, which holds it
    once more, has put the guest back (Xen 4.17.7).
    """
    try:
        yield
    except BaseException:
        domain = await at.running()
        if watcher is not None and (domain is None or domain.state is not RunState.SUSPENDED):
            await watcher.resume()
        raise
    if watcher is not None:
        await watcher.resume()


async def _held(at: Context) -> tuple[Domain, Watcher | None]:
    """The guest with its watcher stopped: from then on a reboot waits. One that came before has another watcher."""
    for _ in range(REBOOTS_MAX):
        domain = await at.required()
        watcher = await at.host.toolstack.hold_watcher(domain)
        now = await at.running()
        if now is not None and now.domid == domain.domid:
            return now, watcher
        if watcher is not None:
            await watcher.resume()
    raise Failed("the guest reboots again and again", id="guest-gone", remedy="Let it come to rest, try again.")


async def _take(at: Context, domain: Domain, points: Sequence[Point]) -> None:
    """All points at once. Where none was taken, a tag that is there all the same is somebody else's, and stays."""
    try:
        await at.host.blocks.transaction(domain, [point.action() for point in points])
    except XensnapError as error:
        if error.effect is Effect.NONE:
            for point in points:
                if point.tag:
                    await leave_alone(at, point.image, point.tag)
        raise


async def _save(
    at: Context, to: str, points: Sequence[Point], *, then: Then, live: bool, max_downtime_s: float | None = None
) -> None:
    """The two phases of a save, the points of the disks between them; the guest's watcher sees nothing of it."""
    domain, watcher = await _held(at)
    async with (
        _continued(at, watcher),
        at.host.toolstack.saving(domain, to=to, live=live, max_downtime_s=max_downtime_s) as save,
    ):
        total, grown = domain.memory_bytes, at.growing()
        await save.suspended(progress=(lambda done: grown(min(done, total), total)) if total else None)
        if points:
            await _take(at, domain, points)
        await save.finish(then=then)
