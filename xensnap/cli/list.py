"""`list`: the domains of the host, or the snapshots of one."""

import click

from xensnap.cli.documents import DomainsDocument, DomainsEntry, ListDocument, SnapshotDocument
from xensnap.cli.names import one_name
from xensnap.cli.output import clean, local, size, table
from xensnap.cli.records import domain_document, pinned_text, snapshot_document
from xensnap.cli.session import Session, verb
from xensnap.engine.engine import Engine, Listing
from xensnap.errors import NotFound, Usage

HEADER = ("", "NAME", "WHEN", "KIND", "CONSISTENCY", "PARENT", "DISKS")


@click.command("list", short_help="List domains, or the snapshots of one.")
@click.argument("domain", required=False, metavar="[DOMAIN]")
@click.argument("snapshot", required=False, metavar="[NAME]")
@click.option("-n", "--name", metavar="NAME", help="Show this snapshot only.")
@click.option("-l", "--long", "in_full", is_flag=True, help="Tell all that the record says.")
@click.option("--name-only", is_flag=True, help="Names only, one on each line.")
@verb
def command(
    session: Session, domain: str | None, snapshot: str | None, name: str | None, in_full: bool, name_only: bool
) -> None:
    """List the snapshots of DOMAIN, oldest first, the current one marked with *; without DOMAIN, all domains."""
    if in_full and name_only:
        raise Usage("--long and --name-only contradict each other", id="contradiction", remedy="Use one of them.")
    wanted = one_name(name, snapshot)
    if domain is None and wanted is not None:
        raise Usage("a snapshot was named, but no domain", id="domain-missing", remedy="Name its domain.")
    with session.engine(changes=False) as engine:
        host = engine.host.name
        if domain is None:
            _show_domains(session, engine, name_only=name_only)
            return
        listing = engine.list(domain)
    document = _document(host, listing, wanted)
    session.recovery_due(listing.domain.name, listing.pending)
    for cause in document.damaged:
        session.warn(f"a record cannot be read: {clean(cause)}")
    if name_only:
        session.show(document, lambda: "\n".join(clean(each.name) for each in document.snapshots))
    elif in_full:
        session.show(document, lambda: "\n\n".join(map(long_text, document.snapshots)))
    else:
        session.show(document, lambda: table_text(document.snapshots))


def _document(host: str, listing: Listing, wanted: str | None) -> ListDocument:
    records = listing.contents.snapshots
    if wanted is not None and wanted not in records:
        there = ", ".join(map(repr, records)) or "none"
        cause = f"{listing.domain.name} has no snapshot {wanted!r}"
        raise NotFound(cause, id="no-such-snapshot", remedy=f"Its snapshots are: {there}.")
    return ListDocument(
        host=host,
        domain=domain_document(listing.domain),
        current=listing.current,
        pending=listing.pending or None,
        snapshots=tuple(
            snapshot_document(record, current=listing.current)
            for record in records.values()
            if wanted in (None, record.name)
        ),
        damaged=tuple(error.cause for error in listing.contents.damaged),
    )


def table_text(snapshots: tuple[SnapshotDocument, ...]) -> str:
    """One line for each snapshot."""
    return table(
        HEADER,
        [
            (
                "*" if each.current else " ",
                clean(each.name),
                local(each.creation_time_s),
                each.kind,
                each.consistency,
                clean(each.parent or "-"),
                ",".join(disk.vdev for disk in each.disks),
            )
            for each in snapshots
        ],
    )


def long_text(snapshot: SnapshotDocument) -> str:
    """All that the record says, for a person."""
    lines = [
        f"{snapshot.name}{' (current)' if snapshot.current else ''}",
        f"  when         {local(snapshot.creation_time_s)}",
        f"  kind         {snapshot.kind}",
        f"  consistency  {snapshot.consistency}, the domain was {snapshot.state}",
        f"  parent       {snapshot.parent or '-'}",
    ]
    if snapshot.description:
        lines.append(f"  description  {snapshot.description}")
    if snapshot.pin:
        lines.append(f"  pinned       {pinned_text(snapshot.pin)}")
    if snapshot.memory:
        lines.append(f"  memory       {snapshot.memory}{', while the guest ran' if snapshot.live else ''}")
    for disk in snapshot.disks:
        where = f"tag {disk.tag!r} in {disk.image}" if disk.tag else f"{disk.image}, went on in {disk.overlay}"
        lines.append(f"  {disk.vdev:<12} {disk.kind}, {size(disk.size_bytes)}: {where}")
    lines += [f"  {each.vdev:<12} left out: {each.reason}" for each in snapshot.excluded]
    return "\n".join(map(clean, lines))


def _show_domains(session: Session, engine: Engine, *, name_only: bool) -> None:
    listings = [engine.list(domain.uuid) for domain in engine.domains()]
    entries = tuple(
        DomainsEntry(
            uuid=each.domain.uuid,
            name=each.domain.name,
            state=each.domain.state,
            disks=tuple(disk.vdev for disk in each.domain.disks),
            snapshots=len(each.contents.snapshots),
            current=each.current,
            pending=each.pending or None,
        )
        for each in listings
    )
    for entry in entries:
        session.recovery_due(entry.name, entry.pending or "")
    rows = [
        (clean(each.name), each.state, str(each.snapshots), clean(each.current or "-"), ",".join(each.disks), each.uuid)
        for each in entries
    ]
    session.show(
        DomainsDocument(engine.host.name, entries),
        lambda: (
            "\n".join(row[0] for row in rows)
            if name_only
            else table(("DOMAIN", "STATE", "SNAPSHOTS", "CURRENT", "DISKS", "UUID"), rows)
        ),
    )
