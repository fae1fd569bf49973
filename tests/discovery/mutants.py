"""Engines that are wrong in one small way each: what the tests of the engine are for is to find every one of them.

A mutant replaces one attribute of the engine at run time, by a wrapper around what was there. No code of the engine is
copied, so a mutant follows the engine or, where it no longer fits, fails loudly.
"""

import builtins
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from simulator.core.effects import Cut
from tests.discovery.judgements import (
    Judgement,
    at_once,
    deaths,
    faults,
    guest_runs_first,
    overtaken,
    state_machine,
    stranger,
    walk,
)
from xensnap.engine import collect, context, delete, engine, execute, names, revert
from xensnap.engine.execute import Execution
from xensnap.engine.journal import Journal
from xensnap.engine.locks import Locks
from xensnap.engine.overlay_steps import CommitDown, MakeOverlay, Reback, RemoveImage, SwitchLayers
from xensnap.engine.plan import Plan
from xensnap.engine.point_steps import DropPoint, TakePoint
from xensnap.engine.step import StepBase
from xensnap.engine.steps import Step, Together
from xensnap.engine.store_steps import RemoveRecord, RemoveSidecar, RewriteRecord, WriteRecord
from xensnap.model import Format

Wrong = Callable[[Any], Any]
"""What makes the wrong one of the right one."""


@dataclass(frozen=True)
class Mutant:
    """One wrong engine.

    Attributes:
        name: what it does.
        breaks: what goes wrong then.
        rule: of the design, which says that it must not.
        owner: the module or class that has `attribute`, which `wrong` replaces.
        judgement: what finds it.
        also: other guards that are gone, where one alone is not needed to prevent it.
    """

    name: str
    breaks: str
    rule: str
    owner: Any
    attribute: str
    wrong: Wrong
    judgement: Judgement
    also: tuple[tuple[Any, str, Wrong], ...] = ()

    @contextmanager
    def loose(self) -> Iterator[None]:
        """Meanwhile the engine is the wrong one."""
        with ExitStack() as stack:
            for owner, attribute, wrong in ((self.owner, self.attribute, self.wrong), *self.also):
                stack.enter_context(_replaced(owner, attribute, wrong))
            yield


@contextmanager
def _replaced(owner: Any, attribute: str, wrong: Wrong) -> Iterator[None]:
    own = attribute in vars(owner)
    # A name that a module takes from the builtins can be given another meaning there, too.
    right = getattr(owner, attribute, None) or getattr(builtins, attribute)
    setattr(owner, attribute, wrong(right))
    try:
        yield
    finally:
        if own:
            setattr(owner, attribute, right)
        else:
            delattr(owner, attribute)


# Ports that do nothing where something is left out -------------------------------------------------------------------


class Instead:
    """A port, or a host, with some of it replaced."""

    def __init__(self, port: Any, **replaced: Any) -> None:
        self._port = port
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)


async def nothing(*_: Any, **__: Any) -> None:
    """Leave it out."""


def without_sync(host: Any, *left_out: str) -> Any:
    """The host, on which these methods of the files do nothing."""
    return Instead(host, files=Instead(host.files, **dict.fromkeys(left_out, nothing)))


def journal_without_sync(begin: Any) -> Any:
    async def wrong(self: Any, entry: Any) -> None:
        deaf = copy(self)
        deaf.files = Instead(self.files, sync=nothing)
        await begin(deaf, entry)

    return wrong


def execution_without_dir_sync(method: Any) -> Any:
    async def wrong(self: Any, *arguments: Any) -> None:
        deaf = copy(self)
        deaf._host = without_sync(self._host, "sync_dir")
        await method(deaf, *arguments)

    return wrong


def step_without(*left_out: str) -> Wrong:
    def changed(do: Any) -> Any:
        async def wrong(self: StepBase, at: context.Context) -> None:
            await do(self, replace(at, host=without_sync(at.host, *left_out)))

        return wrong

    return changed


# Steps and methods that do nothing, or something else ----------------------------------------------------------------


def left_out(_: Any) -> Any:
    return nothing


def without_its_domain(method: Any) -> Any:
    """A step that has forgotten which domain it is about."""

    async def wrong(self: Any, at: Any) -> None:
        await method(replace(self, domain_uuid=""), at)

    return wrong


def only_at_the_top(do: Any) -> Any:
    """A commit that is left out in the middle of a chain."""

    async def wrong(self: CommitDown, at: context.Context) -> None:
        if self.domain_uuid:
            await do(self, at)

    return wrong


def answers(value: Any) -> Wrong:
    """A method that looks at nothing."""

    def changed(method: Any) -> Any:
        def wrong(*_: Any, **__: Any) -> Any:
            return value

        return wrong

    return changed


def answers_later(value: Any) -> Wrong:
    """The same of a method that is awaited."""

    def changed(method: Any) -> Any:
        async def wrong(*_: Any, **__: Any) -> Any:
            return value

        return wrong

    return changed


def and_then(also: Callable[[Any], Awaitable[None]]) -> Wrong:
    """A method that does something more."""

    def changed(method: Any) -> Any:
        async def wrong(self: Any) -> None:
            await method(self)
            await also(self)

        return wrong

    return changed


def of_changed(change: Callable[[Any], Any]) -> Wrong:
    """A step that does what another step would do."""

    def changed(do: Any) -> Any:
        async def wrong(self: Any, at: context.Context) -> None:
            await do(change(self), at)

        return wrong

    return changed


def commits_in_any_case(do: Any) -> Any:
    async def wrong(self: Any, at: context.Context) -> None:
        right = CommitDown._switched
        CommitDown._switched = answers_later(False)(right)  # type: ignore[method-assign]
        try:
            await do(self, at)
        finally:
            CommitDown._switched = right  # type: ignore[method-assign]

    return wrong


def forward(_: Any) -> Any:
    return tuple


def no_lock(take: Any) -> Any:
    async def nobodys(*_: Any, **__: Any) -> Any:
        return Instead(None, release=nothing)

    async def wrong(self: Any, uuid: Any) -> None:
        open_to_all = copy(self)
        open_to_all._host = Instead(self._host, files=Instead(self._host.files, lock=nobodys))
        await take(open_to_all, uuid)

    return wrong


# Planners ------------------------------------------------------------------------------------------------------------


def planned(change: Callable[[Plan], Plan]) -> Wrong:
    """A planner whose plans come out changed."""

    def changed(planner: Any) -> Any:
        def wrong(*arguments: Any, **named: Any) -> Any:
            plan = planner(*arguments, **named)
            return plan and change(plan)

        return wrong

    return changed


def seen(change: Callable[[Any, Plan], Plan]) -> Wrong:
    """A planner whose plans come out changed by what it was shown."""

    def changed(planner: Any) -> Any:
        def wrong(view: Any, *arguments: Any, **named: Any) -> Any:
            plan = planner(view, *arguments, **named)
            return plan and change(view, plan)

        return wrong

    return changed


def parted(some: tuple[Step, ...], *kinds: type[StepBase]) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """The steps of these kinds, and the others."""
    those: list[Step] = []
    others: list[Step] = []
    for step in some:
        if isinstance(step, Together):
            inner, outer = parted(step.steps, *kinds)
            those += [Together(inner)] if inner else []  # type: ignore[arg-type]
            others += [Together(outer)] if outer else []  # type: ignore[arg-type]
        else:
            (those if isinstance(step, kinds) else others).append(step)
    return tuple(those), tuple(others)


def unplanned(*kinds: type[StepBase]) -> Wrong:
    """Without these steps."""
    return planned(
        lambda plan: replace(plan, prepare=parted(plan.prepare, *kinds)[1], finish=parted(plan.finish, *kinds)[1])
    )


def too_early(*kinds: type[StepBase]) -> Wrong:
    """With these steps before the decision instead of after it."""

    def change(plan: Plan) -> Plan:
        those, others = parted(plan.finish, *kinds)
        return replace(plan, prepare=(*plan.prepare, *those), finish=others)

    return planned(change)


def first(*kinds: type[StepBase]) -> Wrong:
    """With these steps before all others that come after the decision."""

    def change(plan: Plan) -> Plan:
        those, others = parted(plan.finish, *kinds)
        return replace(plan, finish=(*those, *others))

    return planned(change)


def current_stays(view: Any, plan: Plan) -> Plan:
    return replace(plan, state=replace(plan.state, current=view.state.current))


def not_in_the_ledger(plan: Plan) -> Plan:
    ours = tuple(entry for entry in plan.state.ours if entry.role != "overlay")
    return replace(plan, state=replace(plan.state, ours=ours))


def nothing_hidden(plan: Plan) -> Plan:
    return replace(plan, state=replace(plan.state, hidden=()))


def size_of_the_active_layer(overlay: Any) -> Any:
    def wrong(view: Any, disk: Any, fresh: Any) -> Any:
        return replace(overlay(view, disk, fresh), size_bytes=view.chain(disk.vdev).active.virtual_size_bytes)

    return wrong


def several_are_no_reason(*, ours: bool) -> Wrong:
    def changed(why_kept: Any) -> Any:
        def wrong(view: Any, base: Any) -> Any:
            why = why_kept(view, base)
            made = view.state.made(base.path) is not None
            return "" if why.endswith("images stand on it") and made is ours else why

        return wrong

    return changed


def same_name_again(overlay_file: Any) -> Any:
    def wrong(base_path: str, **named: Any) -> Any:
        return overlay_file(base_path, **{**named, "operation": "0" * 12})

    return wrong


def kept_fingerprint(refreshed: Any) -> Any:
    def wrong(snapshot: Any, path: str, layer: Any) -> Any:
        after = refreshed(snapshot, path, layer)
        pairs = zip(after.disks, snapshot.disks, strict=True)
        return replace(after, disks=tuple(replace(new, fingerprint=old.fingerprint) for new, old in pairs))

    return wrong


BRANCHES = walk(Format.RAW, "create a", "create b", "revert a", "create c", "delete a")
HIGHER_BRANCHES = walk(Format.RAW, "create z", "create a", "create b", "revert a", "create c", "delete a")
COMMITTED = walk(Format.RAW, "create a", "create b", "create c", "delete a")
ALL_GONE = walk(Format.RAW, "create a", "create b", "delete a", "delete b")

MUTANTS = (
    Mutant(
        "does not sync the journal's first entry",
        "a power cut takes the intent and leaves what was done",
        "5.5",
        Journal,
        "begin",
        journal_without_sync,
        deaths("e", "create"),
    ),
    Mutant(
        "does not sync the directory of the decision",
        "a power cut takes back what was acknowledged",
        "5.5",
        Execution,
        "_write_state",
        execution_without_dir_sync,
        deaths("e", "create"),
    ),
    Mutant(
        "decides before it prepares",
        "a death leaves a snapshot that was never taken",
        "5.5",
        Execution,
        "_begin",
        and_then(lambda execution: execution._decide()),
        deaths("i", "create"),
    ),
    Mutant(
        "removes the overlay that a revert leaves before the decision",
        "there is no way back any more",
        "5.5",
        engine,
        "plan_revert",
        too_early(RemoveImage),
        deaths("e", "revert for good"),
    ),
    Mutant(
        "deletes the tags before the decision",
        "an undone deletion has lost its snapshot",
        "5.5",
        engine,
        "plan_delete",
        too_early(DropPoint),
        deaths("i", "delete"),
    ),
    Mutant(
        "removes the record before the decision",
        "an undone deletion has lost its snapshot",
        "5.5",
        engine,
        "plan_delete",
        too_early(RemoveRecord),
        deaths("i", "delete"),
    ),
    Mutant(
        "removes images of a merge before the decision",
        "an undone merge has lost an image",
        "5.5",
        engine,
        "plan_collection",
        too_early(RemoveImage),
        deaths("e", "delete leaf"),
    ),
    Mutant(
        "removes images of a merge before the records that name them",
        "a record without its image, until recovery",
        "5.5",
        engine,
        "plan_collection",
        first(RemoveImage),
        deaths("e", "delete root"),
    ),
    Mutant(
        "deletes tags before the record that names them",
        "a record without its tag, until recovery",
        "5.5",
        engine,
        "plan_delete",
        first(DropPoint),
        deaths("i", "delete"),
    ),
    Mutant(
        "reverts without a safety point",
        "a revert that was interrupted cannot be undone",
        "5, order of a revert",
        engine,
        "plan_revert",
        unplanned(TakePoint),
        deaths("i", "revert"),
    ),
    Mutant(
        "leaves the safety point behind",
        "a tag that no record knows",
        "5.5",
        engine,
        "plan_revert",
        unplanned(DropPoint),
        deaths("i", "revert for good"),
    ),
    Mutant(
        "leaves the tag of an undone snapshot behind",
        "a tag that no record knows",
        "5.5",
        TakePoint,
        "undo",
        left_out,
        deaths("i", "create"),
    ),
    Mutant(
        "leaves the overlay of an undone snapshot behind",
        "a file that nobody needs",
        "5.5",
        MakeOverlay,
        "undo",
        left_out,
        deaths("e", "create"),
    ),
    Mutant(
        "does not switch the domain back",
        "a domain that starts from an overlay that is gone",
        "5.9",
        SwitchLayers,
        "undo",
        left_out,
        deaths("e", "create"),
    ),
    Mutant(
        "undoes in forward order",
        "the safety point is gone before it is needed",
        "5.5",
        execute,
        "reversed",
        forward,
        deaths("i", "revert"),
    ),
    Mutant(
        "leaves files half written",
        "a file that nobody needs",
        "5.5",
        Execution,
        "_remove_half_written",
        left_out,
        deaths("i", "create"),
    ),
    Mutant(
        "does not end a torn line of the journal",
        "what is written behind it is invisible, so the operation never ends",
        "5.5",
        Journal,
        "repair",
        left_out,
        deaths("i", "create"),
        also=((Journal, "claim", answers_later(None)),),  # it would be that line which is lost
    ),
    Mutant(
        "does not sync the directory of an overlay",
        "after a power cut the domain starts from a file that is not there",
        "5.11",
        MakeOverlay,
        "do",
        step_without("sync_dir"),
        deaths("e", "revert"),
    ),
    Mutant(
        "does not write the record again after a power cut",
        "the decision is there and the record is not",
        "5.5",
        WriteRecord,
        "repeats",
        lambda _: False,
        deaths("i", "create"),
    ),
    Mutant(
        "tells of an error that nothing is changed, and undoes nothing",
        "half an operation stays, and nobody is told",
        "5.4",
        Execution,
        "_settle",
        answers_later(execute.Outcome.UNDONE),
        faults("i", "create", Cut.UNACKNOWLEDGED),
    ),
    Mutant(
        "deletes by the tag alone",
        "the snapshot of a stranger who chose the same tag goes, too",
        "5.15",
        DropPoint,
        "do",
        of_changed(lambda step: replace(step, snapshot_id="")),
        stranger("delete"),
    ),
    Mutant(
        "uses the name of an overlay again",
        "two overlays want to be the same file",
        "5.12",
        names,
        "overlay_file",
        same_name_again,
        state_machine,
    ),
    Mutant(
        "makes the overlay of a revert as large as the active layer",
        "the disk comes back with another size",
        "5.1",
        revert,
        "_overlay",
        size_of_the_active_layer,
        state_machine,
    ),
    Mutant(
        "commits into a base that two images stand on",
        "the other image reads something else",
        "5.3, 5.14",
        collect,
        "why_kept",
        several_are_no_reason(ours=False),
        BRANCHES,
    ),
    Mutant(
        "merges away a base that another image stands on",
        "the other image stands on nothing",
        "5.3, 5.14",
        collect,
        "why_kept",
        several_are_no_reason(ours=True),
        HIGHER_BRANCHES,
    ),
    Mutant(
        "does not give the children of a committed image their new base",
        "they stand on a file that is gone",
        "5.3",
        engine,
        "plan_collection",
        unplanned(Reback),
        COMMITTED,
    ),
    Mutant(
        "does not rewrite the records after a merge",
        "a record names an image that is gone",
        "5.3",
        engine,
        "plan_collection",
        unplanned(RewriteRecord),
        COMMITTED,
    ),
    Mutant(
        "keeps the old fingerprint of a merged image",
        "a snapshot that nobody can revert to",
        "5.1, 5.3",
        collect,
        "_refreshed",
        kept_fingerprint,
        COMMITTED,
    ),
    Mutant(
        "removes a middle layer that was not written down",
        "what the layer held is lost",
        "5.3",
        CommitDown,
        "do",
        only_at_the_top,
        deaths("e", "delete root"),
    ),
    Mutant(
        "commits again after the domain was switched",
        "what the guest wrote in between is overwritten",
        "5.5, 5.9",
        CommitDown,
        "do",
        commits_in_any_case,
        guest_runs_first("e", "delete only"),
    ),
    Mutant(
        "takes back a commit although the domain was switched",
        "an overlay that nobody needs, in the ledger for ever",
        "5.5, 5.9",
        CommitDown,
        "must_go_on",
        answers_later(False),
        deaths("e", "delete only"),
    ),
    Mutant(
        "does not switch the domain to the base of a commit",
        "the domain starts from an overlay that is gone",
        "5.9",
        CommitDown,
        "do",
        without_its_domain,
        state_machine,
    ),
    Mutant(
        "does not give children their new parent",
        "a tree that falls apart",
        "5.3",
        delete,
        "reparented",
        answers(()),
        COMMITTED,
    ),
    Mutant(
        "does not move the current snapshot at a revert",
        "the next snapshot gets the wrong parent",
        "5.1",
        engine,
        "plan_revert",
        seen(current_stays),
        state_machine,
    ),
    Mutant(
        "does not move the current snapshot at a deletion",
        "the next snapshot gets no parent",
        "5.3",
        engine,
        "plan_delete",
        seen(current_stays),
        state_machine,
    ),
    Mutant(
        "does not remove the copies of a record",
        "a file that nobody needs",
        "5.5",
        RemoveSidecar,
        "do",
        left_out,
        state_machine,
    ),
    Mutant(
        "does not enter overlays into the ledger",
        "overlays that nobody may ever remove",
        "5.5",
        engine,
        "plan_create",
        planned(not_in_the_ledger),
        state_machine,
    ),
    Mutant(
        "forgets the images that a deletion leaves",
        "layers that nobody will ever merge",
        "5.14",
        engine,
        "plan_delete",
        planned(nothing_hidden),
        ALL_GONE,
    ),
    Mutant(
        "takes no lock",
        "two engines at once do what neither would do alone",
        "5.6",
        Locks,
        "_take",
        no_lock,
        at_once("e", "two creates"),
    ),
    Mutant(
        "never looks whether somebody else has begun meanwhile",
        "an engine whose lock file was removed acts on what another one has changed since",
        "5, children and locks",
        Journal,
        "require_ours",
        answers_later(None),
        overtaken("i", "two creates of one name"),
    ),
)
