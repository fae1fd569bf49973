"""`list`: the domains of the host, or the snapshots of one."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import click

from xensnap.cli.choosing import ORDERS, Filters, wanted
from xensnap.cli.command import command_with
from xensnap.cli.completing import optional_domain_argument, optional_snapshot_argument
from xensnap.cli.documents.listed import ListDocument
from xensnap.cli.documents.parts import SnapshotDocument
from xensnap.cli.domains import show_domains
from xensnap.cli.names import one_name
from xensnap.cli.output import clean, csv, local, size, table
from xensnap.cli.records import domain_document, pinned_text, snapshot_document
from xensnap.cli.session import Session, verb
from xensnap.cli.times import PAST, When
from xensnap.cli.tree import tree_text
from xensnap.engine import tree
from xensnap.engine.reading import Listing, Reader
from xensnap.errors import Usage

HEADER = ("", "NAME", "WHEN", "KIND", "CONSISTENCY", "PARENT", "DISKS")
COLUMNS = (
    *("name", "created", "kind", "consistency", "state", "parent", "current", "pinned", "memory"),
    *("disks", "description"),
)
ORDER = click.Choice([*ORDERS, "size"])


def filtering(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which snapshots are shown; the command gets `filters`, which need to know the time."""
    options = [
        click.option("--roots", is_flag=True, help="Those without a parent."),
        click.option("--leaves", is_flag=True, help="Those without children."),
        click.option("--no-leaves", is_flag=True, help="Those with children."),
        click.option("--from", "above", metavar="NAME", help="The children of this one."),
        click.option("--descendants", is_flag=True, help="With --from: all below it."),
        click.option("--current", is_flag=True, help="The one that the domain is at."),
        click.option("--internal", is_flag=True, help="Those with a disk kept inside its image."),
        click.option("--external", is_flag=True, help="Those with a disk frozen below an overlay."),
        click.option("--disk-only", is_flag=True, help="Those without memory."),
        click.option("--with-memory", is_flag=True, help="Those with memory."),
        click.option("--active", is_flag=True, help="Those of a guest that ran."),
        click.option("--inactive", is_flag=True, help="Those of a guest that was off."),
        click.option("--pinned", is_flag=True, help="Those that are pinned."),
        click.option("--since", type=PAST, metavar="WHEN", help="Those taken since: a date, or a span such as 7d."),
        click.option("--until", type=PAST, metavar="WHEN", help="Those taken until then."),
    ]

    @wraps(command)
    def begun(*arguments: Any, since: When | None, until: When | None, **options: Any) -> Any:
        chosen = {name: options.pop(name) for name in Filters.__struct_fields__ if name in options}
        if chosen["descendants"] and chosen["above"] is None:
            raise Usage("--descendants says below what only with --from", id="contradiction", remedy="Add --from NAME.")

        def filters(now_s: int) -> Filters:
            return Filters(
                **chosen,
                since_s=since.at_s(now_s) if since else None,
                until_s=until.at_s(now_s) if until else None,
            )

        return command(*arguments, filters=filters, **options)

    for option in reversed(options):
        begun = option(begun)
    return begun


@command_with(
    "list",
    "List domains, or the snapshots of one.",
    ("xensnap list", "all domains"),
    ("xensnap list guest1 --tree", "how its snapshots come from each other"),
    ("xensnap list guest1 --since 7d --leaves", "of the last week, those without children"),
    ("xensnap list guest1 --csv", "for a spreadsheet"),
)
@optional_domain_argument
@optional_snapshot_argument
@click.option("-n", "--name", metavar="NAME", help="Show this snapshot only.")
@click.option("-l", "--long", "in_full", is_flag=True, help="Tell all that the record says.")
@click.option("--tree", "as_tree", is_flag=True, help="Draw them as a tree.")
@click.option("--name-only", is_flag=True, help="Names only, one on each line.")
@click.option("--parent", "with_parent", is_flag=True, help="With --name-only: the parent, too, after a tab.")
@click.option("--csv", "as_csv", is_flag=True, help="Comma-separated values with a header.")
@click.option("--sort", type=ORDER, default="time", show_default=True, help="In which order; `size` looks at images.")
@filtering
@verb
def command(
    session: Session,
    domain: str | None,
    snapshot: str | None,
    name: str | None,
    filters: Callable[[int], Filters],
    sort: str,
    **shape: bool,
) -> None:
    """List the snapshots of DOMAIN, oldest first, the current one marked with *; without DOMAIN, all domains."""
    _require_one_shape(session, shape)
    wanted_name = one_name(name, snapshot)
    if domain is None:
        of_snapshots = shape["as_tree"] or shape["in_full"] or shape["with_parent"]
        if wanted_name is not None or filters(0) != Filters() or sort != "time" or of_snapshots:
            raise Usage("snapshots were asked for, but of no domain", id="domain-missing", remedy="Name the domain.")
        with session.reader() as reader:
            show_domains(session, reader, name_only=shape["name_only"], as_csv=shape["as_csv"])
        return
    with session.reader() as reader:
        host = reader.host.name
        listing = reader.list(domain)
        formerly = () if listing.contents.snapshots else reader.formerly(listing.domain)
        chosen = filters(reader.now_s())
        if chosen.above is not None:
            tree.known(listing.contents.snapshots, chosen.above, domain=listing.domain.name)
        names = wanted(listing.contents.snapshots, chosen, current=listing.current)
        names = ORDERS[sort](listing.contents.snapshots, names) if sort in ORDERS else _by_size(reader, listing, names)
    document = _document(host, listing, wanted_name, names, formerly)
    session.recovery_due(listing.domain.name, listing.pending)
    session.stands_still(listing.domain.name, listing.domain.halted)
    for cause in document.damaged:
        session.warn(f"a record cannot be read: {clean(cause)}")
    for uuid in formerly:
        cause = f"snapshots of a domain of this name are kept under {uuid}"
        session.warn(f"{cause}\n  → `xensnap doctor {clean(domain)}` tells whether they are its own.")
    session.show(document, lambda: _text(document, listing, **shape))


def _require_one_shape(session: Session, shape: Mapping[str, bool]) -> None:
    words = {"in_full": "--long", "as_tree": "--tree", "name_only": "--name-only", "as_csv": "--csv"}
    given = [word for name, word in words.items() if shape[name]] + (["--json"] if session.json else [])
    allowed = len(given) == 2 and given[-1] == "--json" and given[0] != "--csv"
    if len(given) > 1 and not allowed:
        raise Usage(f"{' and '.join(given)} contradict each other", id="contradiction", remedy="Use one of them.")


def _by_size(reader: Reader, listing: Listing, names: tuple[str, ...]) -> tuple[str, ...]:
    from xensnap.engine import sizes
    from xensnap.engine.engine import Engine

    engine = Engine(reader.host)
    held = sizes.held_bytes(engine.view(listing.domain.uuid))
    return tuple(sorted(names, key=lambda name: -held.get(name, 0)))


def _text(document: ListDocument, listing: Listing, **shape: bool) -> str:
    records = {each.name: listing.contents.snapshots[each.name] for each in document.snapshots}
    if shape["as_tree"]:
        return tree_text(listing.domain.name, records, listing.current)
    if shape["name_only"]:
        parents = {
            each.name: f"\t{clean(each.parent or '')}" if shape["with_parent"] else "" for each in document.snapshots
        }
        return "\n".join(f"{clean(name)}{parent}" for name, parent in parents.items())
    if shape["as_csv"]:
        return csv_text(document.snapshots)
    if shape["in_full"]:
        return "\n\n".join(map(long_text, document.snapshots))
    return table_text(document.snapshots)


def _document(
    host: str, listing: Listing, wanted_name: str | None, names: tuple[str, ...], formerly: tuple[str, ...]
) -> ListDocument:
    records = listing.contents.snapshots
    if wanted_name is not None:
        tree.known(records, wanted_name, domain=listing.domain.name)
    return ListDocument(
        host=host,
        domain=domain_document(listing.domain),
        current=listing.current,
        pending=listing.pending or None,
        snapshots=tuple(
            snapshot_document(records[name], current=listing.current) for name in names if wanted_name in (None, name)
        ),
        damaged=tuple(error.cause for error in listing.contents.damaged),
        formerly=formerly,
    )


def csv_text(snapshots: tuple[SnapshotDocument, ...]) -> str:
    """One line for each snapshot, for a spreadsheet: times are UTC, disks are parted by blanks."""
    return csv(
        COLUMNS,
        [
            (
                each.name,
                each.created,
                each.kind,
                each.consistency,
                each.state,
                each.parent or "",
                "yes" if each.current else "no",
                each.pin.owner if each.pin else "",
                each.memory or "",
                " ".join(disk.vdev for disk in each.disks),
                each.description,
            )
            for each in snapshots
        ],
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
