"""The state machine on the simulated host: many examples, shrunk when they fail."""

from collections.abc import Iterator

from hypothesis import HealthCheck, settings

from tests.stateful.benches import SimBench
from tests.stateful.machine import SnapshotMachine


class OnTheSimulator(SnapshotMachine):
    @staticmethod
    def make_benches() -> Iterator[SimBench]:
        yield SimBench()


TestOnTheSimulator = OnTheSimulator.TestCase
TestOnTheSimulator.settings = settings(
    max_examples=150, stateful_step_count=30, suppress_health_check=list(HealthCheck)
)
