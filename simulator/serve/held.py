"""A world in memory that several threads work on: who sits at the ports, and who serves programs and monitors."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from simulator.core.effects import Effect
from simulator.disk.filesystem import FileSystem
from simulator.ports.seat import GIVE_WAY, Cell, Change, Partial, Seat
from simulator.serve.ended import Ended, Told
from simulator.serve.low.runner import SimulatedRunner
from simulator.serve.sockets import Worlds
from simulator.world import World
from xensnap.hypervisor import drive

T = TypeVar("T")


class HeldCell(Cell):
    """A cell with a lock: whoever changes the world has it meanwhile."""

    __slots__ = ("lock",)

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.lock = threading.RLock()


class HeldWorlds:
    """The `Worlds` of such a cell, for one of those who work on it."""

    def __init__(self, cell: HeldCell) -> None:
        self._cell = cell
        self._seen: World | None = None

    @contextmanager
    def changing(self) -> Iterator[Cell]:
        """See `Worlds.changing`."""
        with self._cell.lock:
            try:
                yield self._cell
            finally:
                self._seen = self._cell.world

    def changed(self) -> bool:
        """See `Worlds.changed`."""
        return self._cell.world is not self._seen


class HeldSeat(Seat):
    """One process of such a world. Each effect has the world for itself.

    Args:
        cell: where the world is.
        pid: the process.
    """

    __slots__ = ("_lock",)

    def __init__(self, cell: HeldCell, pid: int) -> None:
        super().__init__(cell, pid)
        self._lock = cell.lock

    async def look(self, effect: Effect, subject: str = "") -> World:
        """As `Seat.look`."""
        await GIVE_WAY
        with self._lock:
            return drive(super().look(effect, subject))

    async def wait(self, ns: int) -> None:
        """As `Seat.wait`."""
        await GIVE_WAY
        with self._lock:
            drive(super().wait(ns))

    async def change(self, effect: Effect, subject: str, change: Change[T], partials: tuple[Partial, ...] = ()) -> T:
        """As `Seat.change`."""
        await GIVE_WAY
        with self._lock:
            return drive(super().change(effect, subject, change, partials))

    async def alter(
        self,
        effect: Effect,
        subject: str,
        change: Callable[[FileSystem], FileSystem],
        partials: tuple[Callable[[FileSystem], FileSystem], ...] = (),
    ) -> None:
        """As `Seat.alter`."""
        await GIVE_WAY
        with self._lock:
            drive(super().alter(effect, subject, change, partials))


def step_by_step(worlds: Worlds, argv: Sequence[str], told: Told) -> Ended:
    """Run a program as a child of whoever has started it, which can be seen, fail and die at each of its steps."""
    with worlds.changing() as cell:
        done = drive(SimulatedRunner(Seat(cell, told.parent)).run(argv, stdin=told.stdin))
        out, err = (data.decode("utf-8", "surrogateescape") for data in (done.stdout, done.stderr))
        return Ended(cell.world, done.returncode, out, err)
