"""A domain's configuration as libxl writes it: JSON, as in `xl list -l`, its own userdata and the head of save files.

Pure: text in, value out. Only what a snapshot needs is understood, and all else survives a change untouched. How libxl
spells things is its own (traced, Xen 4.17.7): `readwrite`, `removable` and `is_cdrom` are the number 1 or absent, other
booleans are the words "True" and "False", and what has its default value is absent.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from xensnap.errors import Damaged
from xensnap.formats.limits import NESTING_MAX
from xensnap.model import Backend, Disk, DomainUuid, Format, GuestKind, Layer

Config = dict[str, Any]
"""One domain's configuration, decoded."""

EVENTS = ("on_poweroff", "on_reboot", "on_watchdog", "on_crash", "on_soft_reset")
"""What is done when a guest ends."""

_FILLED_IN = (
    "c_info.domid",
    "c_info.ssidref",
    "b_info.type.hvm.ms_vm_genid",
    "b_info.avail_vcpus",
    "b_info.target_memkb",
    "b_info.video_memkb",
    "b_info.shadow_memkb",
    "b_info.iommu_memkb",
    "b_info.sched_params",
    "b_info.claim_mode",
    "b_info.arch_arm",
    "b_info.arch_x86",
    "b_info.device_model_version",
    "b_info.tee",
)

_EMPTY = "empty"
_DEFAULT = "unknown"


def parse(text: bytes, *, source: str) -> Config:
    """One configuration. libxl ends those that it stores with a zero byte.

    Raises:
        Damaged: it is no JSON, or no configuration of a domain.
    """
    return _config(_json(text.rstrip(b"\0"), source), source, "$")


def parse_list(text: bytes, *, source: str) -> dict[int, Config]:
    """What `xl list -l` tells: the configurations by domid. Empty where it tells of no domain.

    The domid within a configuration is 4294967295; the real one stands beside it.
    """
    if not text.strip():
        return {}
    told = _json(text, source)
    if not isinstance(told, list):
        raise _bad(source, "$", "expected an array")
    found: dict[int, Config] = {}
    for at, each in enumerate(told):
        domid = each.get("domid") if isinstance(each, dict) else None
        if not isinstance(domid, int):
            raise _bad(source, f"$[{at}].domid", "expected a number")
        found[domid] = _config(each.get("config"), source, f"$[{at}].config")
    return found


def dump(config: Config) -> bytes:
    """The text of a configuration, as libxl reads it."""
    return json.dumps(config, indent=4, ensure_ascii=False).encode("utf-8", "surrogateescape")


def name(config: Config) -> str:
    """What the domain is called."""
    return str(config["c_info"].get("name", ""))


def uuid(config: Config) -> DomainUuid:
    """Its UUID; dom0 has none, which is all zeros."""
    return DomainUuid(str(config["c_info"].get("uuid", "00000000-0000-0000-0000-000000000000")).lower())


def memory_bytes(config: Config) -> int:
    """The most memory that it may have; 0 where the configuration does not tell."""
    told = config.get("b_info", {}).get("max_memkb", 0)
    return told << 10 if isinstance(told, int) and told > 0 else 0


def kind(config: Config) -> GuestKind | None:
    """How Xen runs it; None where the configuration does not tell."""
    told = config["c_info"].get("type")
    return GuestKind(told) if told in set(GuestKind) else None


def disks(config: Config) -> tuple[Disk, ...]:
    """Its disks. One whose backend is left to libxl has the one that libxl would take for its format and path."""
    return tuple(_disk(each) for each in config.get("disks", ()))


def leaves_backend_open(config: Config, vdev: str) -> bool:
    """Whether libxl chooses what serves this disk: for a raw image only the running domain tells what it took."""
    return any(
        each.get("vdev") == vdev and each.get("backend", _DEFAULT) == _DEFAULT and each.get("format") == Format.RAW
        for each in config.get("disks", ())
    )


def with_layers(config: Config, layers: Mapping[str, Layer]) -> Config:
    """The same domain on other active layers (by vdev)."""
    disks = [_with_layer(each, layers.get(each.get("vdev", ""))) for each in config.get("disks", ())]
    return config | ({"disks": disks} if disks else {})


def with_empty_drives(config: Config, vdevs: Collection[str]) -> Config:
    """The same domain with nothing in these drives (by vdev)."""
    disks = [_emptied(each) if each.get("vdev", "") in vdevs else each for each in config.get("disks", ())]
    return config | ({"disks": disks} if disks else {})


def with_identity(config: Config, *, uuid: DomainUuid, name: str) -> Config:
    """The same domain under this UUID and name."""
    return config | {"c_info": config["c_info"] | {"uuid": uuid, "name": name}}


def with_what_may_differ(config: Config, given: Config) -> Config:
    """The same machine, with the bridges and the actions on events that another configuration tells."""
    nics = [dict(nic) for nic in config.get("nics", ())]
    for nic, other in zip(nics, given.get("nics", ()), strict=False):
        nic.update({"bridge": other["bridge"]} if "bridge" in other else {})
    kept = {key: value for key, value in config.items() if key not in EVENTS}
    events = {key: given[key] for key in EVENTS if key in given}
    return kept | ({"nics": nics} if nics else {}) | events


def items(value: Any, path: str = "", *, deeper: int = NESTING_MAX) -> Iterator[tuple[str, Any]]:
    """All items of a configuration by their path; empty objects are nothing, and defaults are not spelled out.

    `Damaged` where it is nested deeper than `NESTING_MAX`.
    """
    if not deeper:
        raise _bad("the configuration", path, f"it is nested deeper than {NESTING_MAX} levels")
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from items(inner, f"{path}.{key}" if path else key, deeper=deeper - 1)
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from items(inner, f"{path}[{at}]", deeper=deeper - 1)
    elif value not in ("False", 0):
        yield path, value


def is_filled_in(item: str) -> bool:
    """Whether libxl fills it in when it makes a domain, or it says nothing about the machine that the guest sees."""
    return item.startswith(_FILLED_IN)


def _disk(told: Mapping[str, Any]) -> Disk:
    path, format = str(told.get("pdev_path", "")), told.get("format", _DEFAULT)
    backend = told.get("backend", _DEFAULT)
    if backend == _DEFAULT:
        backend = Backend.PHY if format == Format.RAW and path.startswith("/dev/") else Backend.QDISK
    return Disk(
        vdev=str(told.get("vdev", "")),
        path="" if format == _EMPTY else path,
        format=Format(format) if format in set(Format) else Format.RAW,
        readonly=not told.get("readwrite"),
        cdrom=bool(told.get("is_cdrom")),
        backend=Backend(backend),
    )


def _with_layer(told: dict[str, Any], layer: Layer | None) -> dict[str, Any]:
    return told if layer is None else told | {"pdev_path": layer.path, "format": layer.format.value}


def _emptied(told: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in told.items() if key != "pdev_path"} | {"format": _EMPTY}


def _json(text: bytes, source: str) -> Any:
    try:
        return json.loads(text.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError) as error:
        raise _bad(source, "$", f"no JSON: {error}") from error


def _config(told: Any, source: str, where: str) -> Config:
    """The configuration, if what we read of it has the types that it must have."""
    if not isinstance(told, dict) or not isinstance(told.get("c_info"), dict):
        raise _bad(source, f"{where}.c_info", "expected an object")
    disks = told.get("disks", [])
    if not isinstance(disks, list):
        raise _bad(source, f"{where}.disks", "expected an array")
    for at, disk in enumerate(disks):
        if not isinstance(disk, dict):
            raise _bad(source, f"{where}.disks[{at}]", "expected an object")
        for key in ("pdev_path", "vdev", "format", "backend"):
            if not isinstance(disk.get(key, ""), str):
                raise _bad(source, f"{where}.disks[{at}].{key}", "expected a string")
        if disk.get("backend", _DEFAULT) not in (*Backend, _DEFAULT):
            raise _bad(source, f"{where}.disks[{at}].backend", f"{disk['backend']!r} is unknown")
    return told


def _bad(source: str, where: str, what: str) -> Damaged:
    return Damaged(f"{source}: {what} - at `{where}`", path=source)
