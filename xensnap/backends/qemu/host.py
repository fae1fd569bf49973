"""`qemu:DIR`: real disk images on any machine, and real guests where there is a QEMU to run them.

Guests run under TCG, which works everywhere; XENSNAP_QEMU_ACCEL=kvm takes KVM instead. There is no probing: a memory
image can be restored only under what it was saved under, and /dev/kvm may be there and not work (nested, for example).
"""

# ruff: noqa: PTH100, PTH112, PTH118 -- paths are text in the model

import os
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

from xensnap.backends.local import waiting
from xensnap.backends.local.files import LocalFiles, can_flag
from xensnap.backends.local.machine import LocalMachine, sleep
from xensnap.backends.local.qemu_img import QemuImg
from xensnap.backends.local.runner import LocalRunner
from xensnap.backends.qemu.block_layer import QemuBlocks
from xensnap.backends.qemu.blocks import NoBlocks
from xensnap.backends.qemu.domains import OffDomains
from xensnap.backends.qemu.machine_args import PROGRAM
from xensnap.backends.qemu.processes import Processes
from xensnap.backends.qemu.running import RunningDomains, monitor_of
from xensnap.errors import NotFound
from xensnap.hypervisor import BlockLayer, Capability, Files, GuestAgent, Hooks, ImageTool, Machine, Toolstack

T = TypeVar("T")

_RUNNING = {
    Capability.RUNNING,
    Capability.MEMORY,
    Capability.SAVE_PAUSED,
    Capability.LIVE_SAVE,
}


class QemuHost:
    """The `Hypervisor` of one directory of domain files and their images.

    Args:
        directory: where the files are; the snapshot store is its subdirectory `snapshots`.

    Raises:
        NotFound: there is no such directory.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = os.path.abspath(directory)
        if not os.path.isdir(self._directory):
            raise NotFound(f"{self._directory}: no such directory", id="no-such-host")
        self.name = f"qemu:{os.fspath(directory)}"
        self.root = os.path.join(self._directory, "snapshots")
        flags = {Capability.IMMUTABLE} if can_flag(self._directory) else set()
        self.capabilities: frozenset[Capability] = frozenset({Capability.INTERNAL, Capability.EXTERNAL} | flags)
        files = LocalFiles(sleep)
        self.files: Files = files
        self.machine: Machine = LocalMachine()
        runner = LocalRunner(files.held)
        self.images: ImageTool = QemuImg(runner, self.machine)
        off = OffDomains(self._directory, self.files, self.machine)
        self.toolstack: Toolstack = off
        self.blocks: BlockLayer = NoBlocks()
        if any(os.access(os.path.join(place, PROGRAM), os.X_OK) for place in os.get_exec_path()):
            accelerator = os.environ.get("XENSNAP_QEMU_ACCEL", "tcg")
            self.capabilities |= _RUNNING | ({Capability.DOWNTIME_LIMIT} if accelerator != "tcg" else set())
            processes = Processes(os.path.join(self._directory, "run"), self.files, self.machine, runner)
            connector = monitor_of(processes)
            blocks = QemuBlocks(connector, processes, files=self.files, images=self.images)
            self.blocks = blocks
            self.toolstack = RunningDomains(
                self._directory,
                off,
                processes=processes,
                connector=connector,
                blocks=blocks,
                images=self.images,
                files=self.files,
                accelerator=accelerator,
            )
        self.agent: GuestAgent | None = None
        self.hooks: Hooks | None = None

    async def gather(self, *work: Awaitable[Any]) -> list[Any]:
        """See `Hypervisor.gather`."""
        return await waiting.gather(*work)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """See `Hypervisor.run`. No event loop is started before something has to be waited for."""
        return waiting.run(work)
