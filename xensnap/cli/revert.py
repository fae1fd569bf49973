"""`revert`: make a domain what it was."""

import click

from xensnap.cli import operate
from xensnap.cli.choices import THEN
from xensnap.cli.command import command_with
from xensnap.cli.names import one_name
from xensnap.cli.session import Session, accept_option, changing, dry_run_option, verb
from xensnap.engine.request import RevertRequest
from xensnap.hypervisor import Then


@command_with(
    "revert",
    "Make a domain what it was at a snapshot.",
    ("xensnap revert guest1 clean --dry-run", "what would be done"),
    ("xensnap revert guest1 clean", "disks, and memory if it has some"),
    ("xensnap revert guest1 clean --then paused", "and look at it first"),
)
@click.argument("domain")
@click.argument("snapshot", required=False, metavar="[NAME]")
@click.option("-n", "--name", metavar="NAME", help="Name of the snapshot, if not given after the domain.")
@click.option(
    "--then", type=THEN, default="same", show_default=True, help="What it does then; same as at the snapshot."
)
@accept_option
@dry_run_option
@verb
@changing
def command(
    session: Session,
    domain: str,
    snapshot: str | None,
    name: str | None,
    then: str,
    accept: tuple[str, ...],
    dry_run: bool,
) -> None:
    """Make DOMAIN what it was at the snapshot NAME.

    What its disks have held since their last snapshot is given up, and a guest that runs is ended: it comes back with
    its memory if the snapshot has it. Every snapshot stays.
    """
    wanted = one_name(name, snapshot, needed_by="revert") or ""
    operate.run(session, domain, lambda _engine: RevertRequest(wanted, Then(then), accept), dry_run=dry_run)
