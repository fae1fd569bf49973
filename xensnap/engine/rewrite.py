"""Planning changes to records alone: other names, descriptions and pins. Pure; no image is touched."""

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from xensnap.engine.create import against_name, sidecar_paths
from xensnap.engine.plan import Plan
from xensnap.engine.planning import plan_for
from xensnap.engine.request import EditRequest, Fresh, PinRequest, RenameRequest, UnpinRequest
from xensnap.engine.revert import find
from xensnap.engine.steps import Step
from xensnap.engine.store_steps import RemoveRecord, RewriteRecord, WriteSidecar
from xensnap.engine.view import View
from xensnap.errors import ExitCode, Reason, Refused
from xensnap.model import Pin, Snapshot


def rewritten(changed: Iterable[Snapshot]) -> tuple[RewriteRecord | WriteSidecar, ...]:
    """The steps that write these records anew, and the copies beside their images."""
    changed = tuple(changed)
    return (
        *(RewriteRecord(snapshot) for snapshot in changed),
        *(WriteSidecar(path, snapshot) for snapshot in changed for path in sidecar_paths(snapshot)),
    )


def plan_rename(view: View, request: RenameRequest, fresh: Fresh) -> Plan:
    """Plan another name for a snapshot. Its children learn it, too; tags and memory files keep theirs.

    Args:
        view: what was observed.
        request: the old name and the new one.
        fresh: operation id and time.

    Raises:
        NotFound: no such snapshot.
        Refused: the new name is bad or taken. Nothing was touched.
    """
    snapshot = find(view, request.name)
    reasons = against_name(view, request.new_name)
    if reasons:
        raise Refused(reasons)
    renamed = replace(snapshot, name=request.new_name)
    children = [replace(s, parent=renamed.name) for s in view.snapshots.values() if s.parent == snapshot.name]
    current = renamed.name if view.state.current == snapshot.name else view.state.current
    summary = f"rename snapshot {snapshot.name!r} of {view.domain.name} to {renamed.name!r}"
    finish = (*rewritten([renamed, *children]), RemoveRecord(snapshot.name))
    plan = _plan(view, fresh, "rename", summary, renamed.name, finish)
    return msgspec.structs.replace(plan, state=msgspec.structs.replace(plan.state, current=current))


def plan_edit(view: View, request: EditRequest, fresh: Fresh) -> Plan:
    """Plan another description. `NotFound`: no such snapshot."""
    changed = replace(find(view, request.name), description=request.description)
    summary = f"describe snapshot {request.name!r} of {view.domain.name} anew"
    return _plan(view, fresh, "edit", summary, request.name, rewritten([changed]))


def plan_pin(view: View, request: PinRequest, fresh: Fresh) -> Plan:
    """Plan to protect a snapshot.

    Raises:
        NotFound: no such snapshot.
        Refused: somebody else has pinned it, or the time is over already. Nothing was touched.
    """
    snapshot = find(view, request.name)
    reasons = [*_against_owner(snapshot, request.owner, fresh.now_s)]
    if request.until_s and request.until_s <= fresh.now_s:
        cause = f"a pin of {request.name!r} until then would be over already"
        reasons.append(Reason("pin-is-over", cause, "Name a time to come.", ExitCode.USAGE))
    if reasons:
        raise Refused(reasons)
    pinned = replace(snapshot, pin=Pin(request.owner, fresh.now_s, request.until_s, request.why))
    summary = f"pin snapshot {request.name!r} of {view.domain.name}"
    return _plan(view, fresh, "pin", summary, request.name, rewritten([pinned]))


def plan_unpin(view: View, request: UnpinRequest, fresh: Fresh) -> Plan:
    """Plan to protect a snapshot no more.

    Raises:
        NotFound: no such snapshot.
        Refused: it is not pinned, or not by the owner named. Nothing was touched.
    """
    snapshot = find(view, request.name)
    reasons = list(_against_owner(snapshot, request.owner, fresh.now_s)) if request.owner else []
    if snapshot.pin is None:
        reasons = [Reason("not-pinned", f"{request.name!r} is not pinned", "Nothing has to be done.")]
    if reasons:
        raise Refused(reasons)
    summary = f"unpin snapshot {request.name!r} of {view.domain.name}"
    return _plan(view, fresh, "unpin", summary, request.name, rewritten([replace(snapshot, pin=None)]))


def _against_owner(snapshot: Snapshot, owner: str, now_s: int) -> Iterable[Reason]:
    pin = snapshot.pin
    if pin is not None and pin.holds(now_s) and pin.owner != owner:
        cause = f"{snapshot.name!r} is pinned by {pin.owner}, not by {owner}"
        yield Reason("pinned-by-another", cause, f"Ask {pin.owner}; `xensnap unpin` takes any pin away.")


def _plan(view: View, fresh: Fresh, verb: str, summary: str, about: str, finish: tuple[Step, ...]) -> Plan:
    return plan_for(
        view,
        fresh.operation,
        verb,
        summary,
        snapshot=about,
        finish=finish,
    )
