"""Engine processes on one host, stepped effect by effect in any order, and what may come of it.

What is promised of several at once (design 5.6): the host ends as if they had gone one after the other, or some were
told that the domain is busy and by whom. So the oracle is the same operations one after the other, in every order, and
with any of them left out. What an operator does by hand at one of their effects has its place in that order, too.
"""

from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from simulator import SimulatedHost
from tests.crash.harness import GUEST, nothing_is_left, truth
from xensnap.engine.engine import AsyncEngine, Engine
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
    truth: object


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


def judge_interleavings(host: SimulatedHost, pair: Sequence[AsyncOperation], *, look: Look = nothing_left) -> None:
    """Preempt the first operation at every one of its effects, let the second run to its end there, then go on."""
    endings = allowed(host, pair, waiting=False, look=look)
    for cut in range(effects(host, pair[0]) + 1):
        found = at_once(host, pair, (cut, 1 << 20, 1 << 20), wait_s=0, look=look)
        assert found in endings, f"preempted after {cut} effects: {found.outcomes}"


def effects(host: SimulatedHost, operation: AsyncOperation) -> int:
    """How many times an operation gives way from its beginning to its end."""
    work = outcome(operation(AsyncEngine(host.fork())))
    count = 0
    while True:
        try:
            work.send(None)
        except StopIteration:
            return count
        count += 1
