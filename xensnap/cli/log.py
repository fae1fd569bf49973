"""`log`: who did what to a domain, when, and how it ended."""

from xensnap.cli.command import command_with
from xensnap.cli.completing import domain_argument
from xensnap.cli.documents.listed import LogDocument, LoggedDocument
from xensnap.cli.output import clean, utc
from xensnap.cli.records import domain_document
from xensnap.cli.session import Session, verb
from xensnap.engine.journal import Begin, End, Entry


@command_with("log", "Tell who did what to a domain, and when.", ("xensnap log guest1", ""))
@domain_argument
@verb
def command(session: Session, domain: str) -> None:
    """Tell every operation on DOMAIN that the journal remembers, the oldest first."""
    with session.engine(changes=False) as engine:
        host = engine.host.name
        known, entries = engine.audit(domain)
    document = LogDocument(host, domain_document(known), _logged(entries))
    session.show(document, lambda: "\n".join(map(_text, document.operations)) or "nothing was done yet")


def _logged(entries: tuple[Entry, ...]) -> tuple[LoggedDocument, ...]:
    ends = {entry.operation: entry for entry in entries if isinstance(entry, End)}
    return tuple(
        LoggedDocument(
            operation=entry.operation,
            summary=entry.plan.summary,
            user=entry.user,
            pid=entry.pid,
            boot_id=entry.boot_id,
            began=utc(entry.time_ns // 1_000_000_000),
            ended=utc(ends[entry.operation].time_ns // 1_000_000_000) if entry.operation in ends else None,
            outcome=ends[entry.operation].outcome if entry.operation in ends else None,
        )
        for entry in entries
        if isinstance(entry, Begin)
    )


def _text(logged: LoggedDocument) -> str:
    how = logged.outcome or "not at its end"
    return f"{logged.began}  {clean(logged.user):<8} {how:<14} {clean(logged.summary)}"
