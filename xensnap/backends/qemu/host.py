"""`qemu:DIR`: real disk images and the real qemu-img on any machine, for domains that are off."""

# ruff: noqa: PTH100, PTH112, PTH118 -- paths are text in the model

import os
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

from xensnap.backends.local import waiting
from xensnap.backends.local.files import LocalFiles, can_flag
from xensnap.backends.local.machine import LocalMachine, sleep
from xensnap.backends.local.qemu_img import QemuImg
from xensnap.backends.local.runner import LocalRunner
from xensnap.backends.qemu.blocks import NoBlocks
from xensnap.backends.qemu.domains import OffDomains
from xensnap.errors import NotFound
from xensnap.hypervisor import BlockLayer, Capability, Files, GuestAgent, Hooks, ImageTool, Machine, Toolstack

T = TypeVar("T")


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
        self.images: ImageTool = QemuImg(LocalRunner(files.held), self.machine)
        self.toolstack: Toolstack = OffDomains(self._directory, self.files, self.machine)
        self.blocks: BlockLayer = NoBlocks()
        self.agent: GuestAgent | None = None
        self.hooks: Hooks | None = None

    async def gather(self, *work: Awaitable[Any]) -> list[Any]:
        """See `Hypervisor.gather`."""
        return await waiting.gather(*work)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """See `Hypervisor.run`. No event loop is started before something has to be waited for."""
        return waiting.run(work)
