"""What a step may use, and the few looks at the host that several steps share."""

import re
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from errno import ESTALE
from typing import Protocol

import msgspec

from xensnap.engine.records import Store
from xensnap.errors import Damaged, Failed, FileFailed, NotFound
from xensnap.hypervisor import FileStat, Hypervisor, JobState, Node
from xensnap.model import Backing, Domain, DomainUuid, Format, Image, Layer, RunState

TOLD_PERCENT = 10
"""How much further a job is when it is told of again."""


def _nobody(done_bytes: int, total_bytes: int) -> None:
    """For contexts without anybody to tell."""


async def _no_user(path: str) -> str:  # noqa: ARG001 - nobody is looked for
    """For contexts in which nothing is removed."""
    return ""


QUIET = "the file systems of the guest were quiet when its points were taken"
"""The fact that makes a snapshot quiesced."""


class Facts(Protocol):
    """What no look at the host can tell later, written down durably by the operation that knew it."""

    async def remember(self, operation: str, text: str) -> None:
        """Make it durable. `FileFailed`: unknown."""

    async def of(self, operation: str) -> tuple[str, ...]:
        """What this operation has remembered, in order."""


class Context(msgspec.Struct, frozen=True):
    """The host, the store of the domain, and the operation under way; `tell` says how far its present step is."""

    host: Hypervisor
    store: Store
    operation: str
    domain_uuid: DomainUuid
    facts: Facts
    tell: Callable[[int, int], None] = _nobody
    """Told how many bytes of how many the step under way has done, where it knows."""
    needed_by: Callable[[str], Awaitable[str]] = _no_user
    """Which other domain needs the image of this path now; empty where none does. A plan only knows who did."""
    again: bool = False
    """Whether this has failed or was interrupted before, so that there may be leaks of it."""

    def told(self) -> Callable[[JobState], None]:
        """What follows a block job, and tells of it now and then."""
        grown = self.growing()
        return lambda state: grown(state.done_bytes, state.total_bytes)

    def growing(self) -> Callable[[int, int], None]:
        """As `tell`, but not for every little."""
        last = -TOLD_PERCENT

        def progress(done_bytes: int, total_bytes: int) -> None:
            nonlocal last
            percent = 100 * done_bytes // total_bytes if total_bytes else 0
            if percent >= last + TOLD_PERCENT:
                last = percent
                self.tell(done_bytes, total_bytes)

        return progress

    def named_by_us(self, path: str) -> bool:
        """Whether the path carries the id of this operation, so that nobody else can have made it."""
        return self.operation[-12:] in path.rpartition("/")[2]

    async def domain(self) -> Domain | None:
        """The domain as it is now, or None where it is gone."""
        try:
            return await self.host.toolstack.inspect(self.domain_uuid)
        except NotFound:
            return None

    async def running(self) -> Domain | None:
        """The domain, if a QEMU has its images open now."""
        domain = await self.domain()
        return domain if domain is not None and domain.state is not RunState.OFF else None

    async def required(self) -> Domain:
        """The domain, which has to have a QEMU. `Failed` with id `guest-gone` where it has none."""
        domain = await self.running()
        if domain is None:
            raise Failed("the guest is gone", id="guest-gone", remedy="Try again with the domain as it is now.")
        return domain

    async def opened_by(self, vdev: str, layer: Layer) -> Domain | None:
        """The domain, if its QEMU has this image open for this disk, as its active layer or below it.

        A QEMU that is gone has nothing open; `Busy` where another program keeps its monitor.
        """
        running = await self.running()
        if running is None:
            return None
        with suppress(Failed):
            return running if await self._node(running, vdev, layer) else None
        return None

    async def opened_below(self, vdev: str, layer: Layer) -> Layer | None:
        """What the domain's QEMU has below this image of a disk; None where it reads nothing from there."""
        node = await self._node(await self.required(), vdev, layer)
        return node.backing.layer if node and node.backing else None

    async def _node(self, running: Domain, vdev: str, layer: Layer) -> Node | None:
        """The node of this image of a disk in the domain's QEMU, wherever in the chain it is, whatever it is called."""
        for top in await self.host.blocks.nodes(running):
            node: Node | None = top
            while top.vdev == vdev and node is not None:
                if await self.same_image(node.layer, layer):
                    return node
                node = node.backing
        return None

    async def tops(self, vdev: str) -> tuple[str, ...]:
        """The images that the domain's QEMU has on top for this disk; none where there is no QEMU."""
        running = await self.running()
        if running is None:
            return ()
        with suppress(Failed):
            return tuple(node.layer.path for node in await self.host.blocks.nodes(running) if node.vdev == vdev)
        return ()

    async def is_kept_open(self, layer: Layer) -> bool:
        """Whether somebody has an image open while the domain is not off: its QEMU, if that cannot be asked."""
        try:
            opened = await self.host.images.in_use(layer)
        except NotFound:
            return False
        return bool(opened) and await self.running() is not None

    async def image(self, layer: Layer) -> Image | None:
        """The image, or None where there is no such file or no such format in it (yet)."""
        try:
            return await self.host.images.inspect(layer)
        except (NotFound, Damaged):
            return None

    async def same_image(self, one: Layer, other: Layer) -> bool:
        """Whether two names lead to one file."""
        if one.path == other.path:
            return True
        images = await self.image(one), await self.image(other)
        return images[0] is not None and images[1] is not None and images[0].file == images[1].file

    async def is_one_of(self, paths: Collection[str], layer: Layer) -> bool:
        """Whether one of these names leads to this image."""
        return layer.path in paths or any([await self.same_image(Layer(path, layer.format), layer) for path in paths])

    async def stands_on(self, image: Image, backing: Backing | None) -> bool:
        """Whether an image has this backing file, in this format, whatever its header calls it."""
        if image.backing is None or backing is None:
            return image.backing is None and backing is None
        one, other = (Layer(each.path, each.format or Format.RAW) for each in (image.backing, backing))
        return image.backing.format == backing.format and await self.same_image(one, other)

    async def require_unused(self, layer: Layer) -> None:
        """Nobody but the domain itself may have the image open; one that is not there is not open either."""
        if await self.host.files.stat(layer.path) is None:
            return
        # What nobody has open is the common case, and told without asking the toolstack, which on Xen is a process.
        if await self.host.images.in_use(layer) is not False and await self.running() is None:
            await self.host.images.require_unused(layer)

    async def require_unshared(self, layer: Layer) -> None:
        """`Failed` where by now another domain needs an image that is to be written to."""
        if user := await self.needed_by(layer.path):
            cause = f"{layer.path} is used by the domain {user}, too, since this was planned"
            raise Failed(cause, id="image-shared", remedy="Detach it there.")

    async def is_still(self, path: str, inode: int, generation: int) -> bool:
        """Whether what is under a name now is the file of this inode and, where it has any, of this generation."""
        stat = await self.host.files.stat(path)
        if stat is None or stat.file.inode != inode:
            return False
        return not generation or await self.host.files.generation(path) in (0, generation)

    async def remove(self, path: str, *, inode: int = 0, generation: int = 0) -> None:
        """Unlink a file if it is there, and make that durable; with an inode number only if it is that very file."""
        try:
            await self.host.files.remove(path, inode=inode, generation=generation)
        except NotFound:
            pass
        except FileFailed as error:
            if error.errno != ESTALE:
                raise
        await self.host.files.sync_dir(directory(path))

    async def note_made(self, path: str, *, now: str) -> None:
        """Write down durably which file is going to be called `path`, and is called otherwise still.

        So whoever undoes that knows it from a stranger's.
        """
        stat = await self.host.files.stat(now)
        if stat is None:
            raise unbelieved(f"{now} is not there")
        generation = await self.host.files.generation(now)
        await self.facts.remember(self.operation, f"{_made(path)}{stat.file.inode}, generation {generation}")

    async def has_made(self, path: str) -> bool:
        """Whether what is under a name is the very file that this operation has made to be called that."""
        made = await self._made(path)
        return any([await self.is_still(path, inode, generation) for inode, generation in made])

    async def remove_made(self, path: str) -> None:
        """Unlink what this operation has made to be called that, and make that durable; no other file."""
        for inode, generation in await self._made(path):
            await self.remove(path, inode=inode, generation=generation)

    async def _made(self, path: str) -> tuple[tuple[int, int], ...]:
        facts = [fact.removeprefix(_made(path)) for fact in await self.facts.of(self.operation)]
        found = [_NUMBERS.fullmatch(fact) for fact in facts]
        return tuple((int(each[1]), int(each[2])) for each in found if each)


_NUMBERS = re.compile(r"([0-9]+), generation ([0-9]+)")


def _made(path: str) -> str:
    return f"{path} was made, inode "


def directory(path: str) -> str:
    """The directory that a file is in."""
    return path.rpartition("/")[0] or "/"


async def stat_of_directory(host: Hypervisor, path: str) -> FileStat | None:
    """What a directory is, one that a link leads to, too; None where there is none. Changes nothing."""
    found = await host.files.stat(f"{path.rstrip('/')}/.")  # without the dot it would be the link that is asked about
    return found if found is not None and found.is_dir else None


def unbelieved(cause: str) -> Failed:
    """A tool said that it had done its work, and a look at the host says that it has not."""
    return Failed(
        f"{cause}, although no error was told", id="not-done", remedy="Try again; look at the host if it stays."
    )
