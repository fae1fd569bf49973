"""The real Xen host's code over a simulated machine: what a dom0 runs, run on every machine.

`DoorHost` is a simulated host whose ports are those of `backends/xen`. They stand on simulated programs, files and
monitors: xl and qemu-img by their command lines, an unmodified `qemu.qmp` client on the deterministic loop, and save
files, logs and libxl's own configurations as bytes. Everything that a test may do to a `SimulatedHost` it may do here.
"""

from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

import msgspec

from simulator import NotModelled, SimulatedHost, World
from simulator.ports import reading
from simulator.ports.machine import SimulatedMachine
from simulator.ports.seat import Cell, Seat
from simulator.ports.toolstack import looked_up
from simulator.serve.low import kept
from simulator.serve.low.daemons import SimulatedDaemons, SimulatedReceivers, SimulatedSupervisor
from simulator.serve.low.files import XenFiles
from simulator.serve.low.leases import SimulatedLeases
from simulator.serve.low.runner import SimulatedRunner
from simulator.serve.virtual import VirtualMonitors, socket_path
from xensnap.backends.local import waiting
from xensnap.backends.local.gate import Gate
from xensnap.backends.local.qemu_img import QemuImg
from xensnap.backends.local.qmp import SocketConnector
from xensnap.backends.xen.host import Low, XenHost
from xensnap.hypervisor import MonitorConnector, Runner
from xensnap.model import Domain

T = TypeVar("T")

replace = msgspec.structs.replace


def door_host(world: World) -> "DoorHost":
    """The real Xen host's code over this world, as one more process in it."""
    return DoorHost(world)


class DoorHost(SimulatedHost):
    """A simulated host that is worked on through the code of a real one, in one process and in virtual time."""

    def _sit(self, cell: Cell, pid: int) -> None:
        super()._sit(cell, pid)
        cell.world = kept.reconciled(cell.world, self.root)
        self.xen = XenHost(self._low(), root=self.root, name=self.name, immutable=True)
        self.capabilities = self.xen.capabilities
        self.toolstack, self.blocks, self.images = self.xen.toolstack, self.xen.blocks, self.xen.images
        self.files, self.machine = self.xen.files, self.xen.machine
        self.agent, self.hooks = self.xen.agent, self.xen.hooks

    def _low(self) -> Low:
        """The machine that the code of the real host works on."""
        self._monitors: VirtualMonitors | None = None
        return low_of(self._seat, SimulatedRunner(self._seat), SocketConnector(_monitor, self._dial), run=self.run)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run one coroutine to its end; from where it first connects to a monitor, in a loop of virtual time."""
        try:
            return waiting.run(work, self._looped)
        finally:
            self._cell.world = kept.reconciled(self.world, self.root)

    def _looped(self, work: Coroutine[Any, Any, T]) -> T:
        self._monitors = VirtualMonitors(self._cell)
        try:
            return self._monitors.loop.run_until_complete(work)
        except NotModelled:
            self._monitors.abandon()
            raise
        finally:
            self._monitors.close()
            self._monitors = None

    async def _dial(self, path: str, deadline: float) -> str:
        assert self._monitors is not None
        return await self._monitors.dial(path, deadline)

    async def gather(self, *work: Awaitable[Any]) -> list[Any]:
        """Side by side where somebody waits for a monitor, else one after the other."""
        return await waiting.gather(*work)

    def _describe(self, world: World, ref: str) -> None:
        """Of a domain that is off, nobody but its store knows which disks it has."""
        super()._describe(world, ref)
        domain = looked_up(self.world, ref)
        if domain.domid is None:
            self._cell.world = kept.remembering(self.world, self.root, domain)


def low_of(
    seat: Seat, runner: Runner, connector: MonitorConnector, *, run: Any, machine: SimulatedMachine | None = None
) -> Low:
    """What a Xen host stands on, where its files are simulated.

    Args:
        seat: the process that works, in its world.
        runner: runs programs, simulated ones or executables.
        connector: reaches monitors, on the virtual loop or on sockets.
        run: brings what drives the waiting.
        machine: another than the seat's own.
    """
    files, machine = XenFiles(seat), machine or SimulatedMachine(seat)

    def read(how: Any) -> Any:
        return lambda layer, *more: how(seat.world.fs, layer, *more)

    images = QemuImg(
        runner,
        machine,
        gate=Gate(machine, SimulatedLeases(seat)),
        read=read(reading.read_image),
        read_through=read(reading.read_chain),
        read_holds_data=read(reading.read_holds_data),
        read_is_at=read(reading.read_is_at),
        read_extents=read(reading.read_extents),
        read_end_of_counts=lambda _: 0,  # a simulated image counts nothing beyond its end
    )
    return Low(
        runner=runner,
        connector=connector,
        files=files,
        machine=machine,
        images=images,
        supervisor=SimulatedSupervisor(runner, files),
        daemons=SimulatedDaemons(seat),
        receivers=SimulatedReceivers(seat),
        gather=waiting.gather,
        run=run,
    )


async def _monitor(domain: Domain) -> str | None:
    return None if domain.domid is None else socket_path("libxenstat", domain.domid)
