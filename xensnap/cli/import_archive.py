"""`import`: a domain made of an archive, or a snapshot added to one."""

import click

from xensnap.cli import operate
from xensnap.cli.command import command_with
from xensnap.cli.completing import domains
from xensnap.cli.documents.done import ImportDocument
from xensnap.cli.names import configuration_file, full_path
from xensnap.cli.session import Session, planned
from xensnap.engine.request import GraftRequest, ImportRequest
from xensnap.errors import Usage


@command_with(
    "import",
    "Make a domain of an archive that export wrote.",
    ("xensnap import guest1-clean.xensnap --directory /images", "guest1, off, at its snapshot clean"),
    ("xensnap revert guest1 clean", "and it goes on where it was"),
    ("xensnap import clean.xensnap --directory /images --name copy --new-uuid", "beside the one that is here"),
    ("xensnap import clean.xensnap --directory /images --domain guest1", "one more snapshot of guest1"),
)
@click.argument("file", metavar="FILE", type=click.Path())
@click.option("--directory", metavar="DIR", type=click.Path(), required=True, help="Where its disks go.")
@click.option("--domain", metavar="NAME", help="Add it to this domain, which is here.", shell_complete=domains)
@click.option("--name", metavar="NAME", default="", help="Call the domain this. [default: as there]")
@click.option("--as", "snapshot", metavar="NAME", default="", help="Call the snapshot this. [default: as there]")
@click.option("--new-uuid", is_flag=True, help="Give it a UUID and network addresses of its own.")
@click.option(
    "--config", metavar="FILE", type=click.Path(), help="Describe the domain by this file, not as the archive does."
)
@planned
def command(
    session: Session,
    file: str,
    directory: str,
    domain: str | None,
    name: str,
    snapshot: str,
    new_uuid: bool,
    config: str | None,
) -> None:
    """Make the domain of the archive FILE here: off, and at the snapshot, which can be reverted to. With --domain, give
    the snapshot to a domain that is here, and goes on as it is: to disks without internal snapshots, with memory only
    if that is of the same machine.

    Every byte is held to the sums of the archive before it is used, and no path in it is. What the archive's own
    description of the domain names of the host that it comes from, such as a kernel or a boot medium, is refused: give
    a description for this host with --config, as you would write it to start the domain. Import memory only from those
    whom you would let run a guest here: it becomes the state of QEMU.
    """
    if domain is not None and (name or new_uuid or config is not None):
        cause = "--domain is about a domain that is here, and --name, --new-uuid and --config are about a new one"
        raise Usage(cause, id="contradiction", remedy="Leave them out: it keeps name, UUID and configuration.")
    text, described_in = configuration_file(config) if config is not None else ("", "")
    with session.engine(changes=not session.dry_run) as engine:
        path, place = (full_path(each, host=session.host_name) for each in (file, directory))
        if domain is not None:
            result = operate.perform(session, engine, domain, GraftRequest(path, place, snapshot))
        else:
            request = ImportRequest(path, place, name, snapshot, text, described_in, new_uuid)
            result = operate.make(session, engine, request, name or file)
    if result is not None:
        operate.show_result(session, result, ImportDocument)
