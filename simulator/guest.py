"""What runs inside a domain: memory that changes as time passes, and writes that go through a page cache.

Memory is a small frozen value, and a save file carries exactly that value. Whoever brings it back over disks of
another moment has a guest whose cache and disks disagree, as an old memory over a newer disk has.
"""

from enum import StrEnum

import msgspec

from simulator.disk.content import Run, clip, over

replace = msgspec.structs.replace

TICK_NS = 100_000
"""How long a running guest needs to count one further."""


class Cache(msgspec.Struct, frozen=True):
    """The page cache of one disk: all that the guest has written since it booted, and what of it is on no disk yet."""

    vdev: str
    held: tuple[Run, ...] = ()
    dirty: tuple[Run, ...] = ()


class Writer(msgspec.Struct, frozen=True):
    """A program in the guest that never rests: at each turn it writes so many sectors, round and round in a range."""

    vdev: str
    start: int
    end: int
    sectors: int
    at: int = 0

    def turned(self) -> "Writer":
        """The same program after a turn."""
        at = self.at + self.sectors
        return replace(self, at=0 if self.start + at + self.sectors > self.end else at)


class Memory(msgspec.Struct, frozen=True):
    """All that a guest remembers.

    Attributes:
        boot: the number of this boot, unique in a world.
        counter: grows while the guest runs.
        latest: the number of the last write that can be on its disks: its own, or one from before it booted.
        io_errors: requests that its disks have refused.
    """

    boot: int = 0
    counter: int = 0
    latest: int = 0
    caches: tuple[Cache, ...] = ()
    io_errors: int = 0
    writers: tuple[Writer, ...] = ()

    def cache(self, vdev: str) -> Cache:
        """What is cached of a disk."""
        return next((cache for cache in self.caches if cache.vdev == vdev), Cache(vdev))

    def caching(self, cache: Cache) -> "Memory":
        """The memory with this in the place of what was cached of the disk."""
        others = (other for other in self.caches if other.vdev != cache.vdev)
        return replace(self, caches=tuple(sorted((*others, cache), key=lambda each: each.vdev)))

    def written(self, vdev: str, run: Run) -> "Memory":
        """A write that has reached the cache only."""
        cache = self.cache(vdev)
        after = self.caching(Cache(vdev, tuple(over([run], [*cache.held])), tuple(over([run], [*cache.dirty]))))
        return replace(after, latest=run[2])

    def flushed(self, vdev: str) -> "Memory":
        """All of this disk's cache is on the disk."""
        return self.caching(replace(self.cache(vdev), dirty=()))

    def refused(self) -> "Memory":
        """A disk has answered with an error; what should have been written stays in the cache."""
        return replace(self, io_errors=self.io_errors + 1)


class AgentManner(StrEnum):
    """How the agent in a guest behaves when it is asked to freeze the file systems."""

    ANSWERS = "answers"
    ABSENT = "absent"
    """Nothing answers, not even whether it is there."""
    FAILING = "failing"
    """It cannot freeze, and says so."""
    SLOW = "slow"
    """It freezes when nobody waits for it any more."""
    SHORT = "short"
    """It freezes, and the guest thaws by itself at once, as Windows does after ten seconds."""
    HANGS = "hangs"
    """It freezes, and answers nothing from then on."""


class Guest(msgspec.Struct, frozen=True):
    """A guest in a domain: what it remembers, and since when it has been running.

    Attributes:
        since_ns: since when it runs, on the monotonic clock; negative while it stands still.
        answers: whether it does what it is asked, such as to suspend itself or to shut down.
        agent: how its agent behaves.
        frozen: whether its file systems are frozen, so that nothing gets out of its page cache.
    """

    memory: Memory
    since_ns: int = -1
    answers: bool = True
    agent: AgentManner = AgentManner.ANSWERS
    frozen: bool = False

    @property
    def runs(self) -> bool:
        """Whether it executes anything."""
        return self.since_ns >= 0

    def at(self, ns: int) -> Memory:
        """What it remembers at this time."""
        ticks = (ns - self.since_ns) // TICK_NS if self.runs else 0
        return replace(self.memory, counter=self.memory.counter + ticks) if ticks else self.memory

    def stopped(self, ns: int) -> "Guest":
        """It executes nothing any more."""
        return replace(self, memory=self.at(ns), since_ns=-1)

    def going(self, ns: int) -> "Guest":
        """It runs from now on."""
        return self if self.runs else replace(self, since_ns=ns)

    def remembering(self, memory: Memory, ns: int) -> "Guest":
        """It has done something; this is what it remembers now."""
        return replace(self, memory=memory, since_ns=ns if self.runs else -1)


def shown(cache: Cache, below: tuple[Run, ...]) -> tuple[Run, ...]:
    """What the guest reads from a disk: its cache over what the disk shows."""
    return tuple(run for run in over([*cache.held], [*below]) if run[2])


def mismatches(memory: Memory, vdev: str, below: tuple[Run, ...]) -> tuple[Run, ...]:
    """What a disk should not show, by what the guest remembers: other than it has put there, or newer than it knows."""
    wrong = [run for run in below if run[2] > memory.latest]
    cache = memory.cache(vdev)
    clean = _without(cache.held, cache.dirty)
    for low, high, write_id in clean:
        there = over(clip(below, low, high), [(low, high, 0)])
        wrong += [run for run in there if run[2] != write_id and run not in wrong]
    return tuple(wrong)


def _without(runs: tuple[Run, ...], others: tuple[Run, ...]) -> list[Run]:
    left: list[Run] = []
    for low, high, write_id in runs:
        at = low
        for start, end, _ in clip(others, low, high):
            if at < start:
                left.append((at, start, write_id))
            at = end
        if at < high:
            left.append((at, high, write_id))
    return left
