"""`sim file`: any file of the simulated host as a file of this machine, and the other way round."""

import click

from xensnap import hosts
from xensnap.cli.command import Group
from xensnap.cli.documents.simulated import SimFileDocument
from xensnap.cli.names import full_path, local_file
from xensnap.cli.output import clean
from xensnap.cli.session import Session, changing, verb
from xensnap.cli.sim_image import write_new
from xensnap.cli.sim_place import chosen
from xensnap.errors import Reason, Refused


@click.group("file", cls=Group, short_help="Its files as files of this machine, and back.")
def file() -> None:
    """Files of the simulated host as files of this machine, and the other way round."""


@file.command("get", short_help="Copy a file of it to this machine.")
@click.argument("path")
@click.argument("file", type=click.Path(dir_okay=False))
@verb
@changing
def get(session: Session, path: str, file: str) -> None:
    """Copy the file PATH of the simulated host to the new FILE of this machine.

    The logs in /var/log/xen and libxl's userdata in /var/lib/xen are files, too.
    """
    path = full_path(path, host="sim")
    files, seats = (hosts.import_simulator(f"simulator.{name}") for name in ("serve.low.files", "ports.seat"))
    with hosts.open_simulated(chosen(session), changes=False) as host:
        try:
            data: bytes = host.run(files.XenFiles(seats.Seat(host.cell, host.pid)).read(path))
        except NotImplementedError as error:
            remedy = "Take a qcow2 image, or a file that is no image."
            raise Refused(
                [Reason("foreign-bytes", f"{path} cannot be a file of this machine: {error}", remedy)]
            ) from error
    write_new(file, data)
    _tell(session, path, file, len(data), f"{path} copied to {file}")


@file.command("put", short_help="Copy a file of this machine to it.")
@click.argument("file")
@click.argument("path")
@verb
@changing
def put(session: Session, file: str, path: str) -> None:
    """Copy a FILE of this machine to the new PATH on the simulated host."""
    path, data = full_path(path, host="sim"), local_file(file)
    with hosts.open_simulated(chosen(session), wait_s=session.wait_s) as host:
        host.run(host.files.create(path, data))
        host.run(host.files.sync(path))
        host.run(host.files.sync_dir(path.rpartition("/")[0] or "/"))
    _tell(session, path, file, len(data), f"{file} copied to {path}")


def _tell(session: Session, path: str, file: str, length: int, words: str) -> None:
    session.show(SimFileDocument(session.host_name, path, file, length), lambda: clean(words))
