"""`parent`: which snapshot one comes from."""

import click

from xensnap.cli.command import command_with
from xensnap.cli.completing import domain_argument, optional_snapshot_argument
from xensnap.cli.documents.listed import ParentDocument
from xensnap.cli.names import one_name
from xensnap.cli.output import clean
from xensnap.cli.records import domain_document
from xensnap.cli.session import Session, verb
from xensnap.engine import tree


@command_with(
    "parent",
    "Name the snapshot that one comes from.",
    ("xensnap parent guest1", "of the one that it is at"),
    ("xensnap parent guest1 clean", "of this one"),
)
@domain_argument
@optional_snapshot_argument
@click.option("-n", "--name", metavar="NAME", help="Name of the snapshot, if not given after the domain.")
@verb
def command(session: Session, domain: str, snapshot: str | None, name: str | None) -> None:
    """Name the parent of the snapshot NAME of DOMAIN, or of the one that DOMAIN is at; nothing where there is none."""
    wanted = one_name(name, snapshot)
    with session.reader() as reader:
        host = reader.host.name
        listing = reader.list(domain)
    records = listing.contents.snapshots
    of = listing.current if wanted is None else tree.known(records, wanted, domain=listing.domain.name).name
    above = tree.parent(records, of) if of is not None else None
    session.recovery_due(listing.domain.name, listing.pending)
    document = ParentDocument(host, domain_document(listing.domain), of, above)
    session.show(document, lambda: clean(above or ""))
