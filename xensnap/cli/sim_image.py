"""`sim image`: images of the simulated host as true files, and files as images of it."""

import os
from errno import EIO
from pathlib import Path
from typing import Any

import click

from xensnap import hosts
from xensnap.cli.command import Group
from xensnap.cli.documents.simulated import SimImageDocument
from xensnap.cli.output import clean
from xensnap.cli.session import Session, changing, verb
from xensnap.cli.sim_place import chosen
from xensnap.errors import FileFailed, NotFound, Reason, Refused, Usage


@click.group("image", cls=Group, short_help="Its images as files of this machine, and back.")
def image() -> None:
    """Images of the simulated host as files of this machine, and the other way round."""


@image.command("export", short_help="Write an image of it as a file here.")
@click.argument("path")
@click.argument("file", type=click.Path(dir_okay=False))
@verb
@changing
def export(session: Session, path: str, file: str) -> None:
    """Write the simulated image PATH as the qcow2 FILE, with its snapshots, for real tools."""
    codec = hosts.import_simulator("simulator.disk.qcow2_file")
    with hosts.open_simulated(chosen(session), changes=False) as host:
        number = host.world.fs.find(path)
        stored: Any = getattr(host.world.fs.inodes.get(number or 0), "stored", None)
    if not hasattr(stored, "table"):
        raise NotFound(f"the simulated host has no qcow2 image {path}", id="image-not-found")
    data: bytes = codec.encoded(stored)
    write_new(file, data)
    _tell(session, path, file, len(data), f"{path} written to {file}")


@image.command("import", short_help="Make an image of it of a file here.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.argument("path")
@verb
@changing
def import_(session: Session, file: str, path: str) -> None:
    """Make the simulated image PATH, which must not exist, of a qcow2 FILE, with its snapshots."""
    codec = hosts.import_simulator("simulator.disk.qcow2_file")
    with Path(file).open("rb") as source:
        data = source.read(4)
        if data != b"QFI\xfb":  # what is none may never end
            raise Usage(f"{file} is no qcow2 image", id="not-qcow2")
        data += source.read()
    try:
        stored = codec.decoded(data)
    except NotImplementedError as error:
        cause = f"{file} cannot be an image of the simulated host: {error}"
        raise Refused(
            [Reason("foreign-bytes", cause, "Take a plain copy that `qemu-img convert -O qcow2` made.")]
        ) from error
    with hosts.open_simulated(chosen(session), wait_s=session.wait_s) as host:
        host.add_image(path, stored)
    _tell(session, path, file, len(data), f"{path} made of {file}")


def write_new(file: str, data: bytes) -> None:
    """Make a new file of this machine. `FileFailed` where its name is taken."""
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
            target.write(data)
    except OSError as error:
        raise FileFailed(f"write {file}: {error.strerror}", path=file, errno=error.errno or EIO) from error


def _tell(session: Session, path: str, file: str, length: int, words: str) -> None:
    session.show(SimImageDocument(session.host_name, path, file, length), lambda: clean(words))
