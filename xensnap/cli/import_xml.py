"""`import-xml`: snapshots that libvirt describes, and that exist in the images, become ours."""

import click

from xensnap.cli import operate
from xensnap.cli.command import command_with
from xensnap.cli.completing import domain_argument
from xensnap.cli.names import local_file
from xensnap.cli.session import Session, planned
from xensnap.engine.engine import Engine
from xensnap.engine.request import RedefineRequest, Told, ToldDisk
from xensnap.errors import Reason, Refused
from xensnap.formats import libvirt_xml, record_2014
from xensnap.formats.libvirt_xml import XmlSnapshot
from xensnap.formats.record_2014 import Record
from xensnap.model import Kind, RunState


@command_with(
    "import-xml",
    "Record snapshots that libvirt describes.",
    ("xensnap import-xml guest1 before.xml after.xml", "what `virsh snapshot-dumpxml` printed, in any order"),
)
@domain_argument
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@planned
def command(session: Session, domain: str, files: tuple[str, ...]) -> None:
    """Record snapshots of DOMAIN that exist in its images, as libvirt's XML in the files describes them.

    What is said is held to the images: each tag must be there, each overlay in the chain of its disk. Memory is not
    taken over. The JSON records that the implementation of 2014 left are read, too.
    """
    described = [_described(path) for path in files]

    def build(engine: Engine) -> RedefineRequest:
        known = engine.list(domain).domain
        strangers = [
            Reason("another-domain", f"{path} is about the domain {uuid}", "Import it for that domain.")
            for path, (uuid, _) in zip(files, described, strict=True)
            if uuid not in ("", known.uuid)
        ]
        if strangers:
            raise Refused(strangers)
        return RedefineRequest(tuple(told for _, told in described))

    operate.run(session, domain, build)


def _described(path: str) -> tuple[str, Told]:
    """The UUID of the domain, if the file says it, and what is told of the snapshot."""
    data = local_file(path)
    if data.lstrip().startswith(b"{"):
        return "", _told_in_2014(record_2014.parse(data, source=path))
    xml = libvirt_xml.parse(data, source=path)
    return xml.domain_uuid, _told(xml)


def _told_in_2014(record: Record) -> Told:
    """What a record of 2014 says. There, the disks of an internal snapshot had its name, too."""
    return Told(
        name=record.name,
        disks=tuple(
            ToldDisk(disk.device, Kind.EXTERNAL, overlay=disk.file)
            if disk.file
            else ToldDisk(disk.device, Kind.INTERNAL, disk.name or record.name)
            for disk in record.disks
        ),
        description=record.description,
        created_s=record.creation_time or None,
        state=RunState.PAUSED
        if record.paused
        else RunState.RUNNING
        if record.running or record.blocked
        else RunState.OFF,
        memory=record.memory,
    )


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
