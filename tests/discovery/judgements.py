"""The judgements that mutants have to fail: nothing of our own, but those that every change of the engine must pass.

A judgement is prepared with the engine as it is and carried out with the mutant, so that what a mutant is blamed for
was done by the operation that is looked at.
"""

import errno
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from types import FunctionType
from typing import Any, Protocol

from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from simulator import CrashPoint, SimulatedHost
from simulator.core.effects import Cut
from simulator.tools.qemu_img import SnapshotCreate
from tests.crash import harness
from tests.crash.harness import Death, Operation
from tests.crash.test_every_effect import OPERATIONS, with_history
from tests.crash.test_every_fault import test_one_effect_fails as one_effect_fails
from tests.crash.test_fault_plans import passed, replay
from tests.discovery import interleave
from tests.discovery.interleave import (
    AsyncOperation,
    Turns,
    judge_interleavings,
    judge_overtaken,
    some_preemptions,
)
from tests.stateful import machine as machines
from tests.stateful.test_simulated import OnTheSimulator, TestOnTheSimulator
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, DeleteRequest, RevertRequest
from xensnap.model import Format
from xensnap.testing.values import FaultPlan


class Plan(Protocol):
    """The one thing that is tried where a mutant was found, as a value that prints as Python."""

    def trial(self) -> Callable[[], object]:
        """Called without a mutant, it gives what is to be called with one."""


@dataclass
class Effort:
    """How much a judgement has tried until it failed, or until its end; and what of it failed."""

    count: int = 0
    unit: str = ""
    plan: Plan | None = None

    def __str__(self) -> str:
        return f"{self.count} {self.unit}"


Trial = Callable[[], Effort]
Judgement = Callable[[], Trial]
"""Called without a mutant, it gives what is to be called with one."""


@dataclass
class Failed(Exception):
    """The judgement went against the engine."""

    why: BaseException
    effort: Effort = field(default_factory=Effort)

    def __str__(self) -> str:
        lines = str(self.why).strip().splitlines() or [type(self.why).__name__]
        return lines[0]


BROKEN = (AttributeError, ImportError, NameError, TypeError)
"""What a mutant raises that does not fit the engine any more: then it says nothing about the tests."""


def unplanned(_: BaseException) -> None:
    """Where nobody can tell by the error alone what was tried."""


@contextmanager
def counted(
    unit: str, *counters: "dict[str, int]", plan: Callable[[BaseException], Plan | None] = unplanned
) -> Iterator[Effort]:
    """Count what is tried meanwhile, and take it out of the figures of the run, which are about the real engine.

    Args:
        unit: what is counted.
        counters: where the tests count it.
        plan: tells by an error what had been tried when it came.
    """
    effort = Effort(unit=unit)
    before = [dict(counter) for counter in counters]
    try:
        yield effort
    except BROKEN:
        raise
    except Exception as error:
        effort.count = effort.count or _sum(counters) - _sum(before)
        effort.plan = plan(error)
        raise Failed(error, effort) from error
    finally:
        effort.count = effort.count or _sum(counters) - _sum(before)
        for counter, old in zip(counters, before, strict=True):
            counter.clear()
            counter.update(old)


def trying(
    unit: str,
    counter: "dict[str, int]",
    work: Callable[[], object],
    plan: Callable[[BaseException], Plan | None],
    *,
    count: int = 0,
) -> Trial:
    """What a judgement comes to: this work, counted as `counted` does, or as so many where no test counts it."""

    def run() -> Effort:
        with counted(unit, counter, plan=plan) as effort:
            effort.count = count
            work()
        return effort

    return run


def known(error: BaseException, **kinds: type) -> dict[str, Any]:
    """The local variables of the judge itself when it came to this, found by their names and types."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if all(isinstance(frame.f_locals.get(name), kind) for name, kind in kinds.items()):
            return {name: frame.f_locals[name] for name in kinds}
    raise LookupError(f"no judge knows {', '.join(kinds)}") from error


def died(error: BaseException, points: Iterable[CrashPoint]) -> tuple[str, int, Cut, str]:
    """At which effect, how far that had come, and who died of what; at none where the operation itself went wrong.

    `points` are all that the operation passes through.
    """
    told: tuple[dict[str, type], ...] = (
        {"point": CrashPoint, "name": str},
        {"point": CrashPoint},
        {"name": str, "death": FunctionType},
    )
    for kinds in told:
        with suppress(LookupError):
            found = known(error, **kinds)
            death = found.get("name", harness.DEATHS[0][0])
            point = found.get("point")
            if point is None:
                return "", 0, Cut.BEFORE, death
            return point.effect, harness.numbered(points, point.effect).index(point.number) + 1, point.cut, death
    return "", 0, Cut.BEFORE, harness.DEATHS[0][0]


def named(death: str) -> tuple[Death]:
    """The death of this name."""
    return (next(each for each in harness.DEATHS if each[0] == death),)


def _sum(counters: "tuple[dict[str, int], ...] | list[dict[str, int]]") -> int:
    return sum(sum(counter.values()) for counter in counters)


def fails(trial: Callable[[], object]) -> bool:
    """Whether something goes wrong, and not because a mutant does not fit."""
    try:
        trial()
    except BROKEN:
        raise
    except Exception:  # noqa: BLE001 - whatever it is
        return True
    return False


def _delete(engine: Engine, *, name: str) -> object:
    return engine.delete(harness.GUEST, DeleteRequest(name))


@cache
def _history(kinds: str) -> SimulatedHost:
    return with_history(kinds)


@cache
def _fresh(kinds: str) -> SimulatedHost:
    host = harness.guest(kinds)
    harness.scribble(host, 0)
    Engine(host).create(harness.GUEST, CreateRequest("only"))
    harness.scribble(host, 1)
    return host


class _Chosen:
    """Stands where Hypothesis draws."""

    def __init__(self, value: object) -> None:
        self._value = value

    def draw(self, _: object) -> Any:
        return self._value


def _write(machine: Any) -> None:
    """What `write` does, with nothing drawn: each to a cluster of its own."""
    place = machine.writes * machines.SECTORS
    for bench in machine.benches:
        bench.write("xvda", place, 1, machine.writes + 1)
    machine.writes += 1
    now = machine.now["xvda"]
    machine.now["xvda"] = (*now[:place], machine.writes, *now[place + 1 :])
    machines.counted("write")


def walk(disk: Format, *steps: str) -> Judgement:
    """The state machine on a path that it seldom takes by chance."""
    return Walk(disk.value, steps).judgement


@dataclass(frozen=True)
class Walk:
    """Steps of the state machine: `create a`, `revert a`, `delete a`, `resize 8`; the guest writes before each."""

    disk: str
    steps: tuple[str, ...]

    def trial(self) -> Callable[[], object]:
        """See Plan."""
        return self._walk

    def judgement(self) -> Trial:
        """All of it."""

        def plan(error: BaseException) -> Plan:
            return Walk(self.disk, tuple(known(error, taken=list, machine=OnTheSimulator)["taken"]))

        return trying("steps", machines.STEPS, self._walk, plan)

    def _walk(self) -> object:
        machine: Any = OnTheSimulator()
        machine.define_the_domain([(Format(self.disk), 65536, "1.1", 8)])
        taken: list[str] = []
        for step in self.steps:
            taken.append(step)
            verb, _, name = step.partition(" ")
            _write(machine)
            if verb == "create":
                machine.create(name, None, None, planned=False)
            elif verb == "revert":
                machine.revert(_Chosen(name), planned=False)
            elif verb == "resize":
                machine.resize(_Chosen("xvda"), int(name))
            else:
                machine.delete(_Chosen(name), "one", planned=False)
            machine.holds()
        return taken


def state_machine() -> Trial:
    """The state machine on the simulator: its own budget, the same seed always, and no shrinking of what it finds."""
    settled = settings(
        TestOnTheSimulator.settings,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        print_blob=False,
    )

    def run() -> Effort:
        begun: list[int] = []

        class Machine(OnTheSimulator):
            def __init__(self) -> None:
                super().__init__()
                begun.append(sum(machines.STEPS.values()))

        with counted("steps", machines.STEPS) as effort:
            before = sum(machines.STEPS.values())
            try:
                run_state_machine_as_test(Machine, settings=settled)
            except Exception:
                effort.count = begun[-1] - before  # the last example only shows again what was found
                raise
        return effort

    return run


CRASHED: dict[str, Operation] = {
    **OPERATIONS,
    **{f"delete {name}": partial(_delete, name=name) for name in ("root", "leaf", "branch", "only")},
}
"""`only` is the one snapshot of a domain that has no other."""


@dataclass(frozen=True)
class Dies:
    """The engine dies at one place of an operation on a domain that is off, and `recover` follows."""

    kinds: str
    verb: str
    effect: str
    nth: int
    cut: Cut
    death: str

    def trial(self) -> Callable[[], object]:
        """See Plan."""
        return partial(self._judge, _world(self.kinds, self.verb))

    def _judge(self, host: SimulatedHost) -> object:
        return harness.judge(host, CRASHED[self.verb], named(self.death), at=(self.effect, self.nth, self.cut))


@dataclass(frozen=True)
class DiesAndTheGuestRuns(Dies):
    """The same, and the guest runs and writes before the recovery."""

    def _judge(self, host: SimulatedHost) -> object:
        return harness.judge_where_the_guest_runs_first(
            host, CRASHED[self.verb], named(self.death), at=(self.effect, self.nth, self.cut)
        )


def _world(kinds: str, verb: str) -> SimulatedHost:
    return _fresh(kinds) if verb.endswith("only") else _history(kinds)


def deaths(kinds: str, verb: str) -> Judgement:
    """Death at every effect of an operation, as in tests/crash."""
    return _deaths(kinds, verb, harness.judge, Dies)


def guest_runs_first(kinds: str, verb: str) -> Judgement:
    """The same, and the guest runs and writes before the recovery."""
    return _deaths(kinds, verb, harness.judge_where_the_guest_runs_first, DiesAndTheGuestRuns)


@cache
def _deaths(kinds: str, verb: str, judge: Callable[[SimulatedHost, Operation], object], dies: type[Dies]) -> Judgement:
    def prepare() -> Trial:
        host = _world(kinds, verb)

        def plan(error: BaseException) -> Plan:
            return dies(kinds, verb, *died(error, harness.every_crash(host, CRASHED[verb])))

        return trying("deaths", harness.TRIED, lambda: judge(host, CRASHED[verb]), plan)

    return prepare


@dataclass(frozen=True)
class Strange:
    """An operation beside the tag of a stranger that is called like ours."""

    verb: str

    def trial(self) -> Callable[[], object]:
        """See Plan."""
        return stranger(self.verb)()


@cache
def stranger(verb: str) -> Judgement:
    """An operator has put a tag into the image that is called like ours; what it holds is as before the operation."""

    def prepare() -> Trial:
        host = _history("i").fork()
        image = Engine(host).view(harness.GUEST).domain.disks[0].layer
        assert not host.operate(SnapshotCreate(image, "middle"))
        ours = Engine(host).list(harness.GUEST).contents.snapshots["middle"].disks[0].fingerprint.snapshot_id
        tags = Engine(host).view(harness.GUEST).images[image.path]
        assert tags is not None
        (theirs,) = (entry.id for entry in tags.tagged("middle") if entry.id != ours)
        held = host.visible_snapshot(image, theirs)

        def beside() -> None:
            after = host.fork()
            CRASHED[verb](Engine(after))
            assert after.visible_snapshot(image, theirs) == held, "a stranger's tag is gone"

        return trying("operations", harness.TRIED, beside, lambda _: Strange(verb), count=1)

    return prepare


@dataclass(frozen=True)
class Fails:
    """One effect of an operation fails; then all heals."""

    kinds: str
    verb: str
    fault: FaultPlan

    def trial(self) -> Callable[[], object]:
        """See Plan."""
        return partial(replay, self.kinds, self.verb, [self.fault])


def first_to_fail(kinds: str, verb: str, cut: Cut) -> Fails:
    """The first effect whose failure the engine does not bear."""
    for effect, nth in passed(kinds, verb):
        fault = FaultPlan(effect, cut, errno.ENOSPC, nth)
        if fails(partial(replay, kinds, verb, [fault])):
            return Fails(kinds, verb, fault)
    raise AssertionError("no single effect is to blame")


@cache
def faults(kinds: str, verb: str, cut: Cut) -> Judgement:
    """Every effect of an operation fails once, as in tests/crash."""

    def prepare() -> Trial:
        work = partial(one_effect_fails, kinds, verb, cut)
        return trying("faults", harness.TRIED, work, lambda _: first_to_fail(kinds, verb, cut))

    return prepare


PAIRS: dict[str, tuple[AsyncOperation, AsyncOperation]] = {
    "two creates": (
        lambda engine: engine.create(harness.GUEST, CreateRequest("one")),
        lambda engine: engine.create(harness.GUEST, CreateRequest("two")),
    ),
    "two creates of one name": (
        lambda engine: engine.create(harness.GUEST, CreateRequest("one")),
        lambda engine: engine.create(harness.GUEST, CreateRequest("one")),
    ),
    "create and delete": (
        lambda engine: engine.create(harness.GUEST, CreateRequest("one")),
        lambda engine: engine.delete(harness.GUEST, DeleteRequest("middle")),
    ),
    "revert and delete": (
        lambda engine: engine.revert(harness.GUEST, RevertRequest("leaf")),
        lambda engine: engine.delete(harness.GUEST, DeleteRequest("leaf")),
    ),
}


@dataclass(frozen=True)
class TakesTurns:
    """Two engines at once, which give way to each other after so many effects."""

    kinds: str
    pair: str
    turns: Turns

    def trial(self) -> Callable[[], object]:
        """See Plan."""
        return partial(judge_interleavings, _history(self.kinds), PAIRS[self.pair], [self.turns])


@dataclass(frozen=True)
class LosesItsLock:
    """Somebody removes the lock file after so many effects of the first of two, and there the second one begins."""

    kinds: str
    pair: str
    effects: int

    def trial(self) -> Callable[[], object]:
        """See Plan."""
        return partial(judge_overtaken, _history(self.kinds), PAIRS[self.pair], only=self.effects)


@cache
def overtaken(kinds: str, pair: str) -> Judgement:
    """The same after every number of effects."""

    def prepare() -> Trial:
        host = _history(kinds)

        def plan(error: BaseException) -> Plan:
            return LosesItsLock(kinds, pair, known(error, cut=int, endings=list)["cut"])

        return trying("schedules", interleave.SCHEDULES, lambda: judge_overtaken(host, PAIRS[pair]), plan)

    return prepare


@cache
def at_once(kinds: str, pair: str) -> Judgement:
    """Two engines at once, each preempted once at an effect that a seed draws."""

    def prepare() -> Trial:
        host = _history(kinds)

        def work() -> None:
            judge_interleavings(host, PAIRS[pair], some_preemptions(host, PAIRS[pair], 100))

        def plan(error: BaseException) -> Plan:
            return TakesTurns(kinds, pair, known(error, each=tuple, endings=list)["each"])

        return trying("schedules", interleave.SCHEDULES, work, plan)

    return prepare
