"""Running what takes several steps: each is a place where something can come between, or where a death leaves it."""

from collections.abc import Callable

from simulator.core.effects import Effect
from simulator.ports.seat import GIVE_WAY, Seat
from simulator.qemu.points import QmpError
from simulator.world import World
from simulator.world.life import XlError
from simulator.world.programs import XlProgram
from xensnap.errors import XensnapError

Spawn = Callable[[World], tuple[World, int]]


class Child:
    """A program at work for a port; `pid` is its number."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self.pid = 0

    async def run(self, effect: Effect, subject: str, spawn: Spawn | None, *, steps: int | None = None) -> None:
        """Start it, or go on with it, until it has ended or done so many more steps. Errors are the program's own.

        A fault in the middle is the child's death. Not so when our process is dropped here: then it is an orphan.
        """
        seat, cell = self._seat, self._seat.cell
        await seat.begin(effect, subject)
        if spawn is not None:
            cell.world, self.pid = spawn(cell.world)
        pid = self.pid
        try:
            done = 0
            while not cell.world.at_end(pid) and done != steps:
                if cell.watch is not None:
                    cell.watch.halfway(effect, cell)
                cell.world = cell.world.advanced(pid)
                done += 1
                await GIVE_WAY
        except XlError as error:
            cell.world = (error.world or cell.world).ended(pid)
            raise
        except XensnapError:
            # QEMU is not ours to kill: it does what it was told to, and only its answer is lost.
            while pid not in cell.world.processes and not cell.world.at_end(pid):
                cell.world = cell.world.advanced(pid)
            cell.world = cell.world.ended(pid)
            raise
        except QmpError:
            cell.world = cell.world.ended(pid)
            raise
        if cell.world.at_end(pid):
            cell.world = cell.world.ended(pid)
        cell.world = cell.world.counted()
        if cell.watch is not None:
            cell.watch.happened(effect, cell)

    def kill(self) -> None:
        """It dies where it is."""
        self._seat.cell.world = self._seat.world.ended(self.pid)


def xl(program: XlProgram, parent: int) -> Spawn:
    """How this xl is started."""
    return lambda world: world.xl_spawned(program, parent=parent)
