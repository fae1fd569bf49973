"""`adopt`: take in a snapshot that no record tells of."""

import click

from xensnap.cli import operate
from xensnap.cli.command import command_with
from xensnap.cli.completing import domain_argument
from xensnap.cli.session import Session, planned
from xensnap.engine.request import AdoptRequest


@command_with(
    "adopt",
    "Take in a snapshot that no record tells of.",
    ("xensnap adopt guest1 by-hand", "a tag that qemu-img has made"),
    ("xensnap adopt guest1 clean --accept image-changed", "as its images are now"),
)
@domain_argument
@click.argument("name")
@planned
def command(session: Session, domain: str, name: str) -> None:
    """Make a record for the tag NAME in the images of DOMAIN, or have back one that `delete --metadata-only` took away.

    A snapshot NAME that has a record becomes what its images are now.

    `doctor` tells which tags no record tells of, and which images are not what was recorded.
    """
    operate.run(session, domain, lambda _engine: AdoptRequest(name))
