"""`trash`: snapshots that were thrown away, and what they still take."""

import click
import msgspec

from xensnap.cli import operate
from xensnap.cli.command import Group, Verb
from xensnap.cli.documents.done import ParkedDocument, TrashDocument, TrashedDocument
from xensnap.cli.output import clean, size, utc
from xensnap.cli.records import domain_document, recovered_document
from xensnap.cli.session import Session, planned, verb
from xensnap.cli.times import SPAN
from xensnap.engine.request import EmptyRequest, RestoreRequest
from xensnap.engine.trash import bytes_kept
from xensnap.engine.view import View
from xensnap.errors import Usage

GRACE_S = 7 * 86400
"""How long a snapshot stays in the trash when it is emptied, unless told otherwise."""


@click.group("trash", cls=Group, short_help="Have back, or give up, what was thrown away.")
def command() -> None:
    """Snapshots that `forget` has thrown away: what they hold stays until the trash is emptied.

    And what the last revert gave up, which also goes when another revert gives up something, or when it is in the way
    of a deletion or a merge.
    """


@command.command(
    "list",
    cls=Verb,
    short_help="List what is in the trash.",
    examples=(("xensnap trash list guest1", ""),),
)
@click.argument("domain")
@verb
def list_(session: Session, domain: str) -> None:
    """List the snapshots of DOMAIN that are in the trash, and what comes back for certain when they go.

    And the old files of images that `chain relocate` has brought elsewhere.
    """
    with session.engine(changes=False) as engine:
        view = engine.view(domain)
    document = TrashDocument(view.host, domain_document(view.domain), _trashed(view), _parked(view))
    session.recovery_due(view.domain.name, view.pending)
    lines = [f"{each.since}  {size(each.bytes):>8}  {clean(each.name)}" for each in document.snapshots]
    lines += [f"{each.since}  {size(each.bytes):>8}  {clean(each.path)}" for each in document.parked]
    session.show(document, lambda: "\n".join(lines) or "the trash is empty")


@command.command(
    "restore",
    cls=Verb,
    short_help="Have a snapshot back.",
    examples=(("xensnap trash restore guest1 clean", ""),),
)
@click.argument("domain")
@click.argument("name")
@planned
def restore(session: Session, domain: str, name: str) -> None:
    """Have the snapshot NAME of DOMAIN back from the trash."""
    operate.run(session, domain, lambda _engine: RestoreRequest(name))


@command.command(
    "empty",
    cls=Verb,
    short_help="Delete what is in the trash.",
    examples=(
        ("xensnap trash empty guest1", "all of it"),
        ("xensnap trash empty guest1 clean", "one of them"),
        ("xensnap trash empty guest1 --dry-run", "what would go"),
    ),
)
@click.argument("domain")
@click.argument("name", required=False, metavar="[NAME]")
@click.option("--all", "everything", is_flag=True, help="However long it has been there.")
@click.option("--older-than", type=SPAN, metavar="SPAN", help="What has been there for longer. [default: 7d]")
@planned
def empty(
    session: Session,
    domain: str,
    name: str | None,
    everything: bool,
    older_than: int | None,
) -> None:
    """Delete the snapshot NAME of DOMAIN that is in the trash; without NAME all that have been there for a week.

    NAME may be the path of an old file, too.
    """
    if sum([name is not None, everything, older_than is not None]) > 1:
        cause = "a NAME, --all and --older-than contradict each other"
        raise Usage(cause, id="contradiction", remedy="Use one of them.")
    age_s = 0 if everything else GRACE_S if older_than is None else older_than
    with session.engine(changes=not session.dry_run) as engine:
        view = engine.view(domain)
        now_s = engine.now_s()
        old = [known for known, each in view.trashed.items() if now_s - each.since_s >= age_s]
        old += [each.path for each in view.state.parked if now_s - each.since_s >= age_s]
        wanted = [name] if name is not None else old
        result = operate.perform(session, engine, domain, EmptyRequest(tuple(wanted))) if wanted else None
        if wanted and result is None:
            return
        left = engine.view(domain)
    document = TrashDocument(left.host, domain_document(left.domain), _trashed(left), _parked(left))
    if result is not None:
        operate.warn_of(session, result)
        told = recovered_document(result.recovered)
        document = msgspec.structs.replace(document, warnings=result.warnings, recovered=told)
    stays = len(document.snapshots) + len(document.parked)
    session.show(document, lambda: f"deleted {len(wanted)} from the trash, {stays} left")


def _trashed(view: View) -> tuple[TrashedDocument, ...]:
    return tuple(
        TrashedDocument(name, utc(each.since_s), bytes_kept(view, each.snapshot))
        for name, each in sorted(view.trashed.items(), key=lambda item: item[1].since_s)
    )


def _parked(view: View) -> tuple[ParkedDocument, ...]:
    return tuple(
        ParkedDocument(each.path, utc(each.since_s), each.bytes)
        for each in sorted(view.state.parked, key=lambda one: one.since_s)
    )
