"""A configuration that we remember, written as the file that `xl create` reads: it reads no JSON. Pure.

Not everything that libxl knows can be said here. What comes of it is therefore read back by xl itself (`xl -N create`)
and compared (`differences`), instead of being trusted.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from xensnap.formats import libxl_json
from xensnap.formats.libxl_json import Config
from xensnap.model import Disk

_KIB_PER_MIB = 1024
# libxl's name of an item, and xl's; the value is written as it is.
_PLAIN = {
    "max_vcpus": "vcpus",
    "kernel": "kernel",
    "ramdisk": "ramdisk",
    "cmdline": "extra",
    "bootloader": "bootloader",
    "nested_hvm": "nestedhvm",
    "localtime": "localtime",
}
_HVM = {"bios": "bios", "boot": "boot", "usb": "usb", "usbdevice": "usbdevice", "serial": "serial"}
_GRAPHICS = {"std": "stdvga"}
"""What a file calls otherwise than libxl's JSON: xl refuses the other word (4.17.7)."""
_NIC = {"mac": "mac", "bridge": "bridge", "model": "model", "script": "script", "ifname": "vifname"}


def write(config: Config) -> bytes:
    """The whole file."""
    return _text((*_identity(config), *_machine(config), *_disks(config)))


def changes(config: Config) -> bytes:
    """What a file of the operator's lacks: the identity and the disks. In xl's files the last word on a key wins."""
    return b"\n" + _text((*_identity(config), *_disks(config)))


def differences(wanted: Config, told: Config) -> list[str]:
    """What xl would make otherwise than wanted, as names of libxl's items. What xl fills in by itself is none."""
    ours, theirs = dict(libxl_json.items(wanted)), dict(libxl_json.items(told))
    both = {*ours, *theirs}
    return sorted(item for item in both if ours.get(item) != theirs.get(item) and not libxl_json.is_filled_in(item))


def _identity(config: Config) -> Iterator[str]:
    yield f"name = {_quoted(libxl_json.name(config))}"
    yield f"uuid = {_quoted(libxl_json.uuid(config))}"


def _machine(config: Config) -> Iterator[str]:
    info: Mapping[str, Any] = config.get("b_info", {})
    kind = config["c_info"].get("type", "pv")
    yield f"type = {_quoted(kind)}"
    if "max_memkb" in info:
        yield f"memory = {info.get('target_memkb', info['max_memkb']) // _KIB_PER_MIB}"
        yield f"maxmem = {info['max_memkb'] // _KIB_PER_MIB}"
    for item, key in _PLAIN.items():
        if item in info:
            yield f"{key} = {_value(info[item])}"
    of_kind: Mapping[str, Any] = info.get(f"type.{kind}", {})
    if kind == "hvm":
        for item, key in _HVM.items():
            if item in of_kind:
                yield f"{key} = {_value(of_kind[item])}"
        if "ms_vm_genid" in of_kind:
            yield 'ms_vm_genid = "generate"'  # xl takes no other (4.17): each start is a generation of its own
        graphics = of_kind.get("vga", {}).get("kind", "cirrus")
        yield f"vga = {_quoted(_GRAPHICS.get(graphics, graphics))}"
        yield f"vnc = {_value(of_kind.get('vnc', {}).get('enable', 'False'))}"
    for event in libxl_json.EVENTS:
        if event in config:
            yield f"{event} = {_quoted(str(config[event]).replace('_', '-'))}"
    nics = [
        ",".join(f"{key}={nic[item]}" for item, key in _NIC.items() if item in nic) for nic in config.get("nics", ())
    ]
    if nics:
        yield f"vif = [{', '.join(_quoted(nic) for nic in nics)}]"


def _disks(config: Config) -> Iterator[str]:
    open_ = [libxl_json.leaves_backend_open(config, disk.vdev) for disk in libxl_json.disks(config)]
    told = zip(libxl_json.disks(config), config.get("disks", ()), open_, strict=True)
    yield f"disk = [{', '.join(_quoted(_disk(disk, each)) for disk, each, _ in told)}]"


def _disk(disk: Disk, told: Mapping[str, Any]) -> str:
    """One disk as xl-disk-configuration(5) has it; the path comes last and may hold anything but what ends a string."""
    parts = [f"vdev={disk.vdev}", f"access={'ro' if disk.readonly else 'rw'}"]
    parts += [f"format={disk.format.value}"] if disk.path else []
    parts += ["devtype=cdrom"] if disk.cdrom else []
    parts += [f"backendtype={told['backend']}"] if told.get("backend", "unknown") != "unknown" else []
    parts += [f"script={told['script']}"] if "script" in told else []
    return ",".join([*parts, f"target={disk.path}"])


def _value(value: Any) -> str:
    if value in ("True", "False"):
        return str(int(value == "True"))
    return str(value) if isinstance(value, int) else _quoted(str(value))


def _quoted(text: str) -> str:
    """A string of xl's files, which know no escapes: one kind of quotes must not be in it."""
    return f"'{text}'" if '"' in text else f'"{text}"'


def _text(lines: tuple[str, ...]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
