"""`qemu-img dd`: a part of what an image shows, copied into a new one.

It counts otherwise than dd(1): `count` is where to stop in the input, so that `skip` takes from it (trace img-dd). All
of the copy is written, zeros, too.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from simulator.core.unmodelled import NotModelled
from simulator.disk import operations as op
from simulator.disk.chain import between, sectors, shown
from simulator.disk.content import SECTOR, Run, bytes_of, clip, foreign, moved
from simulator.disk.drivers import DRIVERS
from simulator.disk.filesystem import FileSystem
from simulator.disk.image import Image, Raw
from simulator.tools.img.arguments import Call, Failed, a_number, number, protocol_of, read
from simulator.tools.img.create import made_file
from simulator.tools.img.fresh import made, zeros_written
from simulator.tools.img.opening import Opened, format_given, opened
from simulator.tools.img.options import KINDS, FormatOptions

_MOVED_MAX = 1 << 17
_BLOCK_MAX = (1 << 31) - 1


def dd(fs: FileSystem, argv: Sequence[str], cwd: str, _now_ns: int) -> tuple[FileSystem, str, str, int]:
    """`if=` into `of=`, from `skip` blocks of `bs` bytes on, up to `count` of them. What was at `of=` is gone."""
    call = read(argv, "hf:O:U", ("image-opts", "force-share", "object=", "help"), cwd=cwd)
    given = _operands(call.words)
    if not {"if", "of"} <= given.keys():
        raise Failed("Must specify both input and output files")
    name, target = given["if"], given["of"]
    source = opened(fs, call, name, form=format_given(call), writing=False)
    form, path = _target(call, target)
    _require_apart(call, source, target, path)
    block = number(given.get("bs", str(SECTOR)), "bs")
    end = sectors(source.images[0]) * SECTOR
    if "count" in given:
        end = min(end, number(given["count"], "count") * block)
    start = number(given.get("skip", "0"), "skip") * block
    warning = f"qemu-img: {name}: cannot skip to specified offset\n" if start > end else ""
    length = max(end - start, 0)
    fresh: Image = made(FormatOptions(form).with_(size=length), length)
    copied = op.written((zeros_written(fresh),), _copied(source.images, start, end)) if length else fresh
    try:
        return made_file(fs, target, path, copied, ""), "", warning, 0
    except Failed as failed:
        words = failed.stderr.removeprefix(f"qemu-img: {target}: ").removesuffix("\n")
        raise _uncreated(target, words.replace(f"[{path}]", f"[{target}]")) from None


def _block_size(text: str) -> object:
    return number(text, "bs", least=1, most=_BLOCK_MAX)


_OPERANDS: dict[str, Callable[[str], object]] = {
    "bs": _block_size,
    "count": a_number("count"),
    "if": str,
    "of": str,
    "skip": a_number("skip"),
}
"""Each with what looks at its value."""


def _operands(words: Sequence[str]) -> dict[str, str]:
    """The last of each; they are read in order, and the first that is wrong is told."""
    given: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in _OPERANDS:
            raise Failed(f"unrecognized operand {name}")
        _OPERANDS[name](value)
        given[name] = value
    return given


def _target(call: Call, target: str) -> tuple[str, str]:
    """The format and the path of what is made."""
    form = "raw" if (given := call.get("O")) is None else given
    if form not in KINDS:
        if form in DRIVERS:
            raise NotModelled(f"images in {form} format")
        raise Failed("Unknown file format")
    if protocol_of(target) == "json":
        raise Failed("Unknown protocol 'json'")
    return form, call.path(target)


def _require_apart(call: Call, source: Opened, target: str, path: str) -> None:
    for link in source.links:
        if link.path != path:
            continue
        if call.has("U", "force-share") or isinstance(link.image, Raw):
            raise NotModelled("qemu-img dd into what it reads, which nothing locks: what is read is cut off before")
        raise _uncreated(target, f'Failed to get "write" lock\nIs another process using the image [{target}]?')


def _uncreated(target: str, words: str) -> Failed:
    return Failed(f"{target}: error while creating output image: {words}")


def _copied(images: tuple[Image, ...], start: int, end: int) -> Iterable[Run]:
    """What is not zero of these bytes, from the first sector on."""
    low, high = start // SECTOR, -(-end // SECTOR)
    runs = clip(shown(images), low, high)
    if not start and not end % SECTOR:
        return runs
    if sum(until - since for since, until, _ in runs) > _MOVED_MAX:
        raise NotModelled("qemu-img dd of much to another place")
    if not start % SECTOR and not end % SECTOR:
        return moved(runs, -low)
    if high - low > _MOVED_MAX:
        raise NotModelled("qemu-img dd of much that is no whole number of sectors")
    return _in_sectors(bytes_of(between(images, low, high), start, end - start))


def _in_sectors(data: bytes) -> Iterator[Run]:
    for at in range(0, len(data), SECTOR):
        piece = data[at : at + SECTOR].ljust(SECTOR, b"\0")
        if any(piece):
            yield at // SECTOR, at // SECTOR + 1, foreign(piece)
