"""Opening images and what stands below them, and reading what a guest would see through a chain."""

import errno
import posixpath
from os import strerror

import msgspec

from simulator.core.unmodelled import NotModelled
from simulator.disk.content import SECTOR, Run, clip, filled, over, runs_in, runs_of
from simulator.disk.files import Stored
from simulator.disk.filesystem import FileSystem
from simulator.disk.image import Image, Qcow2, Raw
from xensnap.model import Format, Layer


class OpenError(Exception):
    """An image cannot be opened. The text is QEMU 7.2.22's, without the name of the tool in front.

    Attributes:
        path: the image that is in the way, which need not be the one that was asked for.
    """

    def __init__(self, text: str, *, path: str, missing: bool = False) -> None:
        super().__init__(text)
        self.path = path
        self.missing = missing


class Link(msgspec.Struct, frozen=True):
    """One opened image of a chain."""

    path: str
    format: str
    number: int
    image: Image


def backing_path(overlay: str, name: str) -> str:
    """Where a backing name leads: a relative one starts in the overlay's directory, not in the working directory."""
    return posixpath.join(posixpath.dirname(overlay), name)


def image_in(stored: Stored, layer: Layer) -> Image:
    """What a file is when it is opened in this format."""
    if layer.format is Format.QCOW2:
        if isinstance(stored, Qcow2):
            return stored
        raise OpenError("Image is not in qcow2 format", path=layer.path)
    if layer.format is not Format.RAW:
        raise NotModelled(f"images in {layer.format} format")
    if isinstance(stored, Raw):
        return stored
    if stored == b"":
        return Raw(0)
    raise NotModelled(f"{layer.path}: the bytes of a file that is no raw image, read as a raw image")


def opened(fs: FileSystem, layer: Layer) -> Link:
    """One image without what stands below it."""
    try:
        number = fs.number(layer.path)
    except OSError as error:
        if error.errno == errno.EISDIR:
            text = f"'file' driver requires '{layer.path}' to be a regular file"
        else:
            text = f"Could not open '{layer.path}': {strerror(error.errno or 0)}"
        raise OpenError(text, path=layer.path, missing=error.errno == errno.ENOENT) from None
    return Link(layer.path, layer.format, number, image_in(fs.inode(layer.path).stored, layer))


def below(fs: FileSystem, link: Link) -> Layer | None:
    """The layer that an image names as its backing file."""
    image = link.image
    if not isinstance(image, Qcow2) or not image.backing_name:
        return None
    if image.backing_name.startswith("json:") or ":" in image.backing_name.split("/", 1)[0]:
        raise NotModelled(f"backing name {image.backing_name!r}")
    path = backing_path(link.path, image.backing_name)
    return Layer(path, Format(image.backing_format) if image.backing_format else _probed(fs, path))


def _probed(fs: FileSystem, path: str) -> Format:
    """What QEMU guesses where a header gives no format."""
    number = fs.find(path)
    found = fs.inodes.get(number) if number is not None else None
    return Format.QCOW2 if isinstance(getattr(found, "stored", None), Qcow2) else Format.RAW


def chain(fs: FileSystem, layer: Layer) -> tuple[Link, ...]:
    """The image and everything below it, as a writing QEMU would open it."""
    links = [opened(fs, layer)]
    seen = {links[0].number}
    while (lower := below(fs, links[-1])) is not None:
        try:
            link = opened(fs, lower)
        except OpenError as error:
            raise OpenError(f"Could not open backing file: {error}", path=error.path, missing=error.missing) from None
        if link.number in seen:
            # A read-only open of a loop recurses for ever in QEMU 7.2.22; a writing one fails on its own lock.
            text = f'Failed to get shared "write" lock\nIs another process using the image [{link.path}]?'
            raise OpenError(f"Could not open backing file: {text}", path=link.path)
        seen.add(link.number)
        links.append(link)
    return tuple(links)


def sectors(image: Image) -> int:
    """Size of the disk, in sectors; a raw image's last one may be half there."""
    return -(-image.size_bytes // SECTOR)


def segments(images: tuple[Image, ...], low: int, high: int) -> list[Run]:
    """What is seen from sector `low` up to `high`, without gaps. Costs clusters in that range times depth."""
    if not images:
        return [(low, high, 0)] if low < high else []
    top, lower = images[0], images[1:]
    end = min(high, sectors(top))
    runs: list[Run] = []
    gap = low
    for index in range(low // top.sectors, -(-end // top.sectors) if end > low else 0):
        value = top.content.get(index)
        if value is None:
            continue
        start = index * top.sectors
        if start > gap:
            runs += segments(lower, gap, start)
        runs += clip(runs_in(value, start, top.sectors), max(low, start), min(end, start + top.sectors))
        gap = min(end, start + top.sectors)
    if gap < end:
        runs += segments(lower, gap, end)
    if max(end, low) < high:
        runs.append((max(end, low), high, 0))
    return runs


def seen(images: tuple[Image, ...]) -> list[Run]:
    """All that is not a hole on this disk, in order. Costs what is allocated, whatever the size."""
    runs: list[Run] = []
    for image in reversed(images):
        limit = sectors(image)
        runs = over(runs_of(image.content, image.sectors, limit), clip(runs, 0, limit))
    return runs


def visible(fs: FileSystem, layer: Layer) -> tuple[int, tuple[Run, ...]]:
    """What a guest would find: the size, and every run that is not zero. Equal exactly when all bytes are equal."""
    images = tuple(link.image for link in chain(fs, layer))
    return images[0].size_bytes, shown(images)


def shown(images: tuple[Image, ...]) -> tuple[Run, ...]:
    """The runs of a chain that are not zero."""
    return tuple(run for run in seen(images) if run[2])


def visible_at(fs: FileSystem, layer: Layer, snapshot_id: str) -> tuple[int, tuple[Run, ...]] | None:
    """What an internal snapshot would give back now, through the backing files of today; None if it is not there."""
    links = chain(fs, layer)
    top = links[0].image
    entry = top.table.by_id(snapshot_id) if isinstance(top, Qcow2) else None
    if entry is None or not isinstance(top, Qcow2):
        return None
    past = msgspec.structs.replace(top, content=entry.content, size_bytes=entry.size_bytes)
    return past.size_bytes, shown((past, *(link.image for link in links[1:])))


def full(images: tuple[Image, ...], low: int, high: int) -> list[Run]:
    """As `segments`, but for ranges much larger than what is allocated in them."""
    return filled(seen(images), low, high)
