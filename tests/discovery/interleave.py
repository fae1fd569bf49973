"""Two engine processes on one host, stepped effect by effect in any order, and what may come of it.

What is promised of two at once (design 5.6): the host ends as if one had gone after the other, or one was told that the
domain is busy and by whom. So the oracle is the same two operations one after the other, both ways round, and alone.
"""

from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from simulator import SimulatedHost
from tests.crash.harness import GUEST, Truth, nothing_is_left, truth
from xensnap.engine.engine import AsyncEngine, Engine
from xensnap.errors import Busy, XensnapError
from xensnap.hypervisor import drive

SCHEDULES: Counter[str] = Counter()
"""How many schedules were tried."""

DONE = "done"
Work = Coroutine[Any, Any, object]
AsyncOperation = Callable[[AsyncEngine], Work]


@dataclass(frozen=True)
class Ending:
    """How each of two operations ended, `done` or by the id of its error, and what became of the host."""

    outcomes: tuple[str, ...]
    truth: Truth


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


def at_once(host: SimulatedHost, pair: Sequence[AsyncOperation], turns: Iterable[int], *, wait_s: float) -> Ending:
    """Both operations by two processes of a fork of the host, in this order of turns; nothing may be left behind."""
    first = host.fork()
    processes = (first, first.another())
    works = [operation(AsyncEngine(each, wait_s=wait_s)) for operation, each in zip(pair, processes, strict=True)]
    SCHEDULES["schedule"] += 1
    outcomes = interleave(works, turns)
    view = Engine(first).view(GUEST)
    assert not view.pending, f"{outcomes}: {view.pending}"
    nothing_is_left(first, view, str(outcomes))
    return Ending(outcomes, truth(first))


def one_after_the_other(host: SimulatedHost, pair: Sequence[AsyncOperation], order: Sequence[int]) -> Ending:
    """The operations of `order` on a fork of the host; those that are not in it were told that the domain is busy."""
    alone = host.fork()
    outcomes = ["locked"] * len(pair)
    for index in order:
        outcomes[index] = drive(outcome(pair[index](AsyncEngine(alone))))
    return Ending(tuple(outcomes), truth(alone))


def allowed(host: SimulatedHost, pair: Sequence[AsyncOperation], *, waiting: bool) -> list[Ending]:
    """Every ending that two operations at once may have; who waits is never told that the domain is busy."""
    orders = [(0, 1), (1, 0)] if waiting else [(0, 1), (1, 0), (0,), (1,)]
    return [one_after_the_other(host, pair, order) for order in orders]


def judge_interleavings(host: SimulatedHost, pair: Sequence[AsyncOperation]) -> None:
    """Preempt the first operation at every one of its effects, let the second run to its end there, then go on."""
    endings = allowed(host, pair, waiting=False)
    cut = 0
    longest = _effects(host, pair[0])
    while cut <= longest:
        found = at_once(host, pair, (cut, 1 << 20, 1 << 20), wait_s=0)
        assert found in endings, f"preempted after {cut} effects: {found.outcomes}"
        cut += 1


def _effects(host: SimulatedHost, operation: AsyncOperation) -> int:
    """How many times an operation gives way from its beginning to its end."""
    work = outcome(operation(AsyncEngine(host.fork())))
    count = 0
    while True:
        try:
            work.send(None)
        except StopIteration:
            return count
        count += 1
