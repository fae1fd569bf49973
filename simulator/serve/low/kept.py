"""What libxl, xl and QEMU keep of domains, as files: made out of the world when somebody looks at them.

/var/lib/xen/userdata-d.DOMID.UUID.libxl-json is what a domain is saved, migrated and rebooted with; beside it `xl` is
what a `config-update` has stored for the next reboot instead (xen-live.md B). /var/log/xen has the logs.
"""

import json
import re

import msgspec

from simulator.disk.files import Inode
from simulator.world import World
from simulator.xen import domains
from simulator.xen.configurations import disks_of, items_of, served_of, spelled, stored
from simulator.xen.incarnations import Incarnation, Traits
from xensnap.errors import Damaged
from xensnap.formats import libxl_json
from xensnap.formats.device_disk import device_number
from xensnap.model import Disk, Domain, GuestKind

replace = msgspec.structs.replace

PLACE = "/var/lib/xen"
LOGS = "/var/log/xen"

_USERDATA = re.compile(rf"{PLACE}/userdata-d\.(?P<domid>\d+)\.(?P<uuid>[0-9a-f-]{{36}})\.(?P<kind>libxl-json|xl)")
_COMPLAINT = re.compile(r"qemu-system-i386: (?P<vdev>\w+): (?P<words>.*)")


def is_kept(path: str) -> bool:
    """Whether this is a name of such a file."""
    return path.startswith(f"{LOGS}/") or _USERDATA.fullmatch(path) is not None


def names(world: World, directory: str) -> tuple[str, ...]:
    """Such files in a directory."""
    if directory == LOGS:
        return tuple(world.xen.logs)
    if directory != PLACE:
        return ()
    found = [f"userdata-d.{each.domid}.{each.uuid}.libxl-json" for each in world.xen]
    changed = [each for each in world.xen if each.reboots_from != _disks(world, each)]
    return (*found, *(f"userdata-d.{each.domid}.{each.uuid}.xl" for each in changed))


def read(world: World, path: str) -> bytes | None:
    """The content of such a file, or None where there is none."""
    directory, _, name = path.rpartition("/")
    if name not in names(world, directory):
        return None
    if directory == LOGS:
        return "".join(map(_spelled_out, world.xen.logs[name].splitlines(keepends=True))).encode("utf-8", "replace")
    each, kind = _meant(world, path)
    disks = _disks(world, each) if kind == "libxl-json" else each.reboots_from
    traits, attached = each.traits, each.attached
    return stored(
        spelled(traits.kind, each.name, each.uuid, disks, traits.items, served=traits.served, attached=attached)
    )


def written(world: World, path: str, data: bytes) -> World:
    """Libxl's own configuration of a domain is another now; a reboot takes it unless `xl` is there, too.

    Raises:
        OSError: this is no file that anybody replaces.
    """
    each, kind = _meant(world, path)
    assert kind == "libxl-json", "only libxl's own configuration is replaced"
    disks = disks_of(libxl_json.parse(data, source=path))
    follows = each.reboots_from == _disks(world, each)
    known = world.domains[each.uuid]
    world = replace(world, domains=world.domains.set(each.uuid, domains.off(known, disks=disks)))
    return replace(world, xen=world.xen.putting(replace(each, reboots_from=disks))) if follows else world


def removed(world: World, path: str) -> World:
    """What a `config-update` has stored is gone."""
    each, kind = _meant(world, path)
    assert kind == "xl", "only what config-update has stored is removed"
    return replace(world, xen=world.xen.putting(replace(each, reboots_from=_disks(world, each))))


def _meant(world: World, path: str) -> tuple[Incarnation, str]:
    told = _USERDATA.fullmatch(path)
    assert told is not None
    return world.xen.there[int(told["domid"])], told["kind"]


def _disks(world: World, each: Incarnation) -> tuple[Disk, ...]:
    return world.domains[each.uuid].disks


def _spelled_out(line: str) -> str:
    """A complaint of QEMU's as it writes it (7.2.22)."""
    told = _COMPLAINT.match(line)
    if told is None:
        return line
    number = device_number(told["vdev"])
    words = f"failed to create 'qdisk' device '{number}': failed to create drive: {told['words']}"
    return f"xen-qemu-system-i386: {words}\n"


# --- what is remembered of domains that are off ----------------------------------------------------------------------


def reconciled(world: World, root: str) -> World:
    """The world that knows of each domain that is off what its store remembers: what it starts from next."""
    for uuid, known in world.domains.items():
        if world.xen.of(uuid):
            continue
        config = _remembered(world, f"{root}/{uuid}/description.json")
        if config is not None:
            now = domains.off(known, name=libxl_json.name(config), disks=disks_of(config))
            now = replace(now, kind=libxl_json.kind(config))
            traits = world.xen.traits.get(uuid, Traits())
            traits = replace(traits, kind=now.kind or traits.kind, items=items_of(config), served=served_of(config))
            if now != known or traits != world.xen.traits.get(uuid):
                xen = replace(world.xen, traits=world.xen.traits.set(uuid, traits))
                world = replace(world, domains=world.domains.set(uuid, now), xen=xen)
    return world


def remembering(world: World, root: str, domain: Domain) -> World:
    """The world whose store remembers a domain that is off."""
    traits, kind = world.xen.traits.get(domain.uuid, Traits()), domain.kind or GuestKind.PV
    config = spelled(kind, domain.name, domain.uuid, domain.disks, traits.items, served=traits.served)
    text = json.dumps({"config": config, "file": ""}, indent=4).encode() + b"\n"
    place = f"{root}/{domain.uuid}"
    path, fs = f"{place}/description.json", world.fs
    fs = fs if place in fs.dirs else fs.mkdir(place)
    fs = fs.create(path, text) if fs.find(path) is None else fs.update(path, lambda _: text)
    return world.with_fs(fs.sync(path).sync_dir(place).sync_dir(root))


def _remembered(world: World, path: str) -> libxl_json.Config | None:
    inode = world.fs.inodes.get(world.fs.find(path) or 0)
    if not isinstance(inode, Inode) or not isinstance(inode.stored, bytes):
        return None
    try:
        return libxl_json.parse(json.dumps(json.loads(inode.stored)["config"]).encode(), source=path)
    except (ValueError, KeyError, TypeError, Damaged):
        return None
