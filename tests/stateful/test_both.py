"""The same sequences on the simulator and on real images: contents, snapshot tables, chains and refusals are equal."""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import invariant

from tests.stateful.benches import DOMAIN, Bench, RealBench, SimBench
from tests.stateful.machine import SnapshotMachine


class TemporaryRealBench(RealBench):
    def __init__(self) -> None:
        self._place = tempfile.TemporaryDirectory(prefix="xensnap-")
        super().__init__(Path(self._place.name))

    def close(self) -> None:
        self._place.cleanup()


OPERATION = re.compile(r"(?<=given-up-)[0-9a-f]{12}")
"""Of the revert that has given it up, and drawn by chance."""


class OnBoth(SnapshotMachine):
    @staticmethod
    def make_benches() -> Iterator[Bench]:
        yield SimBench()
        yield TemporaryRealBench()

    @invariant()
    def chains_and_tables_are_equal(self) -> None:
        if self.now:
            simulated, real = (_shape(bench) for bench in self.benches)
            assert simulated == real


def _shape(bench: Bench) -> list[Any]:
    """The chains and snapshot tables of a bench, without what names and clocks make different."""
    view = bench.engine.view(DOMAIN)
    return [
        [
            (
                image.layer.format,
                image.virtual_size_bytes,
                [(s.id, OPERATION.sub("", s.tag), s.disk_size_bytes) for s in image.snapshots],
            )
            for image in disk.chain or ()
        ]
        for disk in view.disks
    ]


TestOnBoth = pytest.mark.usefixtures("qemu_img")(OnBoth.TestCase)
TestOnBoth.settings = settings(
    max_examples=12,
    stateful_step_count=15,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # shrinking is the simulator's job, at its speed
)
