"""What create, revert, delete and apply have in common: plan or carry out, be interrupted, tell."""

from collections.abc import Callable
from typing import assert_never

from xensnap.cli.documents import ApplyDocument, CreateDocument, DeleteDocument, RevertDocument
from xensnap.cli.records import recovered_document, recovered_text
from xensnap.cli.session import Interrupted, Session
from xensnap.engine.engine import Engine, Request, Result
from xensnap.engine.execute import Outcome
from xensnap.engine.request import CreateRequest, DeleteRequest, RevertRequest
from xensnap.errors import ExitCode, Reason, Refused, XensnapError

Build = Callable[[Engine], Request]
"""Makes the request, once there is a host to look at."""

OperationDocument = CreateDocument | RevertDocument | DeleteDocument | ApplyDocument


def run(session: Session, domain: str, build: Build, *, dry_run: bool) -> None:
    """Carry out a request and tell what was done, or only show its plan."""
    with session.engine(changes=not dry_run) as engine:
        request = build(engine)
        if dry_run:
            _show_plan(session, engine, domain, request)
            return
        result = interruptible(engine, domain, lambda: _act(engine, domain, request))
    show_result(session, result, _document(request))


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
    try:
        recovered = engine.recover(domain)
    except (XensnapError, KeyboardInterrupt) as error:
        why = error.cause if isinstance(error, XensnapError) else "interrupted again"
        cause = f"interrupted, and the operation was left where it was: {why}"
        return Interrupted(cause, remedy=f"Run `xensnap recover {domain}`.")
    if recovered is None:
        return Interrupted("interrupted; no operation was left half done")
    how = "it was undone" if recovered.outcome is Outcome.UNDONE else "it was decided already, and has been finished"
    return Interrupted(f"interrupted; {recovered.summary}: {how}")


def _act(engine: Engine, domain: str, request: Request) -> Result:
    match request:
        case CreateRequest():
            return engine.create(domain, request)
        case RevertRequest():
            return engine.revert(domain, request)
        case DeleteRequest():
            return engine.delete(domain, request)
        case _:
            assert_never(request)


def _document(request: Request) -> type[OperationDocument]:
    match request:
        case CreateRequest():
            return CreateDocument
        case RevertRequest():
            return RevertDocument
        case DeleteRequest():
            return DeleteDocument
        case _:
            assert_never(request)


def _show_plan(session: Session, engine: Engine, domain: str, request: Request) -> None:
    from xensnap.cli.plans import plan_text
    from xensnap.engine.plan import encode

    pending = engine.list(domain).pending
    if pending:
        cause = f"{domain} has an interrupted operation, which comes first: {pending}"
        raise Refused([Reason("recovery-due", cause, f"Run `xensnap recover {domain}`.", ExitCode.BUSY)])
    plan = engine.plan(domain, request)
    session.print(encode(plan).decode() if session.json else f"{plan_text(plan)}\n")


def show_result(session: Session, result: Result, document: type[OperationDocument]) -> None:
    """Tell what an operation did."""
    plan = result.plan
    recovered = recovered_document(result.recovered)
    told = document(
        host=plan.host,
        verb=plan.verb,
        domain=plan.domain_name,
        domain_uuid=plan.domain_uuid,
        operation=plan.operation,
        snapshot=plan.snapshot,
        summary=plan.summary,
        warnings=result.warnings,
        recovered=recovered,
    )
    if recovered:
        session.warn(recovered_text(recovered))
    for warning in result.warnings:
        session.warn(f"warning: {warning}")
    session.show(told, lambda: f"done: {plan.summary}")
