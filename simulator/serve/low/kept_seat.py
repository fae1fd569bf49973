"""A seat at a world that lasts in a directory, where other programs change it between any two effects of ours."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from simulator.core.effects import Effect
from simulator.disk.filesystem import FileSystem
from simulator.ports.machine import SimulatedMachine
from simulator.ports.seat import EFFECT_NS, GIVE_WAY, Change, Partial, Seat, lifted
from simulator.serve.sockets import Worlds
from simulator.world import World

T = TypeVar("T")

replace = msgspec.structs.replace

_WAIT_S_MAX = 0.05
"""What others at the world are given of each wait of ours; its clock moves by all of it."""


class KeptSeat(Seat):
    """One process of such a world. Each effect has the world for itself, and is in it for others to see at once.

    Args:
        worlds: where the world is kept.
        pid: the process, which is in the world already.
        sleep: lets real time pass.
    """

    __slots__ = ("_sleep", "_worlds")

    def __init__(self, worlds: Worlds, pid: int, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._worlds = worlds
        self._sleep = sleep
        self.pid = pid

    @property
    def world(self) -> World:
        """The world as others have left it."""
        with self._worlds.changing() as cell:
            return cell.world

    async def look(self, effect: Effect, subject: str = "") -> World:
        """As `Seat.look`."""
        del effect, subject
        await GIVE_WAY
        return self.world

    async def change(self, effect: Effect, subject: str, change: Change[T], partials: tuple[Partial, ...] = ()) -> T:
        """As `Seat.change`. Nothing comes between: whoever wants to see half of an effect does not work on sockets."""
        del effect, subject, partials
        await GIVE_WAY
        with self._worlds.changing() as cell:
            world, result = change(cell.world)
            cell.world = replace(world, clock=world.clock.after(EFFECT_NS), effects=world.effects + 1)
            return result

    async def alter(
        self,
        effect: Effect,
        subject: str,
        change: Callable[[FileSystem], FileSystem],
        partials: tuple[Callable[[FileSystem], FileSystem], ...] = (),
    ) -> None:
        """As `Seat.alter`."""
        del partials
        changed = lifted(change)
        await self.change(effect, subject, lambda world: (changed(world), None))

    async def wait(self, ns: int) -> None:
        """As `Seat.wait`, and others get a little of real time."""
        await self._sleep(min(ns / 1e9, _WAIT_S_MAX))
        with self._worlds.changing() as cell:
            cell.world = cell.world.slept(ns)


class KeptMachine(SimulatedMachine):
    """The machine of such a world."""

    async def sleep(self, seconds: float) -> None:
        """As `Machine.sleep`, in the time of the world."""
        await self._seat.wait(int(seconds * 1e9))
