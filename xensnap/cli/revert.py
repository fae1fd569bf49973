"""`revert`: make a domain what it was."""

import click

from xensnap.cli import operate
from xensnap.cli.choices import THEN
from xensnap.cli.command import command_with
from xensnap.cli.completing import domain_argument, optional_snapshot_argument
from xensnap.cli.names import configuration_file, current_of, one_name
from xensnap.cli.session import Session, planned
from xensnap.engine.engine import Engine
from xensnap.engine.request import RevertRequest
from xensnap.errors import Usage
from xensnap.hypervisor import Then


@command_with(
    "revert",
    "Make a domain what it was at a snapshot.",
    ("xensnap revert guest1 clean --dry-run", "what would be done"),
    ("xensnap revert guest1 clean", "disks, and memory if it has some"),
    ("xensnap revert guest1 clean --save-current broken", "and keep what is given up"),
    ("xensnap revert guest1 clean --only xvdb --then stopped", "one disk of it"),
    ("xensnap revert guest1 clean --use-config guest1.cfg", "as this file has it"),
)
@domain_argument
@optional_snapshot_argument
@click.option("-n", "--name", metavar="NAME", help="Name of the snapshot, if not given after the domain.")
@click.option("--current", is_flag=True, help="The snapshot that DOMAIN is at.")
@click.option(
    "--then", type=THEN, default="same", show_default=True, help="What it does then; same as at the snapshot."
)
@click.option("--disks-only", is_flag=True, help="Leave the memory of the snapshot alone; a guest that runs boots.")
@click.option("--only", multiple=True, metavar="VDEV", help="Only this disk, without memory; can be repeated.")
@click.option("--keep-config", is_flag=True, help="Keep the configuration that it has now; memory has to fit it.")
@click.option("--use-config", metavar="FILE", help="Give it the configuration in this file instead.")
@click.option("--save-current", metavar="NAME", default="", help="First take a snapshot of what would be given up.")
@click.option("--no-undo", is_flag=True, help="Give up for good what its disks hold now; its space comes back.")
@planned
def command(
    session: Session,
    domain: str,
    snapshot: str | None,
    name: str | None,
    current: bool,
    then: str,
    disks_only: bool,
    only: tuple[str, ...],
    keep_config: bool,
    use_config: str | None,
    save_current: str,
    no_undo: bool,
) -> None:
    """Make DOMAIN what it was at the snapshot NAME.

    What its disks have held since their last snapshot goes into the trash, where `undo` finds it until the next revert,
    or a deletion that it is in the way of. A guest that runs is ended: it comes back with its memory if the snapshot
    has it, and with the configuration of that; else its configuration stays. Every snapshot stays.
    """
    wanted = one_name(name, snapshot, needed_by="revert", current=current)
    if save_current and session.dry_run and session.json:
        cause = "one plan file cannot hold two plans, and --save-current makes two"
        raise Usage(cause, id="two-plans", remedy="Plan `create` and `revert` one after the other.")
    text, path = configuration_file(use_config) if use_config is not None else ("", "")

    def build(engine: Engine) -> RevertRequest:
        which = wanted if wanted is not None else current_of(engine, domain)
        return RevertRequest(which, Then(then), disks_only, only, save_current, keep_config, text, path, no_undo)

    operate.run(session, domain, build)
