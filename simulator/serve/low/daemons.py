"""Who watches a domain, an xl that needs more than a command line, and the receiver of a live stream."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import msgspec

from simulator.ports.children import Child, xl
from simulator.ports.seat import Seat
from simulator.serve.low import effects, kept
from simulator.world import World, life
from simulator.world.life import XlError
from simulator.world.programs import SUSPENDED_AT, UNWRITTEN, Migrate
from xensnap.errors import Failed, XensnapError
from xensnap.hypervisor import Completed, Files, Runner

replace = msgspec.structs.replace

_PIPE = "/dev/fd/63"


class SimulatedDaemons:
    """The watchers of all domains as processes."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat

    async def is_watcher(self, pid: int, log: str) -> bool:
        """Whether this process watches a domain and writes into this log."""
        return any(each.watcher == pid and f"{kept.LOGS}/{each.log}" == log for each in self._seat.world.xen)

    async def stop(self, pid: int) -> int:
        """SIGSTOP. No pid is ever that of a second process here."""
        if not any(each.watcher == pid for each in self._seat.world.xen):
            raise Failed(f"cannot stop the xl that watches the guest (pid {pid}): No such process")
        await self._seat.change(effects.STOPPED, str(pid), lambda world: (_stopping(world, pid, stopped=True), None))
        return pid

    async def go_on(self, pid: int, started: int) -> None:
        """SIGCONT: it acts on what it finds."""
        if not any(each.watcher == started for each in self._seat.world.xen):
            return

        def continued(world: World) -> tuple[World, None]:
            return life.watchers_looked(_stopping(world, pid, stopped=False)), None

        await self._seat.change(effects.CONTINUED, str(pid), continued)

    async def stand_in(self, domid: int, uuid: str, log: str) -> None:
        """A program of ours, which outlives us."""
        del uuid, log
        await self._seat.change(effects.STOOD_IN, str(domid), lambda world: (life.stood_in(world, domid), None))


def _stopping(world: World, pid: int, *, stopped: bool) -> World:
    for each in world.xen:
        if each.watcher == pid:
            return replace(world, xen=world.xen.putting(replace(each, stopped=stopped)))
    return world


class Feed(Protocol):
    """What a program reads as its input: `head`, then the file from byte `skip` on."""

    @property
    def head(self) -> bytes:
        """What comes first."""

    @property
    def file(self) -> str:
        """The path of the file."""

    @property
    def skip(self) -> int:
        """How many of its bytes are left out."""


class SimulatedSupervisor:
    """Runs an xl with the input that it needs. What stays behind of it holds no lock here in any case.

    Args:
        runner: runs xl.
        files: have what it is fed with.
    """

    def __init__(self, runner: Runner, files: Files) -> None:
        self._runner = runner
        self._files = files

    async def start(self, argv: Sequence[str], *, feed: Feed | None = None, timeout_s: float) -> Completed:
        """Run an xl that leaves a daemon and a QEMU behind."""
        stdin = feed.head + (await self._files.read(feed.file))[feed.skip :] if feed else b""
        return await self._runner.run(argv, stdin=stdin, timeout_s=timeout_s)

    async def revive(self, argv: Sequence[str], *, timeout_s: float) -> Completed:
        """Run this `xl save` into a pipe whose reader leaves early."""
        return await self._runner.run([*argv, _PIPE], timeout_s=timeout_s)


class SimulatedReceivers:
    """Takes live streams: they are in the file when they are complete."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat

    def receive(self, to: str, domid: int, program: str) -> AbstractAsyncContextManager["SimulatedStream"]:
        """Let xl send the memory of a domain into this file. Leaving lets go."""
        del program
        return self._receive(to, domid)

    @asynccontextmanager
    async def _receive(self, to: str, domid: int) -> AsyncIterator["SimulatedStream"]:
        stream = SimulatedStream(self._seat, Migrate(domid, to))
        try:
            yield stream
        finally:
            await stream.let_go()


class SimulatedStream:
    """One migration, as far as its receiver lets it come."""

    def __init__(self, seat: Seat, program: Migrate) -> None:
        self._seat = seat
        self._program = program
        self._child = Child(seat)
        self._over: Completed | None = None

    async def complete(self) -> None:
        """Return when all is in the file and the guest is suspended."""
        try:
            spawn = xl(self._program, self._seat.pid)
            await self._child.run(effects.MIGRATE, str(self._program.domid), spawn, steps=SUSPENDED_AT)
        except XlError as error:
            self._over = self._ended(error.words)
            raise Failed(error.words, id="save-failed" if UNWRITTEN in error.words else "stream-broken") from None
        except XensnapError as error:
            self._over = self._ended(error.cause)
            raise Failed(error.cause, id="stream-broken") from error

    async def let_go(self) -> Completed:
        """Xl resumes the guest where it is. Harmless to repeat."""
        if self._over is None:
            self._over = self._ended("Migration failed, resuming at sender.")
            if self._child.pid:
                await self._child.run(effects.REFUSED, str(self._program.domid), None)
        return self._over

    def _ended(self, words: str) -> Completed:
        return Completed(("xl", "migrate", str(self._program.domid)), 1, b"", words.encode())
