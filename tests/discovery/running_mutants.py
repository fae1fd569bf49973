"""Engines that are wrong about guests that run, in one small way each; see `mutants`."""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from functools import cache
from typing import Any

from msgspec.structs import replace as remade

from simulator.checkers.guests import torn
from simulator.core.effects import Cut
from tests.crash import harness, running
from tests.crash.test_meanwhile import interrupted, judged
from tests.crash.test_meanwhile import test_the_guest_ends_meanwhile as the_guest_ends
from tests.discovery.judgements import Dies, Judgement, Trial, died, known, named, trying
from tests.discovery.mutants import Instead, Mutant, nothing
from xensnap.engine import live, live_steps
from xensnap.engine.engine import Engine
from xensnap.engine.live_steps import Checkpoint, RestoreMemory, SaveAway
from xensnap.engine.quiet_steps import TakeQuietPoints
from xensnap.engine.request import CreateRequest, RevertRequest
from xensnap.hypervisor import Then


@dataclass(frozen=True)
class DiesBelowAGuest(Dies):
    """The engine dies at one place of an operation on a guest that runs, and `recover` follows."""

    def trial(self) -> Callable[[], object]:
        """See Plan."""
        host = running.guest_for(self.verb, self.kinds)
        at = (self.effect, self.nth, self.cut)
        return lambda: running.judge(host, running.OPERATIONS[self.verb], named(self.death), at=at)


@dataclass(frozen=True)
class Ends:
    """The guest reboots, powers off or crashes at one place of an operation on it."""

    kinds: str
    verb: str
    end: str
    effect: str
    nth: int
    cut: Cut

    def trial(self) -> Callable[[], object]:
        """See Plan."""
        host = running.guest_for(self.verb, self.kinds)
        ended = host.fork()
        running.OPERATIONS[self.verb](Engine(ended))

        def run() -> None:
            where = repr(self)
            left = interrupted(host, self.verb, self.end, self.effect, self.cut, where, nth=self.nth)
            judged(left, host, ended, self.end, where)

        return run


@dataclass(frozen=True)
class OneMoment:
    """A checkpoint of a guest that never rests, and a revert to it."""

    def trial(self) -> Callable[[], object]:
        """See Plan."""
        return one_moment()


@cache
def deaths(kinds: str, verb: str) -> Judgement:
    """Death at every effect of an operation on a guest that runs, as in tests/crash."""

    def prepare() -> Trial:
        host = running.guest_for(verb, kinds)

        def plan(error: BaseException) -> DiesBelowAGuest:
            points = harness.every_crash(host, running.OPERATIONS[verb])
            return DiesBelowAGuest(kinds, verb, *died(error, points))

        return trying("deaths", harness.TRIED, lambda: running.judge(host, running.OPERATIONS[verb]), plan)

    return prepare


@cache
def reboots(kinds: str, verb: str) -> Judgement:
    """A guest that reboots at every effect of an operation, as in tests/crash."""

    def prepare() -> Trial:
        def plan(error: BaseException) -> Ends:
            return Ends(kinds, verb, "reboot", **_place(error, kinds, verb))

        return trying("reboots", harness.TRIED, lambda: the_guest_ends(kinds, verb, "reboot"), plan)

    return prepare


def _place(error: BaseException, kinds: str, verb: str) -> dict[str, Any]:
    found = known(error, number=int, cut=Cut)
    host = running.guest_for(verb, kinds)
    with host.recording() as watch:
        running.OPERATIONS[verb](Engine(host))
    until = [event.effect for event in watch.trace[: found["number"]]]
    return {"effect": until[-1], "nth": until.count(until[-1]), "cut": found["cut"]}


def one_moment() -> Trial:
    """A guest that never rests comes back with the memory that fits its disks."""
    host = running.running("i")
    host.guest_never_rests(harness.GUEST, "xvda", length_bytes=harness.CLUSTER, end_bytes=4 * harness.CLUSTER)

    def there_and_back() -> None:
        back = host.fork()
        Engine(back).create(harness.GUEST, CreateRequest("second"))
        Engine(back).revert(harness.GUEST, RevertRequest("second", Then.PAUSED))
        assert not list(torn(back.world)), "memory and disks are of two moments"

    return trying("operations", harness.TRIED, there_and_back, lambda _: OneMoment(), count=2)


def guest_runs_before_the_points(save: Any) -> Any:
    async def wrong(at: Any, to: str, points: Any, *, then: Then, **more: Any) -> None:
        await save(at, to, (), then=Then.RUNNING if points else then, **more)
        if points:
            domain = await at.required()
            await at.host.blocks.transaction(domain, [point.action() for point in points])

    return wrong


def watcher_not_held(held: Any) -> Any:
    async def wrong(at: Any) -> Any:
        deaf = remade(at, host=Instead(at.host, toolstack=Instead(at.host.toolstack, hold_watcher=nothing)))
        return await held(deaf)

    return wrong


def watcher_held_once(_: Any) -> Any:
    async def wrong(at: Any) -> Any:
        domain = await at.required()
        return domain, await at.host.toolstack.hold_watcher(domain)

    return wrong


def undone_without(step: str) -> Any:
    """An undo that leaves one thing out."""

    def changed(undo: Any) -> Any:
        async def wrong(self: Any, at: Any) -> None:
            await undo(self, remade(at, host=Instead(at.host, toolstack=Instead(at.host.toolstack, **{step: nothing}))))

        return wrong

    return changed


def ended_before_it_is_decided(take: Any) -> Any:
    def wrong(view: Any, snapshot: Any, request: Any) -> Any:
        steps = take(view, snapshot, request)
        return tuple(remade(step, then=request.then) if isinstance(step, Checkpoint) else step for step in steps)

    return wrong


def never_thawed(_: Any) -> Any:
    async def wrong(self: Any, at: Any) -> int:
        return 0

    return wrong


def nothing_ended(_: Any) -> Any:
    return nothing


def named_at_once(do: Any) -> Any:
    async def wrong(self: Any, at: Any) -> None:
        files = at.host.files
        if await files.stat(self.memory) is not None:
            return await do(copy(self), at)
        await files.create(self.memory)
        await at.note_made(self.memory, now=self.memory)
        await live_steps._save(at, self.memory, self.points, then=self.then, live=self.live)
        await files.sync(self.memory)
        await files.sync_dir(self.memory.rpartition("/")[0])
        return None

    return wrong


RUNNING_MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "lets the guest run before the points of its disks are taken",
        "memory and disks of two moments",
        "5.2",
        live_steps,
        "_save",
        guest_runs_before_the_points,
        one_moment,
    ),
    Mutant(
        "does not stop the watcher during a save",
        "a guest that nobody reboots any more",
        "5.10",
        live_steps,
        "_held",
        watcher_not_held,
        deaths("i", "checkpoint"),
    ),
    Mutant(
        "does not look whether the guest has rebooted while its watcher was stopped",
        "a guest that nobody reboots any more",
        "5.10",
        live_steps,
        "_held",
        watcher_held_once,
        reboots("i", "checkpoint"),
    ),
    Mutant(
        "undoes a checkpoint without letting the guest go on",
        "a guest that is left paused",
        "5.5",
        Checkpoint,
        "undo",
        undone_without("unpause"),
        deaths("i", "checkpoint"),
    ),
    Mutant(
        "undoes a checkpoint without reviving the guest",
        "a guest that is left suspended",
        "5.5",
        Checkpoint,
        "undo",
        undone_without("resume"),
        deaths("i", "checkpoint"),
    ),
    Mutant(
        "ends the guest of a checkpoint before it is decided",
        "a guest that is lost, though the operation was undone",
        "5.5",
        live,
        "take",
        ended_before_it_is_decided,
        deaths("i", "checkpoint and stop"),
    ),
    Mutant(
        "gives a memory file its name before it is complete",
        "a fragment that is taken for a memory",
        "5.5",
        Checkpoint,
        "do",
        named_at_once,
        deaths("e", "checkpoint"),
    ),
    Mutant(
        "undoes a revert without bringing the old guest back",
        "a guest that is lost",
        "5.4",
        SaveAway,
        "undo",
        undone_without("restore"),
        deaths("i", "revert"),
    ),
    Mutant(
        "undoes a revert without ending the guest that came back",
        "a guest that runs on the disks of another moment",
        "5.5",
        RestoreMemory,
        "undo",
        undone_without("destroy"),
        deaths("i", "revert"),
    ),
    Mutant(
        "takes what an interrupted start has left for a guest that runs",
        "a guest that nobody watches",
        "5.10",
        live_steps,
        "end_unfinished",
        nothing_ended,
        deaths("ie", "revert disks"),
    ),
    Mutant(
        "does not thaw the guest",
        "a guest whose file systems are left frozen",
        "5.5",
        TakeQuietPoints,
        "_thaw",
        never_thawed,
        deaths("ie", "quiet disks"),
    ),
)
