"""The guest of the demonstration: what it writes, what its disks hold, and whether that came back."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from xensnap import hosts
from xensnap.engine.engine import Engine, Recovered
from xensnap.engine.request import CreateRequest, RevertRequest

if TYPE_CHECKING:
    from xensnap.hosts import CrashPoint, Memory, SimulatedHost

DOMAIN = "guest1"
DISKS = (("xvda", "qcow2", 16 << 20), ("xvdb", "raw", 8 << 20))
BLOCK = 4096
SECTOR = 512

Content = Mapping[str, tuple[tuple[int, ...], ...]]
"""Each disk as its blocks, each block as the numbers of the writes that filled it, 0 for zeros."""


@dataclass(frozen=True, slots=True)
class Compared:
    """How many blocks of all disks there are, and how many hold the very same."""

    equal: int
    total: int

    @property
    def all_equal(self) -> bool:
        """Nothing differs, and something was compared."""
        return self.equal == self.total > 0


@dataclass(slots=True)
class DemoWorld:
    """A simulated host with one domain of two disks, and what the demonstration remembers of them."""

    seed: int
    host: "SimulatedHost" = field(init=False)
    taken: dict[str, Content] = field(default_factory=dict)
    """What the disks held when each snapshot was taken, kept apart from everything that the engine knows."""
    _dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)  # noqa: S311 -- a run must be repeatable
        self.host = hosts.import_simulator().SimulatedHost.fresh(self.seed)
        disks = {vdev: f"/images/{DOMAIN}-{vdev}.{layout}" for vdev, layout, _ in DISKS}
        for vdev, layout, size_bytes in DISKS:
            self.host.create_image(disks[vdev], layout, size_bytes)
        self.host.add_domain(DOMAIN, disks=disks)

    @property
    def engine(self) -> Engine:
        """The engine, on the host as it is now."""
        return Engine(self.host)

    def write(self, count: int) -> None:
        """A minute of what a guest does: writes of 4 KiB to 256 KiB, anywhere on its disks."""
        self.host.run(self.host.machine.sleep(60))
        for _ in range(count):
            vdev, _, size_bytes = self._dice.choice(DISKS)
            length = self._dice.choice((1, 2, 4, 16, 64)) * BLOCK
            self.host.write(DOMAIN, vdev, self._dice.randrange((size_bytes - length) // BLOCK) * BLOCK, length)

    def content(self) -> Content:
        """What the guest would read now, block by block."""
        return {vdev: _blocks(*seen) for vdev, seen in self.host.visible(DOMAIN).items()}

    def guest_works(self, count: int) -> None:
        """The guest that runs writes as above, into its page cache; half of it reaches a disk at once."""
        self.host.run(self.host.machine.sleep(60))
        for _ in range(count):
            vdev, _, size_bytes = self._dice.choice(DISKS)
            length = self._dice.choice((1, 2, 4, 16, 64)) * BLOCK
            offset = self._dice.randrange((size_bytes - length) // BLOCK) * BLOCK
            self.host.guest_writes(DOMAIN, vdev, offset, length, flush=self._dice.random() < 0.5)

    def guest_reads(self) -> Content:
        """What the guest that runs reads from its disks, through its page cache, block by block."""
        return {vdev: _blocks(*seen) for vdev, seen in self.host.guest_sees(DOMAIN).items()}

    @property
    def memory(self) -> "Memory":
        """All that the guest remembers now."""
        return self.host.memory(DOMAIN)

    @property
    def unflushed_bytes(self) -> int:
        """How much the guest has written that is on no disk yet."""
        return sum((end - start) * SECTOR for cache in self.memory.caches for start, end, _ in cache.dirty)

    def compared(self, before: Content, now: Content | None = None) -> Compared:
        """What the disks hold now, or what somebody reads, beside what was there then."""
        now = self.content() if now is None else now
        pairs = [pair for vdev in before for pair in zip(before[vdev], now[vdev], strict=True)]
        return Compared(sum(old == new for old, new in pairs), len(pairs))

    def gives_back(self, name: str) -> Compared:
        """Whether a snapshot still gives back what was there when it was taken, tried on a fork of this world."""
        fork = DemoWorld.__new__(DemoWorld)
        fork.host = self.host.fork()
        Engine(fork.host).revert(DOMAIN, RevertRequest(name))
        return fork.compared(self.taken[name])

    def crash_in_create(self, name: str) -> "tuple[CrashPoint, int, int]":
        """Take a snapshot on a fork, and go on where its engine died at one of its effects, drawn at random.

        Only deaths in the middle count: with the intent written down and the end not. Returns where it died, and how
        many effects and how many such deaths there are.
        """
        simulator = hosts.import_simulator()
        fork = self.host.fork()
        with fork.recording():
            Engine(fork).create(DOMAIN, CreateRequest(name))
        points = simulator.crash_points(fork)
        middle = [point for point in points if self._died(point, "finish").list(DOMAIN).pending]
        point: CrashPoint = self._dice.choice(middle)
        self.host = self._died(point, self._dice.choice(("finish", "killed"))).host  # type: ignore[assignment]
        return point, max(each.number for each in points), len(middle)

    def _died(self, point: "CrashPoint", children: str) -> Engine:
        simulator = hosts.import_simulator()
        return Engine(simulator.SimulatedHost(simulator.after_engine_crash(point.world, children)))

    def recover(self) -> Recovered | None:
        """Do what `xensnap recover` does."""
        return self.engine.recover(DOMAIN)

    def findings(self) -> list[str]:
        """What a judge that shares no code with the engine finds wrong with the images."""
        unclean = hosts.import_simulator("simulator.checkers.leaks").unclean
        return [str(finding) for finding in unclean(self.host.world.fs)]


def _blocks(size_bytes: int, runs: tuple[tuple[int, int, int], ...]) -> tuple[tuple[int, ...], ...]:
    sectors = [0] * (size_bytes // SECTOR)
    for start, end, number in runs:
        sectors[start:end] = [number] * (end - start)
    step = BLOCK // SECTOR
    return tuple(tuple(sectors[at : at + step]) for at in range(0, len(sectors), step))
