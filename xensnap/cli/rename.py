"""`rename`: call a snapshot something else."""

import click

from xensnap.cli import operate
from xensnap.cli.command import command_with
from xensnap.cli.completing import domain_argument, name_argument
from xensnap.cli.session import Session, planned
from xensnap.engine.request import RenameRequest


@command_with(
    "rename",
    "Call a snapshot something else.",
    ("xensnap rename guest1 1790000000 before-upgrade", ""),
)
@domain_argument
@name_argument
@click.argument("new_name")
@planned
def command(session: Session, domain: str, name: str, new_name: str) -> None:
    """Call the snapshot NAME of DOMAIN NEW_NAME from now on. Tags inside images and memory files keep their names."""
    operate.run(session, domain, lambda _engine: RenameRequest(name, new_name))
