"""Any two of all that can be done to a domain, by two processes: each is preempted once at any of its effects.

In ordinary runs a seed draws some of the places, in deep ones it is every place.
"""

from functools import cache
from itertools import combinations_with_replacement

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import SimulatedHost, after_engine_crash
from simulator.faults.damage import Vanish, damaged
from tests.crash.harness import GUEST, every_crash, scribble, truth
from tests.crash.test_every_effect import with_history
from tests.deep import EXHAUSTIVE
from tests.discovery.interleave import (
    DONE,
    AsyncOperation,
    allowed,
    at_once,
    every_preemption,
    judge_interleavings,
    one_after_the_other,
    some_preemptions,
)
from tests.discovery.neighbours import at_rest
from xensnap.engine.engine import Engine
from xensnap.engine.execute import Outcome
from xensnap.engine.request import (
    CloneRequest,
    CreateRequest,
    DeleteRequest,
    EmptyRequest,
    ForgetRequest,
    PinRequest,
    RelocateRequest,
    RenameRequest,
    RestoreRequest,
    RevertRequest,
)

ELSEWHERE = "/elsewhere"
SOME = 12
"""How many places are tried for each pair in an ordinary run."""


@cache
def quiet() -> SimulatedHost:
    """A snapshot below another, what a revert has given up, a base that only that keeps from being merged away.

    And the copy of a record is missing, so that there is something to repair.
    """
    host = with_history("ie")
    host.make_directory(ELSEWHERE)
    engine = Engine(host)
    engine.delete(GUEST, DeleteRequest("middle"))
    engine.delete(GUEST, DeleteRequest("branch"))
    engine.revert(GUEST, RevertRequest("leaf"))
    scribble(host, 2)
    (copy,) = (entry.path for entry in engine.view(GUEST).state.ours if entry.path.endswith(".raw.xensnap.json"))
    return SimulatedHost(damaged(host.world, Vanish(copy)))


(GIVEN_UP,) = Engine(quiet()).view(GUEST).trashed


OPERATIONS: dict[str, AsyncOperation] = {
    "create": lambda engine: engine.create(GUEST, CreateRequest("one")),
    "revert": lambda engine: engine.revert(GUEST, RevertRequest("root")),
    "delete": lambda engine: engine.delete(GUEST, DeleteRequest("leaf")),
    "rename": lambda engine: engine.perform(GUEST, RenameRequest("leaf", "tip")),
    "pin": lambda engine: engine.perform(GUEST, PinRequest("leaf", "me")),
    "forget": lambda engine: engine.perform(GUEST, ForgetRequest("leaf")),
    "trash restore": lambda engine: engine.perform(GUEST, RestoreRequest(GIVEN_UP)),
    "trash empty": lambda engine: engine.perform(GUEST, EmptyRequest((GIVEN_UP,))),
    "undo": lambda engine: engine.undo(GUEST),
    "relocate": lambda engine: engine.perform(GUEST, RelocateRequest("xvdb", ELSEWHERE)),
    "clone": lambda engine: engine.make(CloneRequest(GUEST, "leaf", "new")),
    "compact": lambda engine: engine.compact(GUEST),
    "doctor --repair": lambda engine: engine.repair(GUEST),
    "recover": lambda engine: engine.recover(GUEST),
}


def seen(host: SimulatedHost) -> object:
    """All that anybody can tell of the domains at rest."""
    shown = {
        view.domain.name: (
            host.visible(view.domain.name),
            sorted(view.snapshots),
            # What a later revert gives up bears the number of that, which depends on who was first.
            sorted(name if name == GIVEN_UP else name.partition("-")[0] for name in view.trashed),
            len(view.state.hidden),
            len(view.state.parked),
        )
        for view in at_rest(host, ELSEWHERE, "/images")
    }
    found = {(each.id, each.subject) for each in Engine(host).diagnose(GUEST, check=True).found}
    return truth(host), shown, found


@cache
def interrupted(*, decided: bool) -> SimulatedHost:
    """The same domain; a revert has died on the way, just before it was decided, or after that."""
    worlds = [
        SimulatedHost(after_engine_crash(point.world))
        for point in every_crash(quiet(), lambda engine: engine.revert(GUEST, RevertRequest("root")))
    ]
    ends = [(host, Engine(host.fork()).recover(GUEST)) for host in worlds]
    outcome = Outcome.DONE if decided else Outcome.UNDONE
    fitting = [host for host, recovered in ends if recovered is not None and recovered.outcome is outcome]
    return fitting[0 if decided else -1]


PAIRS = list(combinations_with_replacement(OPERATIONS, 2))


def judged(host: SimulatedHost, verbs: tuple[str, str]) -> int:
    pair = tuple(OPERATIONS[verb] for verb in verbs)
    turns = every_preemption(host, pair) if EXHAUSTIVE else some_preemptions(host, pair, SOME)
    return judge_interleavings(host, pair, turns, look=seen)


@pytest.mark.parametrize("verbs", PAIRS, ids=" and ".join)
def test_two_at_once(verbs: tuple[str, str]) -> None:
    assert judged(quiet(), verbs) >= SOME


@pytest.mark.parametrize("decided", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("verb", OPERATIONS)
def test_two_at_once_where_a_third_has_died(verb: str, decided: bool) -> None:
    assert judged(interrupted(decided=decided), ("recover", verb)) >= SOME


TURNS = st.lists(st.integers(0, 60), max_size=40)
VERB = st.sampled_from(list(OPERATIONS))


@settings(max_examples=30)
@given(st.tuples(VERB, VERB, VERB), TURNS)
def test_any_three_at_once_in_any_order_of_turns(verbs: tuple[str, ...], turns: list[int]) -> None:
    works = [OPERATIONS[verb] for verb in verbs]
    found = at_once(quiet(), works, turns, wait_s=0, look=seen)
    assert found in allowed(quiet(), works, waiting=False, look=seen)


@pytest.mark.parametrize("verb", OPERATIONS)
def test_each_of_them_does_something(verb: str) -> None:
    host = interrupted(decided=True) if verb == "recover" else quiet()
    done = one_after_the_other(host, [OPERATIONS[verb]], [0], look=seen)
    assert done.outcomes == (DONE,)
    assert verb == "recover" or done.truth != seen(host)
