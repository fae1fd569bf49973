"""Where a process of the host sits: the one mutable cell, and the passage that every effect goes through.

Each port call yields once before it acts, so that a scheduler can come between. `Watch` is what can look at and meddle
with effects; while there is none, a call costs a few microseconds.
"""

from collections.abc import Callable, Generator
from typing import Protocol, TypeVar

import msgspec

from simulator.core.effects import Effect
from simulator.disk.filesystem import FileSystem
from simulator.world import World, life

T = TypeVar("T")

replace = msgspec.structs.replace

EFFECT_NS = 200_000
"""How long an effect takes that is no tool: about what an fsync took where it was measured."""

Change = Callable[[World], tuple[World, T]]
Partial = Callable[[World], World]


class _Yield:
    """Awaiting this gives way once."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        yield


GIVE_WAY = _Yield()


class Watch(Protocol):
    """What sees every effect. Each method may raise instead, which is how an effect fails."""

    def begins(self, effect: Effect, subject: str, cell: "Cell", partials: tuple[Partial, ...], pid: int) -> None:
        """An effect is about to happen; `partials` make the worlds in which it happened only partly."""

    def halfway(self, effect: Effect, cell: "Cell") -> None:
        """A child has done one step of the effect under way, and not the last."""

    def happened(self, effect: Effect, cell: "Cell") -> None:
        """It has happened, and its caller does not know yet."""


class Cell:
    """Holds the world of one host. All processes of that host share the cell; a fork has a cell of its own."""

    __slots__ = ("watch", "world")

    def __init__(self, world: World) -> None:
        self.world = world
        self.watch: Watch | None = None


class Seat:
    """One process at its host."""

    __slots__ = ("cell", "pid")

    def __init__(self, cell: Cell, pid: int) -> None:
        self.cell = cell
        self.pid = pid

    @property
    def world(self) -> World:
        """The world as it is now."""
        return self.cell.world

    async def look(self, effect: Effect, subject: str = "") -> World:
        """Pass through an effect that changes nothing, and get the world to look at."""
        await GIVE_WAY
        if self.cell.watch is not None:
            self.cell.watch.begins(effect, subject, self.cell, (), self.pid)
        return self.cell.world

    async def wait(self, ns: int) -> None:
        """Let time pass in which others go on."""
        await GIVE_WAY
        self.cell.world = self.cell.world.slept(ns)

    async def begin(self, effect: Effect, subject: str) -> None:
        """Pass into an effect that is a child's work of several steps."""
        await GIVE_WAY
        cell = self.cell
        if cell.world.busy:
            cell.world = life.lived(cell.world)
        if cell.watch is not None:
            cell.watch.begins(effect, subject, cell, (), self.pid)

    async def change(self, effect: Effect, subject: str, change: Change[T], partials: tuple[Partial, ...] = ()) -> T:
        """Pass through an effect that changes the world."""
        await GIVE_WAY
        cell = self.cell
        if cell.world.busy:
            cell.world = life.lived(cell.world)
        if cell.watch is not None:
            cell.watch.begins(effect, subject, cell, partials, self.pid)
        world, result = change(cell.world)
        cell.world = replace(world, clock=world.clock.after(EFFECT_NS), effects=world.effects + 1)
        if cell.watch is not None:
            cell.watch.happened(effect, cell)
        return result

    async def alter(
        self,
        effect: Effect,
        subject: str,
        change: Callable[[FileSystem], FileSystem],
        partials: tuple[Callable[[FileSystem], FileSystem], ...] = (),
    ) -> None:
        """Pass through an effect on the file system."""
        await GIVE_WAY
        cell = self.cell
        if cell.world.busy:
            cell.world = life.lived(cell.world)
        if cell.watch is not None:
            cell.watch.begins(effect, subject, cell, tuple(map(lifted, partials)), self.pid)
        world = cell.world
        fs = change(world.fs)
        cell.world = replace(world, fs=fs, clock=world.clock.after(EFFECT_NS), effects=world.effects + 1)
        if cell.watch is not None:
            cell.watch.happened(effect, cell)


def lifted(change: Callable[[FileSystem], FileSystem]) -> Partial:
    """A change of the files as one of the world."""
    return lambda world: replace(world, fs=change(world.fs))
