"""Two workbenches for the same lives of a guest: a simulated HVM domain, and a real QEMU with our boot sector in it.

Both can tell at any time whether the guest's memory and its disks are of one moment, in their own ways: the simulated
guest has a page cache and a number on every write, the real one counts in memory and on its disks and compares.
"""

import subprocess
import tempfile
from pathlib import Path
from typing import Any, Protocol

from simulator import SimulatedHost
from simulator.checkers import guests
from tests.real.qemu.conftest import Lab
from xensnap.conformance.places.boot_guest import REPORTS_UNTIL_NOTICED, SECTOR_BYTES, sector_of
from xensnap.engine.engine import Engine
from xensnap.model import Disk, DomainUuid, Format, Layer, RunState

DOMAIN = "guest"
UUID = DomainUuid("5c84adcc-bd59-488a-96d2-195f9b599cfe")
SIZE_BYTES = 1 << 20
ROUNDS = 16
"""How many sectors of each disk the real guest writes to, one a round."""

Seen = Any
"""What a bench can tell of a moment; it is only ever given back to the same bench."""


class GuestBench(Protocol):
    """A domain with two disks that can run."""

    engine: Engine

    def work(self) -> None:
        """The running guest does something that changes its memory and both disks."""

    def seen(self) -> Seen:
        """The moment that the guest is in: a checkpoint brings back this one, or one a little later."""

    def is_back(self, moment: Seen, after: Seen, *, memory: bool) -> None:
        """The guest is where it was between these two; with `memory` it remembers, else only its disks tell."""

    def agrees(self) -> None:
        """The guest's memory and its disks are of one moment, and its disks of one another's."""

    def close(self) -> None:
        """End everything."""


class SimulatedGuest:
    """On the simulator."""

    def __init__(self, formats: tuple[Format, ...], seed: int) -> None:
        self.sim = SimulatedHost.fresh(seed)
        self.engine = Engine(self.sim)
        layers = [
            self.sim.create_image(f"/images/{number}.{form}", form, SIZE_BYTES) for number, form in enumerate(formats)
        ]
        disks = [Disk(f"xvd{'ab'[at]}", layer.path, layer.format) for at, layer in enumerate(layers)]
        self.sim.add_domain(DOMAIN, UUID, disks, kind="hvm")
        self._writes = 0

    def work(self) -> None:
        for vdev in ("xvda", "xvdb"):
            self._writes += 1
            at = self._writes % ROUNDS * (64 << 10)
            self.sim.guest_writes(DOMAIN, vdev, at, 4096, flush=self._writes % 3 == 0)
        self.sim.run(self.sim.machine.sleep(0.01))

    def seen(self) -> Seen:
        if self._off():
            return 0, self.sim.visible(DOMAIN), self.sim.visible(DOMAIN)
        return self.sim.memory(DOMAIN).counter, self.sim.guest_sees(DOMAIN), self.sim.running_disks(DOMAIN)

    def is_back(self, moment: Seen, after: Seen, *, memory: bool) -> None:
        counter, sees, _ = self.seen()
        if memory:
            # Nothing is written but by `work`, so what the guest sees is exact.
            assert sees == moment[1]
            assert counter >= moment[0]
        else:
            assert sees == moment[2]

    def agrees(self) -> None:
        assert not [*guests.torn(self.sim.world)]

    def close(self) -> None:
        """Nothing is left of it."""

    def _off(self) -> bool:
        return self.sim.run(self.sim.toolstack.inspect(DOMAIN)).state is RunState.OFF


class RealGuest:
    """On QEMU. What a guest that runs remembers is what it says; what one that is off had is on its disks."""

    def __init__(self, formats: tuple[Format, ...]) -> None:
        self._place = tempfile.TemporaryDirectory(prefix="xensnap-")
        self.lab = Lab(Path(self._place.name))
        self.engine = Engine(self.lab.host)
        self.uuid = self.lab.describe(DOMAIN, xvda=formats[0].value, xvdb=formats[1].value)

    def work(self) -> None:
        self.lab.heard(self._domain())

    def seen(self) -> Seen:
        state = self._domain().state
        if state is RunState.OFF:
            return None, self._sectors()
        if state is RunState.RUNNING:
            self.lab.heard(self._domain(), reports=1)
        said = self.lab.said(self._domain())
        return (said[-1][0] if said else 0), None

    def is_back(self, moment: Seen, after: Seen, *, memory: bool) -> None:
        state = self._domain().state
        if memory and state is RunState.RUNNING:
            self.lab.heard(self._domain(), reports=1)
            first = self.lab.said(self._domain())[0][0]
            # Where the guest did not run afterwards its disks tell how far it had come, or else its last words do.
            until = after[0] if after[0] is not None else max(map(max, after[1]))
            # It speaks every fourth round, and what it is about to say when it is stopped is never said in full.
            assert moment[0] <= first <= until + 8
        elif state is RunState.OFF and moment[1] is not None:
            assert self._sectors() == moment[1]

    def agrees(self) -> None:
        state = self._domain().state
        if state is RunState.RUNNING:
            self.lab.heard(self._domain(), reports=REPORTS_UNTIL_NOTICED)
        elif state is RunState.OFF:
            # The guest writes a round to one disk and then to the other.
            first, second = self._sectors()
            assert sum(one != other for one, other in zip(first, second, strict=True)) <= 1

    def close(self) -> None:
        self.lab.close()
        self._place.cleanup()

    def _domain(self) -> Any:
        return self.lab.run(self.lab.toolstack.inspect(DOMAIN))

    def _sectors(self) -> tuple[tuple[int, ...], ...]:
        return tuple(_numbers(disk.layer) for disk in self._domain().disks)


def _numbers(layer: Layer) -> tuple[int, ...]:
    """What stands in each sector that the real guest writes to."""
    places = [f"read -v {sector_of(n) * SECTOR_BYTES} 4" for n in range(ROUNDS)]
    words = [word for place in places for word in ("-c", place)]
    argv = ["qemu-io", "-r", "-f", layer.format.value, *words, layer.path]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    lines = [line.split(":")[1].split()[:4] for line in done.stdout.splitlines() if line[:8].isalnum() and ":" in line]
    assert len(lines) == ROUNDS, done.stdout
    return tuple(int.from_bytes(bytes.fromhex("".join(line)), "little") for line in lines)
