"""`qemu-img measure`: how large a copy would be."""

import re
from collections.abc import Sequence

from simulator.core.unmodelled import NotModelled
from simulator.disk.bitmaps import stored_bytes
from simulator.disk.chain import holes, shown
from simulator.disk.content import SECTOR
from simulator.disk.drivers import DRIVERS
from simulator.disk.filesystem import FileSystem
from simulator.disk.image import Image, Qcow2, Raw, l2_entry_bytes, too_large
from simulator.disk.qjson import pretty
from simulator.tools.img.arguments import Call, Failed, a_number, helped, read, require_list
from simulator.tools.img.copy import at_snapshot
from simulator.tools.img.fresh import COMPAT_NAMES, PREALLOCATION, require_cluster, require_counts
from simulator.tools.img.opening import format_given, opened
from simulator.tools.img.options import KINDS, FormatOptions, lists, parsed

_LONG = ("image-opts", "force-share", "object=", "help", "size=", "output=")


def measure(fs: FileSystem, argv: Sequence[str], cwd: str, _now_ns: int) -> tuple[FileSystem, str, str, int]:
    """What the copy would take as it is, and with all of its disk written."""
    checks = {"size": a_number("image size"), "output": _require_output, "o": require_list}
    try:
        call = read(argv, "hf:l:o:O:U", _LONG, cwd=cwd, checks=checks)
    except Failed as failed:
        if (words := _of_getopt(failed.stderr)) is None:
            raise
        return fs, helped(), words, 0  # it prints its help and ends well
    form = "raw" if (given := call.get("O")) is None else given
    parts = lists(value for option, value in call.given if option == "o")
    _require_sense(call)
    size, images = _measured(fs, call)
    options = _wanted(form, parts)
    told = _sizes(options, size, images)
    if call.get("output") == "json":
        return fs, pretty(told) + "\n", "", 0
    names = {"required": "required size", "fully-allocated": "fully allocated size", "bitmaps": "bitmaps size"}
    return fs, "".join(f"{names[key]}: {value}\n" for key, value in told.items()), "", 0


_BAD_OPTION = re.compile(r"qemu-img: (unrecognized option|missing argument for option) '(-+)(.*)'\n")


def _of_getopt(told: str) -> str | None:
    """What getopt_long itself says of a bad option, which other subcommands keep it from."""
    found = _BAD_OPTION.match(told)
    if found is None:
        return None
    what, dashes, name = found.groups()
    if what == "unrecognized option":
        return f"measure: invalid option -- '{name}'\n" if dashes == "-" else f"measure: {what} '--{name}'\n"
    if dashes == "-":
        return f"measure: option requires an argument -- '{name}'\n"
    return f"measure: option '--{name}' requires an argument\n"


def _require_output(output: str) -> None:
    if output not in {"human", "json"}:
        raise Failed("--output must be used with human or json as argument.")


def _require_sense(call: Call) -> None:
    if len(call.words) > 1:
        raise Failed("At most one filename argument is allowed.")
    if not call.words and call.has("image-opts", "f", "l"):
        raise Failed("--image-opts, -f, and -l require a filename argument.")
    if not call.words and not call.has("size"):
        raise Failed("Either --size N or one filename must be specified.")
    if call.words and call.has("size"):
        raise Failed("--size N cannot be used together with a filename.")


def _wanted(form: str, parts: Sequence[str]) -> FormatOptions:
    if form not in KINDS:
        known = f"Block driver '{form}' does not support size measurement" if form in DRIVERS else ""
        raise Failed(known or f"Unknown file format '{form}'")
    try:
        options = parsed(form, parts)
    except Failed as failed:
        failed.stderr += f"qemu-img: Invalid options for file format '{form}'\n"
        raise
    if form == "raw":
        return options
    if options.given.get("encrypt.format"):
        raise NotModelled("qemu-img measure of an image that is encrypted")
    require_cluster(options, old=False)
    if (compat := options.text("compat")) is not None and compat not in COMPAT_NAMES:
        raise Failed(f"Invalid compatibility level: '{compat}'")
    require_counts(options.number("refcount_bits"), old=False)
    if (mode := options.text("preallocation")) is not None and mode not in PREALLOCATION:
        raise Failed(f"invalid parameter value: {mode}")
    return options


def _measured(fs: FileSystem, call: Call) -> tuple[int, tuple[Image, ...]]:
    """Size of the disk, and the images that it is read through."""
    if call.has("size"):
        return -(-(call.number("size") or 0) // SECTOR) * SECTOR, ()
    image = opened(fs, call, call.words[0], form=format_given(call), writing=False)
    images = at_snapshot(image, call.get("l"))
    return images[0].size_bytes, images


def _sizes(options: FormatOptions, size: int, images: tuple[Image, ...]) -> dict[str, int]:
    if options.form == "raw":
        return {"required": size, "fully-allocated": size}
    cluster = options.number("cluster_size")
    extended_l2 = bool(options.get("extended_l2"))
    if too_large(size, cluster, extended_l2=extended_l2):
        raise Failed("The image size is too large (try using a larger cluster size)")
    written = set[int]()
    for low, high, _ in shown(images) if images else ():
        written.update(range(low * SECTOR // cluster, -(-high * SECTOR // cluster)))
    if images and isinstance(images[-1], Raw) and all(holes(each, 0, 1) for each in images[:-1]):
        written.add(0)  # the first block of a raw image is there, whatever it holds
    whole = -(-size // cluster) * cluster
    data = whole if options.text("preallocation") in {"falloc", "full"} else len(written) * cluster
    entries = cluster // l2_entry_bytes(extended_l2=extended_l2)
    tables = _tables_bytes(size, cluster, entries, options.number("refcount_bits"))
    told = {"required": tables + data, "fully-allocated": tables + whole}
    top = images[0] if images else None
    if isinstance(top, Qcow2) and top.version > 2:
        told["bitmaps"] = stored_bytes(top.bitmaps, size, cluster)
    return told


def _tables_bytes(size: int, cluster: int, per_table: int, refcount_bits: int) -> int:
    """Header, refcounts and tables of a qcow2 image, as qcow2_measure counts; an L2 table has `per_table` entries."""
    entries, per_block = cluster // 8, cluster * 8 // refcount_bits
    clusters = -(-size // cluster)
    l2 = -(-clusters // per_table)
    l1 = -(-l2 * 8 // cluster)
    total = 1 + l1 + l2 + clusters
    blocks = table = 0
    while True:
        need_blocks = -(-(total + blocks + table) // per_block)
        need_table = -(-need_blocks // entries)
        if (need_blocks, need_table) == (blocks, table):
            break
        blocks, table = need_blocks, need_table
    return (1 + l1 + l2 + blocks + table) * cluster
