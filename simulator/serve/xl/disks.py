"""xl block-attach and block-detach: a disk more or less, of a domain that is there."""

from collections.abc import Sequence

import msgspec

from simulator.core.unmodelled import NotModelled
from simulator.serve.ended import Ended, Told
from simulator.serve.xl.words import Refused, domid_of, read, there
from simulator.world import World, life
from simulator.xen import configurations
from simulator.xen.incarnations import Incarnation
from xensnap.errors import Usage
from xensnap.formats import disk_spec
from xensnap.formats.device_disk import device_number, same_device
from xensnap.model import Backend, Disk, Format

replace = msgspec.structs.replace

_NOT_ADDED = (
    "libxl: error: libxl_device.c:1486:device_addrm_aocomplete: unable to add device\nlibxl_device_disk_add failed."
)


def attach(world: World, argv: Sequence[str], _told: Told) -> Ended:
    """`xl block-attach DOMAIN SPEC…`. Nobody looks for an image of which it says that QEMU shall serve it."""
    words = read("block-attach", argv, "", least=2).words
    domid = domid_of(world, words[0], code="")
    try:
        device = disk_spec.parse(",".join(words[1:]), source="command line")
    except Usage as error:
        raise Refused(error.cause) from None
    if not domid or device.backend not in {"qdisk", "phy", "unknown", None}:
        raise NotModelled("xl block-attach of a disk that neither QEMU nor the kernel serves, or to the domain 0")
    if device.backend_domname is not None:
        _require_dom0(world, device.backend_domname)
    found = there(world, domid)
    if found is None:
        unknown = f"libxl_dom.c:37:libxl__domain_type: unable to get domain type for domid={domid}"
        raise Refused(f"libxl: error: {unknown}\n{_NOT_ADDED}")
    disk = configurations.of_spec(device, found.traits.kind)
    if device_number(disk.vdev) is None:
        invalid = f"Domain {domid}:Invalid or unsupported virtual disk identifier {disk.vdev}\n"
        places = ("libxl_disk.c:214:libxl__device_from_disk", "libxl_disk.c:335:device_disk_add")
        raise Refused("".join(f"libxl: error: {place}: {invalid}" for place in places) + _NOT_ADDED)
    if device.backend != "qdisk":
        _require_there(world, disk)
    if any(same_device(each.vdev, disk.vdev) for each in found.disks):
        known = f"libxl_disk.c:343:device_disk_add: Domain {domid}:device already exists in xenstore"
        raise Refused(f"libxl: error: {known}\n{_NOT_ADDED}")
    _require_at_rest(found)
    named = configurations.names_backend(device)
    return Ended(life.attached_disk(world, world.domains[found.uuid], disk, named=named))


def _require_dom0(world: World, name: str) -> None:
    """Who serves a disk; only the domain 0 does here."""
    try:
        domid = domid_of(world, name)
    except Refused:
        raise Refused(_NOT_ADDED) from None
    if domid:
        raise NotModelled("a disk that another domain than 0 serves")


def _require_there(world: World, disk: Disk) -> None:
    """Where QEMU is not named as the one that serves it, libxl looks for the file."""
    if world.fs.find(disk.path) is None:
        where = f"libxl_device.c:455:libxl__device_disk_set_backend: Disk vdev={disk.vdev} failed to stat: {disk.path}"
        raise Refused(f"libxl: error: {where}: No such file or directory\n{_NOT_ADDED}")
    if disk.backend is Backend.PHY and disk.format is not Format.RAW:
        raise NotModelled("xl block-attach of an image that the kernel cannot serve")


def detach(world: World, argv: Sequence[str], _told: Told) -> Ended:
    """`xl block-detach DOMAIN DEVICE`, by any name or number of the device."""
    words = read("block-detach", argv, "f", {"force": "f"}, least=2).words
    domid, name = domid_of(world, words[0]), words[1]
    found = there(world, domid)
    disk = next((each for each in found.disks if same_device(each.vdev, name)), None) if found else None
    if found is None or disk is None:
        number = device_number(name)
        if number is None:
            raise Refused(f"Error: Device {name} not connected.")
        missing = f"libxl_disk.c:516:libxl__disk_from_xenstore: disk /libxl/{domid}/device/vbd/{number} does not exist"
        raise Refused(f"libxl: error: {missing} (no backend path\nError: Device {name} not connected.")
    _require_at_rest(found)
    if not _is_open(world, found, disk):
        path = f"/local/domain/0/backend/qdisk/{domid}/{device_number(disk.vdev)}"
        closing = replace(found, closing=found.closing | {disk.vdev})
        raise Refused(
            f"libxl: error: libxl_device.c:1181:device_backend_callback: Domain {domid}:unable to remove device with "
            f"path {path}\nlibxl: error: libxl_device.c:1481:device_addrm_aocomplete: Domain {domid}:Unable to remove "
            f"vbd with id {device_number(disk.vdev)}\nlibxl_device_disk_safe_remove failed.",
            world=replace(world, xen=world.xen.putting(closing)),
        )
    return Ended(life.detached_disk(world, world.domains[found.uuid], disk.vdev))


def _is_open(world: World, found: Incarnation, disk: Disk) -> bool:
    """Whether QEMU has opened an attached disk; one that it has not nobody closes."""
    by_kernel = disk.backend is Backend.PHY
    return by_kernel or disk.vdev not in found.attached or world.qemus[found.domid].guests(disk.vdev) is not None


def _require_at_rest(found: Incarnation) -> None:
    if found.shutdown or found.dying:
        raise NotModelled("a disk attached to a domain that has ended, or detached from it")
