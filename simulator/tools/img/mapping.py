"""`qemu-img map`: which image of a chain holds what, and where in its file."""

from collections.abc import Iterator, Sequence

import msgspec

from simulator.core.unmodelled import NotModelled
from simulator.disk.chain import below_named, holes, sectors, shown_below
from simulator.disk.content import RESERVED, SECTOR
from simulator.disk.filesystem import FileSystem
from simulator.disk.image import COMPRESSED, PARTS, Image, Qcow2, Raw
from simulator.disk.qcow2_file import places
from simulator.tools.img.arguments import Failed, a_number, read
from simulator.tools.img.look import output_of
from simulator.tools.img.opening import Opened, format_given, opened

replace = msgspec.structs.replace

_LONG = ("output=", "image-opts", "force-share", "format=", "object=", "help", "start-offset=", "max-length=")
_START, _LENGTH = a_number("start offset"), a_number("max length")
_CHECKS = {"s": _START, "start-offset": _START, "l": _LENGTH, "max-length": _LENGTH}


class Extent(msgspec.Struct, frozen=True):
    """A stretch of the disk, in bytes.

    Attributes:
        depth: which image of the chain tells about it, from 0 on.
        present: whether an image of the chain has it allocated.
        place: where it begins in that image's file; None where there is no such place.
        data: whether there are data.
    """

    start: int
    length: int
    depth: int = 0
    present: bool = False
    zero: bool = False
    place: int | None = None
    data: bool = False

    @property
    def end(self) -> int:
        """Where the next one begins."""
        return self.start + self.length

    def clipped(self, low: int, high: int) -> "Extent":
        """The part of it between two offsets."""
        start, end = max(self.start, low), min(self.end, high)
        place = None if self.place is None else self.place + start - self.start
        return replace(self, start=start, length=end - start, place=place)

    def goes_on(self, other: "Extent") -> bool:
        """Whether the next extent says the same of what follows, in the same place of the file."""
        alike = replace(other, start=self.start, length=self.length, place=self.place) == self
        return alike and other.place == (None if self.place is None else self.place + self.length)


def map_(fs: FileSystem, argv: Sequence[str], cwd: str, _now_ns: int) -> tuple[FileSystem, str, str, int]:
    """All of the disk or a part of it, for people or as JSON."""
    call = read(argv, "f:s:l:hU", _LONG, cwd=cwd, checks=_CHECKS)
    name, output = call.one(), output_of(call)
    start, length = call.number("s", "start-offset"), call.number("l", "max-length")
    image = opened(fs, call, name, form=format_given(call), writing=False)
    low = start or 0
    high = image.images[0].size_bytes if length is None else min(low + length, image.images[0].size_bytes)
    found = [each.clipped(low, high) for each in extents(image.images) if each.start < high and each.end > low]
    if output == "json":
        return fs, "[" + ",\n".join(map(_object, found or [Extent(low, 0)])) + "]\n", "", 0
    names = tuple(_names(image))
    lines = [f"{'Offset':<16}{'Length':<16}{'Mapped to':<16}File\n"]
    for each in found:
        if each.data and each.place is None:
            raise Failed("File contains external, encrypted or compressed clusters.", stdout="".join(lines))
        lines += [_line(each, names[each.depth])] * (each.data and not each.zero)
    return fs, "".join(lines), "", 0


def _object(extent: Extent) -> str:
    flags = {"present": extent.present, "zero": extent.zero, "data": extent.data}
    words = [f'"start": {extent.start}, "length": {extent.length}, "depth": {extent.depth}']
    words += [f'"{name}": {str(value).lower()}' for name, value in flags.items()]
    words += [f'"offset": {extent.place}'] * (extent.place is not None)
    return "{ " + ", ".join(words) + "}"


def _line(extent: Extent, name: str) -> str:
    return f"{_hex(extent.start):<16}{_hex(extent.length):<16}{_hex(extent.place or 0):<16}{name}\n"


def _hex(number: int) -> str:
    return f"{number:#x}" if number else "0"


def _names(image: Opened) -> Iterator[str]:
    """The files of the chain, each called from where the one above it stands."""
    name = image.name
    for each in image.images:
        yield name
        if isinstance(each, Qcow2):
            lower = below_named(name, each.backing_name) if each.backing_name else ""
            name = shown_below(name, lower, each.backing_name)


def extents(images: tuple[Image, ...]) -> list[Extent]:
    """The whole disk, as few extents as there can be. Costs the clusters of the disk times depth."""
    found: list[Extent] = []
    gaps = [(0, sectors(images[0]))]
    for depth, each in enumerate(images):
        left: list[tuple[int, int]] = []
        limit = sectors(each)
        for low, high in gaps:
            if high > limit:
                # Beyond the end of what is below, the image above tells of zeros, which nobody has allocated.
                found.append(_blank(max(low, limit), high, depth - 1, present=False))
            if isinstance(each, Raw):
                found += _in_file(each, low, min(high, limit), depth)
                continue
            left += holes(each, low, min(high, limit))
            found += _held(each, low, min(high, limit), depth)
        gaps = left
    found += [each for low, high in gaps for each in _unheld(images[-1], low, high, len(images) - 1)]
    return _joined(sorted(found, key=lambda extent: extent.start))


def _blank(low: int, high: int, depth: int, *, present: bool, place: int | None = None) -> Extent:
    return Extent(low * SECTOR, (high - low) * SECTOR, depth, present, zero=True, place=place)


def _unheld(image: Image, low: int, high: int, depth: int) -> Iterator[Extent]:
    """What no image of the chain has, of which the lowest yet tells a place where other parts of a cluster are."""
    at, whole = low, image.sectors * PARTS
    told = places(image) if isinstance(image, Qcow2) and image.extended_l2 else {}
    for index in sorted({part // PARTS for part in told}):
        start, end = max(index * whole, low), min((index + 1) * whole, high)
        if start < end:
            yield from [_blank(at, start, depth, present=False)] * (at < start)
            place = told[index * PARTS] + (start - index * whole) * SECTOR
            yield _blank(start, end, depth, present=False, place=place)
            at = end
    yield from [_blank(at, high, depth, present=False)] * (at < high)


def _in_file(image: Raw, low: int, high: int, depth: int) -> Iterator[Extent]:
    """A raw image has a place for all of it. Its first block holds data, since QEMU allocates it (measured: 7.2.22)."""
    size = image.sectors
    for index in range(low // size, -(-high // size)) if low < high else ():
        data = not index or index in image.content
        start, end = max(low, index * size) * SECTOR, min(high, (index + 1) * size) * SECTOR
        yield Extent(start, end - start, depth, present=True, zero=not data, place=start, data=data)


def _held(image: Qcow2, low: int, high: int, depth: int) -> Iterator[Extent]:
    if image.inflated:
        raise NotModelled(f"qemu-img map of {COMPRESSED}")
    size, at = image.sectors, places(image)
    for index in range(low // size, -(-high // size)) if low < high else ():
        value = image.content.get(index)
        if value is None:
            continue
        if value == RESERVED and not image.extended_l2:
            raise NotModelled("qemu-img map of preallocated clusters, which tells holes of the host's file system")
        start, end = max(low, index * size), min(high, (index + 1) * size)
        # Version 2 has no marked zeros, so there they are data.
        if image.version > 2 and value == 0:
            # A part of a cluster has its place, whatever is in it.
            yield _blank(start, end, depth, present=True, place=at.get(index))
        else:
            place = at[index] + (start - index * size) * SECTOR
            place_ = None if image.compressed.get(index) == value else place
            yield Extent(start * SECTOR, (end - start) * SECTOR, depth, present=True, place=place_, data=True)


def _joined(found: list[Extent]) -> list[Extent]:
    told: list[Extent] = []
    for each in found:
        if told and each.length and told[-1].goes_on(each):
            told[-1] = replace(told[-1], length=told[-1].length + each.length)
        elif each.length:
            told.append(each)
    return told
