"""`chain`: what disks stand on, and making it shorter."""

import click

from xensnap.cli import operate
from xensnap.cli.command import Group, command_with
from xensnap.cli.completing import domain_argument
from xensnap.cli.documents.examined import ChainDisk, ChainDocument, ChainLayer, CompactDocument, HiddenDocument
from xensnap.cli.names import full_path
from xensnap.cli.output import clean, size, table
from xensnap.cli.records import domain_document
from xensnap.cli.session import Session, flag_option, planned, riskless, verb
from xensnap.engine.collect import Kept, hidden_now, why_kept
from xensnap.engine.engine import Engine
from xensnap.engine.request import RelocateRequest
from xensnap.engine.view import DiskView, View
from xensnap.model import Image, Kind


@click.group("chain", cls=Group, short_help="Show what disks stand on, or make it shorter.")
def command() -> None:
    """The images below the disks of a domain: the active layer, overlays, the base."""


@command_with("show", "Show the images below each disk.", ("xensnap chain show guest1", ""))
@domain_argument
@verb
def show(session: Session, domain: str) -> None:
    """Show the images below each disk of DOMAIN, the active layer first, and what keeps each of them."""
    with session.engine(changes=False) as engine:
        view = engine.view(domain)
    document = ChainDocument(
        host=view.host,
        domain=domain_document(view.domain),
        disks=tuple(_disk(view, disk) for disk in view.disks if disk.disk.path),
        hidden=tuple(HiddenDocument(base.vdev, base.path, why_kept(view, base) or None) for base in hidden_now(view)),
    )
    session.recovery_due(view.domain.name, view.pending)
    session.show(document, lambda: _text(document))


@command_with(
    "compact",
    "Merge away what only deleted snapshots needed.",
    ("xensnap chain compact guest1", ""),
    ("xensnap chain compact guest1 --dry-run", "what would be merged"),
)
@domain_argument
@flag_option("--dry-run", help="Tell what would be merged, and change nothing.")
@riskless
def compact(session: Session, domain: str) -> None:
    """Merge away the images of DOMAIN that only snapshots needed which are deleted by now. No snapshot changes.

    `delete` does the same at its end; this is for what could not be merged then, because a guest ran or several images
    stood on one.
    """
    with session.engine(changes=not session.dry_run) as engine:
        host = engine.host.name
        view = engine.view(domain)
        waiting = [Kept(base, why_kept(view, base)) for base in hidden_now(view)]
        if session.dry_run:
            merged = tuple(left.base.path for left in waiting if not left.why)
            stays, unknown = tuple(left for left in waiting if left.why), ""
        else:
            done = engine.compact(domain)
            merged, stays, unknown = done.merged, done.stays, done.unknown
    document = CompactDocument(
        host=host,
        domain=domain_document(view.domain),
        dry_run=session.dry_run,
        merged=merged,
        stays=tuple(HiddenDocument(left.base.vdev, left.base.path, left.why) for left in stays),
        unknown=unknown or None,
    )
    session.show(document, lambda: _compact_text(document))


@command_with(
    "relocate",
    "Bring the images of a disk to another directory.",
    ("xensnap chain relocate guest1 xvda /fast/images --dry-run", "what would be copied"),
    ("xensnap chain relocate guest1 xvda /fast/images", "its snapshots go with it"),
)
@domain_argument
@click.argument("vdev")
@click.argument("directory")
@planned
def relocate(session: Session, domain: str, vdev: str, directory: str) -> None:
    """Bring all images below the disk VDEV of DOMAIN, which is off, to DIRECTORY, and those of its snapshots.

    They are copied and compared; configuration and records follow. The old files stay, under other names, until
    `trash empty`. A file of yours that names them has to be changed by you.
    """

    def request(engine: Engine) -> RelocateRequest:
        return RelocateRequest(vdev, full_path(directory, host=engine.host.name))

    operate.run(session, domain, request)


def _disk(view: View, disk: DiskView) -> ChainDisk:
    layers = tuple(_layer(view, disk, image) for image in disk.chain) if disk.chain else ()
    return ChainDisk(disk.disk.vdev, layers, disk.problem.cause if disk.problem else None)


def _layer(view: View, disk: DiskView, image: Image) -> ChainLayer:
    path = image.layer.path
    held = [
        name
        for name, snapshot in view.snapshots.items()
        if any(each.image.path == path for each in snapshot.disks if each.vdev == disk.disk.vdev)
    ]
    entry = view.state.made(path)
    return ChainLayer(
        path=path,
        format=image.layer.format,
        allocated_bytes=image.allocated_bytes,
        size_bytes=image.virtual_size_bytes,
        ours=entry is not None and entry.inode == image.file.inode,
        role=_role(view, disk, image),
        snapshots=tuple(held),
    )


def _role(view: View, disk: DiskView, image: Image) -> str:
    path = image.layer.path
    if path == disk.disk.path:
        return "active"
    frozen = any(
        each.image.path == path and each.kind is Kind.EXTERNAL
        for snap in view.snapshots.values()
        for each in snap.disks
    )
    if frozen:
        return "frozen"
    return "hidden base" if any(base.path == path for base in view.state.hidden) else "base"


def _text(document: ChainDocument) -> str:
    rows = []
    for disk in document.disks:
        if disk.problem:
            rows.append((disk.vdev, "", "", "", "", disk.problem))
        for depth, layer in enumerate(disk.layers):
            held = ", ".join(layer.snapshots) or "-"
            name = disk.vdev if not depth else ""
            rows.append((name, str(depth), layer.role, size(layer.allocated_bytes), held, layer.path))
    lines = [table(("DISK", "DEPTH", "ROLE", "TAKES", "SNAPSHOTS", "PATH"), [tuple(map(clean, row)) for row in rows])]
    lines += [f"hidden base {clean(each.path)}: {clean(each.why or 'can be merged: xensnap chain compact')}"
              for each in document.hidden]  # fmt: skip
    return "\n".join(lines)


def _compact_text(document: CompactDocument) -> str:
    done = "would be merged away" if document.dry_run else "merged away"
    lines = [f"{done}: {path}" for path in document.merged]
    lines += [f"stays: {each.path}: {each.why}" for each in document.stays]
    lines += [document.unknown] if document.unknown else []
    return "\n".join(map(clean, lines)) or "nothing to merge away"


command.add_command(show)
command.add_command(compact)
command.add_command(relocate)
