"""`describe`: what a snapshot is for, told or changed."""

import click

from xensnap.cli import operate
from xensnap.cli.command import command_with
from xensnap.cli.completing import domain_argument, name_argument
from xensnap.cli.session import Session, planned
from xensnap.engine.request import EditRequest


@command_with(
    "describe",
    "Say what a snapshot is for.",
    ("xensnap describe guest1 clean 'before the audit'", ""),
    ("xensnap describe guest1 clean ''", "take the description away"),
)
@domain_argument
@name_argument
@click.argument("text")
@planned
def command(session: Session, domain: str, name: str, text: str) -> None:
    """Let TEXT be the description of the snapshot NAME of DOMAIN. `edit` does the same in an editor."""
    operate.run(session, domain, lambda _engine: EditRequest(name, text))
