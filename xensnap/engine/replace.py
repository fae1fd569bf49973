"""Planning a snapshot that takes the place and the name of an older one. Pure.

Both are one operation with one decision: before it the old snapshot is there, after it the new one, and never neither.
"""

from collections.abc import Iterator

import msgspec

from xensnap.engine.create import plan_create
from xensnap.engine.delete import plan_removal
from xensnap.engine.plan import Plan
from xensnap.engine.request import CreateRequest, Fresh
from xensnap.engine.steps import Step
from xensnap.engine.store_steps import RemoveRecord, RewriteRecord, WriteRecord
from xensnap.engine.view import View, digest


def plan_replacement(view: View, request: CreateRequest, fresh: Fresh) -> Plan:
    """Plan a snapshot; one of the same name is removed by the same decision.

    Args:
        view: what was observed.
        request: what is asked for; without a name, or with one that is free, there is nothing to replace.
        fresh: operation id and time.

    Raises:
        Refused: the new one cannot be taken, or the old one not be removed. Nothing was touched.
    """
    old = view.snapshots.get(request.name or "")
    if old is None:
        return plan_create(view, request, fresh)
    removal = plan_removal(view, {old.name}, fresh, accept=request.accept, verb="delete")
    creation = plan_create(_without(view, removal, old.name), request, fresh)
    return msgspec.structs.replace(
        creation,
        summary=f"{creation.summary} in place of the old one",
        observed=digest(view),
        prepare=tuple(step for step in creation.prepare if not isinstance(step, WriteRecord)),
        finish=(*_records(creation), *(step for step in removal.finish if not isinstance(step, RemoveRecord))),
        accepted=(*creation.accepted, *removal.accepted),
        warnings=(*creation.warnings, *removal.warnings),
    )


def _without(view: View, removal: Plan, name: str) -> View:
    """The view as it will be for the new snapshot: the old one is decided to be gone, but its files are still there."""
    rewritten = {step.snapshot.name: step.snapshot for step in removal.finish if isinstance(step, RewriteRecord)}
    old = view.snapshots[name]
    return msgspec.structs.replace(
        view,
        state=removal.state,
        snapshots={**{known: view.snapshots[known] for known in view.snapshots if known != name}, **rewritten},
        taken=view.taken | ({old.memory} if old.memory else frozenset()),
    )


def _records(creation: Plan) -> Iterator[Step]:
    """The new record replaces the old one's file, so it is written only after the decision."""
    for step in creation.prepare:
        if isinstance(step, WriteRecord):
            yield RewriteRecord(step.snapshot)
