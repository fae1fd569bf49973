"""`current`: where a domain is among its snapshots."""

from xensnap.cli.command import command_with
from xensnap.cli.completing import domain_argument
from xensnap.cli.documents.listed import CurrentDocument
from xensnap.cli.output import clean
from xensnap.cli.records import domain_document
from xensnap.cli.session import Session, verb


@command_with(
    "current",
    "Name the snapshot that the domain is at.",
    ("xensnap current guest1", ""),
)
@domain_argument
@verb
def command(session: Session, domain: str) -> None:
    """Name the snapshot that the disks of DOMAIN come from; nothing where there is none."""
    with session.reader() as reader:
        host = reader.host.name
        listing = reader.list(domain)
    session.recovery_due(listing.domain.name, listing.pending)
    document = CurrentDocument(host, domain_document(listing.domain), listing.current, listing.pending or None)
    session.show(document, lambda: clean(listing.current or ""))
