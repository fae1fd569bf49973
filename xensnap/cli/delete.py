"""`delete`: delete snapshots."""

import click

from xensnap.cli import operate
from xensnap.cli.command import command_with
from xensnap.cli.completing import domain_argument, optional_snapshot_argument
from xensnap.cli.names import current_of, one_name
from xensnap.cli.session import Session, planned
from xensnap.cli.times import SPAN
from xensnap.engine.engine import Engine
from xensnap.engine.request import DeleteRequest
from xensnap.errors import Usage


@command_with(
    "delete",
    "Delete snapshots.",
    ("xensnap delete guest1 clean", ""),
    ("xensnap delete guest1 clean --children", "and all that came from it"),
    ("xensnap delete guest1 --older-than 30d --dry-run", "what would go"),
)
@domain_argument
@optional_snapshot_argument
@click.option("-n", "--name", metavar="NAME", help="Name of the snapshot, if not given after the domain.")
@click.option("--current", is_flag=True, help="The snapshot that DOMAIN is at.")
@click.option("--children", is_flag=True, help="Delete those below it, too.")
@click.option("--children-only", is_flag=True, help="Delete those below it, and not the snapshot itself.")
@click.option("--metadata-only", is_flag=True, help="Take away the record alone; tags, images and memory stay.")
@click.option("--all", "every", is_flag=True, help="Delete every snapshot of DOMAIN.")
@click.option(
    "--older-than", type=SPAN, metavar="SPAN", help="Delete those that are older, such as 30d, and not pinned."
)
@click.option(
    "--keep-last", type=click.IntRange(min=0), metavar="N", help="Delete all but the newest N and the pinned."
)
@planned
def command(
    session: Session,
    domain: str,
    snapshot: str | None,
    name: str | None,
    current: bool,
    children: bool,
    children_only: bool,
    metadata_only: bool,
    every: bool,
    older_than: int | None,
    keep_last: int | None,
) -> None:
    """Delete the snapshot NAME of DOMAIN, or many. What its disks hold now stays, and so does every other snapshot.

    Its space comes back at once, so nothing can undo it: `forget` throws a snapshot away so that it can be had back.
    --older-than and --keep-last together delete those that both speak of. What --metadata-only leaves nobody protects;
    `doctor` tells of it, and `adopt` takes it back.
    """
    if children and children_only:
        cause = "--children and --children-only contradict each other"
        raise Usage(cause, id="contradiction", remedy="Use one of them.")
    many = every or older_than is not None or keep_last is not None
    if many and (children or children_only or current):
        cause = "--children and --current are about one snapshot, and this speaks of many"
        raise Usage(cause, id="contradiction", remedy="Use one of them.")
    wanted = one_name(name, snapshot, needed_by="" if many else "delete", current=current) or ""

    def build(engine: Engine) -> DeleteRequest:
        which = current_of(engine, domain) if current else wanted
        return DeleteRequest(which, children, children_only, every, older_than, keep_last, metadata_only)

    operate.run(session, domain, build)
