"""`libxl_device_disk`: one disk as libxl describes it, by libxl's own names, so that its JSON is libxl's JSON."""

import re
from typing import Literal

import msgspec

Defbool = Literal["True", "False"] | None
"""`libxl_defbool` as libxl writes it into JSON; None, which is not written, leaves the choice to libxl."""

DiskFormat = Literal["unknown", "qcow", "qcow2", "vhd", "raw", "empty", "qed"]
DiskBackend = Literal["unknown", "phy", "tap", "qdisk", "standalone"]
DiskSpecification = Literal["unknown", "xen", "virtio"]

_XVD = re.compile(r"xvd([a-z]{1,5})([1-9][0-9]{0,2})?")
_HD = re.compile(r"hd([a-d])([1-9][0-9]?)?")
_SD = re.compile(r"sd([a-p])([1-9][0-9]?)?")
_NUMBERED = re.compile(r"d(0[xX][0-9a-fA-F]{1,8}|[0-9]{1,10})p(0[xX][0-9a-fA-F]{1,8}|[0-9]{1,10})")
_BARE = re.compile(r"0[xX][0-9a-fA-F]{1,8}|0[0-7]{0,11}|[1-9][0-9]{0,9}")


class DeviceDisk(msgspec.Struct, frozen=True, omit_defaults=True):
    """One disk, with what a disk specification can say of it. In JSON all that has its default value is left out."""

    backend_domname: str | None = None
    pdev_path: str | None = None
    vdev: str | None = None
    backend: DiskBackend = "unknown"
    format: DiskFormat = "unknown"
    script: str | None = None
    removable: int = 0
    readwrite: int = 0
    is_cdrom: int = 0
    direct_io_safe: bool = False
    discard_enable: Defbool = None
    specification: DiskSpecification = "unknown"
    colo_enable: Defbool = None
    colo_host: str | None = None
    colo_port: int = 0
    colo_export: str | None = None
    active_disk: str | None = None
    hidden_disk: str | None = None
    trusted: Defbool = None
    grant_usage: Defbool = None


def device_number(vdev: str) -> int | None:
    """The number under which the guest finds a disk, by any of its names: `xvda`, `d0p0` and `51712` are one.

    None where it is no name of a disk. From xen-vbd-interface(7).
    """
    if match := _XVD.fullmatch(vdev):
        return _virtual(_letters(match[1]), int(match[2] or 0))
    if match := _NUMBERED.fullmatch(vdev):
        return _virtual(_number(match[1]), _number(match[2]))
    if _BARE.fullmatch(vdev):
        number = _number(vdev)
        return number if number < 1 << 31 else None
    if match := _HD.fullmatch(vdev):
        disk, partition = _letters(match[1]), int(match[2] or 0)
        return (3 if disk < 2 else 22) << 8 | (disk & 1) << 6 | partition if partition < 64 else None
    if match := _SD.fullmatch(vdev):
        disk, partition = _letters(match[1]), int(match[2] or 0)
        return 8 << 8 | disk << 4 | partition if partition < 16 else None
    return None


def same_device(one: str, other: str) -> bool:
    """Whether two names mean one device."""
    return one == other or (device_number(one) is not None and device_number(one) == device_number(other))


def _virtual(disk: int, partition: int) -> int | None:
    if disk >= 1 << 20 or partition >= 256:
        return None
    return 202 << 8 | disk << 4 | partition if disk < 16 and partition < 16 else 1 << 28 | disk << 8 | partition


def _letters(letters: str) -> int:
    """Digits of base 26 that begin with one: after `z` comes `aa`."""
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("a") + 1
    return number - 1


def _number(text: str) -> int:
    """A number as C reads it: hexadecimal after `0x`, octal after `0`."""
    if text[:2] in {"0x", "0X"}:
        return int(text, 16)
    return int(text, 8 if text[0] == "0" and not text.strip("01234567") else 10)
