"""Engine processes on one host, stepped effect by effect in any order, and what may come of it.

What is promised of several at once (design 5.6): the host ends as if they had gone one after the other, or some were
told that the domain is busy and by whom. So the oracle is the same operations one after the other, in every order, and
with any of them left out. What an operator does by hand at one of their effects has its place in that order, too.
"""

import random
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from simulator import SimulatedHost
from simulator.core.effects import Effect
from tests.crash.harness import GUEST, held_by, nothing_is_left, truth
from xensnap.engine.engine import AsyncEngine, Engine
from xensnap.engine.records import Store
from xensnap.errors import Busy, XensnapError
from xensnap.hypervisor import drive

SCHEDULES: Counter[str] = Counter()
"""How many schedules were tried, by what was interleaved."""

DONE = "done"
LOCKED = "locked"
Work = Coroutine[Any, Any, object]
AsyncOperation = Callable[[AsyncEngine], Work]
Look = Callable[[SimulatedHost], object]


@dataclass(frozen=True)
class Ending:
    """How each of the operations ended, `done` or by the id of its error, and what became of the host."""

    outcomes: tuple[str, ...]
    truth: Any


async def outcome(work: Work) -> str:
    """How an operation ends."""
    try:
        await work
    except Busy as error:
        return error.id if "process" in error.cause else "locked by nobody knows whom"
    except XensnapError as error:
        return error.id
    return DONE


def interleave(works: Sequence[Work], turns: Iterable[int]) -> tuple[str, ...]:
    """Step coroutines from effect to effect until all have ended.

    Args:
        works: what goes on at the same time.
        turns: how many effects each may do before the next has its turn; when they are used up, one each.
    """
    waiting = dict(enumerate(map(outcome, works)))
    ended: dict[int, str] = {}
    lengths = iter(turns)
    turn = 0
    while waiting:
        index = turn % len(works)
        turn += 1
        for _ in range(next(lengths, 1)):
            if index not in waiting:
                break
            try:
                waiting[index].send(None)
            except StopIteration as stop:
                ended[index] = stop.value
                del waiting[index]
    return tuple(ended[index] for index in range(len(works)))


def nothing_left(host: SimulatedHost) -> object:
    """The truth of a domain that is off, of which nothing is left open or over."""
    view = Engine(host).view(GUEST)
    assert not view.pending, view.pending
    nothing_is_left(host, view, "several at once")
    return truth(host)


def at_once(
    host: SimulatedHost,
    group: Sequence[AsyncOperation],
    turns: Iterable[int],
    *,
    wait_s: float,
    look: Look = nothing_left,
    beside: Callable[[SimulatedHost], object] = id,
) -> Ending:
    """All operations, each by a process of its own on a fork of the host, in this order of turns.

    `beside` gets the fork before anything begins, and can let something happen there meanwhile.
    """
    first = host.fork()
    beside(first)
    processes = (first, *(first.another() for _ in group[1:]))
    works = [operation(AsyncEngine(each, wait_s=wait_s)) for operation, each in zip(group, processes, strict=True)]
    SCHEDULES[f"{len(group)} processes"] += 1
    return Ending(interleave(works, turns), look(first))


def one_after_the_other(
    host: SimulatedHost, group: Sequence[AsyncOperation], order: Sequence[int], *, look: Look = nothing_left
) -> Ending:
    """The operations of `order` on a fork of the host; those that are not in it were told that the domain is busy."""
    alone = host.fork()
    outcomes = [LOCKED] * len(group)
    for index in order:
        outcomes[index] = drive(outcome(group[index](AsyncEngine(alone))))
    return Ending(tuple(outcomes), look(alone))


def orders(count: int, *, waiting: bool) -> Iterator[tuple[int, ...]]:
    """Every order of all of them; without waiting, also of any that are left. Somebody always has the lock."""
    for length in (count,) if waiting else range(1, count + 1):
        yield from permutations(range(count), length)


def allowed(
    host: SimulatedHost, group: Sequence[AsyncOperation], *, waiting: bool, look: Look = nothing_left
) -> list[Ending]:
    """Every ending that operations at once may have; who waits is never told that the domain is busy."""
    return [one_after_the_other(host, group, order, look=look) for order in orders(len(group), waiting=waiting)]


TO_ITS_END = 1 << 20
Turns = tuple[int, ...]


def judge_interleavings(
    host: SimulatedHost, pair: Sequence[AsyncOperation], turns: Iterable[Turns], *, look: Look = nothing_left
) -> int:
    """Let two operations take these turns; how many were tried.

    Args:
        host: what they start from.
        pair: the two.
        turns: `every_preemption` or `some_preemptions`.
        look: what is seen of the host in the end.
    """
    endings = allowed(host, pair, waiting=False, look=look)
    tried = 0
    for each in turns:
        found = at_once(host, pair, each, wait_s=0, look=look)
        assert found in endings, f"turns {each}: {found.outcomes}"
        tried += 1
    return tried


def every_preemption(host: SimulatedHost, pair: Sequence[AsyncOperation]) -> Iterator[Turns]:
    """Every order of turns in which each of two is preempted once at most, whichever begins."""
    for first in (0, 1):
        for cut in range(effects(host, pair[first]) + 1):
            for second in range(effects_beside(host, pair, first, cut) + 1):
                yield _turns(first, cut, second)


def some_preemptions(
    host: SimulatedHost, pair: Sequence[AsyncOperation], count: int, *, seed: int = 6
) -> Iterator[Turns]:
    """So many of those, drawn from a seed."""
    draw = random.Random(seed)
    lengths = [effects(host, operation) for operation in pair]
    for _ in range(count):
        first = draw.randrange(2)
        cut = draw.randint(0, lengths[first])
        yield _turns(first, cut, draw.randint(0, effects_beside(host, pair, first, cut)))


def _turns(first: int, cut: int, second: int) -> Turns:
    return (*(0,) * first, cut, second, TO_ITS_END, TO_ITS_END)


def judge_overtaken(host: SimulatedHost, pair: Sequence[AsyncOperation], *, only: int | None = None) -> None:
    """At every effect of the first a stranger removes the lock file, the second runs to its end, and the first goes on.

    Once `recover` and the doctor have been there, it is as if they had gone one after the other, or as if the first had
    never been. Only between the look at the journal and the effect that follows it nothing can help: there no more is
    asked than that all snapshots are there which the second has left, and hold what they did. `only` after so many.
    """
    never = at_once(host, (pair[1],), (), wait_s=0, look=truth)
    endings = [*allowed(host, pair, waiting=False, look=truth), never, Ending((LOCKED,), truth(host))]
    for cut, looked in enumerate(_looked(host, pair[0])):
        if only not in {None, cut}:
            continue
        left, (ended, other) = _overtaken(host, pair, cut)
        SCHEDULES["2 processes, the lock file removed"] += 1
        where = f"after {cut} effects: {ended}, {other}"
        if looked:
            held = held_by(left, Engine(left).list(GUEST).contents.snapshots).items()
            after = [ending for ending in endings if other != DONE or ending.outcomes[-1] == DONE]
            kept = (ending.truth.held.items() <= held for ending in after)
            assert any(kept), f"a snapshot is lost or changed {where}"
            continue
        if Engine(left).list(GUEST).pending or truth(left) not in [ending.truth for ending in endings]:
            Engine(left).recover(GUEST)
            Engine(left).repair(GUEST)
        assert truth(left) in [ending.truth for ending in endings], f"they have worked on one domain {where}"


def _overtaken(host: SimulatedHost, pair: Sequence[AsyncOperation], cut: int) -> tuple[SimulatedHost, tuple[str, str]]:
    first = host.fork()
    second, stranger = first.another(), first.another()
    work = outcome(pair[0](AsyncEngine(first)))
    ended = _sent(work, cut)
    lock = Store.of(first, Engine(first).list(GUEST).domain.uuid).lock
    if first.world.fs.find(lock) is not None:
        drive(stranger.files.remove(lock))
    other = drive(outcome(pair[1](AsyncEngine(second))))
    return first, (ended or _sent(work, 1 << 20) or "", other)


def _sent(work: Work, times: int) -> str | None:
    """Let it do so many effects: how it ended, if it did."""
    try:
        for _ in range(times):
            work.send(None)
    except StopIteration as stop:
        return str(stop.value)
    return None


class _Seen:
    """Keeps the names of all effects that an operation passes through, and of those that have changed something."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def begins(self, effect: Effect, *_: object) -> None:
        self.names.append(effect.name)

    def halfway(self, *_: object) -> None:
        """A part of an effect."""

    def happened(self, *_: object) -> None:
        self.names.append("")


def _looked(host: SimulatedHost, operation: AsyncOperation) -> list[bool]:
    """Of every place where an operation gives way: has it changed nothing since it last looked at the journal?"""
    alone, seen = host.fork(), _Seen()
    alone.cell.watch = seen
    work = outcome(operation(AsyncEngine(alone)))
    looked = [False]
    while _sent(work, 1) is None:
        since = seen.names[-seen.names[::-1].index("") :] if "" in seen.names else seen.names
        looked.append("journal.stat" in since and since[-1] != "")
    return [*looked, False]


def effects(host: SimulatedHost, operation: AsyncOperation) -> int:
    """How many times an operation gives way from its beginning to its end."""
    return _advanced(outcome(operation(AsyncEngine(host.fork()))), TO_ITS_END)


def effects_beside(host: SimulatedHost, pair: Sequence[AsyncOperation], first: int, cut: int) -> int:
    """How many times one of two gives way to its end, where the `first` one stands still after so many effects."""
    fork = host.fork()
    standing = outcome(pair[first](AsyncEngine(fork, wait_s=0)))
    _advanced(standing, cut)
    count = _advanced(outcome(pair[1 - first](AsyncEngine(fork.another(), wait_s=0))), TO_ITS_END)
    _advanced(standing, TO_ITS_END)  # what was never awaited would complain
    return count


def _advanced(work: Coroutine[Any, Any, str], effects_max: int) -> int:
    """Step it so often, or to its end; how many times it gave way."""
    for count in range(effects_max):
        try:
            work.send(None)
        except StopIteration:
            return count
    return effects_max
