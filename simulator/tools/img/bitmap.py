"""`qemu-img bitmap`: dirty bitmaps made, removed, cleared, enabled, disabled and merged, by name."""

from collections.abc import Sequence

import msgspec

from simulator.disk.bitmaps import (
    BITMAPS_MAX,
    GRANULARITY_MIN,
    NAME_BYTES_MAX,
    StoredBitmap,
    default_granularity,
    taken,
    unusable,
)
from simulator.disk.filesystem import FileSystem
from simulator.disk.image import Image, Qcow2
from simulator.tools.img.arguments import Call, Failed, a_number, read
from simulator.tools.img.opening import Opened, format_given, opened

replace = msgspec.structs.replace

_ACTIONS = ("add", "remove", "clear", "enable", "disable", "merge")
_NODE = "#block100"
"""What messages call the image: QEMU draws the number."""


class _Impossible(Exception):
    """An action that cannot be done, in QEMU's words."""


def bitmap(fs: FileSystem, argv: Sequence[str], cwd: str, _now_ns: int) -> tuple[FileSystem, str, str, int]:
    """Actions on one bitmap, in the order given. What was done before one that fails stays done."""
    long = ("add", "remove", "clear", "enable", "disable", "merge=", "granularity=", "image-opts", "object=", "help")
    grain = a_number("granularity")
    call = read(argv, "b:f:F:g:h", long, cwd=cwd, checks={"g": grain, "granularity": grain})
    actions = [(name, value) for name, value in call.given if name in _ACTIONS]
    _require_whole(call, {name for name, _ in actions})
    path, name = call.words
    image = opened(fs, call, path, form=format_given(call), writing=True, backing=False)
    source = _source(fs, call, image)
    top, words = image.images[0], ""
    bitmaps = {each.name: each for each in taken(top.bitmaps)} if isinstance(top, Qcow2) else {}
    for action, merged in actions:
        try:
            _done(top, bitmaps, action, name, call.number("g", "granularity") or 0, source or top, merged)
        except _Impossible as error:
            words = f"qemu-img: Operation {action} on bitmap {name} failed: {error}\n"
            break
    if isinstance(top, Qcow2):
        fs = _stored(fs, image, top, bitmaps)
    return fs, "", image.warning + words, 1 if words else 0


def _require_whole(call: Call, actions: set[str]) -> None:
    """The checks before anything is opened, in QEMU's order."""
    if not actions:
        raise Failed(f"Need at least one of {', '.join(f'--{each}' for each in _ACTIONS[:-1])}, or --merge")
    if call.number("g", "granularity") and "add" not in actions:
        raise Failed("granularity only supported with --add")
    if call.has("F") and not call.has("b"):
        raise Failed("-F only supported with -b")
    if call.has("b") and "merge" not in actions:
        raise Failed("Merge bitmap source file only supported with --merge")
    if len(call.words) != 2:
        raise Failed("Expecting filename and bitmap name")


def _source(fs: FileSystem, call: Call, image: Opened) -> Image | None:
    """Where `--merge` looks, if that is another image."""
    name = call.get("b")
    if name is None:
        return None
    plain = replace(call, given=tuple(each for each in call.given if each[0] != "image-opts"))
    try:
        return opened(fs, plain, name, form=call.get("F"), writing=False, backing=False, beside=image).images[0]
    except Failed as error:
        error.stderr = image.warning + error.stderr
        raise


def _done(
    image: Image, bitmaps: dict[str, StoredBitmap], action: str, name: str, grain: int, source: Image, merged: str
) -> None:
    """One action, on the bitmaps of an image by their names."""
    if action == "add":
        bitmaps[name] = _made(image, bitmaps, name, grain)
        return
    target = _named(bitmaps, name)
    if action == "remove":
        del bitmaps[name]
        return
    if target.broken:
        raise _Impossible(unusable(target))
    if action == "merge":
        _require_mergeable(image, bitmaps, source, merged)
    elif action in {"enable", "disable"}:
        bitmaps[name] = replace(target, enabled=action == "enable")


def _named(bitmaps: dict[str, StoredBitmap], name: str) -> StoredBitmap:
    found = bitmaps.get(name)
    if found is None:
        raise _Impossible(f"Dirty bitmap '{name}' not found")
    return found


def _made(image: Image, bitmaps: dict[str, StoredBitmap], name: str, grain: int) -> StoredBitmap:
    if not name:
        raise _Impossible("Bitmap name cannot be empty")
    grain_32 = grain & 0xFFFFFFFF  # what QEMU keeps of it
    if grain and (grain_32 < GRANULARITY_MIN or grain_32 & (grain_32 - 1)):
        raise _Impossible("Granularity must be power of 2 and at least 512")
    if name in bitmaps:
        raise _Impossible(f"Bitmap already exists: {name}")
    if not isinstance(image, Qcow2):
        raise _Impossible(f"Can't store persistent bitmaps to {_NODE}: Operation not supported")
    reason = _unstorable(image, bitmaps, name)
    if reason:
        raise _Impossible(f"Can't make bitmap '{name}' persistent in '{_NODE}': {reason}")
    return StoredBitmap(name, grain_32 or default_granularity(image.cluster_bytes))


def _unstorable(image: Qcow2, bitmaps: dict[str, StoredBitmap], name: str) -> str:
    if image.version < 3:
        return "Cannot store dirty bitmaps in qcow2 v2 files"
    if len(name.encode("utf-8", "surrogateescape")) > NAME_BYTES_MAX:
        return f"Name length exceeds maximum ({NAME_BYTES_MAX} characters)"
    return "Maximum number of persistent bitmaps is already reached" if len(bitmaps) >= BITMAPS_MAX else ""


def _require_mergeable(image: Image, bitmaps: dict[str, StoredBitmap], source: Image, name: str) -> None:
    if source is not image:
        bitmaps = {each.name: each for each in source.bitmaps} if isinstance(source, Qcow2) else {}
    found = _named(bitmaps, name)
    if found.broken or (source is not image and found.taken):
        raise _Impossible(unusable(found))
    if source.size_bytes != image.size_bytes:
        sizes = f"destination size is {image.size_bytes}, source size is {source.size_bytes}"
        raise _Impossible(f"Bitmaps are of different sizes ({sizes}) and can't be merged")


def _stored(fs: FileSystem, image: Opened, top: Qcow2, bitmaps: dict[str, StoredBitmap]) -> FileSystem:
    """The bitmaps in the image, whose space is that of a directory and a table for each."""
    closed = tuple(replace(each, taken=False) for each in bitmaps.values())
    clusters = (len(closed) + bool(closed)) - (len(top.bitmaps) + bool(top.bitmaps))
    used = top.used + clusters
    after = replace(top, bitmaps=closed, used=used, end=max(top.end, used + top.leaked))
    return fs if after == top else fs.store(image.top.number, after, image.top.path).sync(image.top.path)
