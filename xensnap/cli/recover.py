"""`recover`: bring interrupted operations to their end."""

import click

from xensnap.cli.command import command_with
from xensnap.cli.completing import optional_domain_argument
from xensnap.cli.documents.done import FailedRecovery, RecoverDocument
from xensnap.cli.records import recovered_document, recovered_text
from xensnap.cli.session import Session, riskless
from xensnap.engine.engine import Engine, Recovered
from xensnap.errors import Usage, XensnapError


@command_with(
    "recover",
    "Bring interrupted operations to their end.",
    ("xensnap recover", "all domains"),
    ("xensnap recover guest1 --abort", "insist on undoing"),
)
@optional_domain_argument
@click.option("--all", "everywhere", is_flag=True, help="Of all domains, as without a DOMAIN.")
@click.option("--abort", is_flag=True, help="Insist on undoing.")
@click.option("--resume", is_flag=True, help="Insist on finishing.")
@riskless
def command(session: Session, domain: str | None, everywhere: bool, abort: bool, resume: bool) -> int:
    """Undo what was interrupted before it was decided, and finish what was interrupted after."""
    if domain is not None and everywhere:
        raise Usage("--all and a domain contradict each other", id="contradiction", remedy="Give one of them.")
    if abort and resume:
        raise Usage("--abort and --resume contradict each other", id="contradiction", remedy="Use one of them.")
    insist = True if abort else False if resume else None
    with session.engine(changes=True) as engine:
        host = engine.host.name
        found, errors = _everywhere(engine, insist) if domain is None else _one(engine, domain, insist)
    recovered = tuple(document for each in found if (document := recovered_document(each)))
    failed = tuple(FailedRecovery(name, error.id, error.cause, error.remedy) for name, error in errors.items())
    for name, error in errors.items():
        session.warn(f"{name}: {error.cause}" + (f"\n  → {error.remedy}" if error.remedy else ""))
    nothing = "" if failed else "nothing to recover"
    session.show(RecoverDocument(host, recovered, failed), lambda: "\n".join(map(recovered_text, recovered)) or nothing)
    return max((int(error.exit_code) for error in errors.values()), default=0)


Recovery = tuple[list[Recovered | None], dict[str, XensnapError]]


def _one(engine: Engine, domain: str, insist: bool | None) -> Recovery:
    return [engine.recover(domain, abort=insist)], {}


def _everywhere(engine: Engine, insist: bool | None) -> Recovery:
    """One domain that cannot be recovered keeps no other from it."""
    found: list[Recovered | None] = []
    errors: dict[str, XensnapError] = {}
    for domain in engine.unborn():
        try:
            found.append(engine.recover(domain.uuid, abort=insist))
        except XensnapError as error:
            errors[domain.name] = error
    for uuid in engine.bereft():
        try:
            found.append(engine.recover(uuid, abort=insist))
        except XensnapError as error:
            errors[uuid] = error
    for domain in engine.domains():
        try:
            if engine.list(domain.uuid).pending:
                found.append(engine.recover(domain.uuid, abort=insist))
        except XensnapError as error:
            errors[domain.name] = error
    return found, errors
