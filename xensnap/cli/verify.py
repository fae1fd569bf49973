"""`verify`: whether snapshots could be reverted to, and would give back what they were."""

import click

from xensnap.cli.command import command_with
from xensnap.cli.completing import domain_argument, optional_snapshot_argument
from xensnap.cli.documents.examined import VerifiedSnapshot, VerifyDocument, VerifyFinding
from xensnap.cli.names import one_name
from xensnap.cli.output import clean
from xensnap.cli.records import domain_document
from xensnap.cli.session import Session, verb
from xensnap.engine.revert import find
from xensnap.engine.verify import Looked, findings
from xensnap.engine.view import View
from xensnap.errors import ExitCode
from xensnap.model import Snapshot


@command_with(
    "verify",
    "Tell whether snapshots could be reverted to.",
    ("xensnap verify guest1", "all snapshots"),
    ("xensnap verify guest1 clean", "one of them"),
)
@domain_argument
@optional_snapshot_argument
@click.option("-n", "--name", metavar="NAME", help="Name of the snapshot, if not given after the domain.")
@verb
def command(session: Session, domain: str, snapshot: str | None, name: str | None) -> int:
    """Tell whether the snapshots of DOMAIN, or the one called NAME, could be reverted to and would give back what they
    were: all images are there and what the record says, each qcow2 image below passes `qemu-img check`, and the memory
    is whole.

    Ends with 0 if they all could, else with 1. Nothing is changed. What else does not fit together is what `doctor`
    tells and mends.
    """
    wanted = one_name(name, snapshot)
    with session.engine(changes=False) as engine:
        view = engine.view(domain)
        records = list(view.snapshots.values()) if wanted is None else [find(view, wanted)]
        looked = engine.verify(view)
    document = _document(view, looked, records)
    session.recovery_due(view.domain.name, view.pending)
    session.show(document, lambda: _text(document))
    return ExitCode.DONE if document.intact else ExitCode.NOTHING_CHANGED


def _document(view: View, looked: Looked, records: list[Snapshot]) -> VerifyDocument:
    verified = tuple(_verified(view, looked, record) for record in records)
    return VerifyDocument(
        host=view.host,
        domain=domain_document(view.domain),
        intact=all(each.intact for each in verified) and not view.damaged,
        damaged=view.damaged,
        checked=tuple(looked.checks),
        unchecked={path: clean(why) for path, why in looked.unchecked.items()},
        snapshots=verified,
    )


def _verified(view: View, looked: Looked, record: Snapshot) -> VerifiedSnapshot:
    found = findings(view, looked, record)
    told = tuple(VerifyFinding(each.subject, clean(each.told), each.fatal) for each in found)
    return VerifiedSnapshot(record.name, not any(each.fatal for each in found), told)


def _text(document: VerifyDocument) -> str:
    lines = [f"a record cannot be read: {cause}" for cause in document.damaged]
    for each in document.snapshots:
        lines.append(f"{'ok ' if each.intact else 'BAD'}  {each.name}")
        lines += [f"       {found.subject}: {found.told}" for found in each.findings]
    lines += [f"not checked: {path}: {why}" for path, why in document.unchecked.items()]
    count = len(document.checked)
    lines.append(f"{count} {'image' if count == 1 else 'images'} checked")
    return "\n".join(map(clean, lines))
