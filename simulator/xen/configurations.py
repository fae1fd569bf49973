"""Configurations of domains: the JSON that is stored, and what an operator's file says.

Beside name, UUID, kind and disks a configuration has items that the simulator does little with but keep, compare and
give back: memory, processors, network interfaces, what to do when a guest ends.
"""

import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from xensnap.errors import Usage
from xensnap.formats import libxl_json
from xensnap.formats.device_disk import DeviceDisk
from xensnap.model import Backend, Disk, Domain, Format, GuestKind

if TYPE_CHECKING:
    from xensnap.formats.xl_cfg import Config

_READ_APART = frozenset(
    {"name", "uuid", "type", "builder", "disk", "vif", "memory", "maxmem", "vcpus", "vga", "stdvga"}
)
_NAMED = {"extra": "cmdline"}
_OF_HVM = {"vga": "cirrus", "vnc": "0"}
"""What an HVM guest has that is not told otherwise."""
_HVM = f"type.{GuestKind.HVM}"
"""Where libxl's JSON has what only such a guest has."""
_MAY_DIFFER = re.compile(r"on_\w+")
_KIB_PER_MIB = 1024
_NO_DOMID = 4294967295
_MACHINE: dict[str, Any] = {
    "max_vcpus": 1,
    "avail_vcpus": [0],
    "max_memkb": 163840,
    "target_memkb": 163840,
    "video_memkb": 0,
    "claim_mode": "True",
    "arch_arm": {},
    "arch_x86": {"msr_relaxed": "False"},
}
_EVENTS = {"on_reboot": "restart", "on_soft_reset": "soft_reset"}
"""What a configuration says that an operator's file left open; items that say the same are none."""


class Written(msgspec.Struct, frozen=True):
    """What a configuration says.

    Attributes:
        uuid: None where a file leaves it open.
        items: JSON, empty for none.
        served: the vdevs of the disks whose backend it names.
    """

    name: str
    uuid: str | None
    kind: GuestKind
    disks: tuple[Disk, ...]
    items: str = ""
    served: frozenset[str] = frozenset()


def text(domain: Domain, items: str) -> str:
    """The stored configuration in the shape of libxl's JSON: what a record keeps of it, not all that libxl writes."""
    disks = [
        {
            "pdev_path": disk.path,
            "vdev": disk.vdev,
            "backend": disk.backend.value,
            "format": disk.format.value,
            "readwrite": int(not disk.readonly),
            "is_cdrom": disk.cdrom,
        }
        for disk in domain.disks
    ]
    info = {"type": domain.kind or GuestKind.PV, "name": domain.name, "uuid": domain.uuid}
    config = {"c_info": info, **decoded(items), "disks": disks}
    return msgspec.json.format(msgspec.json.encode(config), indent=4).decode() + "\n"


def read(written: str, *, source: str) -> Written:
    """Such a text, or an operator's own file.

    Raises:
        Usage: it is neither.
    """
    if not written.lstrip().startswith("{"):
        return of_file(written, source=source)
    try:
        told = json.loads(written)
        info = told.pop("c_info")
        kind = GuestKind(info.get("type", "pv"))
        disks = tuple(_of_json(disk, kind) for disk in told.pop("disks", []))
        return Written(info["name"], info.get("uuid"), kind, disks, _beyond(told))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Usage(f"{source}: no configuration of a domain: {error}", id="bad-config") from error


def of_file(written: str, *, source: str) -> Written:
    """An operator's configuration file, as xl reads it.

    Raises:
        Usage: xl could not read it.
    """
    from xensnap.formats import disk_spec, xl_cfg  # noqa: PLC0415 -- a grammar is loaded when it is needed

    file = xl_cfg.parse(written, source=source)
    kind = GuestKind(file.string("type") or ("hvm" if file.string("builder") == "hvm" else "pv"))
    devices = [disk_spec.parse(str(spec), source=source) for spec in file.items("disk") or []]
    disks = tuple(of_spec(device, kind) for device in devices)
    served = frozenset(device.vdev or "" for device in devices if names_backend(device))
    machine: dict[str, Any] = {}
    memory, most = file.number("memory"), file.number("maxmem")
    if memory is not None:
        machine |= {"max_memkb": (most or memory) * _KIB_PER_MIB, "target_memkb": memory * _KIB_PER_MIB}
    if (processors := file.number("vcpus")) is not None:
        machine["max_vcpus"] = processors
    items: dict[str, Any] = {}
    for key, setting in file.settings.items():
        if _MAY_DIFFER.fullmatch(key):
            # A file has dashes where libxl's JSON has the names of its enumerations.
            items[key] = str(setting.value).replace("-", "_")
        elif key not in _READ_APART and _OF_HVM.get(key) != setting.value:
            machine[_NAMED.get(key, key)] = setting.value
    if (graphics := _graphics(file)) not in {None, _OF_HVM["vga"]}:
        machine["vga"] = graphics
    items |= {"b_info": machine} if machine else {}
    items |= {"nics": [_nic(each) for each in file.items("vif") or []]} if file.items("vif") else {}
    return Written(file.string("name") or "", file.string("uuid"), kind, disks, _beyond(items), served)


_GRAPHICS = {"none": "none", "cirrus": "cirrus", "stdvga": "std", "qxl": "qxl"}
"""What a file calls the kinds of graphics, and libxl's JSON (trace xen/graphics-of-hvm)."""


def _graphics(file: "Config") -> str | None:
    """The kind that a file gives, None where it gives none."""
    if (named := file.string("vga")) is not None:
        return _GRAPHICS.get(named)
    return None if (standard := file.number("stdvga")) is None else "std" if standard else "cirrus"


def refusal(written: str, *, source: str) -> str:
    """What xl says of a file that it can read and that describes no domain (trace xen/configurations-refused).

    Whether a kernel is named is asked only of a file that gives no UUID: guests that were added to a simulated host
    have none, so that what describes them names nothing of that host, and are made from files that give theirs.

    Raises:
        Usage: xl could not read it.
    """
    from xensnap.formats import xl_cfg  # noqa: PLC0415 -- a grammar is loaded when it is needed

    file = xl_cfg.parse(written, source=source)
    for key in ("memory", "maxmem", "vcpus"):
        file.number(key)
    file.items("disk")
    kind = file.string("type") or file.string("builder") or "pv"
    if kind not in {*GuestKind, "generic"}:
        return f"Invalid domain type {kind}."
    if file.string("name") is None:
        return "Domain name must be specified."
    uuid = file.string("uuid")
    if uuid is not None and not _UUID.fullmatch(uuid):
        return f"Failed to parse UUID: {uuid}"
    for key in _ACTED_ON:
        if (action := file.string(key)) is not None and action not in _ACTIONS:
            return f'Unknown {key} action "{action}" specified'
    if kind == GuestKind.HVM and (named := file.string("vga")) not in {None, *_GRAPHICS}:
        return f'Unknown vga "{named}" specified'
    # Only a HVM guest has a BIOS; said before any disk is looked at (trace xen/kernels-that-are-not-there).
    if uuid is None and kind != GuestKind.HVM and all(file.string(key) is None for key in _BOOTED_BY):
        return "Neither kernel nor bootloader specified"
    return ""


_UUID = re.compile(r"[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}")
_BOOTED_BY = ("kernel", "bootloader", "firmware")
_ACTED_ON = ("on_poweroff", "on_reboot", "on_watchdog", "on_crash", "on_soft_reset")
_ACTIONS = frozenset(
    ["destroy", "restart", "rename-restart", "preserve", "coredump-destroy", "coredump-restart", "soft-reset"]
)


def spelled(
    kind: GuestKind,
    name: str,
    uuid: str,
    disks: Iterable[Disk],
    items: str = "",
    *,
    served: frozenset[str] = frozenset(),
    attached: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """A configuration in libxl's JSON, as `xl list -l` tells it: what has its default is absent (xen.md 11).

    Args:
        served: the vdevs of disks whose backend somebody has named; else it is told where libxl would take another.
        attached: the vdevs of disks that came while the domain ran, of which libxl has stored less.
    """
    more = decoded(items)
    told: dict[str, Any] = {
        "c_info": {"type": kind.value, "name": name, "domid": _NO_DOMID, "uuid": uuid, "run_hotplug_scripts": "True"},
        "b_info": _of_kind(kind, _MACHINE | more.pop("b_info", {})),
        **_EVENTS,
        **more,
    }
    entries = []
    for disk in disks:
        named = disk.vdev in served or disk.backend is not taken(disk, kind)
        entries.append(_spelled(disk, served=named, built=disk.vdev not in attached))
    if entries:
        told["disks"] = entries
    return told


def _of_kind(kind: GuestKind, machine: dict[str, Any]) -> dict[str, Any]:
    """The machine with what only guests of its kind have (trace xen/hvm-saved-and-restored)."""
    if kind is not GuestKind.HVM:
        return machine | {f"type.{kind}": {}}
    graphics = {"vga": {"kind": machine.pop("vga", _OF_HVM["vga"])}, "vnc": {"enable": "False"}}
    return machine | {_HVM: graphics | {"sdl": {}, "spice": {}, "rdm": {}}}


def as_read(text: str, uuid: str, *, source: str) -> dict[str, Any]:
    """What `xl -N create` tells of a file: what it says, and no defaults but those that xl itself puts in."""
    from xensnap.formats import xl_cfg  # noqa: PLC0415 -- a grammar is loaded when it is needed

    written, file = of_file(text, source=source), xl_cfg.parse(text, source=source)
    info = {"type": written.kind.value, "name": written.name, "uuid": uuid, "run_hotplug_scripts": "True"}
    items = decoded(written.items)
    machine: dict[str, Any] = {} if (count := file.number("vcpus")) is None else {"avail_vcpus": list(range(count))}
    machine |= {"max_vcpus": count} if machine else {}
    if (memory := file.number("memory")) is not None:
        most = file.number("maxmem") or memory
        machine |= {"max_memkb": most * _KIB_PER_MIB, "target_memkb": memory * _KIB_PER_MIB}
    machine |= {key: value for key, value in items.pop("b_info", {}).items() if key not in _OF_HVM}
    machine |= {"sched_params": {}, "claim_mode": "True", "arch_arm": {}, "arch_x86": {}}
    machine[f"type.{written.kind}"] = _seen(file) if written.kind is GuestKind.HVM else {}
    told: dict[str, Any] = {"c_info": info, "b_info": machine, **_EVENTS, **items}
    disks = [_spelled(disk, served=disk.vdev in written.served, built=False) for disk in written.disks]
    told |= {"disks": disks} if disks else {}
    return in_order(told)


def _seen(file: "Config") -> dict[str, Any]:
    """What a file says of an HVM guest's screen."""
    kind, vnc = _graphics(file), file.number("vnc")
    told = {"vga": {} if kind is None else {"kind": kind}, "vnc": {} if vnc is None else {"enable": str(bool(vnc))}}
    return told | {"sdl": {}, "spice": {}, "rdm": {}}


def in_order(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration with its items in the order of libxl's own declarations."""
    machine = config["b_info"]
    config = config | {"b_info": {key: machine[key] for key in sorted(machine, key=_place)}}
    return {key: config[key] for key in sorted(config, key=_place)}


_ORDER = (
    "c_info", "b_info", "max_vcpus", "avail_vcpus", "max_memkb", "target_memkb", "video_memkb", "sched_params",
    "claim_mode", "kernel", "cmdline", "ramdisk", "disks", "nics", "on_poweroff", "on_reboot", "on_watchdog",
    "on_crash", "on_soft_reset",
)  # fmt: skip
_LAST = ("arch_arm", "arch_x86")


def _place(key: str) -> tuple[int, int]:
    """Where libxl tells of an item: first what is known here, then the rest, then what is of a kind or a machine."""
    if key in _ORDER:
        return 0, _ORDER.index(key)
    return (2, _LAST.index(key)) if key in _LAST else (1, 0)


def stored(config: dict[str, Any]) -> bytes:
    """A configuration as libxl's userdata has it: a string of C."""
    return libxl_json.dump(config) + b"\0"


def memory_mib(items: str) -> int:
    """How much memory a domain with these items has."""
    told: int = (_MACHINE | decoded(items).get("b_info", {}))["max_memkb"]
    return told // _KIB_PER_MIB


def names_kernel(items: str) -> bool:
    """Whether a domain with these items is given a kernel, and so does not boot from a disk."""
    return "kernel" in decoded(items).get("b_info", {})


def items_of(config: dict[str, Any]) -> str:
    """The items of a configuration in libxl's JSON."""
    return _beyond({key: value for key, value in config.items() if key not in {"c_info", "disks"}})


def _beyond(items: dict[str, Any]) -> str:
    """The items that say more than would be there without them."""
    machine = items.get("b_info", {})
    left = {key: value for key, value in items.items() if key != "b_info" and _EVENTS.get(key) != value}
    differing = {k: v for k, v in machine.items() if not k.startswith("type.") and _MACHINE.get(k) != v}
    graphics = machine.get(_HVM, {}).get("vga", {}).get("kind", _OF_HVM["vga"])
    differing |= {"vga": graphics} if graphics != _OF_HVM["vga"] else {}
    return encoded(left | ({"b_info": differing} if differing else {}))


def restored(saved: str, given: str) -> str:
    """The items of a domain that is restored: those that were saved, with the bridges and actions that are given."""
    before, now = decoded(saved), decoded(given)
    after = {key: value for key, value in before.items() if not _MAY_DIFFER.fullmatch(key)}
    after |= {key: value for key, value in now.items() if _MAY_DIFFER.fullmatch(key)}
    for nic, other in zip(after.get("nics", []), now.get("nics", []), strict=False):
        nic.update({"bridge": other["bridge"]} if "bridge" in other else {})
    return encoded(after)


def on_end(items: str, reason: str) -> str:
    """What is to be done with a domain with these items when it ends for this reason, such as `crash`."""
    action: str = decoded(items).get(f"on_{reason}", _EVENTS.get(f"on_{reason}", "destroy"))
    return action


def decoded(items: str) -> dict[str, Any]:
    """The items as JSON has them."""
    told: dict[str, Any] = json.loads(items) if items else {}
    return told


def encoded(items: dict[str, Any]) -> str:
    """The items as they are kept: the same text for the same items."""
    return json.dumps(items, sort_keys=True) if items else ""


def _nic(spec: object) -> dict[str, str]:
    pairs = [part.partition("=") for part in str(spec).split(",") if part]
    return {key.strip(): value.strip() for key, _, value in pairs}


def _spelled(disk: Disk, *, served: bool, built: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"pdev_path": disk.path, "vdev": disk.vdev}
    if served:
        told["backend"] = disk.backend.value
    told["format"] = disk.format.value if disk.path else "empty"
    if disk.cdrom:
        told["removable"] = 1
        told["is_cdrom"] = 1
    if not disk.readonly:
        told["readwrite"] = 1
    return told | ({"colo_restore_enable": "False"} if built else {})


def disks_of(config: dict[str, Any]) -> tuple[Disk, ...]:
    """The disks of a configuration in libxl's JSON, each with the backend that it names or that libxl takes."""
    kind = libxl_json.kind(config) or GuestKind.PV
    return tuple(_of_json(told, kind) for told in config.get("disks", ()))


def served_of(config: dict[str, Any]) -> frozenset[str]:
    """The vdevs of the disks whose backend it names."""
    return frozenset(told["vdev"] for told in config.get("disks", ()) if "backend" in told)


def _of_json(told: dict[str, Any], kind: GuestKind) -> Disk:
    form = Format(told["format"]) if told.get("format") in set(Format) else Format.RAW
    path, cdrom = told.get("pdev_path", ""), bool(told.get("is_cdrom"))
    disk = Disk(told["vdev"], path, form, readonly=not told.get("readwrite"), cdrom=cdrom)
    return _served(disk, kind, told.get("backend"))


def names_backend(device: DeviceDisk) -> bool:
    """Whether a specification says what shall serve the disk."""
    return device.backend in set(Backend)


def of_spec(device: DeviceDisk, kind: GuestKind) -> Disk:
    """A disk as libxl takes it from what libxlutil has read."""
    form = Format(device.format) if device.format in set(Format) else Format.RAW
    vdev, path, cdrom = device.vdev or "", device.pdev_path or "", bool(device.is_cdrom)
    return _served(Disk(vdev, path, form, readonly=not device.readwrite, cdrom=cdrom), kind, device.backend)


def _served(disk: Disk, kind: GuestKind, backend: str | None) -> Disk:
    return msgspec.structs.replace(disk, backend=Backend(backend) if backend in set(Backend) else taken(disk, kind))


def taken(disk: Disk, kind: GuestKind) -> Backend:
    """What libxl takes to serve a disk where nobody says it: the kernel for a raw image, through a loop device if it
    is a file, else QEMU, which also serves every cdrom of an HVM guest (transcripts of Xen 4.17.7: xen.md 17).
    """
    by_kernel = disk.path and disk.format is Format.RAW and not (disk.cdrom and kind is GuestKind.HVM)
    return Backend.PHY if by_kernel else Backend.QDISK
