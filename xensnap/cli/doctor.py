"""`doctor`: tell what does not fit together, and repair it."""

from typing import Literal

import click

from xensnap.cli.command import command_with
from xensnap.cli.completing import optional_domain_argument
from xensnap.cli.documents.examined import DoctorDocument, ExaminedDocument, FindingDocument, UnexaminedDocument
from xensnap.cli.output import clean
from xensnap.cli.session import Session, riskless
from xensnap.engine.doctor import Finding, Severity
from xensnap.engine.engine import Engine
from xensnap.engine.treatment import Diagnosis
from xensnap.errors import ExitCode, NotFound, Usage, XensnapError

_WORDS: dict[Severity, Literal["error", "warning", "note"]] = {
    Severity.ERROR: "error",
    Severity.WARNING: "warning",
    Severity.NOTE: "note",
}
"""The worst first."""


@command_with(
    "doctor",
    "Tell what does not fit together, and repair it.",
    ("xensnap doctor", "all domains"),
    ("xensnap doctor guest1 --repair", ""),
)
@optional_domain_argument
@click.option("--all", "everywhere", is_flag=True, help="All domains, as without a DOMAIN.")
@click.option(
    "--check", is_flag=True, help="Also look for what the tables of images say wrongly, where nobody has them open."
)
@click.option("--repair", is_flag=True, help="Repair what can be repaired without losing anything.")
@riskless
def command(session: Session, domain: str | None, everywhere: bool, check: bool, repair: bool) -> int:
    """Compare records, journal, images, memory and guests of DOMAIN, or of all domains.

    Nothing is changed without --repair. Each finding has an id, says what is wrong, and what would mend it. Ends with 0
    where nothing worse than a note is left, else with 5. Whether single snapshots could be reverted to: `verify`.
    """
    if domain is not None and everywhere:
        raise Usage("--all and a domain contradict each other", id="contradiction", remedy="Give one of them.")
    with session.engine(changes=repair) as engine:
        host = engine.host.name
        nobodys = engine.diagnose_stores_of_nobody(repair=repair) if domain is None else ()  # which may make a domain
        refs = [domain] if domain is not None else [str(each.uuid) for each in engine.domains()]
        examined, errors = _everywhere(engine, refs, check=check, repair=repair, alone=domain is not None)
        examined += nobodys
    document = DoctorDocument(host, tuple(map(_examined, examined)), errors)
    for each in errors:
        session.warn(f"{each.domain}: {each.cause}")
    session.show(document, lambda: _text(document))
    bad = any(each.severity is not Severity.NOTE for found in examined for each in found.found)
    return int(ExitCode.SOMETHING_LEFT) if bad or errors else 0


def _everywhere(
    engine: Engine, refs: list[str], *, check: bool, repair: bool, alone: bool
) -> tuple[list[Diagnosis], tuple[UnexaminedDocument, ...]]:
    """One domain that cannot be looked at keeps no other from it."""
    examined: list[Diagnosis] = []
    errors: list[UnexaminedDocument] = []
    for ref in refs:
        try:
            examined.append((engine.repair if repair else engine.diagnose)(ref, check=check))
        except NotFound:  # it has ended, or what is kept under its UUID is another's by now
            if alone:
                raise
        except XensnapError as error:
            if alone:
                raise
            errors.append(UnexaminedDocument(ref, error.id, error.cause, error.remedy))
    return examined, tuple(errors)


def _examined(diagnosis: Diagnosis) -> ExaminedDocument:
    ordered = sorted(diagnosis.found, key=lambda finding: [*_WORDS].index(finding.severity))
    return ExaminedDocument(
        domain=diagnosis.domain,
        domain_uuid=diagnosis.domain_uuid,
        findings=tuple(map(finding_document, ordered)),
        repaired=tuple(map(finding_document, diagnosis.repaired)),
        failed=tuple(UnexaminedDocument(each.subject, each.id, why, each.remedy) for each, why in diagnosis.failed),
    )


def finding_document(finding: Finding) -> FindingDocument:
    """One finding, for programs."""
    return FindingDocument(
        id=finding.id,
        severity=_WORDS[finding.severity],
        subject=finding.subject,
        cause=finding.cause,
        remedy=finding.remedy,
        repair=finding.repair.says if finding.repair else None,
    )


def _text(document: DoctorDocument) -> str:
    lines: list[str] = []
    for domain in document.domains:
        lines += [f"{domain.domain}: repaired {each.id}: {clean(each.subject)}" for each in domain.repaired]
        for each in domain.findings:
            lines.append(f"{domain.domain}: {each.severity} {each.id}: {clean(each.subject)}")
            lines.append(f"    {clean(each.cause)}")
            lines.append(f"  → {clean(each.repair)}: --repair" if each.repair else f"  → {clean(each.remedy)}")
        lines += [f"{domain.domain}: not repaired {each.id}: {clean(each.cause)}" for each in domain.failed]
        if not domain.findings:
            lines.append(f"{domain.domain}: all fits together")
    return "\n".join(lines)
