"""`dumpxml`: a snapshot as libvirt's XML."""

import click

from xensnap.cli.command import command_with
from xensnap.cli.completing import domain_argument, optional_snapshot_argument
from xensnap.cli.documents.done import XmlDocument
from xensnap.cli.names import local_file, one_name
from xensnap.cli.session import Session, verb
from xensnap.engine import tree
from xensnap.formats import libvirt_xml


@command_with(
    "dumpxml",
    "Print a snapshot as libvirt's XML.",
    ("xensnap dumpxml guest1 before-upgrade", ""),
    ("xensnap dumpxml guest1 before-upgrade --domain-xml guest1.xml", "as libvirt takes it over"),
)
@domain_argument
@optional_snapshot_argument
@click.option("-n", "--name", metavar="NAME", help="Name of the snapshot, if not given after the domain.")
@click.option("--domain-xml", metavar="FILE", help="The domain as `virsh dumpxml` prints it, to put into the snapshot.")
@verb
def command(session: Session, domain: str, snapshot: str | None, name: str | None, domain_xml: str | None) -> None:
    """Print the snapshot NAME of DOMAIN as libvirt's <domainsnapshot>, valid by libvirt's own schema.

    libvirt takes it over with the domain's own description in it: `virsh snapshot-create DOMAIN FILE --redefine`.
    """
    wanted = one_name(name, snapshot, needed_by="dumpxml") or ""
    with session.engine(changes=False) as engine:
        host, listing = engine.host.name, engine.list(domain)
    found = tree.known(listing.contents.snapshots, wanted, domain=listing.domain.name)
    description = local_file(domain_xml) if domain_xml is not None else b""
    xml = libvirt_xml.dump(found, domain=description, source=domain_xml or "")
    session.show(XmlDocument(host, wanted, xml), lambda: xml.rstrip("\n"))
