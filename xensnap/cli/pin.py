"""`pin`: protect a snapshot from being deleted."""

import os
import pwd

import click

from xensnap.cli import operate
from xensnap.cli.command import command_with
from xensnap.cli.completing import domain_argument, name_argument
from xensnap.cli.session import Session, planned
from xensnap.cli.times import FUTURE, When
from xensnap.engine.engine import Engine
from xensnap.engine.request import PinRequest


@command_with(
    "pin",
    "Protect a snapshot from being deleted.",
    ("xensnap pin guest1 golden --why 'base of the lab'", ""),
    ("xensnap pin guest1 audit --owner anna --until 90d", ""),
)
@domain_argument
@name_argument
@click.option("--owner", metavar="WHO", help="Who needs it. [default: you]")
@click.option("--until", type=FUTURE, metavar="WHEN", help="A date, or a span such as 30d. [default: always]")
@click.option("--why", metavar="TEXT", default="", help="What for.")
@planned
def command(session: Session, domain: str, name: str, owner: str | None, until: When | None, why: str) -> None:
    """Protect the snapshot NAME of DOMAIN: until then, or until `unpin`, `delete` refuses it and `prune` keeps it."""

    def build(engine: Engine) -> PinRequest:
        return PinRequest(name, owner or _you(), until.at_s(engine.now_s()) if until else 0, why)

    operate.run(session, domain, build)


def _you() -> str:
    """The user who typed this; under sudo, the one who became root."""
    try:
        return os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
