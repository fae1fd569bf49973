"""The domains of a host, as `list` shows them."""

from xensnap.cli.documents.listed import DomainsDocument, DomainsEntry
from xensnap.cli.output import clean, csv, table
from xensnap.cli.session import Session
from xensnap.engine.reading import Listing, Reader

COLUMNS = ("name", "state", "snapshots", "current", "disks", "uuid")


def show_domains(session: Session, reader: Reader, *, name_only: bool, as_csv: bool) -> None:
    """Show all domains that the host knows, and how many snapshots each has."""
    entries = tuple(_entry(reader.list(domain.uuid)) for domain in reader.domains())
    for entry in entries:
        session.recovery_due(entry.name, entry.pending or "")
        session.stands_still(entry.name, entry.halted)
    session.show(DomainsDocument(reader.host.name, entries), lambda: _text(entries, name_only=name_only, as_csv=as_csv))


def _entry(listing: Listing) -> DomainsEntry:
    return DomainsEntry(
        uuid=listing.domain.uuid,
        name=listing.domain.name,
        state=listing.domain.state,
        disks=tuple(disk.vdev for disk in listing.domain.disks),
        snapshots=len(listing.contents.snapshots),
        current=listing.current,
        pending=listing.pending or None,
        halted=listing.domain.halted,
    )


def _text(entries: tuple[DomainsEntry, ...], *, name_only: bool, as_csv: bool) -> str:
    if name_only:
        return "\n".join(clean(each.name) for each in entries)
    if as_csv:
        rows = [
            (each.name, each.state, str(each.snapshots), each.current or "", " ".join(each.disks), each.uuid)
            for each in entries
        ]
        return csv(COLUMNS, rows)
    return table(
        ("DOMAIN", "STATE", "SNAPSHOTS", "CURRENT", "DISKS", "UUID"),
        [
            (
                clean(each.name),
                each.state,
                str(each.snapshots),
                clean(each.current or "-"),
                ",".join(each.disks),
                each.uuid,
            )
            for each in entries
        ],
    )
