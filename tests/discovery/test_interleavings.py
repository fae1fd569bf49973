"""Engine processes on one domain at once: one after the other, or one is told who is busy (design 5.6)."""

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from simulator import SimulatedHost
from tests.crash.harness import GUEST
from tests.crash.running import running, seen, sound
from tests.crash.test_every_effect import with_history
from tests.deep import EXHAUSTIVE
from tests.discovery.bystanders import DEEDS, happens
from tests.discovery.interleave import (
    LOCKED,
    AsyncOperation,
    Ending,
    Turns,
    allowed,
    at_once,
    effects,
    every_preemption,
    judge_interleavings,
    some_preemptions,
)
from tests.discovery.judgements import PAIRS
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, DeleteRequest, PinRequest, RenameRequest, RevertRequest

TURNS = st.lists(st.integers(0, 60), max_size=40)

TRIOS: dict[str, tuple[AsyncOperation, ...]] = {
    "create, revert, delete": (
        lambda engine: engine.create(GUEST, CreateRequest("one")),
        lambda engine: engine.revert(GUEST, RevertRequest("leaf")),
        lambda engine: engine.delete(GUEST, DeleteRequest("middle")),
    ),
    "rename, pin, delete": (
        lambda engine: engine.perform(GUEST, RenameRequest("middle", "centre")),
        lambda engine: engine.perform(GUEST, PinRequest("middle", "me")),
        lambda engine: engine.delete(GUEST, DeleteRequest("middle")),
    ),
    "three creates": tuple(
        lambda engine, name=name: engine.create(GUEST, CreateRequest(name))  # type: ignore[misc]
        for name in ("one", "two", "one")
    ),
}

RUNNING: dict[str, tuple[AsyncOperation, ...]] = {
    "checkpoint and disks": (
        lambda engine: engine.create(GUEST, CreateRequest("one")),
        lambda engine: engine.create(GUEST, CreateRequest("two", disk_only=True)),
    ),
    "checkpoint and revert": (
        lambda engine: engine.create(GUEST, CreateRequest("one")),
        lambda engine: engine.revert(GUEST, RevertRequest("first")),
    ),
    "revert and delete": (
        lambda engine: engine.revert(GUEST, RevertRequest("first")),
        lambda engine: engine.delete(GUEST, DeleteRequest("first")),
    ),
    "checkpoint and delete": (
        lambda engine: engine.create(GUEST, CreateRequest("one")),
        lambda engine: engine.delete(GUEST, DeleteRequest("disks")),
    ),
    "revert and undo": (
        lambda engine: engine.revert(GUEST, RevertRequest("first")),
        lambda engine: engine.undo(GUEST),
    ),
}


@pytest.fixture(scope="module", params=["i", "e"])
def host(request) -> SimulatedHost:
    return with_history(request.param)


PREEMPTIONS = 100
"""How many are tried of each pair in an ordinary run."""


def preempted(host: SimulatedHost, pair: Sequence[AsyncOperation]) -> Iterator[Turns]:
    return every_preemption(host, pair) if EXHAUSTIVE else some_preemptions(host, pair, PREEMPTIONS)


def alive(host: SimulatedHost) -> object:
    """What is seen of a guest that runs, which stands nowhere still and has nothing left over."""
    sound(host, "several at once")
    return seen(host)


@pytest.mark.parametrize("pair", PAIRS)
def test_whoever_is_preempted_anywhere(host, pair) -> None:
    assert judge_interleavings(host, PAIRS[pair], preempted(host, PAIRS[pair])) >= PREEMPTIONS


@pytest.mark.parametrize("pair", RUNNING)
def test_whoever_is_preempted_while_the_guest_runs(pair) -> None:
    host = running("ie")
    assert judge_interleavings(host, RUNNING[pair], preempted(host, RUNNING[pair]), look=alive) >= PREEMPTIONS


@pytest.mark.parametrize("wait_s", [0, 600])
@pytest.mark.parametrize("group", [*PAIRS, *TRIOS])
def test_in_any_order_of_turns(host, group, wait_s) -> None:
    works = (PAIRS | TRIOS)[group]
    endings = allowed(host, works, waiting=bool(wait_s))

    @settings(max_examples=20)
    @given(TURNS)
    @example([])
    @example([1, 2] * 20)
    def holds(turns: list[int]) -> None:
        assert at_once(host, works, turns, wait_s=wait_s) in endings

    holds()


@pytest.mark.parametrize("pair", RUNNING)
def test_in_any_order_of_turns_while_the_guest_reboots(pair) -> None:
    host, works = running("ie"), RUNNING[pair]
    rebooted = host.fork()
    DEEDS["reboots"](rebooted)
    endings = [ending for at in (host, rebooted) for ending in after_all(at, works)]
    longest = sum(effects(host, work) for work in works)

    happened: list[bool] = []

    @settings(max_examples=20)
    @given(TURNS, st.integers(1, longest))
    def holds(turns: list[int], when: int) -> None:
        def reboots(fork: SimulatedHost) -> None:
            fork.meanwhile(when, lambda: happened.append(happens(fork, DEEDS["reboots"])))

        found = at_once(host, works, turns, wait_s=0, look=recovered, beside=reboots)
        assert found.truth in [ending.truth for ending in endings], found.outcomes

    holds()
    assert any(happened)


def recovered(host: SimulatedHost) -> object:
    """As `alive`, when what a reboot has interrupted was brought to its end."""
    Engine(host).recover(GUEST)
    return alive(host)


def after_all(host: SimulatedHost, works: tuple[AsyncOperation, ...]) -> list[Ending]:
    """What may come of them, and what was there before any; then with a reboot afterwards, too."""
    ends = [*allowed(host, works, waiting=False, look=alive), Ending((LOCKED,) * len(works), alive(host))]

    def rebooted(found: SimulatedHost) -> object:
        happens(found, DEEDS["reboots"])
        return alive(found)

    return [*ends, *allowed(host, works, waiting=False, look=rebooted)]
