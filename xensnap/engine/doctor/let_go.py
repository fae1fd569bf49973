"""Snapshots whose records were taken away on purpose."""

from collections.abc import Iterator

from xensnap.engine import let_go
from xensnap.engine.doctor.finding import Finding, Repair, Severity
from xensnap.engine.doctor.survey import Survey


def records(seen: Survey) -> Iterator[Finding]:
    """Nothing is left of a snapshot but its content; whoever took its record away may well have meant it so."""
    for snapshot in seen.view.state.let_go:
        gone = [reason.cause for reason in let_go.against(seen.view, snapshot)]
        cause = "its record was taken away, and nothing protects what it told of"
        if gone:
            repair = Repair("forget it for good", drops=frozenset([snapshot.name]))
            yield Finding("record-let-go", Severity.NOTE, snapshot.name, f"{cause}: {'; '.join(gone)}", repair=repair)
        else:
            remedy = f"`xensnap adopt {seen.view.domain.name} {snapshot.name}` takes it back."
            yield Finding("record-let-go", Severity.NOTE, snapshot.name, cause, remedy)
