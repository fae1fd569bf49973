"""G11: what share of a Hypothesis stateful run is ours, and what is Hypothesis's own."""

from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.benchmarks.race import Goal, Race, Side, Sides
from tests.stateful.benches import SimBench
from tests.stateful.machine import SnapshotMachine

WHOLE, OPERATIONS, LOOKING = "whole run", "operations of engine and simulator", "their answers to the checks"
DOING = ("create", "revert", "delete", "apply", "add_disk", "make_domain", "write", "resize")
ASKING = ("view", "plan", "list", "content", "kept", "files", "check")


class Stopwatch:
    """Adds up the time within some calls; calls within calls count once."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {OPERATIONS: 0.0, LOOKING: 0.0}
        self._running = False

    def around(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, timed."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            if self._running:
                return function(*args, **kwargs)
            self._running = True
            started = perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[part] += perf_counter() - started
                self._running = False

        return timed


def timed_run(examples: int) -> dict[str, float]:
    """One run of the state machine, and where its time went."""
    watch = Stopwatch()

    def bench() -> SimBench:
        made = SimBench()
        for owner in (made, made.engine):
            for part, names in ((OPERATIONS, DOING), (LOOKING, ASKING)):
                for name in names:
                    if hasattr(owner, name):
                        setattr(owner, name, watch.around(part, getattr(owner, name)))
        return made

    class Timed(SnapshotMachine):
        @staticmethod
        def make_benches() -> Iterator[SimBench]:
            yield bench()

    chosen = settings(
        max_examples=examples,
        stateful_step_count=30,
        database=None,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    started = perf_counter()
    run_state_machine_as_test(Timed, settings=chosen)
    return {WHOLE: perf_counter() - started, **watch.seconds}


@pytest.mark.parametrize("side", [WHOLE, OPERATIONS, LOOKING])
def test_share_of_the_body(race: Race, side: str) -> None:
    def sides() -> Sides:
        run: dict[str, float] = {}

        def whole() -> float:
            run.update(timed_run(2 if race.smoke else 25))
            return run[WHOLE]

        # The parts are those of the last whole run, so that all of a round are of the same one.
        return {
            WHOLE: Side(whole, clocked=True),
            OPERATIONS: Side(lambda: run.get(OPERATIONS) or timed_run(2)[OPERATIONS], clocked=True),
            LOOKING: Side(lambda: run.get(LOOKING) or timed_run(2)[LOOKING], clocked=True),
        }

    goals = (
        Goal("G11", "share of the operations in a stateful run", OPERATIONS, WHOLE, at_most=0.30),
        Goal("G11", "share of what the checks ask of engine and simulator", LOOKING, WHOLE, at_most=0.30),
    )
    race("stateful run", sides, rounds=5, goals=goals)
