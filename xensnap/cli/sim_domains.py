"""`sim domain add`, `sim disk add`, `sim disk resize`: what there is on a simulated host."""

from typing import TYPE_CHECKING

import click
import msgspec
from msgspec.structs import replace

from xensnap import hosts
from xensnap.cli.command import Group
from xensnap.cli.documents.listed import LiveDisk
from xensnap.cli.documents.simulated import SimDomainDocument
from xensnap.cli.output import clean
from xensnap.cli.records import domain_document
from xensnap.cli.session import Session, changing, verb
from xensnap.cli.sim_place import DISK_FORM, NewDisk, chosen, parse_disk, place_of, size_of
from xensnap.errors import Reason, Refused, Usage
from xensnap.model import Disk, Domain

if TYPE_CHECKING:
    from xensnap.hosts import SimulatedHost


@click.group("domain", cls=Group)
def domain() -> None:
    """Domains of the simulated host."""


@domain.command("add")
@click.argument("name")
@click.option("--disk", "disks", multiple=True, metavar=DISK_FORM, help="A disk to make; can be repeated.")
@click.option("--uuid", type=click.UUID, help="Its identity. [default: a new one]")
@verb
@changing
def add_domain(session: Session, name: str, disks: tuple[str, ...], uuid: object | None) -> None:
    """Add a domain called NAME, which is off, with new empty disks."""
    if not name or not name.isprintable() or "/" in name:
        cause = f"{name!r} cannot name a domain: a name is printable text without '/'"
        raise Usage(cause, id="bad-domain-name")
    wanted = _distinct([parse_disk(text) for text in disks])
    with hosts.open_simulated(chosen(session), wait_s=session.wait_s) as host:
        if any(each.name == name for each in host.world.domains.values()):
            raise Usage(f"there is a domain {name!r} already", id="name-taken", remedy="Give it another name.")
        if str(uuid) in host.world.domains:
            raise Usage(f"there is a domain with the UUID {uuid} already", id="uuid-taken")
        made = [_make(host, name, each) for each in wanted]
        added = host.add_domain(name, str(uuid) if uuid else None, made)
        host.write_configuration(name)
        _tell(session, host, added)


@click.group("disk", cls=Group)
def disk() -> None:
    """Disks of the simulated host's domains."""


@disk.command("add", short_help="Give a domain one more disk.")
@click.argument("name", metavar="DOMAIN")
@click.argument("new", metavar="VDEV=SIZE[,…]")
@verb
@changing
def add_disk(session: Session, name: str, new: str) -> None:
    """Give DOMAIN one more disk, new and empty; written as for `sim domain add`."""
    wanted = parse_disk(new)
    choice, place = place_of(session)
    simulator = hosts.import_simulator()
    with place.locked(wait_s=session.wait_s):
        host: SimulatedHost = simulator.SimulatedHost(place.read())
        host.name = choice.name
        found = host.run(host.toolstack.inspect(name))
        _distinct([wanted, *(NewDisk(each.vdev, 512) for each in found.disks)])
        grown = replace(found, disks=(*found.disks, _make(host, found.name, wanted)))
        # Nothing on the host does this while a domain is off: its description is written anew.
        world = msgspec.structs.replace(host.world, domains=host.world.domains.set(grown.uuid, grown))
        place.write(world.ended(host.pid))
        _tell(session, simulator.SimulatedHost(world), grown)


@disk.command("resize")
@click.argument("name", metavar="DOMAIN")
@click.argument("vdev")
@click.argument("size")
@verb
@changing
def resize_disk(session: Session, name: str, vdev: str, size: str) -> None:
    """Make a disk larger or smaller, as an operator would with qemu-img."""
    wanted = size_of(size)
    if not wanted or wanted % 512:
        raise Usage(f"{wanted} bytes are no whole sectors of 512 bytes", id="bad-size")
    with hosts.open_simulated(chosen(session), wait_s=session.wait_s) as host:
        host.resize(name, vdev, wanted)
        _tell(session, host, host.run(host.toolstack.inspect(name)))


def _distinct(disks: list[NewDisk]) -> list[NewDisk]:
    names = [each.vdev for each in disks]
    for name in names:
        if names.count(name) > 1:
            raise Usage(f"{name} is the name of two disks", id="contradiction", remedy="Give one another name.")
    return disks


def _make(host: "SimulatedHost", domain_name: str, new: NewDisk) -> Disk:
    path = f"/images/{domain_name}-{new.vdev}.{new.format}"
    if host.world.fs.find(path):
        cause = f"{path} is there already, left by another domain of this name"
        raise Refused([Reason("image-exists", cause, "Give the domain another name.")])
    layer = host.create_image(path, new.format.value, new.size_bytes, backing=new.base)
    return Disk(new.vdev, layer.path, layer.format, readonly=new.readonly, cdrom=new.cdrom)


def _tell(session: Session, host: "SimulatedHost", told: Domain) -> None:
    visible = host.visible(told.name)
    disks = tuple(
        LiveDisk(
            vdev=each.vdev,
            path=each.path,
            format=each.format,
            readonly=each.readonly,
            cdrom=each.cdrom,
            size_bytes=visible[each.vdev][0] if each.vdev in visible else None,
            chain=(each.path,),
            problem=None,
        )
        for each in told.disks
    )
    what = ", ".join(f"{each.vdev} ({each.path})" for each in told.disks) or "no disks"
    session.show(
        SimDomainDocument(session.host_name, domain_document(told), disks),
        lambda: clean(f"{told.name}: {told.uuid}, {what}"),
    )
