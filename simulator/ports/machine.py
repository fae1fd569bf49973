"""The `Machine` port over a world: a clock that moves with effects and sleep, and the processes there are."""

import msgspec

from simulator.core.effects import declare
from simulator.ports.seat import Seat
from simulator.world import World
from xensnap.hypervisor import Identity, Opener

_NOW = declare("machine.now", "the wall clock is read", writes=False)
_MONOTONIC = declare("machine.monotonic", "the monotonic clock is read", writes=False)
_SLEEP = declare("machine.sleep", "time passes, and orphans go on", writes=True)
_FRESH_ID = declare("machine.fresh-id", "an unused UUID is drawn", writes=True)
_WHOAMI = declare("machine.whoami", "the process asks who it is", writes=False)
_OPENERS = declare("machine.openers", "the processes that have a file open are looked for", writes=False)


class SimulatedMachine:
    """The machine as one of its processes sees it."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat

    async def now_ns(self) -> int:
        """Wall clock."""
        return (await self._seat.look(_NOW)).clock.now_ns

    async def monotonic_ns(self) -> int:
        """Monotonic clock."""
        return (await self._seat.look(_MONOTONIC)).clock.monotonic_ns

    async def sleep(self, seconds: float) -> None:
        """Nobody waits: time jumps, and what is pending goes on meanwhile."""
        await self._seat.change(_SLEEP, f"{seconds} s", lambda world: (world.slept(int(seconds * 1e9)), None))

    async def fresh_id(self) -> str:
        """A UUID from the world's own generator."""

        def drawn(world: World) -> tuple[World, str]:
            rng, uuid = world.rng.uuid()
            return msgspec.structs.replace(world, rng=rng), uuid

        return await self._seat.change(_FRESH_ID, "", drawn)

    async def whoami(self) -> Identity:
        """Our pid on this boot."""
        world = await self._seat.look(_WHOAMI)
        return Identity(self._seat.pid, world.boot_id, "root")

    async def openers(self, path: str) -> tuple[Opener, ...]:
        """The other processes that have the file open."""
        world = await self._seat.look(_OPENERS, path)
        return openers(world, path, but=self._seat.pid)


def openers(world: World, path: str, *, but: int = 0) -> tuple[Opener, ...]:
    """Who has the file under this name open, by inode; one line per process."""
    number = world.fs.find(path)
    found: dict[int, bool] = {}
    for entry in world.fs.opens.get(number, ()) if number is not None else ():
        if entry.pid != but:
            found[entry.pid] = found.get(entry.pid, False) or entry.writing
    for pid in world.fs.locks.get(number, ()) if number is not None else ():
        if pid != but:
            found[pid] = True
    return tuple(Opener(pid, _command(world, pid), writing) for pid, writing in found.items())


def _command(world: World, pid: int) -> str:
    process = world.processes.get(pid)
    return process.command if process else "?"
