"""What the QEMU of a domain that runs writes to, and whether that is what the domain's configuration says."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from xensnap.errors import Damaged, ExitCode, Failed, NotFound, Reason, Refused, Unknown
from xensnap.hypervisor import Hypervisor, Node
from xensnap.model import Backend, Disk, Domain, FileId, Image, Layer, RunState

if TYPE_CHECKING:
    from xensnap.engine.view import View


class Top(msgspec.Struct, frozen=True):
    """An image that a QEMU writes to, as it calls it; `file` is None where that name leads to no image any more.

    `in_use` tells of the file that has the name now; None where that is not known. `below` are the paths of what it has
    open beneath, whatever the headers say by now.
    """

    layer: Layer
    file: FileId | None
    in_use: bool | None = None
    below: tuple[str, ...] = ()


class Opened(msgspec.Struct, frozen=True):
    """By vdev what the QEMU writes to: more than one where a guest has not unplugged its emulated disks.

    `unasked` is why it could not be asked; empty where it was, or where there is none. `files` tells which file each
    path leads to that is told here, as far as it leads to an image.
    """

    tops: Mapping[str, tuple[Top, ...]] = {}
    unasked: str = ""
    files: Mapping[str, FileId] = {}

    def reads(self, path: str) -> bool:
        """Whether a disk of the guest is read from this image, beneath the one that it writes to."""
        return any(path in top.below for tops in self.tops.values() for top in tops)

    def spelled(self, names: Mapping[str, str]) -> "Opened":
        """The same with other names for some of the paths."""
        tops = {vdev: tuple(_spelled(top, names) for top in each) for vdev, each in self.tops.items()}
        return msgspec.structs.replace(self, tops=tops)


def _spelled(top: Top, names: Mapping[str, str]) -> Top:
    layer = Layer(names.get(top.layer.path, top.layer.path), top.layer.format)
    return msgspec.structs.replace(top, layer=layer, below=tuple(names.get(path, path) for path in top.below))


async def opened_by(host: Hypervisor, domain: Domain, known: Mapping[str, Image | None]) -> Opened:
    """Ask the QEMU of a domain, if it has one. Changes nothing, whatever becomes of the reply; one query.

    Args:
        host: where.
        domain: whose QEMU.
        known: images that were looked at already, by path. What QEMU calls otherwise is looked at besides.
    """
    if domain.state is RunState.OFF:
        return Opened()
    try:
        nodes = await host.blocks.nodes(domain)
    except (Failed, Refused, Unknown) as error:
        return Opened(unasked=error.cause)
    tops: dict[str, tuple[Top, ...]] = {}
    files: dict[str, FileId] = {}
    for node in nodes:
        if not node.readonly:
            top = await _top(host, node)
            tops[node.vdev] = (*tops.get(node.vdev, ()), top)
            files |= {top.layer.path: top.file} if top.file else {}
            files |= await _files(host, node, known)
    return Opened(tops, files=files)


async def _top(host: Hypervisor, node: Node) -> Top:
    layer, below = node.layer, tuple(each.path for each in _below(node))
    try:
        return Top(layer, (await host.images.inspect(layer)).file, await host.images.in_use(layer), below)
    except (NotFound, Damaged):
        return Top(layer, None, below=below)


async def _files(host: Hypervisor, top: Node, known: Mapping[str, Image | None]) -> dict[str, FileId]:
    """Which file each name below an image leads to."""
    found: dict[str, FileId] = {}
    for layer in _below(top):
        with suppress(NotFound, Damaged):
            image = known.get(layer.path) or await host.images.inspect(layer)
            found[layer.path] = image.file
    return found


def _below(node: Node) -> Iterator[Layer]:
    while node.backing is not None:
        node = node.backing
        yield node.layer


def against_opened(view: "View", vdevs: Collection[str]) -> Iterator[Reason]:
    """All that keeps these disks of a guest from being worked on while it runs."""
    if not vdevs:
        return
    if view.opened.unasked:
        cause = f"the QEMU of {view.domain.name} cannot be asked what it has open: {view.opened.unasked}"
        yield Reason("qemu-not-asked", cause, "Let go of its monitor; if QEMU has died, destroy it.", ExitCode.BUSY)
        return
    for disk in view.domain.disks:
        if view.domain.state is not RunState.OFF and disk.vdev in vdevs:
            yield from _against(view, disk)


def _against(view: "View", disk: Disk) -> Iterator[Reason]:
    tops, chain = view.opened.tops.get(disk.vdev, ()), view.chain(disk.vdev)
    if disk.backend is not Backend.QDISK or chain is None:
        return  # told by what is against each disk anyway
    if not tops:
        cause = f"{disk.vdev}: the QEMU of {view.domain.name} does not have {disk.path} open"
        yield Reason("disk-not-open", cause, "Look into QEMU's log; the guest runs without this disk.")
    elif len(tops) > 1:
        # QEMU 7.2.22 under Xen: a snapshot made through one is lost when the other writes its own table.
        cause = f"{disk.vdev}: {disk.path} is open twice in one QEMU, as the emulated disk and as the guest's own"
        yield Reason("image-open-twice", cause, "Let the guest load its PV drivers, or shut it down first.")
    elif tops[0].file != chain.active.file:
        cause = f"{disk.vdev}: {view.domain.name} runs on {tops[0].layer.path} and would next start from {disk.path}"
        remedy = "Somebody has taken a snapshot by hand: shut the domain down and let it start from the right image."
        yield Reason("runs-on-another", cause, remedy)
    elif tops[0].in_use is False:
        # QEMU tells the name that it was given, whatever has become of the file (7.2.22).
        cause = f"{disk.vdev}: {disk.path} is not the file that {view.domain.name} runs on: nobody has it open"
        remedy = "An image in use was renamed or replaced: copy what the guest has out of it before you shut it down."
        yield Reason("image-replaced", cause, remedy)
