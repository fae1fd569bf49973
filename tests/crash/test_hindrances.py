"""What is late, what times out, and who does not play along: safety first, then the world heals and all must end.

An effect that is late changes nothing about the end. One that times out may have come about or not, and nobody knows
until he looks. A hindrance stays until the world is healed; what was left open until then is brought to its end after.
"""

from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from simulator import Cut, Hindered, Hindrance, Late, SimulatedHost, TimesOut, after_engine_crash, heal
from tests.crash.harness import GUEST, MET, SOMETIMES, TRIED
from tests.crash.running import OPERATIONS, Seen, guest_for, running, seen, sound
from tests.crash.trials import REFUSING
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, Quiesce
from xensnap.errors import Busy, ExitCode, Failed, Refused, XensnapError
from xensnap.testing.values import FaultPlan

Plan = Late | TimesOut | Hindered | FaultPlan

ANSWERED = ("agent.", "qemu-img.", "qmp.", "watcher.", "xl.")
"""Effects that somebody else has to answer to."""

VERBS = ("checkpoint", "disks", "quiet disks", "revert", "revert disks", "delete")


def passed(verb: str) -> list[tuple[str, int]]:
    """Every effect that the operation passes through and that changes something, with its count."""
    host = guest_for(verb, "ie")
    with host.recording() as watch:
        OPERATIONS[verb](Engine(host))
    changing = {point.effect for point in host.recorded}
    seen_before: Counter[str] = Counter()
    found = []
    for event in watch.trace:
        seen_before[event.effect] += 1
        if event.effect in changing and event.effect != "lock.release":
            found.append((event.effect, seen_before[event.effect]))
    return found


PASSED = {verb: passed(verb) for verb in VERBS}


def asked(verb: str) -> Iterator[tuple[str, int]]:
    yield from (each for each in PASSED[verb] if each[0].startswith(ANSWERED))


def replay(verb: str, plans: list[Plan]) -> None:
    """Let these happen, then heal, and demand one of the two ends. A plan that is never met tests nothing."""
    host = guest_for(verb, "ie")
    before, ended = seen(host), host.fork()
    OPERATIONS[verb](Engine(ended))
    after = seen(ended)
    armed = [plan.arm(host) for plan in plans]
    TRIED["plan of hindrances"] += 1
    told = failure(host, verb)
    met = [plan for plan, each in zip(plans, armed, strict=True) if each.met]
    # What comes later may not be reached because of what came first; of a guest that is off nobody can refuse anything.
    assert met or any(isinstance(plan, Hindered) for plan in plans), "it was armed and never met"
    MET.update(plan.what.name if isinstance(plan, Hindered) else type(plan).__name__ for plan in met)
    only_late = all(isinstance(plan, Late) for plan in plans)
    assert not only_late or told is None, told
    judged(SimulatedHost(after_engine_crash(host.world)), told, before, after)


def failure(host: SimulatedHost, verb: str) -> XensnapError | None:
    try:
        OPERATIONS[verb](Engine(host))
    except XensnapError as error:
        return error
    return None


def judged(healed: SimulatedHost, told: XensnapError | None, before: Seen, after: Seen) -> None:
    """Whoever was told the error has ended; the world heals, and somebody recovers."""
    heal(healed)
    pending = bool(Engine(healed).list(GUEST).pending)
    if told is None:
        SOMETIMES["done all the same"] += 1
    elif told.exit_code not in (ExitCode.SOMETHING_LEFT, ExitCode.UNKNOWN):
        SOMETIMES["busy" if isinstance(told, Busy) else "nothing changed"] += 1
        assert not pending, told
        assert seen(healed) == before, told
    Engine(healed).recover(GUEST)
    found = seen(healed)
    assert found in (before, after), f"{told}: {found}"
    if pending:
        SOMETIMES["undone by recovery" if found == before else "finished by recovery"] += 1
    Engine(healed).compact(GUEST)
    sound(healed, str(told))


@pytest.mark.parametrize("verb", VERBS)
def test_late_is_as_good_as_in_time(verb: str) -> None:
    for effect, nth in PASSED[verb]:
        replay(verb, [Late(effect, nth=nth)])


@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.PARTLY, Cut.UNACKNOWLEDGED])
@pytest.mark.parametrize("verb", VERBS)
def test_what_times_out_is_looked_at(verb: str, cut: Cut) -> None:
    for effect, nth in asked(verb):
        replay(verb, [TimesOut(effect, cut, nth)])


@pytest.mark.parametrize("what", REFUSING, ids=lambda each: each.name.lower())
@pytest.mark.parametrize("verb", VERBS)
def test_whoever_does_not_play_along(verb: str, what: Hindrance) -> None:
    tried = 0
    for effect, nth in PASSED[verb]:
        host = guest_for(verb, "ie")
        before, ended = seen(host), host.fork()
        OPERATIONS[verb](Engine(ended))
        armed = Hindered(what, effect, nth).arm(host)
        told = failure(host, verb)
        if armed.met:
            tried += 1
            TRIED["hindrance"] += 1
            judged(SimulatedHost(after_engine_crash(host.world)), told, before, seen(ended))
    assert tried


@st.composite
def plans(draw: st.DrawFn) -> tuple[str, list[Plan]]:
    """Two or three things at once."""
    verb = draw(st.sampled_from(VERBS))
    places = st.sampled_from(PASSED[verb])
    answered = st.sampled_from([*asked(verb)])
    one = st.one_of(
        places.map(lambda at: Late(at[0], nth=at[1])),
        answered.map(lambda at: TimesOut(at[0], nth=at[1])),
        st.builds(lambda what, at: Hindered(what, at[0], at[1]), st.sampled_from(REFUSING), places),
        places.map(lambda at: FaultPlan(at[0], Cut.BEFORE, 5, at[1])),
    )
    return verb, draw(st.lists(one, min_size=2, max_size=3, unique_by=repr))


@settings(max_examples=60)
@given(plans())
def test_several_at_once_end_as_before_or_after(plan: tuple[str, list[Plan]]) -> None:
    note(f"replay{plan!r}")
    replay(*plan)


@pytest.mark.parametrize("verb", ["checkpoint", "disks"])
def test_a_guest_that_never_rests_keeps_nobody_from_a_point(verb: str) -> None:
    host = running("ie")
    armed = Hindered(Hindrance.NEVER_RESTS, "lock.take").arm(host)
    OPERATIONS[verb](Engine(host))
    assert armed.met
    heal(host)
    sound(host, verb)


def test_a_plan_prints_as_what_makes_it() -> None:
    for plan in (
        Late("xl.save", 5.0, 2),
        TimesOut("qmp.transaction", Cut.PARTLY),
        Hindered(Hindrance.LOCK_HELD, "lock.take"),
        FaultPlan("image.fsync", Cut.UNACKNOWLEDGED, 5),
    ):
        assert eval(repr(plan)) == plan


def test_one_that_is_not_let_do_what_it_must_says_so() -> None:
    host = running("i")
    Hindered(Hindrance.AGENT_ABSENT, "lock.take").arm(host)
    with pytest.raises(Failed):
        Engine(host).create(GUEST, CreateRequest("second", disk_only=True, quiesce=Quiesce.REQUIRE))
    busy = running("i")
    Hindered(Hindrance.LOCK_HELD, "lock.take").arm(busy)
    with pytest.raises((Busy, Refused)):
        OPERATIONS["checkpoint"](Engine(busy))
