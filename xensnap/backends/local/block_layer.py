"""The disks of running domains, over QMP.

A disk that is written to is always addressed through the image at its root, looked up at that moment: an image below
an overlay or below a job's filter cannot be snapshotted, and writing to it by its own name would be corruption.

How a QEMU calls its disks differs from host to host; what is done with them does not.
"""

# ruff: noqa: PTH120 -- paths are text in the model

import os
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from xensnap.backends.local import graph
from xensnap.backends.local.graph import Graph
from xensnap.backends.local.jobs import PAUSE_S_MAX, BlockJob
from xensnap.backends.local.machine import sleep
from xensnap.backends.local.qmp import CommandFailed, connected
from xensnap.errors import Busy, Failed, NotFound, Reason, Refused, Unknown
from xensnap.hypervisor import (
    Action,
    Files,
    ImageTool,
    Job,
    Monitor,
    MonitorConnector,
    Node,
    TakeInternal,
    TakeOverlay,
)
from xensnap.model import Backend, Disk, Domain, Format, Layer

# QEMU's names of the formats that it calls otherwise than libxl.
_DRIVERS = {Format.VHD: "vpc"}


# Whoever waits for a job looks after it at least every PAUSE_S_MAX.
_NOTICED_AFTER = 4


class MonitorBlocks(ABC):
    """The `BlockLayer` port for domains with a QEMU of their own.

    Args:
        connector: reaches the domains' monitors.
        files: make images durable.
        images: tell what they hold.
    """

    def __init__(self, connector: MonitorConnector, *, files: Files, images: ImageTool) -> None:
        self._connector = connector
        self._files = files
        self._images = images

    @abstractmethod
    def _root(self, now: Graph, domain: Domain, vdev: str) -> Node | None:
        """The image at the root of a disk, with its chain; None where the disk has none open."""

    @abstractmethod
    async def _has_open(self, domain: Domain, path: str) -> bool:
        """Whether the file that has this name now is open in the domain's very QEMU."""

    async def _settle(self, monitor: Monitor) -> None:  # noqa: B027 -- a hook, and most have no need of it
        """Bring QEMU into a state in which it writes its images. Most are in it at all times."""

    async def nodes(self, domain: Domain) -> tuple[Node, ...]:
        """See `BlockLayer.nodes`."""
        now = await self._read(domain)
        open_ = (node for disk in domain.disks if _is_open(disk) for node in self._open_as(now, domain, disk.vdev))
        return tuple(open_)

    def _open_as(self, now: Graph, domain: Domain, vdev: str) -> Iterator[Node]:
        """The root of a disk, and the other roots that write to the very same image; none where it is not open."""
        node = self._root(now, domain, vdev)
        if node is not None:
            yield node
            yield from (other for _, other in _twins(now, node))

    async def _read(self, domain: Domain) -> Graph:
        """The graph, for who only looks: a job that has just ended is left to whoever waits for it, for a while."""
        for _ in range(_NOTICED_AFTER):
            try:
                async with connected(self._connector, domain) as monitor:
                    return await graph.read(monitor)
            except Busy as error:
                if error.id != "job-unnoticed":
                    raise
            await sleep(PAUSE_S_MAX)
        async with connected(self._connector, domain) as monitor:
            return await graph.read(monitor)

    def top(self, now: Graph, domain: Domain, vdev: str) -> Node:
        """The image at the root of a disk, with its chain. `NotFound` where the disk has none open."""
        node = self._root(now, domain, vdev)
        if node is None:
            raise NotFound(f"the running QEMU has no image open as {vdev!r}", id="no-such-disk")
        return node

    async def require_layers(self, monitor: Monitor, domain: Domain, layers: Mapping[str, Layer]) -> None:
        """Every one of these disks (by vdev) is open with exactly this image on top. `Failed` says which is not."""
        now = await graph.read(monitor)
        for vdev, layer in layers.items():
            node = self._root(now, domain, vdev)
            seen = node.layer if node is not None else None
            if seen is None or seen.format is not layer.format or not graph.same_file(seen.path, layer.path):
                cause = f"QEMU has {seen or 'nothing'} open as {vdev}, not {layer}"
                raise Failed(cause, id="wrong-image")

    def _writable_top(self, now: Graph, domain: Domain, vdev: str) -> Node:
        """The root of a disk, provided that its image is open for nothing else in this QEMU."""
        node = self.top(now, domain, vdev)
        for device, _ in _twins(now, node):
            # Each writes the tables of the image as it knows them: what one adds, the other loses (Xen 4.17.7, HVM
            # before the guest's kernel has unplugged its emulated disks).
            cause = f"QEMU of {domain.name} has {node.layer.path} open twice, as {vdev} and as {device}"
            remedy = "Wait until the guest's own drivers have taken the disk over, or shut the guest down."
            raise Refused([Reason("image-open-twice", cause, remedy)])
        return node

    async def transaction(self, domain: Domain, actions: Sequence[Action]) -> None:
        """See `BlockLayer.transaction`."""
        _one_each(actions)
        async with connected(self._connector, domain) as monitor:
            await self._settle(monitor)
            await graph.close_unused(monitor)
            now = await graph.read(monitor)
            tops = [self._writable_top(now, domain, action.vdev) for action in actions]
            added: list[str] = []
            try:
                todo = [await _prepared(monitor, top, action, added) for top, action in zip(tops, actions, strict=True)]
                await monitor.execute("transaction", {"actions": todo})
            except Unknown:
                raise  # the connection is gone, and the overlays may be in use
            except BaseException:
                for name in reversed(added):
                    with suppress(CommandFailed):  # it may be in use: who was interrupted has not heard what came of it
                        await monitor.execute("blockdev-del", {"node-name": name})
                raise

    async def delete_internal(self, domain: Domain, vdev: str, *, tag: str, snapshot_id: str) -> None:
        """See `BlockLayer.delete_internal`."""
        async with connected(self._connector, domain) as monitor:
            await self._settle(monitor)
            root = self._writable_top(await graph.read(monitor), domain, vdev).node_name
            arguments = {"device": root, "id": snapshot_id, "name": tag}
            try:
                await monitor.execute("blockdev-snapshot-delete-internal-sync", arguments)
            except CommandFailed as error:
                if "does not exist" not in error.words:
                    raise
                raise NotFound(f"{vdev} of {domain.name}: {error.words}", id="no-such-snapshot") from error

    async def commit(self, domain: Domain, vdev: str, *, top: Layer, base: Layer, job_id: str) -> Job:
        """See `BlockLayer.commit`. `NotFound` where one of the two is not in the disk's chain: none."""
        async with connected(self._connector, domain) as monitor:
            nodes = await self._chain(monitor, domain, vdev)
            upper, lower = _found(nodes, top), _found(nodes, base)
            await self._require_own_names(domain, (upper, lower))
            arguments: dict[str, Any] = {
                "device": nodes[0].node_name,
                "top-node": upper.node_name,
                "base-node": lower.node_name,
                "auto-finalize": upper is nodes[0],  # that one has flushed by itself when it ends
            }
            if upper is not nodes[0]:
                above = nodes[nodes.index(upper) - 1]
                arguments["backing-file"] = _name_within(above, lower)
            return await self._start(monitor, domain, "block-commit", arguments, job_id)

    async def stream(self, domain: Domain, vdev: str, *, layer: Layer, base: Layer | None, job_id: str) -> Job:
        """See `BlockLayer.stream`. `NotFound` where one of the two is not in the disk's chain: none."""
        async with connected(self._connector, domain) as monitor:
            nodes = await self._chain(monitor, domain, vdev)
            target = _found(nodes, layer)
            lower = _found(nodes, base) if base is not None else None
            copied = nodes[nodes.index(target) : nodes.index(lower) if lower is not None else None]
            await self._require_own_names(domain, copied)
            arguments: dict[str, Any] = {"device": target.node_name, "auto-finalize": False}
            if lower is not None:
                arguments |= {"base-node": lower.node_name, "backing-file": _name_within(target, lower)}
            return await self._start(monitor, domain, "block-stream", arguments, job_id)

    async def flush(self, domain: Domain) -> None:
        """See `BlockLayer.flush`."""
        async with connected(self._connector, domain) as monitor:
            await graph.flush_all(monitor, self._files)

    async def job(self, domain: Domain, job_id: str) -> Job:
        """See `BlockLayer.job`.

        Whoever took note of its end may have died before he closed what it had made superfluous: that is done here.
        """
        job = self._job(domain, job_id)
        try:
            await job.state()
        except NotFound:
            async with connected(self._connector, domain) as monitor:
                await graph.close_unused(monitor)
            raise
        return job

    async def _start(
        self, monitor: Monitor, domain: Domain, command: str, arguments: dict[str, Any], job_id: str
    ) -> Job:
        await monitor.execute(command, arguments | {"job-id": job_id, "auto-dismiss": False})
        return self._job(domain, job_id)

    def _job(self, domain: Domain, job_id: str) -> BlockJob:
        return BlockJob(self._connector, domain, job_id, files=self._files, images=self._images)

    async def _require_own_names(self, domain: Domain, nodes: Sequence[Node]) -> None:
        """QEMU reopens images by name when it changes who may write them: a name must still lead to its image."""
        for node in nodes:
            if not await self._has_open(domain, node.layer.path):
                cause = f"{node.layer.path} is not the file that QEMU of {domain.name} has open under this name"
                remedy = "Shut the domain down; somebody has renamed or replaced an image in use."
                raise Refused([Reason("image-replaced", cause, remedy)])

    async def _chain(self, monitor: Monitor, domain: Domain, vdev: str) -> list[Node]:
        """The images of a disk, root first; what no disk stands on any more is closed before."""
        await self._settle(monitor)
        await graph.close_unused(monitor)
        return list(graph.chain(self._writable_top(await graph.read(monitor), domain, vdev)))


def _twins(now: Graph, node: Node) -> Iterator[tuple[str, Node]]:
    """The other devices that write to the image of this root, each with its own root."""
    for device in now.devices():
        other = now.top(device, node.vdev)
        if other is None or other.node_name == node.node_name or other.readonly:
            continue
        if graph.same_file(other.layer.path, node.layer.path):
            yield device, other


def _is_open(disk: Disk) -> bool:
    return bool(disk.path) and disk.backend is Backend.QDISK


def driver(format: Format) -> str:
    """QEMU's name of a format."""
    return _DRIVERS.get(format, format.value)


def image_options(layer: Layer, name: str, *, readonly: bool = False) -> dict[str, Any]:
    """How QEMU is told to open one image, for `-blockdev` and `blockdev-add`: never by probing.

    The one look at the world is whether it is a block device, for which QEMU has a driver of its own.
    """
    kind = "host_device" if Path(layer.path).is_block_device() else "file"
    return {
        "driver": driver(layer.format),
        "node-name": name,
        "read-only": readonly,
        "discard": "unmap",
        "file": {"driver": kind, "filename": layer.path},
    }


async def _prepared(monitor: Monitor, top: Node, action: Action, added: list[str]) -> dict[str, Any]:
    """One part of the transaction. An overlay is opened first, and its node noted in `added`."""
    root = top.node_name
    if isinstance(action, TakeInternal):
        data = {"device": root, "name": action.tag}
        return {"type": "blockdev-snapshot-internal-sync", "data": data}
    # Fresh, since a name given up is not free before its image is closed; 31 characters at most.
    if graph.same_file(top.layer.path, action.overlay.path):
        # A guest that has rebooted meanwhile; QEMU under Xen takes no lock that would keep it from opening it twice.
        cause = f"QEMU works on {action.overlay.path} as {action.vdev} already"
        raise Failed(cause, id="image-open", remedy="Look at the domain again: it has been started anew.")
    name = f"{action.vdev[:18]}-{uuid.uuid4().hex[:12]}"
    # Without its backing file: the image that is open already becomes that, as it is in QEMU.
    await monitor.execute("blockdev-add", image_options(action.overlay, name) | {"backing": None})
    added.append(name)
    return {"type": "blockdev-snapshot", "data": {"node": root, "overlay": name}}


def _one_each(actions: Sequence[Action]) -> None:
    """QEMU 7.2.22 aborts when it rolls back several points of one device, and the guest is dead."""
    vdevs = [action.vdev for action in actions]
    files = [os.path.realpath(action.overlay.path) for action in actions if isinstance(action, TakeOverlay)]
    for things in (vdevs, files):
        if twice := sorted({thing for thing in things if things.count(thing) > 1}):
            cause = f"one transaction would take two points of {', '.join(twice)}"
            raise Refused([Reason("one-point-each", cause, "Take them one after the other.")])


def _found(nodes: Sequence[Node], layer: Layer) -> Node:
    for node in nodes:
        if graph.same_file(node.layer.path, layer.path):
            return node
    there = ", ".join(node.layer.path for node in nodes)
    raise NotFound(f"{layer.path} is not in the running chain: {there}", id="not-in-chain")


def _name_within(image: Node, backing: Node) -> str:
    """What an image's header calls its backing file: relative within one directory, else absolute."""
    directory, name = os.path.split(backing.layer.path)
    if directory != os.path.dirname(image.layer.path):
        return backing.layer.path
    # QEMU takes what stands before a colon for a protocol.
    return f"./{name}" if ":" in name else name
