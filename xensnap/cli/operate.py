"""What create, revert, delete and apply have in common: plan or carry out, be interrupted, tell."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from xensnap.cli.documents import done
from xensnap.cli.documents.done import OperationDocument
from xensnap.cli.records import recovered_document, recovered_text
from xensnap.cli.session import Interrupted, Session
from xensnap.engine.engine import Engine, Result, request_of
from xensnap.engine.execute import Outcome
from xensnap.engine.plan import Plan, each
from xensnap.engine.request import (
    AdoptRequest,
    Asked,
    Birth,
    CreateRequest,
    DeleteRequest,
    EditRequest,
    ExportRequest,
    ForgetRequest,
    GraftRequest,
    PinRequest,
    PruneRequest,
    RedefineRequest,
    RelocateRequest,
    RenameRequest,
    Request,
    RestoreRequest,
    RevertRequest,
    UnpinRequest,
)
from xensnap.engine.store_steps import RemoveRecord
from xensnap.errors import ExitCode, NotFound, Reason, Refused, XensnapError

Wanted = TypeVar("Wanted", bound=Asked)

Build = Callable[[Engine], Request]
"""Makes the request, once there is a host to look at."""

NOTHING_TO_DO = frozenset({"nothing-to-delete", "nothing-to-prune", "nothing-to-relocate"})
"""What is refused because it is so already, which a command that may be repeated does not call an error."""

DOCUMENTS: dict[type[Request], type[OperationDocument]] = {
    CreateRequest: done.CreateDocument,
    RevertRequest: done.RevertDocument,
    DeleteRequest: done.DeleteDocument,
    PruneRequest: done.PruneDocument,
    RenameRequest: done.RenameDocument,
    EditRequest: done.EditDocument,
    PinRequest: done.PinDocument,
    UnpinRequest: done.UnpinDocument,
    ForgetRequest: done.ForgetDocument,
    RestoreRequest: done.RestoreDocument,
    AdoptRequest: done.AdoptDocument,
    RedefineRequest: done.RedefineDocument,
    ExportRequest: done.ExportDocument,
    GraftRequest: done.ImportDocument,
    RelocateRequest: done.RelocateDocument,
}


def run(session: Session, domain: str, build: Build) -> None:
    """Carry out a request and tell what was done, or only show its plan."""
    with session.engine(changes=not session.dry_run) as engine:
        request = build(engine)
        result = perform(session, engine, domain, request)
    if result is not None:
        _show_done(session, result, request)


def undo(session: Session, domain: str) -> None:
    """Take back the last operation and tell what was done, or only show that plan."""
    if session.dry_run:
        return run(session, domain, lambda engine: engine.undoing(domain))
    with session.engine(changes=True) as engine:
        result = interruptible(engine, domain, lambda: engine.undo(domain, accept=session.accept))
    return _show_done(session, result, request_of(result.plan))


def _show_done(session: Session, result: Result, request: Request) -> None:
    more = {"deleted": deleted_by(result.plan)} if isinstance(request, DeleteRequest) else {}
    show_result(session, result, DOCUMENTS[type(request)], **more)


def perform(session: Session, engine: Engine, domain: str, request: Request, **more: Any) -> Result | None:
    """Carry out a request, if that is wanted and there is anything to do; else that is shown, with None.

    Args:
        session: where to show.
        engine: what does it.
        domain: to which domain.
        request: what.
        more: fields that only its own document has, for the case that nothing has to be done.
    """
    request = _risking(session, request)
    try:
        if not session.dry_run:
            return interruptible(engine, domain, lambda: engine.perform(domain, request))
        show_plan(session, engine, domain, request)
    except Refused as error:
        if {reason.id for reason in error.reasons} - NOTHING_TO_DO:
            raise
        _show_nothing(session, engine, domain, request, **more)
    return None


def make(session: Session, engine: Engine, request: Birth, name: str) -> Result | None:
    """Make a domain, or only show its plan. `name` is what it is recovered by, as far as that is known."""
    request = _risking(session, request)
    if not session.dry_run:
        return interruptible(engine, name, lambda: engine.make(request))
    _print_plan(session, engine.plan_making(request))
    return None


def _risking(session: Session, request: Wanted) -> Wanted:
    """The request with the risks that were accepted on the command line."""
    return msgspec.structs.replace(request, accept=session.accept)


def interruptible(engine: Engine, domain: str, work: Callable[[], Result]) -> Result:
    """Do the work; on Ctrl-C, bring the operation to one of its two ends and say which.

    Raises:
        Interrupted: with how it ended.
    """
    try:
        return work()
    except KeyboardInterrupt:
        raise _interrupted(engine, domain) from None


def _interrupted(engine: Engine, domain: str) -> Interrupted:
    if not engine.aio.held:  # to recover would be to wait once more for who holds it
        return Interrupted("interrupted; nothing was changed")
    try:
        recovered = engine.recover(domain)
    except NotFound:
        recovered = None  # the domain was to be made, and its making had not begun
    except (XensnapError, KeyboardInterrupt) as error:
        why = error.cause if isinstance(error, XensnapError) else "interrupted again"
        cause = f"interrupted, and the operation was left where it was: {why}"
        return Interrupted(cause, remedy=f"Run `xensnap recover {domain}`.")
    if recovered is None:
        return Interrupted("interrupted; no operation was left half done")
    how = "it was undone" if recovered.outcome is Outcome.UNDONE else "it was decided already, and has been finished"
    return Interrupted(f"interrupted; {recovered.summary}: {how}")


def show_plan(session: Session, engine: Engine, domain: str, request: Request) -> None:
    """Tell what would be done."""
    pending = engine.list(domain).pending
    if pending:
        cause = f"{domain} has an interrupted operation, which comes first: {pending}"
        raise Refused([Reason("recovery-due", cause, f"Run `xensnap recover {domain}`.", ExitCode.BUSY)])
    plan = engine.plan(domain, request)
    _print_plan(session, plan, engine.following(plan))


def _print_plan(session: Session, plan: Plan, following: tuple[Plan, ...] = ()) -> None:
    from xensnap.cli.plans import plan_text
    from xensnap.engine.plan import encode
    from xensnap.engine.shown import without_secrets

    session.print(encode(without_secrets(plan)).decode() if session.json else f"{plan_text(plan, following)}\n")


def _show_nothing(session: Session, engine: Engine, domain: str, request: Request, **more: Any) -> None:
    """Tell that there was nothing to do. A nightly job is not told that it has failed."""
    known = engine.list(domain).domain
    document = DOCUMENTS[type(request)]
    verb = type(request).__name__.removesuffix("Request").lower()
    summary = f"nothing to {verb} of {known.name}"
    told = document(engine.host.name, verb, known.name, known.uuid, "", "", summary, (), None, **more)
    session.show(told, lambda: summary)


def deleted_by(plan: Plan) -> tuple[str, ...]:
    """Names of the snapshots that a plan deletes."""
    return tuple(step.name for step in each(plan.finish) if isinstance(step, RemoveRecord))


def show_result(session: Session, result: Result, document: type[OperationDocument], **more: Any) -> None:
    """Tell what an operation did. `more` are fields that only its own document has."""
    plan = result.plan
    told = document(
        host=plan.host,
        verb=plan.verb,
        domain=plan.domain_name,
        domain_uuid=plan.domain_uuid,
        operation=plan.operation,
        snapshot=plan.snapshot,
        summary=plan.summary,
        warnings=result.warnings,
        recovered=recovered_document(result.recovered),
        **more,
    )
    warn_of(session, result)
    session.show(told, lambda: f"done: {plan.summary}")


def warn_of(session: Session, result: Result) -> None:
    """Tell what was recovered before an operation, and what is to be known of it."""
    if recovered := recovered_document(result.recovered):
        session.warn(recovered_text(recovered))
    session.warnings(warning for warning in result.warnings if warning not in session.announced)
