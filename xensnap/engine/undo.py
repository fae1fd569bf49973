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


def plan_undo(entries: Iterable[Entry]) -> tuple[Plan, Request]:
    """The last operation that was done, and the request that takes it back.

    Args:
        entries: the journal.

    Raises:
        NotFound: the journal tells of no operation.
        Refused: it cannot be taken back, with what to do the next time.
    """
    done = list(_done(entries))
    if not done:
        raise NotFound("nothing has been done to this domain yet", id="nothing-to-undo")
    last, before = done[-1], done[-2] if len(done) > 1 else None
    request = _back(last, before)
    if request is None:
        cause = f"it cannot be taken back: {last.summary}"
        remedy = _INSTEAD.get(last.verb, "Do the opposite by hand.")
        raise Refused([Reason("cannot-undo", cause, remedy, ExitCode.REFUSED)])
    return last, request


def _done(entries: Iterable[Entry]) -> Iterable[Plan]:
    """What was carried out to its end and asked for by somebody; merges and repairs are not. Exports change nothing."""
    begun: dict[str, Plan] = {}
    for entry in entries:
        if isinstance(entry, Begin):
            begun[entry.operation] = entry.plan
        elif isinstance(entry, End) and entry.outcome == "done" and entry.operation in begun:
            plan = begun[entry.operation]
            if plan.request and plan.verb != "export":
                yield plan


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
