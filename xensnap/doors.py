"""The real Xen host's code over a simulated machine: what a dom0 runs, run on every machine.

`DoorHost` is a simulated host whose ports are those of `backends/xen`. They stand on simulated programs, files and
monitors: xl and qemu-img by their command lines, an unmodified `qemu.qmp` client on the deterministic loop, and save
files, logs and libxl's own configurations as bytes. Everything that a test may do to a `SimulatedHost` it may do here.
"""

# ruff: noqa: PTH118 -- paths are text in the model

import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

import msgspec

from simulator import SimulatedHost, World
from simulator.ports import reading
from simulator.ports.machine import SimulatedMachine
from simulator.ports.seat import Cell, Seat
from simulator.ports.toolstack import looked_up
from simulator.serve import programs
from simulator.serve.ended import Ended
from simulator.serve.low import effects, kept
from simulator.serve.low.daemons import SimulatedDaemons, SimulatedReceivers, SimulatedSupervisor
from simulator.serve.low.files import XenFiles
from simulator.serve.low.kept_seat import KeptMachine, KeptSeat
from simulator.serve.low.leases import SimulatedLeases
from simulator.serve.low.runner import SimulatedRunner
from simulator.serve.sockets import Worlds
from simulator.serve.virtual import VirtualMonitors, socket_path
from xensnap.backends.local import waiting
from xensnap.backends.local.gate import Gate
from xensnap.backends.local.machine import sleep
from xensnap.backends.local.qemu_img import QemuImg
from xensnap.backends.local.qmp import SocketConnector
from xensnap.backends.local.runner import LocalRunner
from xensnap.backends.xen.host import ROOT, Low, XenHost
from xensnap.backends.xen.live import Receivers, Stream
from xensnap.backends.xen.receiving import LocalReceivers
from xensnap.errors import Failed
from xensnap.hypervisor import Completed, MonitorConnector, Runner
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
        self._monitors: VirtualMonitors | None = None
        connector = SocketConnector(_monitor, self._dial)
        low = low_of(self._seat, SimulatedRunner(self._seat), connector, run=self.run)
        self.xen = XenHost(low, root=self.root, name=self.name, immutable=True)
        self.capabilities = self.xen.capabilities
        self.toolstack, self.blocks, self.images = self.xen.toolstack, self.xen.blocks, self.xen.images
        self.files, self.machine = self.xen.files, self.xen.machine
        self.agent, self.hooks = self.xen.agent, self.xen.hooks

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


@contextmanager
def kept_host(worlds: Worlds, *, sockets: str, root: str | None = None) -> Iterator[XenHost]:
    """The real Xen host's code on a world that lasts: by executables on PATH, and by monitors on UNIX sockets.

    Args:
        worlds: where the world is kept, which others change, too.
        sockets: the directory of the monitors' sockets.
        root: of the snapshot store, if not the usual one.
    """
    with worlds.changing() as cell:
        # A process of ours that was killed is still in the world, and holds its locks there.
        for process in cell.world.processes.values():
            if process.engine and not _lives(process.command.rpartition(" ")[2]):
                cell.world = cell.world.ended(process.pid)
        cell.world, pid = cell.world.started(f"xensnap {os.getpid()}", engine=True)
    seat = KeptSeat(worlds, pid, sleep)

    async def where(domain: Domain) -> str | None:
        return None if domain.domid is None else os.path.join(sockets, f"qmp-libxenstat-{domain.domid}")

    runner = _KeptRunner(seat)
    low = low_of(seat, runner, SocketConnector(where), run=waiting.run, machine=KeptMachine(seat))
    low = replace(low, receivers=_Receivers(seat, LocalReceivers(runner)))
    try:
        yield XenHost(low, immutable=True, **({"root": root} if root else {}))
    finally:
        with worlds.changing() as cell:
            cell.world = kept.reconciled(cell.world.ended(pid), root or ROOT)


class _KeptRunner(LocalRunner):
    """Runs the programs on PATH, but for those that would look for the world's files among this machine's own."""

    def __init__(self, seat: Seat) -> None:
        super().__init__()
        self._seat = seat

    async def run(self, argv: Sequence[str], **how: Any) -> Completed:
        """See `Runner.run`."""
        if argv[0] not in _OF_THE_MACHINE:
            return await super().run(argv, **how)

        def ended(world: World) -> tuple[World, Ended]:
            end = programs.run(world, argv)
            return end.world, end

        end = await self._seat.change(effects.of_program(argv), " ".join(argv[1:]), ended)
        out, err = (text.encode("utf-8", "surrogateescape") for text in (end.stdout, end.stderr))
        return Completed(tuple(argv), end.returncode, out, err)


class _Receivers:
    """Takes live streams as a dom0 does, from the xl on PATH; what has come is then put into the world's own file."""

    def __init__(self, seat: Seat, receivers: Receivers) -> None:
        self._seat = seat
        self._receivers = receivers

    def receive(self, to: str, domid: int, program: str) -> AbstractAsyncContextManager[Stream]:
        """See `Receivers.receive`."""
        return self._receive(to, domid, program)

    @asynccontextmanager
    async def _receive(self, to: str, domid: int, program: str) -> AsyncIterator[Stream]:
        with tempfile.NamedTemporaryFile(prefix="xensnap-") as file:
            async with self._receivers.receive(file.name, domid, program) as stream:
                yield _Stream(self._seat, stream, file, to)


class _Stream:
    """One of these streams."""

    def __init__(self, seat: Seat, stream: Stream, come: IO[bytes], to: str) -> None:
        self._seat = seat
        self._stream = stream
        self._come = come
        self._to = to

    async def complete(self) -> None:
        """See `Stream.complete`."""
        await self._stream.complete()
        data = self._come.read()
        try:
            await self._seat.alter(effects.MIGRATE, self._to, lambda fs: fs.update(self._to, lambda _: data))
        except OSError as error:
            raise Failed(f"{self._to}: {error.strerror}", id="stream-broken") from error

    async def let_go(self) -> Completed:
        """See `Stream.let_go`."""
        return await self._stream.let_go()


_OF_THE_MACHINE = frozenset({"cmp", "cp"})
"""What a shell on this PATH means its own files by."""


def _lives(pid: str) -> bool:
    """Whether a process runs. One that was killed keeps its place until its parent takes note, and init may be slow."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


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
