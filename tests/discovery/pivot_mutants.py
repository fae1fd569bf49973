"""Engines that end an image below a guest that runs wrongly, in one small way each; see `mutants`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace as remade

from simulator import CrashPoint
from simulator.core.effects import Cut
from tests.crash import harness
from tests.crash.test_pivot import hidden, judge_under_a_writer
from tests.discovery.judgements import Trial, died, known, named, trying
from tests.discovery.mutants import Instead, Mutant, nothing
from tests.discovery.running_mutants import deaths
from xensnap.engine import pivot_steps
from xensnap.engine.overlay_steps import PullUp
from xensnap.engine.pivot_steps import CopyDown, Pivot


@dataclass(frozen=True)
class DiesBelowAWriter:
    """The engine dies at one place of a pivot below a guest that never rests, and `recover` follows."""

    effect: str
    nth: int
    cut: Cut
    death: str

    def trial(self) -> Callable[[], object]:
        """See Plan."""
        host = hidden()
        return lambda: judge_under_a_writer(host.fork(), named(self.death), at=(self.effect, self.nth, self.cut))


def _plan(error: BaseException) -> DiesBelowAWriter:
    try:
        points = known(error, point=CrashPoint, points=tuple)["points"]
    except LookupError:
        points = ()
    return DiesBelowAWriter(*died(error, points))


def under_a_writer() -> Trial:
    """Death at every effect of a pivot below a guest that never rests, as in tests/crash."""
    host = hidden()
    return trying("deaths", harness.TRIED, lambda: judge_under_a_writer(host.fork(), harness.DEATHS), _plan)


def without_pause(go_over: Any) -> Any:
    async def wrong(self: Any, at: Any) -> None:
        await go_over(self, remade(at, host=Instead(at.host, toolstack=Instead(at.host.toolstack, pause=nothing))))

    return wrong


def runs_at_once(go_over: Any) -> Any:
    async def wrong(self: Any, at: Any) -> None:
        await go_over(self, at)
        await self._let_go_on(at)

    return wrong


def switched_first(go_over: Any) -> Any:
    async def wrong(self: Any, at: Any) -> None:
        await at.host.toolstack.set_layers(at.domain_uuid, {self.vdev: self.base})
        await go_over(self, at)

    return wrong


def left_out(_: Any) -> Any:
    return nothing


def believed(_: Any) -> Any:
    async def wrong(self: Any, at: Any) -> bool:
        return False

    return wrong


def not_flushed(stream: Any) -> Any:
    async def wrong(self: Any, at: Any, running: Any) -> None:
        await stream(self, remade(at, host=Instead(at.host, blocks=Instead(at.host.blocks, flush=nothing))), running)

    return wrong


PIVOT_MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "lets the guest run while it goes over to the base",
        "a next start from what the guest has left behind",
        "5.9",
        Pivot,
        "_go_over",
        without_pause,
        under_a_writer,
    ),
    Mutant(
        "lets the guest go on before its next start is from the base",
        "a next start from what the guest has left behind",
        "5.9",
        Pivot,
        "_go_over",
        runs_at_once,
        under_a_writer,
    ),
    Mutant(
        "lets the domain start from the base before all is copied there",
        "a next start from half of a disk",
        "5.9",
        CopyDown,
        "do",
        switched_first,
        under_a_writer,
    ),
    Mutant(
        "does not switch the next start",
        "a next start from what the guest has left behind",
        "5.9",
        pivot_steps,
        "switch",
        left_out,
        under_a_writer,
    ),
    Mutant(
        "looks where the guest is before its job has come to rest",
        "a guest that is undone away from where it runs",
        "5.5",
        CopyDown,
        "halt",
        left_out,
        under_a_writer,
    ),
    Mutant(
        "undoes a pivot that has been",
        "a next start from what the guest has left behind",
        "5.5",
        pivot_steps.Lowering,
        "must_go_on",
        believed,
        under_a_writer,
    ),
    Mutant(
        "undoes a pivot without letting the guest go on",
        "a guest that is left paused",
        "5.5",
        Pivot,
        "undo",
        left_out,
        under_a_writer,
    ),
    Mutant(
        "removes an image when what a stream copied from it is in QEMU's memory only",
        "a disk that a power cut leaves without what it stood on",
        "5.5",
        PullUp,
        "_stream",
        not_flushed,
        deaths("e", "delete"),
    ),
)
