"""Which simulated host a `sim` command means, and the sizes and disks that these commands read."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from xensnap import hosts
from xensnap.cli.session import Session
from xensnap.errors import Busy, Reason, Refused, Usage
from xensnap.model import Format, Layer

SIZE_MAX = 1 << 50

_UNITS: Mapping[str, int] = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}

DISK_FORM = "VDEV=SIZE[,qcow2|raw][,ro][,cdrom][,base=FORMAT:PATH]"


def chosen(session: Session) -> hosts.Choice:
    """The simulated host that is meant; the usual one where none is named. Asking for `sim` is asking for it."""
    spec = session.chosen_host or os.environ.get(hosts.VARIABLE) or "sim"
    choice = hosts.choose(spec)
    if choice.kind != "sim":
        raise Usage(
            f"`sim` works on simulated hosts only, and the host chosen is {spec}",
            id="not-simulated",
            remedy="Say --host sim or --host sim:DIR.",
        )
    session.host_name = choice.name
    return choice


def place_of(session: Session) -> tuple[hosts.Choice, hosts.SimulatedPlace]:
    """The same, and where it is kept."""
    choice = chosen(session)
    return choice, hosts.SimulatedPlace(choice.directory)


def make(session: Session, choice: hosts.Choice, world: "Callable[[], hosts.World]") -> None:
    """Put a simulated host where none is yet.

    Raises:
        Refused: there is something else in its directory.
        Busy: there is one already.
    """
    place = hosts.SimulatedPlace(choice.directory)
    if place.strangers:
        cause = f"{place.directory} holds something else already: {', '.join(place.strangers[:3])}"
        raise Refused([Reason("not-empty", cause, "Choose an empty or a new directory.")])
    Path(choice.directory).mkdir(mode=0o700, parents=True, exist_ok=True)
    with place.locked(wait_s=session.wait_s):
        if place.exists:
            cause = f"there is a simulated host in {choice.directory} already"
            raise Busy(cause, id="exists-already", remedy="Empty it: xensnap sim reset.")
        place.write(world())


def parse_size(text: str) -> int | None:
    """Bytes, with k, M, G or T for powers of 1024; None where it is no size."""
    digits, unit = text, ""
    if text and not text[-1].isdecimal():
        digits, unit = text[:-1], text[-1].lower()
    if unit not in _UNITS or not (digits.isascii() and digits.isdecimal()) or len(digits) > 18:
        return None
    value = int(digits) * _UNITS[unit]
    return value if value <= SIZE_MAX else None


def size_of(text: str) -> int:
    """The same, for one that stands alone.

    Raises:
        Usage: it is no size.
    """
    found = parse_size(text)
    if found is None:
        raise Usage(f"{text!r} is no size", id="bad-size", remedy="Write it as 512, 64k, 8M or 1G.")
    return found


@dataclass(frozen=True, slots=True)
class NewDisk:
    """A disk to be made."""

    vdev: str
    size_bytes: int
    format: Format = Format.QCOW2
    readonly: bool = False
    cdrom: bool = False
    base: Layer | None = None


def parse_disk(text: str) -> NewDisk:
    """One disk as `DISK_FORM` writes it.

    Raises:
        Usage: with what was expected.
    """
    vdev, equals, rest = text.partition("=")
    size, *words = rest.split(",")
    size_bytes = parse_size(size)
    if not (equals and vdev.isascii() and vdev.isalnum() and vdev[:1].isalpha()) or not size_bytes or size_bytes % 512:
        raise _bad(text, "a disk has a name such as xvda and a size in whole sectors of 512 bytes")
    found: dict[str, object] = {}
    for word in words:
        key, value = _option(text, word)
        if key in found:
            raise _bad(text, f"{word!r} comes after another that says the same or the contrary")
        found[key] = value
    if found.get("base") and found.get("format") is Format.RAW:
        raise _bad(text, "a raw image cannot stand on a base")
    if found.get("cdrom"):
        found["readonly"] = True
    return NewDisk(vdev, size_bytes, **found)  # type: ignore[arg-type]


def _option(text: str, word: str) -> tuple[str, object]:
    if word in ("qcow2", "raw"):
        return "format", Format(word)
    if word == "ro":
        return "readonly", True
    if word == "cdrom":
        return "cdrom", True
    format_, colon, path = word.removeprefix("base=").partition(":")
    if word.startswith("base=") and format_ in ("qcow2", "raw") and colon and path.startswith("/"):
        return "base", Layer(path, Format(format_))
    raise _bad(text, f"{word!r} means nothing here")


def _bad(text: str, why: str) -> Usage:
    return Usage(f"the disk {text!r} cannot be read: {why}", id="bad-disk", remedy=f"Write it as {DISK_FORM}.")
