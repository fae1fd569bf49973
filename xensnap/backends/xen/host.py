"""`xen`: the Xen host that this runs on."""

# ruff: noqa: PTH118, PTH120 -- paths are text in the model

import os
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import msgspec

from xensnap.backends.local import waiting
from xensnap.backends.local.files import LocalFiles, can_flag
from xensnap.backends.local.machine import LocalMachine, sleep
from xensnap.backends.local.qemu_img import QemuImg
from xensnap.backends.local.qmp import SocketConnector
from xensnap.backends.local.runner import LocalRunner
from xensnap.backends.xen.block_layer import XenBlocks
from xensnap.backends.xen.daemons import LocalDaemons
from xensnap.backends.xen.domains import CAPABILITIES, XenDomains
from xensnap.backends.xen.live import Receivers
from xensnap.backends.xen.receiving import LocalReceivers
from xensnap.backends.xen.remembered import Remembered
from xensnap.backends.xen.starting import Starts
from xensnap.backends.xen.supervisor import LocalSupervisor, Supervisor
from xensnap.backends.xen.toolstack import XenToolstack
from xensnap.backends.xen.userdata import Userdata
from xensnap.backends.xen.watcher import Daemons, Watchers
from xensnap.backends.xen.xl import Xl
from xensnap.hypervisor import (
    BlockLayer,
    Capability,
    Files,
    GuestAgent,
    Hooks,
    ImageTool,
    Machine,
    MonitorConnector,
    Runner,
    Toolstack,
)
from xensnap.model import Domain

T = TypeVar("T")

ROOT = "/var/lib/xen/snapshots"
MONITORS = "/var/run/xen"
USERDATA = "/var/lib/xen"
LOGS = "/var/log/xen"


class Low(msgspec.Struct, frozen=True):
    """What a Xen host stands on: the programs, files and sockets of a machine, real or simulated.

    `run` and `gather` are those of `Hypervisor`.
    """

    runner: Runner
    connector: MonitorConnector
    files: Files
    machine: Machine
    images: ImageTool
    supervisor: Supervisor
    daemons: Daemons
    receivers: Receivers
    gather: Callable[..., Awaitable[list[Any]]]
    run: Callable[[Coroutine[Any, Any, Any]], Any]


class XenHost:
    """The `Hypervisor` of one Xen host.

    Args:
        low: the machine.
        root: absolute directory of the snapshot store.
        name: as the user chose it.
        immutable: whether files can carry the immutable flag.
        userdata: where libxl keeps what it knows of domains.
        logs: where xl and QEMU write their logs.
    """

    def __init__(
        self,
        low: Low,
        *,
        root: str = ROOT,
        name: str = "xen",
        immutable: bool = False,
        userdata: str = USERDATA,
        logs: str = LOGS,
    ) -> None:
        self.name = name
        self.root = root
        self.capabilities: frozenset[Capability] = CAPABILITIES | ({Capability.IMMUTABLE} if immutable else set())
        self.files: Files = low.files
        self.machine: Machine = low.machine
        self.images: ImageTool = low.images
        self._low = low
        xl = Xl(low.runner)
        remembered = Remembered(low.files, root)
        kept = Userdata(low.files, userdata, low.machine)
        domains = XenDomains(xl, low.files, remembered, kept)
        self._domains = domains
        blocks = XenBlocks(low.connector, low.machine, files=low.files, images=low.images)
        self.blocks: BlockLayer = blocks
        starts = Starts(
            xl,
            domains,
            supervisor=low.supervisor,
            blocks=blocks,
            connector=low.connector,
            files=low.files,
            images=low.images,
            machine=low.machine,
            root=root,
            logs=logs,
        )
        self.toolstack: Toolstack = XenToolstack(
            xl,
            domains,
            remembered=remembered,
            userdata=kept,
            starts=starts,
            supervisor=low.supervisor,
            watchers=Watchers(low.files, low.daemons, logs),
            receivers=low.receivers,
            images=low.images,
            files=low.files,
            machine=low.machine,
        )
        self.agent: GuestAgent | None = None
        self.hooks: Hooks | None = None

    async def learn(self, domain_config: str, *, remember: bool) -> None:
        """Hear of a domain from the file that its operator starts it from; see `XenDomains.learn`."""
        await self._domains.learn(domain_config, remember=remember)

    async def gather(self, *work: Awaitable[Any]) -> list[Any]:
        """See `Hypervisor.gather`."""
        return await self._low.gather(*work)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """See `Hypervisor.run`."""
        return self._low.run(work)  # type: ignore[no-any-return]


def this_machine(*, root: str = ROOT, name: str = "xen") -> XenHost:
    """The Xen host that this runs on.

    Args:
        root: absolute directory of the snapshot store; the images' file system decides about their immutable flag, and
            the directory that holds the root stands for it here.
        name: as the user chose it.
    """
    files = LocalFiles(sleep)
    machine = LocalMachine()
    runner = LocalRunner(files.held)
    supervisor = LocalSupervisor(runner)
    low = Low(
        runner=runner,
        connector=SocketConnector(_monitor),
        files=files,
        machine=machine,
        images=QemuImg(runner, machine),
        supervisor=supervisor,
        daemons=LocalDaemons(supervisor, root),
        receivers=LocalReceivers(runner),
        gather=waiting.gather,
        run=waiting.run,
    )
    return XenHost(low, root=root, name=name, immutable=can_flag(os.path.dirname(root)))


async def _monitor(domain: Domain) -> str | None:
    """The second monitor of a domain's QEMU: xl waits for whoever holds the first, and fails (4.17.7, HVM)."""
    return None if domain.domid is None else os.path.join(MONITORS, f"qmp-libxenstat-{domain.domid}")
