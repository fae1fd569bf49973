"""`forget`: throw a snapshot away so that it can be had back."""

from xensnap.cli import operate
from xensnap.cli.command import command_with
from xensnap.cli.completing import domain_argument, name_argument
from xensnap.cli.session import Session, planned
from xensnap.engine.request import ForgetRequest


@command_with(
    "forget",
    "Throw a snapshot away so that it can be had back.",
    ("xensnap forget guest1 before-upgrade", "`xensnap undo guest1` takes that back"),
)
@domain_argument
@name_argument
@planned
def command(session: Session, domain: str, name: str) -> None:
    """Put the record of the snapshot NAME of DOMAIN into the trash. All that it holds stays, and takes space.

    `trash restore` has it back, `trash empty` deletes it.
    """
    operate.run(session, domain, lambda _engine: ForgetRequest(name))
