"""`qemu-img convert`: what an image or one of its snapshots shows, copied into another."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec
from immutables import Map

from simulator.core.unmodelled import NotModelled
from simulator.disk import operations as op
from simulator.disk.bitmaps import StoredBitmap
from simulator.disk.chain import holes, sectors, shown
from simulator.disk.content import SECTOR, Run, moved, runs_of
from simulator.disk.filesystem import FileSystem
from simulator.disk.image import Image, Qcow2
from simulator.disk.snapshots import Entry
from simulator.tools.img import progress
from simulator.tools.img.arguments import Call, Failed, a_number, number, number_of, read, require_list
from simulator.tools.img.create import known, made_file, named
from simulator.tools.img.fresh import made, zeros_written
from simulator.tools.img.opening import Opened, format_given, opened
from simulator.tools.img.options import FormatOptions, asks_for_help, lists, parsed
from simulator.tools.img.options import shown as shown_options
from simulator.tools.img.snapshot import by_id_or_name

_SPARSE_MAX = 16 << 20
_COROUTINES_MAX = 16
_MOVED_MAX = 1 << 17
_SKIP = "Try --skip-broken-bitmaps, or use 'qemu-img bitmap --remove' to delete it"
_LONG = ("image-opts", "force-share", "object=", "help")


def convert(fs: FileSystem, argv: Sequence[str], cwd: str, _now_ns: int) -> tuple[FileSystem, str, str, int]:
    """One image into a new one, or with `-n` into one that is there."""
    long = (*_LONG, "bitmaps", "skip-broken-bitmaps", "target-is-zero", "target-image-opts", "salvage")
    call = read(argv, "hf:O:B:CcF:o:l:S:pt:T:qnm:WUr:", long, cwd=cwd, checks=_CONVERT_CHECKS)
    parts = lists(value for option, value in call.given if option == "o")
    form = "raw" if (given := call.get("O")) is None else given
    if asks_for_help(parts):
        return fs, shown_options(known(form), named=len(call.words) > 1), "", 0
    _require_sense(call)
    if call.has("skip-broken-bitmaps") and not call.has("bitmaps"):
        raise Failed("Use of --skip-broken-bitmaps requires --bitmaps")
    if len(call.words) < 2:
        raise Failed("Must specify image file name")
    call.require_cache("T")
    try:
        fs, warning = _converted(fs, call, form, parts, call.words[:-1], call.words[-1])
    except Failed as error:
        error.stdout = progress.shown(call, done=False)
        raise
    return fs, progress.shown(call), warning, 0


def _require_sparse(text: str) -> None:
    size = number(text, "buffer size for sparse output")
    if size % SECTOR or size > _SPARSE_MAX:
        raise Failed(
            f"Invalid buffer size for sparse output specified. Valid sizes are multiples of {SECTOR} up to "
            f"{_SPARSE_MAX}. Select 0 to disable sparse detection (fully allocates output)."
        )


def _require_sense(call: Call) -> None:
    """What goes together, before anything is opened."""
    if call.has("target-image-opts") and not call.has("n"):
        raise Failed("--target-image-opts requires use of -n flag")
    if call.has("target-is-zero") and not call.has("n"):
        raise Failed("--target-is-zero requires use of -n flag")
    if call.has("C") and call.has("S"):
        raise Failed("Cannot enable copy offloading when -S is used")
    if call.has("C") and call.has("c"):
        raise Failed("Cannot enable copy offloading when -c is used")


def _require_coroutines(text: str) -> None:
    if not 1 <= (number_of(text) or 0) <= _COROUTINES_MAX:
        between = f"between 1 and {_COROUTINES_MAX}"
        raise Failed(f"Invalid number of coroutines. Allowed number of coroutines is {between}")


_CONVERT_CHECKS = {
    "o": require_list,
    "S": _require_sparse,
    "m": _require_coroutines,
    "r": a_number("rate limit"),
}


def _converted(
    fs: FileSystem, call: Call, form: str, parts: Sequence[str], sources: Sequence[str], target: str
) -> tuple[FileSystem, str]:
    image, *others = [opened(fs, call, each, form=format_given(call), writing=False) for each in sources]
    if others and call.has("l"):
        raise Failed("No support for concatenating multiple snapshot")
    images = at_snapshot(image, call.get("l"))
    size = images[0].size_bytes + sum(each.images[0].size_bytes for each in others)
    options = _wanted(call, known(form), parts, size)
    if others and call.has("bitmaps"):
        raise Failed("Copying bitmaps only possible with single source")
    if others and options.text("backing_file") is not None:
        words = "Having a backing file for the target makes no sense when concatenating multiple input images"
        raise Failed(words)
    if call.has("target-image-opts"):
        path, form = _by_options(fs, call, target)
    else:
        path = call.path(target)
    bitmaps, broken = _copied_bitmaps(call, image.images[0], form)
    if any(link.path == path for each in (image, *others) for link in each.links):
        words = f'Failed to get "write" lock\nIs another process using the image [{target}]?'
        raise Failed(f"Could not open '{target}': {words}" if call.has("n") else f"{_named_so(target, form)}{words}")
    below: tuple[Image, ...] = ()
    if call.has("n"):
        call.require_cache("t")
        fresh = _there(fs, call, target, form, size)
    else:
        fs, fresh, below = _fresh(fs, call, target, path, options)
    copied = op.written((fresh, *below), [*_copied_runs(images, below), *_behind(images, others)])
    if isinstance(copied, Qcow2):
        copied = msgspec.structs.replace(copied, bitmaps=(*copied.bitmaps, *bitmaps))
    if call.get("S") is not None and not call.number("S"):
        copied = zeros_written(copied)
    if call.has("c") and isinstance(copied, Qcow2):
        if copied.extended_l2:
            raise NotModelled("qemu-img convert -c into an image with extended_l2")
        written = Map((index, value) for index, value in copied.content.items() if value)
        copied = msgspec.structs.replace(copied, compressed=written)
    fs = _made(fs, target, path, form, copied)
    if broken:
        raise Failed(f"Cannot copy inconsistent bitmap '{broken}'\n{_SKIP}", fs=fs)
    return fs, ""


def _behind(first: tuple[Image, ...], others: Sequence[Opened]) -> Iterator[Run]:
    """What the other sources show, each behind the one before it."""
    at = sectors(first[0])
    for each in others:
        runs = shown(each.images)
        if sum(high - low for low, high, _ in runs) > _MOVED_MAX:
            raise NotModelled("qemu-img convert of several images of which one holds much")
        yield from moved(runs, at)
        at += sectors(each.images[0])


def _by_options(fs: FileSystem, call: Call, target: str) -> tuple[str, str]:
    """The path and the format of a target that options describe."""
    there = opened(fs, _of_target(call), target, form=call.get("O"), writing=True)
    return there.top.path, there.layer.format.value


def _of_target(call: Call) -> Call:
    """The call as it is read for the target, which options describe or not, whatever describes the source."""
    given = (("image-opts" if name == "target-image-opts" else name, value) for name, value in call.given)
    left = tuple(
        pair
        for pair, (name, _) in zip(given, call.given, strict=True)
        if name not in {"image-opts", "U", "force-share"}
    )
    return msgspec.structs.replace(call, given=left)


def _named_so(target: str, form: str) -> str:
    return f"{target}: error while converting {form}: "


def _wanted(call: Call, form: str, parts: Sequence[str], size: int) -> FormatOptions:
    """What the copy shall be: the options of its format, `-B` and `-F`."""
    if call.has("c") and form == "raw":
        raise Failed("Compression not supported for this file format")
    if call.has("n"):
        if parts:
            raise Failed("-o has no effect when skipping image creation")
        return FormatOptions(form)
    if call.has("B") and form == "raw":
        raise Failed("Backing file not supported for file format 'raw'")
    options = parsed(form, parts).with_(backing_file=call.get("B"), backing_fmt=call.get("F"))
    if call.has("c") and (options.text("preallocation") or "off") != "off":
        raise Failed("Compression and preallocation not supported at the same time")
    if options.text("backing_file") is not None and options.text("backing_fmt") is None:
        raise Failed("Use of backing file requires explicit backing format")
    return options.with_(size=size)


def _fresh(
    fs: FileSystem, call: Call, target: str, path: str, options: FormatOptions
) -> tuple[FileSystem, Image, tuple[Image, ...]]:
    """The new image, made before anything is copied, and what stands below it."""
    try:
        fresh: Image = made(options, options.number("size"))
    except Failed as failed:
        raise named(failed, f"{target}: error while converting {options.form}") from None
    fs = _made(fs, target, path, options.form, fresh)
    try:
        call.require_cache("t")
        if options.text("backing_file") is None:
            return fs, fresh, ()
        there = opened(fs, _of_target(call), target, form=options.form, writing=True)
    except Failed as error:
        error.fs = fs  # the file is made by then
        raise
    return fs, fresh, there.images[1:]


def _copied_runs(images: tuple[Image, ...], below: tuple[Image, ...]) -> Iterable[Run]:
    """What is written: all that is not zero; over a backing file only what the topmost image has itself.

    That is what QEMU 7.2.22 does whether the source stands on the same file or not (measured). One that stands on none
    is written whole, zeros as far as the backing file reaches.
    """
    if not below:
        return shown(images)
    own = runs_of(images[0].content, images[0].sectors, sectors(images[0]))
    if len(images) > 1:
        return own
    return own + [(low, high, 0) for low, high in holes(images[0], 0, min(sectors(images[0]), sectors(below[0])))]


def _made(fs: FileSystem, target: str, path: str, form: str, image: Image) -> FileSystem:
    try:
        return made_file(fs, target, path, image, "")
    except Failed as error:
        words = error.stderr.removeprefix(f"qemu-img: {target}: ").removesuffix("\n")
        raise Failed(f"{target}: error while converting {form}: {words}") from None


def _there(fs: FileSystem, call: Call, target: str, form: str, size: int) -> Image:
    """What `-n` writes into."""
    by_options = call.has("target-image-opts")
    image = opened(fs, _of_target(call), target, form=None if by_options else form, writing=True).top.image
    if image.size_bytes < size:
        raise Failed("output file is smaller than input file")
    if isinstance(image, Qcow2) and image.backing_name:
        raise NotModelled("qemu-img convert -n into an image that stands on another")
    if call.has("bitmaps"):
        raise NotModelled("qemu-img convert --bitmaps -n")
    if call.has("c") and isinstance(image, Qcow2) and image.content:
        # A cluster that is there cannot be written compressed (measured: 7.2.22).
        if 0 not in image.content:
            raise NotModelled("qemu-img convert -c -n into an image that is not empty")
        raise Failed("error while writing at byte 0: Input/output error")
    if call.has("target-is-zero"):
        return image
    # What is there is made zero first.
    size, end = image.sectors, sectors(image)
    return op.written((image,), [(at * size, min((at + 1) * size, end), 0) for at in sorted(image.content)])


def _copied_bitmaps(call: Call, source: Image, form: str) -> tuple[tuple[StoredBitmap, ...], str]:
    """The bitmaps that `--bitmaps` copies, and the name of the first one that cannot be copied."""
    if not call.has("bitmaps"):
        return (), ""
    if not isinstance(source, Qcow2) or source.version < 3:
        raise Failed("Source lacks bitmap support")
    if form != "qcow2":
        raise NotModelled(f"qemu-img convert --bitmaps -O {form}")
    broken = [each for each in source.bitmaps if each.broken or each.taken]
    if broken and not call.has("skip-broken-bitmaps"):
        return (), broken[0].name
    return tuple(each for each in source.bitmaps if each not in broken), ""


def at_snapshot(image: Opened, wanted: str | None) -> tuple[Image, ...]:
    """What is read: the active layer, or a snapshot in the size that the disk has now (measured: 7.2.22)."""
    if wanted is None:
        return image.images
    top = image.images[0]
    if not isinstance(top, Qcow2):
        words = "Block format 'raw' used by device '' does not support temporarily loading internal snapshots"
        raise Failed(f"Failed to load snapshot: {words}")
    entry = _meant(top, wanted)
    if entry is None:
        raise Failed("Failed to load snapshot: Can't find snapshot")
    return msgspec.structs.replace(top, content=entry.content), *image.images[1:]


def _meant(top: Qcow2, wanted: str) -> Entry | None:
    if not wanted.startswith("snapshot."):
        return by_id_or_name(top.table, wanted)
    options: dict[str, str] = {}
    for part in wanted.split(","):
        key, _, value = part.partition("=")
        if key not in {"snapshot.id", "snapshot.name"}:
            words = f"Invalid parameter '{key}'\nqemu-img: Failed in parsing snapshot param '{wanted}'"
            raise Failed(words)
        options[key] = value
    return next(
        (
            entry
            for entry in top.table
            if options.get("snapshot.id", entry.told.id) == entry.told.id
            and options.get("snapshot.name", entry.told.tag) == entry.told.tag
        ),
        None,
    )
