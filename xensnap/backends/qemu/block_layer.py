"""The disks of running domains, over QMP.

A disk that is written to is always addressed through the image at its root, looked up at that moment: an image below
an overlay or below a job's filter cannot be snapshotted, and writing to it by its own name would be corruption.
"""

# ruff: noqa: PTH120 -- paths are text in the model

import os
import uuid
from collections.abc import Sequence
from typing import Any

from xensnap.backends.local.qmp import CommandFailed, LocalMonitor, SocketConnector, connected
from xensnap.backends.qemu import graph
from xensnap.backends.qemu.graph import Graph
from xensnap.backends.qemu.jobs import QemuJob
from xensnap.backends.qemu.machine_args import image_options
from xensnap.backends.qemu.processes import Processes
from xensnap.errors import Failed, NotFound, Reason, Refused, Unknown
from xensnap.hypervisor import Action, Job, Node, TakeInternal, TakeOverlay
from xensnap.model import Domain, Layer


class QemuBlocks:
    """The `BlockLayer` port.

    Args:
        connector: reaches the domains' monitors.
        processes: says what a QEMU has open under which inode.
    """

    def __init__(self, connector: SocketConnector, processes: Processes) -> None:
        self._connector = connector
        self._processes = processes

    async def nodes(self, domain: Domain) -> tuple[Node, ...]:
        """See `BlockLayer.nodes`."""
        async with connected(self._connector, domain) as monitor:
            return (await graph.read(monitor)).tops(domain)

    async def transaction(self, domain: Domain, actions: Sequence[Action]) -> None:
        """See `BlockLayer.transaction`."""
        _one_each(actions)
        async with connected(self._connector, domain) as monitor:
            await graph.close_unused(monitor)
            now = await graph.read(monitor)
            added: list[str] = []
            try:
                todo = [await _prepared(monitor, now, action, added) for action in actions]
                await monitor.execute("transaction", {"actions": todo})
            except Unknown:
                raise  # the connection is gone, and the overlays may be in use
            except BaseException:
                for name in reversed(added):
                    await monitor.execute("blockdev-del", {"node-name": name})
                raise

    async def delete_internal(self, domain: Domain, vdev: str, *, tag: str, snapshot_id: str) -> None:
        """See `BlockLayer.delete_internal`."""
        async with connected(self._connector, domain) as monitor:
            root = (await graph.read(monitor)).top(vdev).node_name
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
            nodes = await _chain(monitor, vdev)
            upper, lower = _found(nodes, top), _found(nodes, base)
            await self._require_own_names(domain, (upper, lower))
            arguments = {"device": nodes[0].node_name, "top-node": upper.node_name, "base-node": lower.node_name}
            if upper is not nodes[0]:
                above = nodes[nodes.index(upper) - 1]
                arguments["backing-file"] = _name_within(above, lower)
            return await self._start(monitor, domain, "block-commit", arguments, job_id)

    async def stream(self, domain: Domain, vdev: str, *, layer: Layer, base: Layer | None, job_id: str) -> Job:
        """See `BlockLayer.stream`. `NotFound` where one of the two is not in the disk's chain: none."""
        async with connected(self._connector, domain) as monitor:
            nodes = await _chain(monitor, vdev)
            target = _found(nodes, layer)
            await self._require_own_names(domain, (target,))
            arguments = {"device": target.node_name}
            if base is not None:
                lower = _found(nodes, base)
                arguments |= {"base-node": lower.node_name, "backing-file": _name_within(target, lower)}
            return await self._start(monitor, domain, "block-stream", arguments, job_id)

    async def job(self, domain: Domain, job_id: str) -> Job:
        """See `BlockLayer.job`."""
        job = QemuJob(self._connector, domain, job_id)
        await job.state()
        return job

    async def _start(
        self, monitor: LocalMonitor, domain: Domain, command: str, arguments: dict[str, str], job_id: str
    ) -> Job:
        await monitor.execute(command, arguments | {"job-id": job_id, "auto-dismiss": False})
        return QemuJob(self._connector, domain, job_id)

    async def _require_own_names(self, domain: Domain, nodes: Sequence[Node]) -> None:
        """QEMU reopens images by name when it changes who may write them: a name must still lead to its image."""
        process = await self._processes.find(domain.uuid)
        for node in nodes:
            if process is None or not self._processes.has_open(process, node.layer.path):
                cause = f"{node.layer.path} is not the file that QEMU of {domain.name} has open under this name"
                remedy = "Shut the domain down; somebody has renamed or replaced an image in use."
                raise Refused([Reason("image-replaced", cause, remedy)])


async def _chain(monitor: LocalMonitor, vdev: str) -> list[Node]:
    """The images of a disk, root first; what no disk stands on any more is closed before."""
    await graph.close_unused(monitor)
    return list(graph.chain((await graph.read(monitor)).top(vdev)))


async def _prepared(monitor: LocalMonitor, now: Graph, action: Action, added: list[str]) -> dict[str, Any]:
    """One part of the transaction. An overlay is opened first, and its node noted in `added`."""
    root = now.top(action.vdev).node_name
    if isinstance(action, TakeInternal):
        data = {"device": root, "name": action.tag}
        return {"type": "blockdev-snapshot-internal-sync", "data": data}
    # Fresh, since a name given up is not free before its image is closed; 31 characters at most.
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


def require_layers(tops: Sequence[Node], layers: dict[str, Layer]) -> None:
    """Every one of these disks (by vdev) is open with exactly this image on top. `Failed` says which is not."""
    told = {node.vdev: node.layer for node in tops}
    for vdev, layer in layers.items():
        seen = told.get(vdev)
        if seen is None or seen.format is not layer.format or not graph.same_file(seen.path, layer.path):
            cause = f"QEMU has {seen or 'nothing'} open as {vdev}, not {layer}"
            raise Failed(cause, id="wrong-image")
