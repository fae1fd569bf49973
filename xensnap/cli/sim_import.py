"""`sim import`: the likeness of a real host as a simulated one, to try things on that nobody dares there."""

import click

from xensnap import hosts
from xensnap.cli.command import Verb
from xensnap.cli.documents.simulated import SimImportDocument
from xensnap.cli.output import clean
from xensnap.cli.session import Session, changing, verb
from xensnap.cli.sim_place import chosen, make
from xensnap.errors import Usage


@click.command("import", cls=Verb, short_help="Make one in the likeness of a real host.")
@click.option("--from-host", "source", required=True, metavar="HOST", help="qemu:DIR or xen: what is only looked at.")
@verb
@changing
def import_(session: Session, source: str) -> None:
    """Make a simulated host in the likeness of a real one, which is only read.

    Domains, disks, chains, snapshots and their records are those of the real host, and so are sizes and the space that
    snapshots share; contents are stand-ins. What a revert or a delete would do, need and free can then be seen here.
    Memory is left out, and told: a snapshot with memory is one of its disks here.
    """
    choice = chosen(session)
    if hosts.choose(source) == choice:
        raise Usage(
            f"{source} is the host to be made", id="contradiction", remedy="Say --host sim:DIR for the new one."
        )
    hosts.import_simulator()
    from xensnap.testing.likeness import Likeness, likeness

    drawn: list[Likeness] = []

    def world() -> "hosts.World":
        with hosts.open_host(source, changes=False) as real:
            drawn.append(likeness(real))
        return drawn[0].world

    make(session, choice, world)
    names = tuple(sorted(domain.name for domain in drawn[0].world.domains.values()))
    document = SimImportDocument(choice.name, choice.directory, source, names, drawn[0].without)
    without = [f"without {line}" for line in drawn[0].without]
    told = f"made: simulated host in {choice.directory}, like {source}, with {', '.join(names) or 'no domains'}"
    session.show(document, lambda: clean("\n".join([told, *without])))
