"""Opening images and what stands below them, and reading what a guest would see through a chain."""

import errno
import json
import posixpath
import struct
from collections.abc import Iterable
from functools import lru_cache
from itertools import dropwhile
from operator import is_
from os import strerror
from typing import NamedTuple

import msgspec
from immutables import Map

from simulator.core.unmodelled import NotModelled
from simulator.disk.content import SECTOR, Content, Run, clip, cluster, filled, foreign, over, runs_in, runs_of
from simulator.disk.files import Directory, Inode, Stored
from simulator.disk.filesystem import FileSystem
from simulator.disk.image import Image, Qcow2, Raw
from simulator.disk.qcow2_file import MAGIC, decoded
from xensnap.model import Format, Layer

_CLUSTERS_FEW = 2048
_BYTES_MAX = 1 << 20


class OpenError(Exception):
    """An image cannot be opened. The text is QEMU 7.2.22's, without the name of the tool in front.

    Attributes:
        path: the image that is in the way, which need not be the one that was asked for.
        loop: the inodes of backing files that lead to themselves. QEMU 7.2.22 says these words only where it has one
            of them open for writing; else it opens them over and over and never ends.
    """

    def __init__(self, text: str, *, path: str, missing: bool = False, loop: frozenset[int] = frozenset()) -> None:
        super().__init__(text)
        self.path = path
        self.missing = missing
        self.loop = loop

    def require_end(self, *writing: int) -> None:
        """`NotModelled` where a loop has none of these inodes, which are open for writing."""
        if self.loop and not self.loop.intersection(writing):
            raise NotModelled(f"{self.path}: backing files in a loop, opened for reading, which QEMU never ends")


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
        if isinstance(stored, bytes) and stored.startswith(MAGIC):
            return _written_as_bytes(stored, layer)
        raise OpenError("Image is not in qcow2 format", path=layer.path)
    if layer.format is not Format.RAW:
        raise NotModelled(f"images in {layer.format} format")
    if isinstance(stored, Raw):
        return stored
    if isinstance(stored, bytes) and len(stored) <= _BYTES_MAX:
        return _of_bytes(stored)
    raise NotModelled(f"{layer.path}: the bytes of a file that is no raw image, read as a raw image")


def _of_bytes(stored: bytes) -> Raw:
    """Any file, as a raw image: of what is not zero each sector stands for its own bytes."""
    end = -(-len(stored) // SECTOR)
    pieces = [stored[at * SECTOR : (at + 1) * SECTOR].ljust(SECTOR, b"\0") for at in range(end)]
    runs = [(at, at + 1, foreign(piece) if any(piece) else 0) for at, piece in enumerate(pieces)]
    image = Raw(end * SECTOR)
    for index in range(-(-end // image.sectors)):
        low, high = index * image.sectors, (index + 1) * image.sectors
        image = image.written({index: cluster(filled(clip(runs, low, high), low, high), low, image.sectors)})
    return image


def _written_as_bytes(stored: bytes, layer: Layer) -> Qcow2:
    """A qcow2 file that came as any other file: from an archive, for example. What is wrong with it, QEMU would say."""
    try:
        return decoded(stored)
    except (NotModelled, struct.error, ValueError, IndexError, OverflowError, MemoryError) as error:
        raise OpenError(f"Image is not a qcow2 image that can be read: {error}", path=layer.path) from error


def opened(fs: FileSystem, layer: Layer) -> Link:
    """One image without what stands below it."""
    path = layer.path
    number = fs.find(path)
    inode = fs.inodes.get(number) if number is not None else None
    if number is None or not isinstance(inode, Inode):
        raise _unopened(path, number, inode)
    return Link(path, layer.format, number, image_in(inode.stored, layer))


def _unopened(path: str, number: int | None, found: object) -> OpenError:
    if number is None:
        return OpenError(f"Could not open '{path}': {strerror(errno.ENOENT)}", path=path, missing=True)
    if found is None:
        return OpenError(f"'file' driver requires '{path}' to be a regular file", path=path)
    raise NotModelled(f"{path}: an image behind a symbolic link")


def below(fs: FileSystem, link: Link) -> Layer | None:
    """The layer that an image names as its backing file."""
    image = link.image
    if not isinstance(image, Qcow2) or not image.backing_name:
        return None
    path = below_named(link.path, image.backing_name)
    if image.backing_name.startswith("json:") and image.backing_format not in {"", "qcow2"}:
        raise NotModelled(f"a backing file that options say to be qcow2 and the header {image.backing_format}")
    return _layer(path, image.backing_format) if image.backing_format else Layer(path, _probed(fs, path))


@lru_cache(maxsize=65536)
def below_named(overlay: str, name: str) -> str:
    """Where a backing name leads that names a file, perhaps by its protocol or by options in JSON.

    Raises:
        NotModelled: for another protocol or more options, and where a protocol makes a name begin at the directory that
            QEMU was started in.
    """
    if not has_protocol(name):
        return backing_path(overlay, name)
    path = _named_by_options(name.removeprefix("json:")) if name.startswith("json:") else name.removeprefix("file:")
    if not path.startswith("/"):
        raise NotModelled(f"backing name {name!r}")
    return path


def has_protocol(name: str) -> bool:
    """Whether a colon stands in a name before any slash: such a name does not begin where the overlay is."""
    return ":" in name.split("/", 1)[0]


def shown_below(upper: str, lower: str, name: str) -> str:
    """What is told of a backing file: its path from where the image above was called, or its own with a protocol."""
    return lower if has_protocol(name) else backing_path(upper, name)


def _named_by_options(text: str) -> str:
    """The file that options in JSON name, where they say no more than that; empty otherwise."""
    try:
        told = json.loads(text)
    except ValueError:
        return ""
    if not isinstance(told, dict):
        return ""
    file = told.get("file")
    nested = {f"file.{key}": value for key, value in file.items()} if isinstance(file, dict) else {}
    flat = {**{key: value for key, value in told.items() if key != "file" or not nested}, **nested}
    plain = flat.get("driver") == "qcow2" and flat.get("file.driver", "file") == "file"
    named = flat.get("file.filename")
    known = {"driver", "file.driver", "file.filename"}
    return named if plain and isinstance(named, str) and set(flat) <= known else ""


@lru_cache(maxsize=65536)
def _layer(path: str, form: str) -> Layer:
    if form not in set(Format):
        raise NotModelled(f"a backing file in {form} format")
    return Layer(path, Format(form))


def _probed(fs: FileSystem, path: str) -> Format:
    """What QEMU guesses where a header gives no format."""
    number = fs.find(path)
    found = fs.inodes.get(number) if number is not None else None
    stored = getattr(found, "stored", None)
    is_qcow2 = isinstance(stored, Qcow2) or (isinstance(stored, bytes) and stored.startswith(MAGIC))
    return Format.QCOW2 if is_qcow2 else Format.RAW


def chain(fs: FileSystem, layer: Layer) -> tuple[Link, ...]:
    """The image and everything below it, as a writing QEMU would open it."""
    top = opened(fs, layer)
    lower = below(fs, top)
    if lower is None:
        return (top,)
    try:
        rest = _rest(fs, lower)
    except OpenError as error:
        raise (loop_through(top, error) if top.number in error.loop else error) from None
    return (top, *rest.links)


class _Rest(NamedTuple):
    """What was found below an image, and by what it is known that it would be found again."""

    dirs: Map[str, Directory]
    links: tuple[Link, ...]
    numbers: tuple[int, ...]
    inodes: tuple[object, ...]


# Only the top of a chain changes as a rule, so what lies below is remembered, for any world. This changes no answer:
# what is remembered holds only while the names and every inode of it are the very same objects.
_rests: dict[Layer, _Rest] = {}
_RESTS_MAX = 256


def _rest(fs: FileSystem, layer: Layer) -> _Rest:
    known = _rests.get(layer)
    if known is not None and known.dirs is fs.dirs and all(map(is_, map(fs.inodes.get, known.numbers), known.inodes)):
        return known
    links: list[Link] = []
    numbers: dict[int, None] = {}
    lower: Layer | None = layer
    while lower is not None:
        try:
            link = opened(fs, lower)
        except OpenError as error:
            words = f"Could not open backing file: {error}"
            raise OpenError(words, path=error.path, missing=error.missing) from None
        if link.number in numbers:
            raise _loop(link, numbers)
        numbers[link.number] = None
        links.append(link)
        lower = below(fs, link)
    rest = _Rest(fs.dirs, tuple(links), tuple(numbers), tuple(fs.inodes[number] for number in numbers))
    if len(_rests) >= _RESTS_MAX:
        _rests.clear()
    _rests[layer] = rest
    return rest


def loop_through(top: Link, error: OpenError) -> OpenError:
    """The error of an image that is open for writing when the loop of its backing files comes round to it."""
    text = f'Failed to get shared "write" lock\nIs another process using the image [{top.path}]?'
    return OpenError("Could not open backing file: " * len(error.loop) + text, path=top.path, loop=error.loop)


def _loop(again: Link, numbers: Iterable[int]) -> OpenError:
    text = f'Failed to get shared "write" lock\nIs another process using the image [{again.path}]?'
    loop = frozenset(dropwhile(lambda number: number != again.number, numbers))
    return OpenError(f"Could not open backing file: {text}", path=again.path, loop=loop)


def sectors(image: Image) -> int:
    """Size of the disk, in sectors; a raw image's last one may be half there."""
    return -(-image.size_bytes // SECTOR)


def segments(images: tuple[Image, ...], low: int, high: int) -> list[Run]:
    """What is seen from sector `low` up to `high`, without gaps. Costs clusters in that range times depth."""
    runs: list[Run] = []
    gaps = [(low, high)] if low < high else []
    for image in images:
        if not gaps:
            break
        limit, lower = sectors(image), []
        for start, end in gaps:
            # Nothing shines through beyond the end of an image, whatever stands below it.
            if end > limit:
                runs.append((max(start, limit), end, 0))
            lower += _held(image, start, min(end, limit), runs)
        gaps = lower
    runs += [(start, end, 0) for start, end in gaps]
    runs.sort()
    return runs


def holes(image: Image, low: int, high: int) -> list[tuple[int, int]]:
    """What this image leaves to those below, between two sectors."""
    return _held(image, low, high, [])


def _held(image: Image, low: int, high: int, runs: list[Run]) -> list[tuple[int, int]]:
    """Add the runs that this image has between two sectors, and give what it leaves to those below."""
    gaps: list[tuple[int, int]] = []
    size, content = image.sectors, image.content
    for index in range(low // size, -(-high // size)) if low < high else ():
        value = content.get(index)
        if value is None:
            continue
        start, end = max(low, index * size), min(high, (index + 1) * size)
        if start > low:
            gaps.append((low, start))
        if isinstance(value, int):
            runs.append((start, end, value))
        else:
            runs += clip(runs_in(value, index * size, size), start, end)
        low = end
    if low < high:
        gaps.append((low, high))
    return gaps


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


# Judges compare the same contents over and over. Keyed by identity, which the kept contents make safe.
_shown: dict[tuple[tuple[int, int, int], ...], tuple[tuple[Content, ...], tuple[Run, ...]]] = {}
_SHOWN_MAX = 512


def shown(images: tuple[Image, ...]) -> tuple[Run, ...]:
    """The runs of a chain that are not zero. Costs what is allocated, but once for the same contents."""
    key = tuple((id(image.content), image.sectors, sectors(image)) for image in images)
    known = _shown.get(key)
    if known is None:
        if len(_shown) >= _SHOWN_MAX:
            _shown.clear()
        known = tuple(image.content for image in images), tuple(run for run in seen(images) if run[2])
        _shown[key] = known
    return known[1]


def visible_at(fs: FileSystem, layer: Layer, snapshot_id: str) -> tuple[int, tuple[Run, ...]] | None:
    """What an internal snapshot would give back now, through the backing files of today; None if it is not there."""
    links = chain(fs, layer)
    top = links[0].image
    entry = top.table.by_id(snapshot_id) if isinstance(top, Qcow2) else None
    if entry is None or not isinstance(top, Qcow2):
        return None
    past = msgspec.structs.replace(top, content=entry.content, size_bytes=entry.size_bytes)
    return past.size_bytes, shown((past, *(link.image for link in links[1:])))


def between(images: tuple[Image, ...], low: int, high: int) -> list[Run]:
    """As `segments`, but also cheap for ranges much larger than what is allocated in them."""
    clusters = sum((high - low) // image.sectors + 1 for image in images)
    return segments(images, low, high) if clusters < _CLUSTERS_FEW else filled(seen(images), low, high)
