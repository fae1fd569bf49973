"""`diff`: what is different between two snapshots, or between one and the present."""

import click

from xensnap.cli.command import command_with
from xensnap.cli.completing import domain_argument, snapshots
from xensnap.cli.documents.examined import DiffDocument, DiskDifference, StretchDocument
from xensnap.cli.output import clean, size
from xensnap.cli.records import domain_document
from xensnap.cli.session import Session, verb
from xensnap.engine.diff import NOW, DiskDiff, difference
from xensnap.engine.seen import length
from xensnap.formats import secret


@command_with(
    "diff",
    "Show what changed between two snapshots.",
    ("xensnap diff guest1 clean", "since then"),
    ("xensnap diff guest1 clean broken", "between the two"),
    ("xensnap diff guest1 clean --blocks", "where on the disks"),
)
@domain_argument
@click.argument("before", metavar="A", shell_complete=snapshots)
@click.argument("after", metavar="[B]", default=NOW, shell_complete=snapshots)
@click.option("--blocks", is_flag=True, help="List every stretch that differs: first byte and length.")
@click.option("--config", "config_only", is_flag=True, help="The configuration only.")
@verb
def command(session: Session, domain: str, before: str, after: str, blocks: bool, config_only: bool) -> None:
    """Show what changed on DOMAIN from the snapshot A to the snapshot B, or to the present: blocks that were written,
    disks that came, went or grew, and lines of its configuration. Blocks that were written with what they held
    already count as changed.
    """
    with session.engine(changes=False) as engine:
        view = engine.view(domain)
        found = difference(view, {} if config_only else engine.maps(view), before, after)
    disks = () if config_only else tuple(map(_disk, found.disks))
    lines = tuple(_lines(found.before_configuration, found.after_configuration, before, after or "now"))
    document = DiffDocument(view.host, domain_document(view.domain), before, after or None, disks, lines)
    session.recovery_due(view.domain.name, view.pending)
    session.show(document, lambda: _text(document, blocks=blocks))


def _disk(disk: DiskDiff) -> DiskDifference:
    return DiskDifference(
        vdev=disk.vdev,
        before_bytes=disk.before_bytes,
        after_bytes=disk.after_bytes,
        changed_bytes=None if disk.problem else length(disk.stretches),
        stretches=tuple(StretchDocument(each.start, each.end - each.start) for each in disk.stretches),
        problem=disk.problem or None,
    )


def _lines(before: str, after: str, before_name: str, after_name: str) -> list[str]:
    import difflib

    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), before_name, after_name, lineterm="")
    return [line if line.startswith(("---", "+++")) else secret.line_shown(line) for line in lines]


def _text(document: DiffDocument, *, blocks: bool) -> str:
    lines = [line for disk in document.disks for line in _disk_lines(disk, blocks=blocks)]
    if document.configuration:
        lines += ["configuration:", *(f"  {line}" for line in document.configuration)]
    return "\n".join(map(clean, lines)) or "nothing is different"


def _disk_lines(disk: DiskDifference, *, blocks: bool) -> list[str]:
    if disk.before_bytes is None or disk.after_bytes is None:
        return [f"{disk.vdev}: only in the {'second' if disk.before_bytes is None else 'first'}"]
    grown = f", {size(disk.before_bytes)} -> {size(disk.after_bytes)}" if disk.before_bytes != disk.after_bytes else ""
    if disk.problem:
        return [f"{disk.vdev}: {disk.problem}{grown}"]
    places = "one place" if len(disk.stretches) == 1 else f"{len(disk.stretches)} places"
    changed = f"{size(disk.changed_bytes or 0)} changed in {places}"
    told = [f"{disk.vdev}: {changed if disk.stretches else 'the same'}{grown}"]
    if blocks:
        told += [f"  {each.offset_bytes:#x} {each.length_bytes}" for each in disk.stretches]
    return told
