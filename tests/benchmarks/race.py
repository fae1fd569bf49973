"""Several ways to do one thing, measured in turn, so that a busy machine is equally unkind to all of them.

pytest-benchmark measures one test after the other, and a neighbour's load may come between. Here the first test of a
group measures all sides of it, round by round; each test then hands its own times to pytest-benchmark, whose table
shows the sides under each other. No time is ever a reason to fail.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

from pytest_benchmark.fixture import BenchmarkFixture


def nothing() -> None:
    """What stands before and after a round that needs no preparation."""


@dataclass(frozen=True)
class Side:
    """One way to do the thing.

    Attributes:
        run: what is measured; with `clocked` it returns the seconds that it took, by its own clock.
        before: done before each round, not measured.
        after: done after each round, not measured.
        times: how often it runs in one round; for what takes microseconds.
    """

    run: Callable[[], Any]
    before: Callable[[], Any] = nothing
    after: Callable[[], Any] = nothing
    times: int = 1
    clocked: bool = False

    def measured(self) -> float:
        """Seconds of one run, in one round."""
        self.before()
        started = perf_counter()
        taken = 0.0
        for _ in range(self.times):
            returned = self.run()
            if self.clocked:
                taken += returned
        if not self.clocked:
            taken = perf_counter() - started
        self.after()
        return taken / self.times


@dataclass(frozen=True)
class Goal:
    """What is hoped for: `top` over `bottom`, both names of sides, is at most or at least so much.

    Without `bottom` it is the number of runs of `top` in a second. With `scale` it is the exponent of the growth from
    `bottom` to `top`, where `top` has that many times as much to do.
    """

    id: str
    says: str
    top: str
    bottom: str = ""
    at_most: float | None = None
    at_least: float | None = None
    scale: float = 0.0


Sides = dict[str, Side]


class Replay:
    """A clock that tells times which were measured before."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._now = 0.0
        self._running = False

    def load(self, times: list[float]) -> None:
        """Tell these, one a round."""
        self._times = list(times)

    def __call__(self) -> float:
        """Called by pytest-benchmark at the beginning and at the end of each round."""
        if self._running:
            self._now += self._times.pop(0)
        self._running = not self._running
        return self._now


MEASURED: dict[str, dict[str, list[float]]] = {}
"""The times of each side of each group of this run."""


class Race:
    """The fixture `race` of one test: which side it is, and where its times go."""

    def __init__(self, benchmark: BenchmarkFixture, replay: Replay, side: str) -> None:
        self._benchmark = benchmark
        self._replay = replay
        self._side = side
        self.resources = ExitStack()

    @property
    def smoke(self) -> bool:
        """Nothing is measured, each side is only tried once: take less of everything."""
        return bool(self._benchmark.disabled)

    def upto(self, number: int) -> int:
        """So many, but only a few where nothing is measured."""
        return min(number, 4) if self.smoke else number

    def __call__(
        self, group: str, sides: Callable[[], Sides], *, rounds: int = 15, goals: tuple[Goal, ...] = ()
    ) -> None:
        """Measure all sides in turn, unless that is done already, and report the one of this test.

        Args:
            group: a name for what all sides do.
            sides: makes them; what it needs is closed by `resources`.
            rounds: how often each is measured, after one round that does not count.
            goals: what is hoped for.
        """
        if self.smoke:
            self._benchmark.pedantic(sides()[self._side].measured)
            return
        if group not in MEASURED:
            MEASURED[group] = _measured(sides(), rounds)
        times = MEASURED[group][self._side]
        self._replay.load(times)
        self._benchmark.group = group
        self._benchmark.extra_info.update(side=self._side, goals=[asdict(goal) for goal in goals])
        self._benchmark.pedantic(nothing, rounds=len(times))


def _measured(sides: Sides, rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    for number in range(rounds + 1):
        # Each side is the first as often as any other: whoever comes after a program that has filled the caches loses.
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            took = sides[name].measured()
            if number:
                times[name].append(took)
    return times
