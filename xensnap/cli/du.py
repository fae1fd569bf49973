"""`du`: the space that snapshots take, and what of it would come back."""

import click

from xensnap.cli.command import command_with
from xensnap.cli.completing import domain_argument
from xensnap.cli.documents.examined import DiskSpace, DuDocument, SnapshotSpace, SpaceDocument
from xensnap.cli.output import clean, size, table
from xensnap.cli.records import domain_document
from xensnap.cli.session import Session, verb
from xensnap.engine.sizes import Space, SpaceUsed, usage
from xensnap.engine.view import View, with_current

HEADER = ("NAME", "HELD", "EXCLUSIVE", "SHARED", "RECLAIMABLE")


@command_with(
    "du",
    "Tell how much space snapshots take.",
    ("xensnap du guest1", "by snapshot"),
    ("xensnap du guest1 --disks", "by snapshot and disk"),
)
@domain_argument
@click.option("--disks", "by_disk", is_flag=True, help="One line for each disk, too.")
@verb
def command(session: Session, domain: str, by_disk: bool) -> None:
    """Tell how much space each snapshot of DOMAIN holds, how much of it no other state of the domain needs
    (exclusive), and how much comes back if this one alone is deleted (reclaimable). All images are looked at.
    """
    with session.engine(changes=False) as engine:
        view = engine.view(domain)
        used = usage(view, engine.maps(view))
    session.recovery_due(view.domain.name, view.pending)
    document = _document(view, used)
    session.show(document, lambda: _text(document, by_disk=by_disk))


def _document(view: View, used: SpaceUsed) -> DuDocument:
    return DuDocument(
        host=view.host,
        domain=domain_document(view.domain),
        current=with_current(view),
        since_bytes=dict(used.since),
        hidden_bytes=used.hidden_bytes,
        snapshots=tuple(
            SnapshotSpace(
                name,
                _space(used.of(name)),
                used.memory.get(name, 0),
                tuple(DiskSpace(vdev, _space(space)) for vdev, space in used.disks[name].items()),
            )
            for name in view.snapshots
        ),
    )


def _space(space: Space) -> SpaceDocument:
    return SpaceDocument(space.held_bytes, space.exclusive_bytes, space.shared_bytes, space.reclaimable_bytes)


def _text(document: DuDocument, *, by_disk: bool) -> str:
    rows = []
    for each in document.snapshots:
        rows.append((clean(each.name), *_cells(each.space)))
        if by_disk:
            rows += [(f"  {disk.vdev}", *_cells(disk.space)) for disk in each.disks]
            if each.memory_bytes:
                rows.append(
                    ("  memory", size(each.memory_bytes), size(each.memory_bytes), "0 B", size(each.memory_bytes))
                )
    lines = [table(HEADER, rows)]
    if document.hidden_bytes:
        lines.append(f"hidden bases: {size(document.hidden_bytes)}, merged away as soon as that can be")
    if document.current is not None:
        told = ", ".join(f"{vdev} {size(count)}" for vdev, count in document.since_bytes.items())
        lines.append(f"written since {clean(document.current)}: {told or 'not known'}")
    return "\n".join(lines)


def _cells(space: SpaceDocument) -> tuple[str, str, str, str]:
    return (
        size(space.held_bytes),
        size(space.exclusive_bytes),
        size(space.shared_bytes),
        size(space.reclaimable_bytes),
    )
