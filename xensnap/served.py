"""The real Xen host's code over a simulated machine, through executables on a PATH and monitors on UNIX sockets.

What comes between the code and the world is real: processes that are started and waited for, the program between us and
an xl that needs one, the receiver of a live stream, and QMP connections of an unmodified `qemu.qmp` client. Files are
the world's own.
"""

# ruff: noqa: PLC0415, PTH118 -- asyncio loads when it is used; paths are text in the model

import atexit
import os
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

import msgspec

from simulator import NotModelled, World
from simulator.ports.machine import SimulatedMachine
from simulator.ports.seat import Cell, Seat
from simulator.serve import programs
from simulator.serve.doorway import Doorway
from simulator.serve.ended import Ended
from simulator.serve.held import HeldCell, HeldSeat, HeldWorlds, step_by_step
from simulator.serve.low import effects, kept
from simulator.serve.low.kept_seat import KeptMachine, KeptSeat
from simulator.serve.sockets import Worlds
from simulator.serve.tool_server import PARENT
from xensnap.backends.local import waiting
from xensnap.backends.local.machine import sleep
from xensnap.backends.local.qmp import SocketConnector
from xensnap.backends.local.runner import LocalRunner
from xensnap.backends.xen.host import ROOT, Low, XenHost
from xensnap.backends.xen.live import Receivers, Stream
from xensnap.backends.xen.receiving import LocalReceivers
from xensnap.backends.xen.supervisor import Feed, LocalSupervisor, Supervisor
from xensnap.doors import DoorHost, low_of
from xensnap.errors import Failed
from xensnap.hypervisor import Completed, Files, Runner
from xensnap.model import Domain

T = TypeVar("T")

replace = msgspec.structs.replace

PASSED: Counter[str] = Counter()
"""How often something has come through the doors of a `ServedHost` of this process, by what it was."""

_OPEN_MAX = 8


class ServedHost(DoorHost):
    """A simulated host that is worked on through the code of a real one, by processes and sockets.

    Its doors open when something first comes through them, and `shut` closes them; they open again when they are
    needed. The world's time goes by what is done in it, and real time by how long processes take.
    """

    def _sit(self, cell: Cell, pid: int) -> None:
        super()._sit(cell if isinstance(cell, HeldCell) else HeldCell(cell.world), pid)

    def _low(self) -> Low:
        assert isinstance(self._cell, HeldCell)
        self._seat = HeldSeat(self._cell, self.pid)
        doors = _Doors(self._cell, self.pid)
        return _through(self._seat, LocalRunner(environment=doors.environment), doors.monitor, run=self.run)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """As `DoorHost.run`. What is not modelled is raised, whatever was made of a tool or a monitor that failed."""
        try:
            return super().run(work)
        finally:
            doorway = _open.get(self._cell)
            if doorway is not None and doorway.refused:
                words = "; ".join(doorway.refused)
                doorway.refused.clear()
                raise NotModelled(words)

    def _looped(self, work: Coroutine[Any, Any, T]) -> T:
        import asyncio

        try:
            return asyncio.run(work)
        finally:
            _settle(self._cell)


class _Doors:
    """What one process needs to come to its world."""

    def __init__(self, cell: HeldCell, pid: int) -> None:
        self._cell = cell
        self._pid = pid

    def environment(self) -> Mapping[str, str]:
        """What a program must be told to find the executables, and they their world."""
        PASSED["programs"] += 1
        path = os.pathsep.join([str(_doorway(self._cell).tools), os.environ.get("PATH", os.defpath)])
        return {"PATH": path, PARENT: str(self._pid)}

    async def monitor(self, domain: Domain) -> str | None:
        """The socket of a domain's monitor."""
        if domain.domid is None:
            return None
        PASSED["connections to monitors"] += 1
        return os.path.join(_doorway(self._cell).sockets, f"qmp-libxenstat-{domain.domid}")


_open: dict[Cell, Doorway] = {}


def _doorway(cell: HeldCell) -> Doorway:
    """The doorway of a world. Where there are many worlds, only those stand open that were used last."""
    if cell not in _open:
        for other in list(_open)[: 1 - _OPEN_MAX]:
            _open.pop(other).close()
        names = (*programs.NAMES, *_OF_THE_MACHINE)
        _open[cell] = Doorway(lambda: HeldWorlds(cell), names=names, runs=step_by_step, unattended=False)
    return _open[cell]


def _settle(cell: Cell) -> None:
    if cell in _open:
        _open[cell].settle()


@atexit.register
def shut() -> None:
    """Close the doors of every `ServedHost` of this process."""
    while _open:
        _open.popitem()[1].close()


@contextmanager
def kept_host(worlds: Worlds, *, sockets: str, root: str | None = None) -> Iterator[XenHost]:
    """The real Xen host's code on a world that lasts in a directory, where the doors stand open already.

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
    low = _through(seat, runner, where, run=waiting.run, machine=KeptMachine(seat))
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


def _through(
    seat: Seat,
    runner: Runner,
    where: Callable[[Domain], Awaitable[str | None]],
    *,
    run: Any,
    machine: SimulatedMachine | None = None,
) -> Low:
    """What a Xen host stands on where processes and sockets are real; as `low_of`."""
    low = low_of(seat, runner, SocketConnector(where), run=run, machine=machine)
    supervisor, receivers = LocalSupervisor(runner), LocalReceivers(runner)
    return replace(low, supervisor=_Supervisor(low.files, supervisor), receivers=_Receivers(seat, receivers))


class _Supervisor:
    """Starts xl as a dom0 does. What it is fed with is brought out of the world before."""

    def __init__(self, files: Files, supervisor: Supervisor) -> None:
        self._files = files
        self._supervisor = supervisor

    async def start(self, argv: Sequence[str], *, feed: Feed | None = None, timeout_s: float) -> Completed:
        """See `Supervisor.start`."""
        if feed is None:
            return await self._supervisor.start(argv, timeout_s=timeout_s)
        with tempfile.NamedTemporaryFile(prefix="xensnap-") as file:
            file.write(await self._files.read(feed.file))
            file.flush()
            return await self._supervisor.start(argv, feed=replace(feed, file=file.name), timeout_s=timeout_s)

    async def revive(self, argv: Sequence[str], *, timeout_s: float) -> Completed:
        """See `Supervisor.revive`."""
        return await self._supervisor.revive(argv, timeout_s=timeout_s)


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
            raise Failed(f"{self._to}: {error.strerror}", id="save-failed") from error

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
