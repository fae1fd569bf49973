"""The disks of running domains of the plain QEMU host: what `MonitorBlocks` needs to know of their QEMUs."""

from xensnap.backends.local.block_layer import MonitorBlocks
from xensnap.backends.local.graph import Graph
from xensnap.backends.local.qmp import SocketConnector
from xensnap.backends.local.replies import Status, ask
from xensnap.backends.qemu import memory
from xensnap.backends.qemu.processes import Processes
from xensnap.hypervisor import Files, ImageTool, Monitor, Node
from xensnap.model import Domain


class QemuBlocks(MonitorBlocks):
    """The `BlockLayer` port.

    Args:
        connector: reaches the domains' monitors.
        processes: says what a QEMU has open under which inode.
        files: make images durable.
        images: tell what they hold.
    """

    def __init__(self, connector: SocketConnector, processes: Processes, *, files: Files, images: ImageTool) -> None:
        super().__init__(connector, files=files, images=images)
        self._processes = processes

    def _root(self, now: Graph, domain: Domain, vdev: str) -> Node | None:  # noqa: ARG002 -- devices have our names
        for device in now.devices():
            # A virtio disk is told by its path in the machine, an IDE one by its id (7.2.22).
            if device == vdev or device.startswith(f"/machine/peripheral/{vdev}/"):
                return now.top(device, vdev)
        return None

    async def _settle(self, monitor: Monitor) -> None:
        """After a save that was killed at its end QEMU has given its images up, while its guest stands still.

        It aborts where it is told to delete a snapshot of such an image, and the guest is dead (7.2.22).
        """
        if (await ask(monitor, "query-status", Status)).status == "postmigrate":
            await memory.take_images_back(monitor)

    async def _has_open(self, domain: Domain, path: str) -> bool:
        process = await self._processes.find(domain.uuid)
        return process is not None and self._processes.has_open(process, path)
