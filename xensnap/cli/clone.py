"""`clone`: a new domain made of a snapshot."""

import click

from xensnap.cli import operate
from xensnap.cli.command import command_with
from xensnap.cli.completing import domain_argument, name_argument
from xensnap.cli.documents.done import CloneDocument
from xensnap.cli.names import full_path
from xensnap.cli.session import Session, planned
from xensnap.engine.request import CloneRequest
from xensnap.errors import Usage


@command_with(
    "clone",
    "Make a new domain of a snapshot.",
    ("xensnap clone guest1 clean guest2", "with copies of its disks"),
    ("xensnap clone guest1 clean guest2 --linked", "on the frozen images of the snapshot, at once"),
    ("xensnap clone guest1 clean guest2 --directory /fast", "with its disks elsewhere"),
)
@domain_argument
@name_argument
@click.argument("new_name", metavar="NEWNAME")
@click.option("--full", is_flag=True, help="Copy the disks, so that the clone needs nothing of DOMAIN. [default]")
@click.option("--linked", is_flag=True, help="Overlays on what the snapshot froze; that stays as long as they do.")
@click.option(
    "--directory",
    metavar="DIR",
    type=click.Path(),
    default="",
    help="Where its disks go. [default: beside the old ones]",
)
@planned
def command(
    session: Session,
    domain: str,
    name: str,
    new_name: str,
    full: bool,
    linked: bool,
    directory: str,
) -> None:
    """Make the domain NEWNAME, which is DOMAIN with the disks that it had at the snapshot NAME, and with a UUID,
    network addresses and a generation id of its own.

    It is off, and boots cold: memory is not cloned. For xl a file NEWNAME.cfg is written beside its disks.
    """
    if full and linked:
        raise Usage("--full and --linked contradict each other", id="contradiction", remedy="Give one of them.")
    with session.engine(changes=not session.dry_run) as engine:
        place = full_path(directory, host=session.host_name) if directory else ""
        request = CloneRequest(domain, name, new_name, linked, place)
        result = operate.make(session, engine, request, new_name)
    if result is not None:
        operate.show_result(session, result, CloneDocument)
