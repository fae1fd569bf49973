"""A domain's description as TOML, one domain a file: what the plain QEMU host knows of a domain that is off.

    name = "guest1"
    uuid = "0f1e2d3c-…"
    memory = "64M"              # or "2G"; "128M" where not given
    boot = "installer.img"      # boots from this, read-only, and not from the first disk

    [[disk]]
    vdev = "xvda"
    path = "guest1.qcow2"       # relative to the file's own directory
    format = "qcow2"
    mode = "rw"                 # or "ro"; "rw" where not given, but "ro" for a cdrom
    cdrom = false

Strict: an unknown key or a wrong type is an error that says where. A change keeps comments, order and spacing.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec

from xensnap.errors import Usage
from xensnap.formats import toml
from xensnap.model import DomainUuid, Format, Layer

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_VDEV = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_MEMORY = re.compile(r"([1-9][0-9]{0,8})([MG])")
_UNITS = {"M": 1 << 20, "G": 1 << 30}
_DOMAIN_KEYS = {"name": str, "uuid": str, "memory": str, "boot": str, "disk": list}
_DISK_KEYS = {"vdev": str, "path": str, "format": str, "mode": str, "cdrom": bool}
_CONFIGURATION = "the configuration"

_TYPE_NAMES = {str: "a string", list: "an array of tables, [[disk]]", bool: "true or false"}


class DiskEntry(msgspec.Struct, frozen=True):
    """One `[[disk]]`. `path` is as written: empty for an empty drive, else absolute or relative to the file."""

    vdev: str
    path: str
    format: Format
    readonly: bool
    cdrom: bool


class DomainEntry(msgspec.Struct, frozen=True):
    """One domain file. `boot` is a path as written, relative to the file or absolute; empty to boot from a disk."""

    name: str
    uuid: DomainUuid
    disks: tuple[DiskEntry, ...]
    memory_bytes: int = 128 << 20
    boot: str = ""


def parse(text: str, *, source: str, fresh_uuid: str) -> DomainEntry:
    """Read one domain file.

    Args:
        text: its content.
        source: its name, for the errors.
        fresh_uuid: a UUID that nobody has, to show in the remedy where the file has none.

    Raises:
        Usage: id `bad-domain-file`; the cause names file, key and what was expected.
    """
    try:
        content = toml.loads(text)
    except ValueError as error:
        raise _bad(source, "", f"no TOML: {error}") from error
    _keys(content, _DOMAIN_KEYS, source, "")
    name = content.get("name", "")
    if not name or not name.isprintable() or "/" in name:
        raise _bad(source, "name", "a domain needs a name of printable characters without a slash")
    if "uuid" not in content:
        raise _bad(source, "uuid", "a domain needs a UUID, it is the domain's identity", f'uuid = "{fresh_uuid}"')
    uuid = content["uuid"].lower()
    if not _UUID.fullmatch(uuid):
        raise _bad(source, "uuid", f"{content['uuid']!r} is no UUID", f'uuid = "{fresh_uuid}"')
    disks = tuple(_disk(table, source, f"disk[{at}]") for at, table in enumerate(content.get("disk", [])))
    for at, disk in enumerate(disks):
        if disk.vdev in (other.vdev for other in disks[:at]):
            raise _bad(source, f"disk[{at}].vdev", f"{disk.vdev!r} is the name of two disks")
    boot = content.get("boot", "")
    if "\0" in boot:
        raise _bad(source, "boot", "a path cannot hold a zero byte")
    memory = _MEMORY.fullmatch(content.get("memory", "128M"))
    if not memory:
        raise _bad(source, "memory", f'expected a size such as "64M" or "2G", not {content["memory"]!r}')
    return DomainEntry(name, DomainUuid(uuid), disks, int(memory[1]) * _UNITS[memory[2]], boot)


def with_layers(text: str, layers: Mapping[str, Layer]) -> str:
    """The same file with other active layers (by vdev); all else, comments and order included, stays as it is.

    Needs a text that `parse` accepts, and only vdevs that it has.
    """
    import tomlkit  # noqa: PLC0415 -- takes 20 ms, and only a change needs it

    document: Any = tomlkit.parse(text)
    for table in document.get("disk", []):
        if layer := layers.get(str(table["vdev"])):
            table["path"] = layer.path
            table["format"] = layer.format.value
    return tomlkit.dumps(document)


def vdevs(text: str) -> tuple[str, ...]:
    """The disks that it names. `Usage` as `parse`."""
    return tuple(disk.vdev for disk in parse(text, source=_CONFIGURATION, fresh_uuid="").disks)


def renewed(
    text: str, *, uuid: DomainUuid, name: str, layers: Mapping[str, Layer | None], gone: Collection[str] = ()
) -> str:
    """The same machine under another identity, on other disks (by vdev), None for an empty drive; without some.

    Raises:
        Usage: id `bad-domain-file`: `parse` does not accept the text.
    """
    import tomlkit  # noqa: PLC0415 -- as above

    parse(text, source=_CONFIGURATION, fresh_uuid=uuid)
    document: Any = tomlkit.parse(text)
    document["uuid"], document["name"] = str(uuid), name
    for table in document.get("disk", []):
        vdev = str(table["vdev"])
        if layer := layers.get(vdev):
            table["path"], table["format"] = layer.path, layer.format.value
        elif vdev in layers:
            table.pop("path", None)
            table.pop("format", None)
    for table in [each for each in document.get("disk", []) if str(each["vdev"]) in gone]:
        document["disk"].remove(table)
    return tomlkit.dumps(document)


def portable(text: str) -> tuple[str, tuple[str, ...]]:
    """The same machine without what names a file of its host, but for its disks; and what was left out, in words.

    Raises:
        Usage: as `renewed`.
    """
    import tomlkit  # noqa: PLC0415 -- as above

    entry = parse(text, source=_CONFIGURATION, fresh_uuid="")
    if not entry.boot:
        return text, ()
    document: Any = tomlkit.parse(text)
    document.pop("boot")
    return tomlkit.dumps(document), (f"boot = {entry.boot}",)


def _disk(table: object, source: str, where: str) -> DiskEntry:
    if not isinstance(table, dict):
        raise _bad(source, where, "expected a table, written as [[disk]]")
    _keys(table, _DISK_KEYS, source, f"{where}.")
    cdrom: bool = table.get("cdrom", False)
    vdev, path = table.get("vdev", ""), table.get("path", "")
    if not _VDEV.fullmatch(vdev):
        raise _bad(source, f"{where}.vdev", f"{vdev!r} is no device name such as xvda, sda or hdc")
    if not path and not cdrom:
        raise _bad(source, f"{where}.path", "a disk needs a path; only a cdrom can be empty")
    if "\0" in path:
        raise _bad(source, f"{where}.path", "a path cannot hold a zero byte")
    # An empty drive has no image whose format could be told.
    format = table.get("format", "raw" if not path else "")
    if format not in set(Format):
        raise _bad(source, f"{where}.format", f"expected one of {_listed(Format)}; formats are never probed")
    mode = table.get("mode", "ro" if cdrom else "rw")
    if mode not in ("ro", "rw"):
        raise _bad(source, f"{where}.mode", f'expected "ro" or "rw", not {mode!r}')
    return DiskEntry(vdev, path, Format(format), mode == "ro", cdrom)


def _keys(table: Mapping[str, Any], known: Mapping[str, type], source: str, where: str) -> None:
    for key, value in table.items():
        if key not in known:
            import difflib  # noqa: PLC0415 -- for this error only, and it costs as much as reading the file

            close = difflib.get_close_matches(key, known, n=1)
            meant = f"; did you mean {close[0]!r}?" if close else f"; known are {_listed(known)}"
            raise _bad(source, f"{where}{key}", f"unknown key{meant}")
        if type(value) is not known[key]:
            raise _bad(source, f"{where}{key}", f"expected {_TYPE_NAMES[known[key]]}")


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)


def _bad(source: str, where: str, what: str, line: str = "") -> Usage:
    cause = f"{source}: {where}: {what}" if where else f"{source}: {what}"
    return Usage(cause, id="bad-domain-file", remedy=f"Put in: {line}" if line else "Correct the file.")
