"""`qemu-img convert` and `measure`: what an image or one of its snapshots shows, copied or counted."""

from collections.abc import Sequence

import msgspec

from simulator.core.unmodelled import NotModelled
from simulator.disk import operations as op
from simulator.disk.chain import shown
from simulator.disk.content import SECTOR
from simulator.disk.filesystem import FileSystem
from simulator.disk.image import Image, Qcow2, Raw, fresh_qcow2
from simulator.disk.qjson import pretty
from simulator.disk.snapshots import Entry
from simulator.tools.img.arguments import SIZE_WORDS, Call, Failed, read, size_of, usage
from simulator.tools.img.opening import Opened, format_given, opened
from simulator.tools.img.snapshot import by_id_or_name

_LONG = ("image-opts", "force-share", "object=", "help")


def convert(fs: FileSystem, argv: Sequence[str], cwd: str, _now_ns: int) -> tuple[FileSystem, str, str, int]:
    """One image into a new one, or with `-n` into one that is there."""
    call = read(argv, "hf:O:B:CcF:o:l:S:pt:T:qnm:WUr:", (*_LONG, "bitmaps", "target-is-zero", "salvage"), cwd=cwd)
    for option in ("B", "c", "o", "bitmaps", "target-is-zero", "salvage"):
        if call.has(option):
            raise NotModelled(f"qemu-img convert with {option}")
    if len(call.words) < 2:
        raise Failed("Must specify image file name")
    if len(call.words) > 2:
        raise NotModelled("qemu-img convert of several images into one")
    source, target = call.words
    image = opened(fs, call, source, form=format_given(call), writing=False)
    images = at_snapshot(image, call.get("l"))
    form = call.get("O") or "raw"
    if form not in {"qcow2", "raw"}:
        raise Failed(f"Unknown file format '{form}'")
    path = call.path(target)
    size = images[0].size_bytes
    if any(link.path == path for link in image.links):
        words = f'Failed to get "write" lock\nIs another process using the image [{target}]?'
        raise Failed(f"{target}: error while converting {form}: {words}")
    fresh: Image = fresh_qcow2(size) if form == "qcow2" else Raw(size)
    if call.has("n"):
        found = opened(fs, call, target, form=form, writing=True, words="Could not open '{name}': ")
        fresh = found.top.image
        if fresh.size_bytes < size:
            raise Failed("output file is smaller than input file")
        if isinstance(fresh, Qcow2) and (fresh.backing_name or fresh.content):
            raise NotModelled("qemu-img convert -n into an image that is not empty")
    from simulator.tools.img.create import made_file  # noqa: PLC0415 -- the same way of making a file

    copied = op.written((fresh,), list(shown(images)))
    try:
        return made_file(fs, target, path, copied, ""), "", "", 0
    except Failed as error:
        words = error.stderr.removeprefix(f"qemu-img: {target}: ").removesuffix("\n")
        raise Failed(f"{target}: error while converting {form}: {words}") from None


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
    call = read(argv, "hf:l:o:O:U", (*_LONG, "size=", "output="), cwd=cwd)
    form = call.get("O") or "raw"
    if call.has("o"):
        raise NotModelled("qemu-img measure -o")
    size, data, bitmaps_possible = _measured(fs, call)
    if form not in {"qcow2", "raw"}:
        raise Failed(f"Unknown file format '{form}'")
    required, full = (
        (size, size) if form == "raw" else (_qcow2_bytes(size, data), _qcow2_bytes(size, -(-size // 65536) * 65536))
    )
    told = {"required": required, "fully-allocated": full}
    bitmaps = {"bitmaps": 0} if bitmaps_possible and form == "qcow2" else {}
    if (call.get("output") or "human") == "json":
        return fs, pretty(told | bitmaps) + "\n", "", 0
    lines = f"required size: {required}\nfully allocated size: {full}\n"
    return fs, lines, "", 0


def _measured(fs: FileSystem, call: Call) -> tuple[int, int, bool]:
    """Size and bytes of data, in whole clusters of the copy, and whether the source could hold bitmaps."""
    if call.has("size"):
        size = size_of(call.get("size") or "")
        if size is None:
            raise Failed(SIZE_WORDS)
        return -(-size // SECTOR) * SECTOR, 0, False
    if len(call.words) != 1:
        raise usage("Either --size N or one filename must be specified.")
    image = opened(fs, call, call.words[0], form=format_given(call), writing=False)
    images = at_snapshot(image, call.get("l"))
    clusters = set[int]()
    for low, high, _ in shown(images):
        clusters.update(range(low * SECTOR // 65536, -(-high * SECTOR // 65536)))
    return images[0].size_bytes, len(clusters) * 65536, images[0].version > 2


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
