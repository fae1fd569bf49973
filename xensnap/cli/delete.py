"""`delete`: delete snapshots."""

import click

from xensnap.cli import operate
from xensnap.cli.names import one_name
from xensnap.cli.session import Session, changing, verb
from xensnap.engine.request import DeleteRequest
from xensnap.errors import Usage


@click.command("delete", short_help="Delete snapshots.")
@click.argument("domain")
@click.argument("snapshot", required=False, metavar="[NAME]")
@click.option("-n", "--name", metavar="NAME", help="Name of the snapshot, if not given after the domain.")
@click.option("--children", is_flag=True, help="Delete those below it, too.")
@click.option("--children-only", is_flag=True, help="Delete those below it, and not the snapshot itself.")
@click.option("--dry-run", is_flag=True, help="Show the plan and change nothing; with --json, as `apply` reads it.")
@verb
@changing
def command(
    session: Session,
    domain: str,
    snapshot: str | None,
    name: str | None,
    children: bool,
    children_only: bool,
    dry_run: bool,
) -> None:
    """Delete the snapshot NAME of DOMAIN. What the domain's disks hold now stays, and so does every other snapshot."""
    if children and children_only:
        cause = "--children and --children-only contradict each other"
        raise Usage(cause, id="contradiction", remedy="Use one of them.")
    wanted = one_name(name, snapshot, needed_by="delete") or ""
    request = DeleteRequest(wanted, children=children, children_only=children_only)
    operate.run(session, domain, lambda _engine: request, dry_run=dry_run)
