"""`qemu-img convert` and `measure`: what an image or one of its snapshots shows, copied or counted."""

from collections.abc import Sequence

import msgspec

from simulator.core.unmodelled import NotModelled
from simulator.disk import operations as op
from simulator.disk.bitmaps import StoredBitmap, stored_bytes
from simulator.disk.chain import shown
from simulator.disk.content import SECTOR
from simulator.disk.filesystem import FileSystem
from simulator.disk.image import Image, Qcow2, Raw, fresh_qcow2
from simulator.disk.qjson import pretty
from simulator.disk.snapshots import Entry
from simulator.tools.img import progress
from simulator.tools.img.arguments import Call, Failed, a_number, number, read, require_list, usage
from simulator.tools.img.opening import Opened, format_given, opened
from simulator.tools.img.snapshot import by_id_or_name

_SPARSE_MAX = 16 << 20
_COROUTINES_MAX = 16
_SKIP = "Try --skip-broken-bitmaps, or use 'qemu-img bitmap --remove' to delete it"
_LONG = ("image-opts", "force-share", "object=", "help")


def convert(fs: FileSystem, argv: Sequence[str], cwd: str, _now_ns: int) -> tuple[FileSystem, str, str, int]:
    """One image into a new one, or with `-n` into one that is there."""
    long = (*_LONG, "bitmaps", "skip-broken-bitmaps", "target-is-zero", "target-image-opts", "salvage")
    call = read(argv, "hf:O:B:CcF:o:l:S:pt:T:qnm:WUr:", long, cwd=cwd, checks=_CONVERT_CHECKS)
    for option in ("B", "C", "c", "o", "target-is-zero", "target-image-opts", "salvage"):
        if call.has(option):
            raise NotModelled(f"qemu-img convert with {option}")
    if call.has("skip-broken-bitmaps") and not call.has("bitmaps"):
        raise Failed("Use of --skip-broken-bitmaps requires --bitmaps")
    if len(call.words) < 2:
        raise Failed("Must specify image file name")
    if len(call.words) > 2:
        raise NotModelled("qemu-img convert of several images into one")
    call.require_cache("T")
    try:
        fs, warning = _converted(fs, call, *call.words)
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
    if not size:
        raise NotModelled("qemu-img convert -S 0, which allocates all of the copy")


def _require_coroutines(text: str) -> None:
    if not text.isdecimal() or not 1 <= int(text) <= _COROUTINES_MAX:
        between = f"between 1 and {_COROUTINES_MAX}"
        raise Failed(f"Invalid number of coroutines. Allowed number of coroutines is {between}")


_CONVERT_CHECKS = {
    "o": require_list,
    "S": _require_sparse,
    "m": _require_coroutines,
    "r": a_number("rate limit"),
}


def _converted(fs: FileSystem, call: Call, source: str, target: str) -> tuple[FileSystem, str]:
    image = opened(fs, call, source, form=format_given(call), writing=False)
    images = at_snapshot(image, call.get("l"))
    form = call.get("O") or "raw"
    if form not in {"qcow2", "raw"}:
        raise Failed(f"Unknown file format '{form}'")
    path, size = call.path(target), images[0].size_bytes
    bitmaps, broken = _copied_bitmaps(call, image.images[0], form)
    if any(link.path == path for link in image.links):
        words = f'Failed to get "write" lock\nIs another process using the image [{target}]?'
        raise Failed(f"{target}: error while converting {form}: {words}")
    fresh: Image = fresh_qcow2(size) if form == "qcow2" else Raw(size)
    if not call.has("n"):
        fs = _made(fs, target, path, form, fresh)
    try:
        call.require_cache("t")
    except Failed as error:
        error.fs = fs  # the file is made by then
        raise
    if call.has("n"):
        fresh = _there(fs, call, target, form, size)
    copied = op.written((fresh,), list(shown(images)))
    if isinstance(copied, Qcow2):
        copied = msgspec.structs.replace(copied, bitmaps=(*copied.bitmaps, *bitmaps))
    fs = _made(fs, target, path, form, copied)
    if broken:
        raise Failed(f"Cannot copy inconsistent bitmap '{broken}'\n{_SKIP}", fs=fs)
    return fs, ""


def _made(fs: FileSystem, target: str, path: str, form: str, image: Image) -> FileSystem:
    from simulator.tools.img.create import made_file  # noqa: PLC0415 -- the same way of making a file

    try:
        return made_file(fs, target, path, image, "")
    except Failed as error:
        words = error.stderr.removeprefix(f"qemu-img: {target}: ").removesuffix("\n")
        raise Failed(f"{target}: error while converting {form}: {words}") from None


def _there(fs: FileSystem, call: Call, target: str, form: str, size: int) -> Image:
    """What `-n` writes into."""
    image = opened(fs, call, target, form=form, writing=True, words="Could not open '{name}': ").top.image
    if image.size_bytes < size:
        raise Failed("output file is smaller than input file")
    if isinstance(image, Qcow2) and (image.backing_name or image.content):
        raise NotModelled("qemu-img convert -n into an image that is not empty")
    if call.has("bitmaps"):
        raise NotModelled("qemu-img convert --bitmaps -n")
    return image


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


def measure(fs: FileSystem, argv: Sequence[str], cwd: str, _now_ns: int) -> tuple[FileSystem, str, str, int]:
    """How large a copy would be."""
    call = read(argv, "hf:l:o:O:U", (*_LONG, "size=", "output="), cwd=cwd, checks={"size": a_number("image size")})
    form = call.get("O") or "raw"
    if call.has("o"):
        raise NotModelled("qemu-img measure -o")
    size, data, bitmaps_bytes = _measured(fs, call)
    if form not in {"qcow2", "raw"}:
        raise Failed(f"Unknown file format '{form}'")
    required, full = (
        (size, size) if form == "raw" else (_qcow2_bytes(size, data), _qcow2_bytes(size, -(-size // 65536) * 65536))
    )
    told = {"required": required, "fully-allocated": full}
    bitmaps = {"bitmaps": bitmaps_bytes} if bitmaps_bytes is not None and form == "qcow2" else {}
    if (call.get("output") or "human") == "json":
        return fs, pretty(told | bitmaps) + "\n", "", 0
    lines = f"required size: {required}\nfully allocated size: {full}\n"
    return fs, lines + (f"bitmaps size: {bitmaps_bytes}\n" if bitmaps else ""), "", 0


def _measured(fs: FileSystem, call: Call) -> tuple[int, int, int | None]:
    """Size and bytes of data, in whole clusters of the copy, and of bitmaps; None where there could be none."""
    if call.has("size"):
        return -(-(call.number("size") or 0) // SECTOR) * SECTOR, 0, None
    if len(call.words) != 1:
        raise usage("Either --size N or one filename must be specified.")
    image = opened(fs, call, call.words[0], form=format_given(call), writing=False)
    images = at_snapshot(image, call.get("l"))
    clusters = set[int]()
    for low, high, _ in shown(images):
        clusters.update(range(low * SECTOR // 65536, -(-high * SECTOR // 65536)))
    top = images[0]
    size, third = top.size_bytes, isinstance(top, Qcow2) and top.version > 2
    bitmaps = stored_bytes(top.bitmaps, size, 65536) if isinstance(top, Qcow2) and third else None
    return size, len(clusters) * 65536, bitmaps


def _qcow2_bytes(size: int, data: int) -> int:
    """Header, refcounts, tables and data of a qcow2 image with clusters of 64 KiB, as qcow2_measure counts."""
    cluster, entries = 65536, 8192
    clusters = -(-size // cluster)
    l2 = -(-clusters // entries)
    l1 = -(-l2 * 8 // cluster)
    meta = (1 + l1 + l2) * cluster
    total = meta // cluster + clusters
    blocks = table = 0
    while True:
        need_blocks = -(-(total + blocks + table) // 32768)
        need_table = -(-need_blocks * 8 // cluster)
        if (need_blocks, need_table) == (blocks, table):
            break
        blocks, table = need_blocks, need_table
    return meta + (blocks + table) * cluster + min(data, clusters * cluster)
