"""`tree`: how the snapshots come from each other."""

from collections.abc import Iterator, Mapping, Sequence

from xensnap.cli.command import command_with
from xensnap.cli.completing import domain_argument
from xensnap.cli.documents.listed import TreeDocument, TreeNode
from xensnap.cli.output import clean, local
from xensnap.cli.records import domain_document
from xensnap.cli.session import Session, verb
from xensnap.engine import tree
from xensnap.model import Snapshot

HERE = "you are here"


@command_with(
    "tree",
    "Draw the tree that the snapshots form.",
    ("xensnap tree guest1", ""),
)
@domain_argument
@verb
def command(session: Session, domain: str) -> None:
    """Draw how the snapshots of DOMAIN come from each other, and where the domain is among them."""
    with session.reader() as reader:
        host = reader.host.name
        listing = reader.list(domain)
    records = listing.contents.snapshots
    session.recovery_due(listing.domain.name, listing.pending)
    document = TreeDocument(
        host=host,
        domain=domain_document(listing.domain),
        current=listing.current,
        pending=listing.pending or None,
        snapshots=tuple(nodes(records, listing.current)),
    )
    session.show(document, lambda: tree_text(listing.domain.name, records, listing.current))


def nodes(records: Mapping[str, Snapshot], current: str | None) -> Iterator[TreeNode]:
    """The snapshots in the order of the drawing."""
    below = tree.children(records)
    for depth, name in tree.walk(records):
        record = records[name]
        yield TreeNode(
            name=name,
            depth=depth,
            parent=tree.parent(records, name),
            children=below.get(name, ()),
            creation_time_s=record.creation_time_s,
            consistency=record.consistency,
            current=name == current,
        )


def tree_text(domain: str, records: Mapping[str, Snapshot], current: str | None) -> str:
    """The tree with its branches, the domain on top."""
    rows: list[tuple[int, str]] = []
    for depth, name in tree.walk(records):
        rows.append((depth, f"{clean(name)}  ({local(records[name].creation_time_s)}, {records[name].consistency})"))
        if name == current:
            rows.append((depth + 1, HERE))
    if current is None:
        rows.append((0, HERE))
    return "\n".join([clean(domain), *branches(rows)])


def branches(rows: Sequence[tuple[int, str]]) -> list[str]:
    """Each row behind the marks of the branches that pass it. Read from the end, where it is known what goes on."""
    drawn: list[str] = []
    open_at: set[int] = set()
    for depth, text in reversed(rows):
        open_at = {level for level in open_at if level <= depth}
        stems = "".join("│   " if level in open_at else "    " for level in range(depth))
        drawn.append(f"{stems}{'├── ' if depth in open_at else '└── '}{text}")
        open_at.add(depth)
    return drawn[::-1]
