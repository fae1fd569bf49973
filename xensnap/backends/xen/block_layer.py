"""The disks of running Xen domains: what `MonitorBlocks` needs to know of QEMU under Xen (Xen 4.17.7, QEMU 7.2.22)."""

import re

from xensnap.backends.local import graph
from xensnap.backends.local.block_layer import MonitorBlocks
from xensnap.backends.local.graph import Graph
from xensnap.backends.local.replies import Status, ask
from xensnap.hypervisor import Files, ImageTool, Machine, Monitor, MonitorConnector, Node
from xensnap.model import Domain


class XenBlocks(MonitorBlocks):
    """The `BlockLayer` port.

    Args:
        connector: reaches the domains' monitors.
        machine: tells which process has a file open.
        files: make images durable.
        images: tell what they hold.
    """

    def __init__(self, connector: MonitorConnector, machine: Machine, *, files: Files, images: ImageTool) -> None:
        super().__init__(connector, files=files, images=images)
        self._machine = machine

    def _root(self, now: Graph, domain: Domain, vdev: str) -> Node | None:
        """The root whose chain holds a node called after the disk, else one that holds the disk's own file.

        Devices have no ids here: qdisks come from xenstore. Their images are called `xvda-qcow2` and the like, overlays
        of ours similarly; a base that an overlay was committed into has been opened without a name.
        """
        ours = re.compile(rf"{re.escape(vdev)}-([a-z0-9]+)")
        tops = [top for device in now.devices() if (top := now.top(device, vdev)) is not None]
        for top in tops:
            if any(ours.fullmatch(node.node_name) for node in graph.chain(top)):
                return top
        disk = domain.disk(vdev)
        for top in tops:
            if disk is not None and any(graph.same_file(node.layer.path, disk.path) for node in graph.chain(top)):
                return top
        return None

    async def _has_open(self, domain: Domain, path: str) -> bool:
        mine = re.compile(rf"-xen-domid {domain.domid}\b")
        return any(mine.search(opener.command) for opener in await self._machine.openers(path))

    async def _settle(self, monitor: Monitor) -> None:
        """Let QEMU take its images back where the end of a migration has made it give them up.

        libxl stops QEMU of an HVM guest when it has been suspended, and saves its devices as if it moved away. A
        snapshot then fails with a word about formats. `cont` does not let the guest run: under Xen that is not QEMU's
        to say.
        """
        if (await ask(monitor, "query-status", Status)).status != "running":
            await monitor.execute("cont")
