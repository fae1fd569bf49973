"""The `Runner` of a simulated host: programs by their names, each a process of the host that can die at any step."""

from collections.abc import Callable, Sequence

from simulator.core.effects import Effect
from simulator.core.numerals import whole
from simulator.core.unmodelled import NotModelled
from simulator.ports.children import Child
from simulator.ports.seat import Partial, Seat
from simulator.serve import programs
from simulator.serve.ended import Ended, Hangs, Told, Working
from simulator.serve.low import effects, stepped
from simulator.serve.xl import run as xl
from simulator.tools.img.run import run as qemu_img
from simulator.tools.qemu_img import Program, ToolError
from simulator.world import World, life
from simulator.world.life import XlError
from xensnap.errors import Unknown, XensnapError
from xensnap.hypervisor import Completed

_KILLED = -9


class SimulatedRunner:
    """Runs what a real backend runs, on the world of a seat."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout_s: float | None = None,
        heard: Callable[[bytes], None] | None = None,
    ) -> Completed:
        """See `Runner.run`. What ends takes no longer here than anybody waits, and nothing can be listened to.

        A fault is an end as of a real program: a killed one where something was done, else an error of its own.
        """
        del heard
        effect, told = effects.of_program(argv), Told(stdin=stdin)
        try:
            if argv[0] == "xl" and argv[1:2]:
                ended = await self._xl(effect, argv, told)
            else:
                ended = await self._other(effect, argv, told)
        except Hangs as never:
            if timeout_s is None:
                raise NotModelled(f"{never}, for which somebody waits for ever") from None
            await self._seat.wait(int(timeout_s * 10**9))
            cause = f"{argv[0]} did not end within {timeout_s} s and was killed"
            raise Unknown(cause, id="timed-out") from None
        except XensnapError as error:
            known = str(getattr(error, "effect", ""))
            words = f"{argv[0]}: {error.cause}\n".encode()
            return Completed(tuple(argv), 1 if known == "none" else _KILLED, b"", words)
        out, err = ended.stdout.encode("utf-8", "surrogateescape"), ended.stderr.encode("utf-8", "surrogateescape")
        return Completed(tuple(argv), ended.returncode, out, err)

    # --- xl ----------------------------------------------------------------------------------------------------------

    async def _xl(self, effect: Effect, argv: Sequence[str], told: Told) -> Ended:
        if argv[1] not in _STEPPED:
            return await self._at_once(effect, argv, told)
        seat, working = self._seat, list[Working]()

        def spawned(world: World) -> tuple[World, int]:
            begin = xl.begun(programs.later(world), argv[1:], told)
            if isinstance(begin, Ended):
                raise _Over(begin)
            working.append(begin)
            return begin.world.xl_spawned(begin.program, parent=seat.pid)

        child = Child(seat)
        try:
            await child.run(effect, " ".join(argv[2:]), spawned)
        except _Over as over:
            seat.cell.world = over.ended.world
            return over.ended
        except XlError as error:
            ended = xl.finished(working[0], seat.world, error)
            seat.cell.world = ended.world.ended(child.pid)
            return ended
        ended = xl.finished(working[0], seat.world)
        seat.cell.world = ended.world
        return ended

    # --- others ------------------------------------------------------------------------------------------------------

    async def _other(self, effect: Effect, argv: Sequence[str], told: Told) -> Ended:
        if argv[0] == "qemu-img" and effect.writes:
            done = qemu_img(self._seat.world.fs, argv[1:], now_ns=self._seat.world.clock.now_ns)
            program = stepped.program_of(self._seat.world.fs, argv[1:]) if not done.returncode else None
            if program is not None:
                return await self._stepped(effect, program, Ended(self._seat.world, 0, done.stdout, done.stderr))
        return await self._at_once(effect, argv, told)

    async def _stepped(self, effect: Effect, program: Program, well: Ended) -> Ended:
        """A qemu-img at work. Where it ends well, what it says is known before."""
        seat = self._seat
        child = Child(seat)
        try:
            await child.run(
                effect, program.written, lambda world: programs.later(world).spawned(program, parent=seat.pid)
            )
        except ToolError as error:
            left = seat.world if error.fs is None else seat.world.with_fs(error.fs)
            seat.cell.world = left.ended(child.pid)
            return Ended(seat.world, 1, "", f"{error.words}\n")
        return well

    async def _at_once(self, effect: Effect, argv: Sequence[str], told: Told) -> Ended:
        seat, subject = self._seat, " ".join(argv[1:])
        if not effect.writes:
            await seat.look(effect, subject)
            ended = programs.run(seat.world, argv, told)
            seat.cell.world = ended.world
            return ended

        def changed(world: World) -> tuple[World, Ended]:
            ended = programs.run(world, argv, told)
            return ended.world, ended

        halves = (_dying(argv[2]),) if tuple(argv[:2]) == ("xl", "destroy") else ()
        return await seat.change(effect, subject, changed, halves)


_STEPPED = frozenset({"create", "restore", "save"})


class _Over(Exception):
    """A program ends before its first step."""

    def __init__(self, ended: Ended) -> None:
        super().__init__(ended.stderr)
        self.ended = ended


def _dying(domid: str) -> Partial:
    """A domain that is ending: nothing executes, and QEMU still has its images open."""

    def halfway(world: World) -> World:
        number = whole(domid) if domid.isdigit() else 0
        return life.dying(world, number) if number in world.xen.there else world

    return halfway
