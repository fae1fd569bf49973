"""An operation that dies at every effect: of its process, of what it has started, of the whole host."""

from collections.abc import Callable, Iterable

import msgspec

from simulator import (
    CrashPoint,
    Orphans,
    SimulatedHost,
    Unsynced,
    World,
    after_engine_crash,
    after_host_crash,
    crash_points,
)

Operation = Callable[[SimulatedHost], object]
Check = Callable[[SimulatedHost], object]


class Death(msgspec.Struct, frozen=True):
    """One way to die, at the world as it is at that instant."""

    name: str
    orphans: Orphans | None = None
    unsynced: Unsynced | None = None
    seed: int = 0

    def of(self, world: World) -> World:
        """The world after it."""
        if self.unsynced is not None:
            return after_host_crash(world, self.unsynced, self.seed)
        return after_engine_crash(world, self.orphans or Orphans.FINISH)


ENGINE_DEATHS = (
    Death("the process dies, its children finish", orphans=Orphans.FINISH),
    Death("the process dies, its children go on", orphans=Orphans.RUNNING),
    Death("the process dies with its children", orphans=Orphans.KILLED),
)
HOST_DEATHS = (
    Death("the power fails, what was not synced is lost", unsynced=Unsynced.LOST),
    Death("the power fails, everything written is kept", unsynced=Unsynced.KEPT),
    Death("the power fails, some of what was not synced is kept", unsynced=Unsynced.MIXED, seed=1),
)
EVERY_DEATH = (*ENGINE_DEATHS, *HOST_DEATHS)


class BadRecovery(AssertionError):
    """A death after which something was not as it must be. Says which, so that it can be tried again alone."""

    def __init__(self, point: CrashPoint, death: Death, error: BaseException) -> None:
        super().__init__(f"at {point.effect} (number {point.number}, {point.cut}): {death.name}: {error}")
        self.point = point
        self.death = death


def crash_everywhere(
    host: SimulatedHost, operate: Operation, check: Check, *, deaths: Iterable[Death] = EVERY_DEATH
) -> int:
    """Let `operate` die at every effect, in every way, and let `check` look at what is left.

    Args:
        host: the world to start from; it is not changed.
        operate: does something through the ports of the host that it is given.
        check: brings the host that it is given to an end (`Engine(host).recover(…)`, say) and raises what is wrong.
        deaths: the ways.

    Returns:
        How many deaths were tried.

    Raises:
        BadRecovery: `check` has raised an error; it names effect and death.
        AssertionError: the operation has no effect at all, so that nothing would be tested.
    """
    running = host.fork()
    with running.recording():
        operate(running)
    points = crash_points(running)
    assert points, "the operation has no effect at which it could die"
    tried = 0
    for point in points:
        for death in deaths:
            after = SimulatedHost(death.of(point.world))
            try:
                check(after)
            except Exception as error:
                raise BadRecovery(point, death, error) from error
            tried += 1
    return tried
