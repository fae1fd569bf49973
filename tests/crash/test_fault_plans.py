"""Faults as Hypothesis draws them, one or several in one operation: safety first, then the host heals and all must end.

A plan is a value that prints as Python: `replay("ie", "revert", [FaultPlan(effect='image.fsync', ...)])` is all that it
takes to have a failure again. That each effect fails once is tried from the table (`table.py`).
"""

from collections import Counter
from collections.abc import Sequence

from hypothesis import given, note, settings
from hypothesis import strategies as st

from simulator import Cut, SimulatedHost
from tests.crash.harness import GUEST, MET, TRIED, nothing_is_left, truth
from tests.crash.test_every_effect import OPERATIONS, with_history
from xensnap.engine.engine import Engine
from xensnap.errors import Busy, ExitCode, Refused, XensnapError
from xensnap.testing.values import FaultPlan

ERRNOS = st.sampled_from([28, 5, 13, 30])
CUTS = st.sampled_from([Cut.BEFORE, Cut.PARTLY, Cut.UNACKNOWLEDGED])


def passed(kinds: str, verb: str) -> list[tuple[str, int]]:
    """Every effect that the operation passes through and that changes something, with its count.

    Not the removal of what is not there: there is no reply to it that could be lost.
    """
    host = with_history(kinds)
    with host.recording() as watch:
        OPERATIONS[verb](Engine(host))
    seen: Counter[str] = Counter()
    found = []
    for event in watch.trace:
        seen[event.effect] += 1
        found.append((event.effect, seen[event.effect]))
    came_about = {point.number for point in host.recorded if point.cut is not Cut.BEFORE}
    return [
        each
        for event, each in zip(watch.trace, found, strict=True)
        if event.number in came_about and event.effect != "lock.release"
    ]


WORLDS = [(kinds, verb) for kinds in ("i", "e", "ie") for verb in ("create", "revert", "delete", "rename")]
PASSED = {world: passed(*world) for world in WORLDS}


@st.composite
def plans(draw: st.DrawFn) -> tuple[str, str, list[FaultPlan]]:
    kinds, verb = draw(st.sampled_from(WORLDS))
    places = st.sampled_from(PASSED[kinds, verb])
    drawn = draw(st.lists(st.tuples(places, CUTS, ERRNOS), min_size=1, max_size=3, unique_by=lambda each: each[0]))
    return kinds, verb, [FaultPlan(effect, cut, errno, nth) for (effect, nth), cut, errno in drawn]


def replay(kinds: str, verb: str, faults: Sequence[FaultPlan]) -> None:
    """Let these faults happen, then heal, and demand one of the two ends."""
    host = with_history(kinds)
    before = truth(host)
    ended = host.fork()
    OPERATIONS[verb](Engine(ended))
    after = truth(ended)
    for fault in faults:
        fault.arm(host)
    TRIED["plan of faults"] += 1
    error = failure(host, verb)
    unmet = {(fault.at, fault.nth) for fault in host.unmet_faults}
    met = [fault for fault in faults if (fault.effect, fault.nth) not in unmet]
    MET.update(fault.effect for fault in met)
    assert met, "a fault that was armed at an effect of the operation was never met"
    healed = SimulatedHost(host.world.ended(host.pid))
    if error is None:
        assert truth(healed) == after
    elif error.exit_code is ExitCode.NOTHING_CHANGED or isinstance(error, Refused | Busy):
        assert truth(healed) == before, f"{error.cause}"
    Engine(healed).recover(GUEST)
    assert truth(healed) in (before, after)
    assert Engine(healed).list(GUEST).pending == ""
    view = Engine(healed).view(GUEST)
    if verb == "delete":  # what a failed merge has left, the next one takes
        Engine(healed).compact(GUEST)
        view = Engine(healed).view(GUEST)
    nothing_is_left(healed, view, "after healing")


def failure(host: SimulatedHost, verb: str) -> XensnapError | None:
    try:
        OPERATIONS[verb](Engine(host))
    except XensnapError as error:
        return error
    return None


@settings(max_examples=150)
@given(plans())
def test_whatever_fails_all_ends_as_before_or_after(plan: tuple[str, str, list[FaultPlan]]) -> None:
    note(f"replay{plan!r}")
    replay(*plan)
