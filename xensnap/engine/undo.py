"""Which request takes back the last operation on a domain, as the journal tells it. Pure."""

from collections.abc import Iterable

import msgspec

from xensnap.engine import given_up
from xensnap.engine.configuration_steps import Configure
from xensnap.engine.journal import Begin, End, Entry
from xensnap.engine.plan import Plan
from xensnap.engine.request import (
    AdoptRequest,
    CreateRequest,
    DeleteRequest,
    ForgetRequest,
    RenameRequest,
    Request,
    RestoreRequest,
    RevertRequest,
)
from xensnap.engine.trash_steps import KeepGivenUp
from xensnap.errors import ExitCode, NotFound, Reason, Refused

_INSTEAD = {
    "revert": "Next time keep what would be given up: `revert` without --no-undo, or with --save-current NAME.",
    "delete": "Next time throw it away so that it can be had back: `forget`, and `trash empty` later.",
    "prune": "Pin what must stay.",
    "empty": "What has left the trash is gone.",
    "import": "Remove the domain and its images as you would any other.",
    "clone": "Remove the domain and its images as you would any other.",
}


def plan_undo(trail: Iterable[Entry | None], decided: str) -> tuple[Plan, Request]:
    """The last operation that was done, and the request that takes it back.

    Args:
        trail: the journal, with None for each line that cannot be read any more.
        decided: the last operation that was decided, as the domain's state tells it; empty where it tells of none.

    Raises:
        NotFound: the journal tells of no operation.
        Refused: it cannot be taken back, or nobody knows what was done last, with what to do the next time.
    """
    done = [plan for plan in _ended(trail, decided) if plan is None or _asked_for(plan)]
    if not done:
        raise NotFound("nothing has been done to this domain yet", id="nothing-to-undo")
    last, before = done[-1], done[-2] if len(done) > 1 else None
    if last is None:
        cause = "the journal cannot be read to its end any more, and nobody knows what was done last"
        remedy = "What is done next can be taken back again."
        raise Refused([Reason("cannot-undo", cause, remedy, ExitCode.REFUSED)])
    request = _back(last, before)
    if request is None:
        cause = f"it cannot be taken back: {last.summary}"
        remedy = _INSTEAD.get(last.verb, "Do the opposite by hand.")
        raise Refused([Reason("cannot-undo", cause, remedy, ExitCode.REFUSED)])
    return last, request


def is_last_lost(trail: Iterable[Entry | None], decided: str) -> bool:
    """Whether the journal does not tell any more what was done last; arguments as of `plan_undo`."""
    ended = _ended(trail, decided)
    return bool(ended) and ended[-1] is None


def _ended(trail: Iterable[Entry | None], decided: str) -> list[Plan | None]:
    """What was carried out to its end, in order, and None where something may have been that nobody can tell of.

    What cannot be read in the middle of an operation hides no other one: each begins when that before it has ended.
    """
    begun: dict[str, Plan] = {}
    ended: list[Plan | None] = []
    under_way = last = ""
    for entry in trail:
        match entry:
            case None if not under_way:
                ended.append(None)
            case Begin(operation, plan):
                if last and plan.follows not in ("", last):
                    ended.append(None)
                begun[operation] = plan
                under_way = operation
            case End(operation, outcome):
                under_way = "" if under_way == operation else under_way
                if outcome == "done":
                    last = operation
                    ended.append(begun.get(operation))
    if under_way and under_way == decided:
        ended.append(begun[under_way])  # whoever recovers it brings it to its end
    elif decided not in ("", last):
        ended.append(None)
    return ended


def _asked_for(plan: Plan) -> bool:
    """Whether somebody has asked for it, which nobody does for merges and repairs. Exports change nothing."""
    return bool(plan.request) and plan.verb != "export"


def _back(last: Plan, before: Plan | None) -> Request | None:
    match last.verb:
        case "create" | "graft":
            return DeleteRequest(last.snapshot)
        case "delete" if msgspec.json.decode(last.request, type=DeleteRequest).metadata_only and last.snapshot:
            return AdoptRequest(last.snapshot)
        case "forget":
            return RestoreRequest(last.snapshot)
        case "restore":
            return ForgetRequest(last.snapshot)
        case "adopt" if last.prepare:
            return ForgetRequest(msgspec.json.decode(last.request, type=AdoptRequest).name)
        case "rename":
            asked = msgspec.json.decode(last.request, type=RenameRequest)
            return RenameRequest(asked.new_name, asked.name)
        case "revert" if keeping := given_up.kept_by(last):
            return _back_from(last, keeping)
        case "revert" if before is not None and before.verb == "create":
            saved = msgspec.json.decode(before.request, type=CreateRequest)
            saved_for_it = saved.description == given_up_for(last.snapshot)
            return RevertRequest(before.snapshot) if saved_for_it else None
    return None


def _back_from(last: Plan, keeping: KeepGivenUp) -> RevertRequest:
    """The revert to what a revert gave up: of the same disks, with the configuration file that it had."""
    asked = msgspec.json.decode(last.request, type=RevertRequest)
    changed = next((step for step in last.prepare if isinstance(step, Configure)), None)
    file = changed.before.file if changed else ""
    return RevertRequest(keeping.trashed.snapshot.name, only=asked.only, config_file=file, trashed=True)


def given_up_for(name: str) -> str:
    """How the snapshot is described that a revert takes before it, of what it gives up."""
    return f"given up for {name!r}"
