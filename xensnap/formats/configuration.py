"""What becomes of a domain's configuration where the domain becomes another one, or comes from another host. Pure.

A configuration is libxl's JSON or the TOML of the plain QEMU host; which of them, its first character tells. One that
comes from elsewhere can name any file, program or device of this host, and some of these are run as root (a script of
a disk, a bootloader) or shown to the guest (a kernel, a boot medium). Of such a one only what names none of them stays.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

from xensnap.formats import domain_toml, libxl_json, secret
from xensnap.formats.libxl_json import Config
from xensnap.model import DomainUuid, Layer

_ENUMERATIONS = frozenset(
    {"type", "bios", "boot", "hdtype", "timer_mode", "tsc_mode", "kind", "device_model_version", "altp2m", "sched"}
)
"""Items of libxl whose text is one of a few words."""

_TOLD_TO_THE_GUEST = frozenset({"cmdline"})
"""Items of libxl whose text only the guest reads."""

_NUMBERS = frozenset({"ms_vm_genid", "avail_vcpus"})
"""Items of libxl that are lists of numbers."""

_RENEWED = frozenset({"name", "uuid"})
"""Items that are told by whoever makes the domain."""

_NIC = {"mac": re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}"), "bridge": re.compile(r"[A-Za-z0-9_.-]{1,15}")}
_WORD = re.compile(r"[a-zA-Z0-9_.-]{1,40}")
_TEXT = re.compile(r"[^\"'\x00-\x1f\x7f]{0,4096}")
"""Text that ends no string in a file for xl, and no line."""
_BOOLEANS = ("True", "False")


class Portable(NamedTuple):
    """A configuration that names nothing of any host, and what was left out of it, in words."""

    text: str
    left_out: tuple[str, ...]


def is_libxl(text: str) -> bool:
    """Whether it is libxl's JSON."""
    return text.startswith("{")


def renewed(
    text: str,
    *,
    uuid: DomainUuid,
    name: str,
    layers: Mapping[str, Layer | None],
    gone: Collection[str] = (),
    fresh_hardware: bool = False,
) -> str:
    """The configuration of the same machine under another identity, on other disks.

    Args:
        text: the configuration.
        uuid: the new one.
        name: the new one.
        layers: what each of these disks (by vdev) starts from; None leaves the drive empty.
        gone: disks (by vdev) that it has no more.
        fresh_hardware: also give it network addresses and a generation id that no other domain has: both come from
            the UUID, so that they are the same whenever this is asked.

    Raises:
        Damaged, Usage: it is no configuration.
    """
    if not is_libxl(text):
        return domain_toml.renewed(text, uuid=uuid, name=name, layers=layers, gone=gone)
    config = libxl_json.with_identity(_parsed(text), uuid=uuid, name=name)
    config = libxl_json.with_layers(config, {vdev: layer for vdev, layer in layers.items() if layer is not None})
    config = libxl_json.with_empty_drives(config, {vdev for vdev, layer in layers.items() if layer is None})
    if gone:
        config |= {"disks": [disk for disk in config.get("disks", []) if disk.get("vdev") not in gone]}
    return _dumped(_with_fresh_hardware(config, uuid) if fresh_hardware else config)


def portable(text: str) -> Portable:
    """The configuration without all that names files, programs or devices of its host; but for disks, see `renewed`.

    Raises:
        Damaged, Usage: it is no configuration.
    """
    if not is_libxl(text):
        return Portable(*domain_toml.portable(text))
    config = _parsed(text)
    left_out: list[str] = []
    kept: Config = {key: _harmless(config[key], key, left_out) for key in ("c_info", "b_info") if key in config}
    disks = [_disk(disk, f"disks[{at}]", left_out) for at, disk in enumerate(config.get("disks", []))]
    told = config.get("nics")
    nics = [_nic(nic, f"nics[{at}]", left_out) for at, nic in enumerate(told if isinstance(told, list) else ())]
    kept |= {key: config[key] for key in libxl_json.EVENTS if _WORD.fullmatch(str(config.get(key, "")))}
    kept |= {key: found for key, found in (("disks", disks), ("nics", nics)) if found}
    left_out += [f"{key} ({len(config[key])})" for key in config if isinstance(config[key], list) and key not in kept]
    return Portable(_dumped(kept), tuple(left_out))


def vdevs(text: str) -> tuple[str, ...]:
    """The disks that it names. Raises as `portable`."""
    if not is_libxl(text):
        return domain_toml.vdevs(text)
    return tuple(disk.vdev for disk in libxl_json.disks(_parsed(text)))


def _parsed(text: str) -> Config:
    return libxl_json.parse(text.encode("utf-8", "surrogateescape"), source="the configuration")


def _dumped(config: Config) -> str:
    return libxl_json.dump(config).decode("utf-8", "surrogateescape")


def _harmless(value: Any, path: str, left_out: list[str]) -> dict[str, Any]:
    """The numbers, booleans and harmless words of one object of libxl's, those in objects below it included."""
    kept: dict[str, Any] = {}
    for key, each in value.items() if isinstance(value, dict) else ():
        if isinstance(each, dict):
            kept[key] = _harmless(each, f"{path}.{key}", left_out)
        elif _is_harmless(key, each):
            kept[key] = each
        elif each and key not in _RENEWED:
            left_out.append(f"{path}.{key} = {_shown(key, each)}")
    return kept


def _is_harmless(key: str, value: Any) -> bool:
    if isinstance(value, list):
        return key in _NUMBERS and all(isinstance(byte, int) for byte in value)
    if isinstance(value, str) and key in _ENUMERATIONS | _TOLD_TO_THE_GUEST:
        return bool((_WORD if key in _ENUMERATIONS else _TEXT).fullmatch(value))
    return isinstance(value, int) or value in _BOOLEANS


def _disk(disk: Mapping[str, Any], path: str, left_out: list[str]) -> dict[str, Any]:
    """A disk by what the guest sees of it; its image is told by whoever brings one."""
    known = ("pdev_path", "vdev", "format", "backend", "readwrite", "is_cdrom", "removable")
    told = {key: each for key, each in disk.items() if key not in known and each and each != "False"}
    left_out += [f"{path}.{key} = {_shown(key, each)}" for key, each in told.items()]
    return {key: disk[key] for key in known if key in disk and key != "backend"}


def _nic(nic: Any, path: str, left_out: list[str]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, each in nic.items() if isinstance(nic, dict) else ():
        pattern = _NIC.get(key, _WORD)
        if isinstance(each, int) or (key in (*_NIC, "model", "nictype") and pattern.fullmatch(str(each))):
            kept[key] = each
        elif each:
            left_out.append(f"{path}.{key} = {_shown(key, each)}")
    return kept


def _shown(key: str, value: Any) -> str:
    return secret.shown(key, str(value), length_max=60)


def _with_fresh_hardware(config: Config, uuid: DomainUuid) -> Config:
    """Xen's own prefix for network addresses, and a generation id, which tells a guest that it is a copy."""
    nics = [
        nic | {"mac": f"00:16:3e:{digest[0] & 0x7F:02x}:{digest[1]:02x}:{digest[2]:02x}"}
        for at, nic in enumerate(config.get("nics", []))
        for digest in [_drawn(uuid, f"nic {at}")]
    ]
    info = dict(_with_genid(config.get("b_info", {}), uuid))
    return config | ({"nics": nics} if nics else {}) | ({"b_info": info} if info else {})


def _with_genid(info: Mapping[str, Any], uuid: DomainUuid) -> Iterator[tuple[str, Any]]:
    for key, each in info.items():
        if isinstance(each, dict) and "ms_vm_genid" in each:
            yield key, each | {"ms_vm_genid": list(_drawn(uuid, "generation"))}
        else:
            yield key, each


def _drawn(uuid: DomainUuid, what: str) -> bytes:
    return blake2b(f"{uuid} {what}".encode(), digest_size=16).digest()
