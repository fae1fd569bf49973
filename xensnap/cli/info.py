"""`info`: a domain, its snapshots, and whether the images still are what the records say."""

import click

from xensnap.cli.command import command_with
from xensnap.cli.completing import domain_argument, optional_snapshot_argument
from xensnap.cli.documents.listed import CheckedDisk, CheckedSnapshot, InfoDocument, LiveDisk
from xensnap.cli.list import long_text
from xensnap.cli.names import one_name
from xensnap.cli.output import clean, size
from xensnap.cli.records import disk_document, domain_document, snapshot_document
from xensnap.cli.session import Session, verb
from xensnap.engine.collect import hidden_now
from xensnap.engine.revert import find
from xensnap.engine.sizes import since
from xensnap.engine.verify import disk_problem
from xensnap.engine.view import DiskView, View, with_current
from xensnap.model import DiskSnapshot, Snapshot


@command_with(
    "info",
    "Tell all about a domain and its snapshots.",
    ("xensnap info guest1", "the domain, its chains, every snapshot"),
    ("xensnap info guest1 clean", "one of them"),
)
@domain_argument
@optional_snapshot_argument
@click.option("-n", "--name", metavar="NAME", help="Name of the snapshot, if not given after the domain.")
@verb
def command(session: Session, domain: str, snapshot: str | None, name: str | None) -> None:
    """Tell about DOMAIN and all its snapshots, or about the one called NAME, having looked at every image."""
    wanted = one_name(name, snapshot)
    with session.engine(changes=False) as engine:
        view = engine.view(domain)
        written = since(view, engine.maps(view)) if wanted is None else None
    document = info_document(view, wanted, written)
    session.recovery_due(view.domain.name, view.pending)
    session.stands_still(view.domain.name, view.domain.halted)
    for cause in view.damaged:
        session.warn(f"a record cannot be read: {clean(cause)}")
    session.show(document, lambda: info_text(document, whole=wanted is None))


def info_document(view: View, wanted: str | None, written: dict[str, int] | None) -> InfoDocument:
    """What was observed, for programs."""
    records = list(view.snapshots.values()) if wanted is None else [find(view, wanted)]
    return InfoDocument(
        host=view.host,
        domain=domain_document(view.domain),
        current=with_current(view),
        pending=view.pending or None,
        disks=tuple(map(live_disk, view.disks)),
        hidden_bases=tuple(base.path for base in hidden_now(view)),
        damaged=view.damaged,
        snapshots=tuple(_checked(view, record) for record in records),
        since_bytes=written,
    )


def live_disk(view: DiskView) -> LiveDisk:
    """A disk and what it stands on."""
    return LiveDisk(
        vdev=view.disk.vdev,
        path=view.disk.path,
        format=view.disk.format,
        readonly=view.disk.readonly,
        cdrom=view.disk.cdrom,
        size_bytes=view.chain.active.virtual_size_bytes if view.chain else None,
        chain=tuple(image.layer.path for image in view.chain) if view.chain else (),
        problem=view.problem.cause if view.problem else None,
    )


def _checked(view: View, record: Snapshot) -> CheckedSnapshot:
    checked = tuple(_checked_disk(view, disk) for disk in record.disks)
    document = snapshot_document(record, current=with_current(view))
    memory_is_there = not record.memory or bool(view.memories.get(record.name))
    return CheckedSnapshot(document, memory_is_there and all(disk.intact for disk in checked), checked)


def _checked_disk(view: View, disk: DiskSnapshot) -> CheckedDisk:
    problem = disk_problem(view, disk)
    return CheckedDisk(disk_document(disk), not problem, problem or None)


def info_text(document: InfoDocument, *, whole: bool) -> str:
    """The same for people: the domain, unless one snapshot was asked for, and each snapshot."""
    parts = []
    if whole:
        count = len(document.snapshots)
        lines = [
            f"{document.domain.name}  {document.domain.uuid}",
            f"  state        {document.domain.state}",
            f"  snapshots    {count}" + (f", at {document.current}" if document.current else ""),
            *_since_text(document),
            *map(live_text, document.disks),
            *(f"  hidden base  {path}" for path in document.hidden_bases),
        ]
        parts.append("\n".join(map(clean, lines)))
    parts += [_checked_text(each) for each in document.snapshots]
    return "\n\n".join(parts)


def _since_text(document: InfoDocument) -> list[str]:
    """You are here, and this is what you would give up by going back."""
    if not document.since_bytes:
        return []
    changed = [f"{vdev} {size(count)}" for vdev, count in document.since_bytes.items() if count]
    return [f"  since then   {', '.join(changed) or 'nothing was written'}"]


def live_text(disk: LiveDisk) -> str:
    """One disk and its chain."""
    if not disk.path:
        return f"  {disk.vdev:<12} empty drive"
    marks = [text for text, on in (("read-only", disk.readonly), ("cdrom", disk.cdrom)) if on]
    told = disk.problem or ", ".join([disk.format, *([size(disk.size_bytes)] if disk.size_bytes else []), *marks])
    return f"  {disk.vdev:<12} {told}: {' <- '.join(disk.chain) or disk.path}"


def _checked_text(checked: CheckedSnapshot) -> str:
    bad = [f"  {each.disk.vdev:<12} CHANGED: {each.problem}" for each in checked.disks if each.problem]
    if not checked.intact and not bad:
        bad.append(f"  memory       MISSING: {checked.snapshot.memory} is not there or empty")
    verdict = [] if bad else ["  images       as the record says"]
    return "\n".join([long_text(checked.snapshot), *map(clean, [*bad, *verdict])])
