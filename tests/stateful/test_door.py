"""The state machine over the real Xen host's code on a simulated machine, and beside the simulator's own ports."""

from collections.abc import Iterator

from hypothesis import HealthCheck, settings

from tests.deep import EXHAUSTIVE
from tests.stateful.benches import SimBench
from tests.stateful.machine import SnapshotMachine
from xensnap.doors import DoorHost


class ByBothDoors(SnapshotMachine):
    @staticmethod
    def make_benches() -> Iterator[SimBench]:
        yield SimBench()
        yield SimBench(kind=DoorHost)


TestByBothDoors = ByBothDoors.TestCase
TestByBothDoors.settings = settings(
    max_examples=500 if EXHAUSTIVE else 12, stateful_step_count=15, suppress_health_check=list(HealthCheck)
)
