"""`unpin`: let a snapshot be deleted again."""

import click

from xensnap.cli import operate
from xensnap.cli.command import command_with
from xensnap.cli.completing import domain_argument, name_argument
from xensnap.cli.session import Session, planned
from xensnap.engine.request import UnpinRequest


@command_with(
    "unpin",
    "Let a snapshot be deleted again.",
    ("xensnap unpin guest1 golden", ""),
)
@domain_argument
@name_argument
@click.option("--owner", metavar="WHO", default="", help="Only if it is pinned by this one.")
@planned
def command(session: Session, domain: str, name: str, owner: str) -> None:
    """Let the snapshot NAME of DOMAIN be deleted again."""
    operate.run(session, domain, lambda _engine: UnpinRequest(name, owner))
