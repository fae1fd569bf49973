"""`undo`: take back the last operation."""

import click

from xensnap.cli import operate
from xensnap.cli.command import command_with
from xensnap.cli.session import Session, planned


@command_with(
    "undo",
    "Take back the last operation.",
    ("xensnap undo guest1", ""),
    ("xensnap undo guest1 --dry-run", "what that would be"),
)
@click.argument("domain")
@planned
def command(session: Session, domain: str) -> None:
    """Take back what was last done to DOMAIN: a create, forget, restore, adopt or rename, or a revert.

    After a revert, what it gave up becomes a snapshot, and the domain is reverted to it; the memory of a guest that ran
    is there only after `revert --save-current NAME`. What was deleted cannot be had back: `forget` instead, and empty
    the trash later.
    """
    operate.undo(session, domain)
