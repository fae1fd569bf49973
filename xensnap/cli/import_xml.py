"""`import-xml`: snapshots that libvirt describes, and that exist in the images, become ours."""

import click

from xensnap.cli import operate
from xensnap.cli.command import command_with
from xensnap.cli.completing import domain_argument
from xensnap.cli.names import local_file
from xensnap.cli.session import Session, changing, dry_run_option, verb
from xensnap.engine.engine import Engine
from xensnap.engine.request import RedefineRequest, Told, ToldDisk
from xensnap.errors import Reason, Refused
from xensnap.formats import libvirt_xml
from xensnap.formats.libvirt_xml import XmlSnapshot
from xensnap.model import RunState


@command_with(
    "import-xml",
    "Record snapshots that libvirt describes.",
    ("xensnap import-xml guest1 before.xml after.xml", "what `virsh snapshot-dumpxml` printed, in any order"),
)
@domain_argument
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@dry_run_option
@verb
@changing
def command(session: Session, domain: str, files: tuple[str, ...], dry_run: bool) -> None:
    """Record snapshots of DOMAIN that exist in its images, as libvirt's XML in the files describes them.

    What the XML says is held to the images: each tag must be there, each overlay in the chain of its disk. Memory is
    not taken over.
    """
    described = [libvirt_xml.parse(local_file(path), source=path) for path in files]

    def build(engine: Engine) -> RedefineRequest:
        known = engine.list(domain).domain
        strangers = [
            Reason("another-domain", f"{path} is about the domain {told.domain_uuid}", "Import it for that domain.")
            for path, told in zip(files, described, strict=True)
            if told.domain_uuid not in ("", known.uuid)
        ]
        if strangers:
            raise Refused(strangers)
        return RedefineRequest(tuple(map(_told, described)))

    operate.run(session, domain, build, dry_run=dry_run)


def _told(xml: XmlSnapshot) -> Told:
    """What the XML says, less what libvirt says of its own. Disks that were left out are not told of."""
    return Told(
        name=xml.name,
        disks=tuple(
            ToldDisk(disk.name, disk.kind, disk.tag, disk.overlay) for disk in xml.disks if disk.kind is not None
        ),
        description=xml.description,
        created_s=xml.creation_time_s,
        state=xml.state if xml.state in (RunState.OFF, RunState.PAUSED) else RunState.RUNNING,
        parent=xml.parent,
        memory="" if xml.memory == "no" else xml.memory,
        active=xml.active,
    )
