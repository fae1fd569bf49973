"""The judgements that mutants have to fail: nothing of our own, but those that every change of the engine must pass.

A judgement is prepared with the engine as it is and carried out with the mutant, so that what a mutant is blamed for
was done by the operation that is looked at.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from simulator import SimulatedHost
from simulator.core.effects import Cut
from simulator.tools.qemu_img import SnapshotCreate
from tests.crash import harness
from tests.crash.harness import Operation
from tests.crash.test_every_effect import OPERATIONS, with_history
from tests.crash.test_every_fault import test_one_effect_fails as one_effect_fails
from tests.discovery import interleave
from tests.discovery.interleave import AsyncOperation, judge_interleavings
from tests.stateful import machine as machines
from tests.stateful.test_simulated import OnTheSimulator, TestOnTheSimulator
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, DeleteRequest, RevertRequest
from xensnap.model import Format


@dataclass
class Effort:
    """How much a judgement has tried until it failed, or until its end."""

    count: int = 0
    unit: str = ""

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


@contextmanager
def counted(unit: str, *counters: "dict[str, int]") -> Iterator[Effort]:
    """Count what is tried meanwhile, and take it out of the figures of the run, which are about the real engine."""
    effort = Effort(unit=unit)
    before = [dict(counter) for counter in counters]
    try:
        yield effort
    except BROKEN:
        raise
    except Exception as error:
        effort.count = effort.count or _sum(counters) - _sum(before)
        raise Failed(error, effort) from error
    finally:
        effort.count = effort.count or _sum(counters) - _sum(before)
        for counter, old in zip(counters, before, strict=True):
            counter.clear()
            counter.update(old)


def _sum(counters: "tuple[dict[str, int], ...] | list[dict[str, int]]") -> int:
    return sum(sum(counter.values()) for counter in counters)


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


@cache
def walk(disk: Format, *steps: str) -> Judgement:
    """The state machine on a path that it seldom takes by chance: `create a`, `revert a`, `delete a`, with writes."""

    def prepare() -> Trial:
        def run() -> Effort:
            with counted("steps", machines.STEPS) as effort:
                machine: Any = OnTheSimulator()
                machine.define_the_domain([(disk, 65536, "1.1", 8)])
                for step in steps:
                    verb, _, name = step.partition(" ")
                    _write(machine)
                    if verb == "create":
                        machine.create(name, None, None, planned=False)
                    elif verb == "revert":
                        machine.revert(_Chosen(name), planned=False)
                    else:
                        machine.delete(_Chosen(name), "one", planned=False)
                    machine.holds()
            return effort

        return run

    return prepare


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


def deaths(kinds: str, verb: str) -> Judgement:
    """Death at every effect of an operation, as in tests/crash."""
    return _deaths(kinds, verb, harness.judge)


def guest_runs_first(kinds: str, verb: str) -> Judgement:
    """The same, and the guest runs and writes before the recovery."""
    return _deaths(kinds, verb, harness.judge_where_the_guest_runs_first)


@cache
def _deaths(kinds: str, verb: str, judge: Callable[[SimulatedHost, Operation], object]) -> Judgement:
    def prepare() -> Trial:
        host = _fresh(kinds) if verb.endswith("only") else _history(kinds)

        def run() -> Effort:
            with counted("deaths", harness.TRIED) as effort:
                judge(host, CRASHED[verb])
            return effort

        return run

    return prepare


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

        def run() -> Effort:
            with counted("operations", harness.TRIED) as effort:
                effort.count = 1
                after = host.fork()
                CRASHED[verb](Engine(after))
                assert after.visible_snapshot(image, theirs) == held, "a stranger's tag is gone"
            return effort

        return run

    return prepare


@cache
def faults(kinds: str, verb: str, cut: Cut) -> Judgement:
    """Every effect of an operation fails once, as in tests/crash."""

    def prepare() -> Trial:
        def run() -> Effort:
            with counted("faults", harness.TRIED) as effort:
                one_effect_fails(kinds, verb, cut)
            return effort

        return run

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


@cache
def at_once(kinds: str, pair: str) -> Judgement:
    """Two engines at once, the first one preempted at every effect."""

    def prepare() -> Trial:
        host = _history(kinds)

        def run() -> Effort:
            with counted("schedules", interleave.SCHEDULES) as effort:
                judge_interleavings(host, PAIRS[pair])
            return effort

        return run

    return prepare
