"""`rename`: call a snapshot something else."""

import click

from xensnap.cli import operate
from xensnap.cli.session import Session, changing, dry_run_option, verb
from xensnap.engine.request import RenameRequest


@click.command("rename", short_help="Call a snapshot something else.")
@click.argument("domain")
@click.argument("name")
@click.argument("new_name")
@dry_run_option
@verb
@changing
def command(session: Session, domain: str, name: str, new_name: str, dry_run: bool) -> None:
    """Call the snapshot NAME of DOMAIN NEW_NAME from now on. Tags inside images and memory files keep their names."""
    operate.run(session, domain, lambda _engine: RenameRequest(name, new_name), dry_run=dry_run)
