"""`sim`: a simulated host that persists between commands."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xensnap import hosts
from xensnap.cli.command import Group
from xensnap.cli.documents.simulated import SimPlaceDocument, SimShowDocument
from xensnap.cli.output import clean
from xensnap.cli.session import Session, changing, verb
from xensnap.cli.sim_crash import crash
from xensnap.cli.sim_domains import disk, domain
from xensnap.cli.sim_file import file
from xensnap.cli.sim_guest import read, write
from xensnap.cli.sim_image import image
from xensnap.cli.sim_import import import_
from xensnap.cli.sim_place import chosen, make, place_of
from xensnap.cli.sim_run import run, shell
from xensnap.errors import NotFound

if TYPE_CHECKING:
    from xensnap.hosts import World

SEED = click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, help="What its UUIDs are drawn from.")


@click.group("sim", cls=Group, short_help="Make and handle a simulated host.")
def command() -> None:
    """A simulated host, kept in a directory between commands.

    After `xensnap sim init` it is the default host, unless this machine shows any sign of Xen. --host sim:DIR keeps
    one elsewhere.
    """


@command.command("init")
@SEED
@verb
@changing
def init(session: Session, seed: int) -> None:
    """Make a simulated host."""
    choice = chosen(session)
    make(session, choice, lambda: _fresh(seed))
    _tell(session, choice, "made")


@command.command("reset", short_help="Empty it, or remove it.")
@SEED
@click.option("--remove", is_flag=True, help="Remove it altogether instead.")
@verb
@changing
def reset(session: Session, seed: int, remove: bool) -> None:
    """Put an empty simulated host in the place of the one there is."""
    choice, place = place_of(session)
    if not place.exists:
        cause = f"there is no simulated host in {choice.directory}"
        raise NotFound(cause, id="no-simulated-host", remedy="Make one: xensnap sim init.")
    with place.locked(wait_s=session.wait_s):
        if remove:
            place.path.unlink(missing_ok=True)
        else:
            place.write(_fresh(seed))
    if remove:
        place.lock_path.unlink(missing_ok=True)
        with suppress(OSError):  # somebody keeps other files there
            Path(choice.directory).rmdir()
    _tell(session, choice, "removed" if remove else "reset")


@command.command("path", short_help="Print the directory that it is kept in.")
@verb
def path(session: Session) -> None:
    """Print the directory that the simulated host is kept in, whether it exists or not."""
    choice = chosen(session)
    exists = hosts.SimulatedPlace(choice.directory).exists
    session.show(SimPlaceDocument(choice.name, choice.directory, exists), lambda: clean(choice.directory))


@command.command("show", short_help="Show its domains, chains and files.")
@verb
def show(session: Session) -> None:
    """Show its domains with their disks and chains, and the files of its snapshot store."""
    with hosts.open_simulated(chosen(session), changes=False) as host:
        world = host.world
        lines = tuple(host.show().splitlines())
        document = SimShowDocument(host.name, world.effects, world.writes, lines)
    counted = f"{world.writes} writes, {world.effects} effects"
    session.show(document, lambda: "\n".join([*map(clean, lines), counted]))


command.add_command(import_)
command.add_command(domain)
command.add_command(disk)
command.add_command(write)
command.add_command(read)
command.add_command(image)
command.add_command(file)
command.add_command(crash)
command.add_command(run)
command.add_command(shell)


def _fresh(seed: int) -> "World":
    world: World = hosts.import_simulator().World.fresh(seed)
    return world


def _tell(session: Session, choice: hosts.Choice, what: str) -> None:
    exists = hosts.SimulatedPlace(choice.directory).exists
    document = SimPlaceDocument(choice.name, choice.directory, exists)
    session.show(document, lambda: f"{what}: simulated host in {clean(choice.directory)}")
