"""The steps of a qemu-img given as a command line, so that it can die, or be left behind, between any two of them."""

from collections.abc import Sequence

from simulator.disk.chain import OpenError, chain, opened
from simulator.disk.filesystem import FileSystem
from simulator.disk.image import Qcow2
from simulator.tools import qemu_img
from simulator.tools.img.arguments import Call, Failed, read
from simulator.tools.qemu_img import Program
from xensnap.model import Format, Layer

_SHORT = "qpUf:F:b:udl:O:r:t:"


def program_of(fs: FileSystem, argv: Sequence[str]) -> Program | None:
    """The program of a command line that is known to end well; None for one that has no steps worth a name."""
    verb, *rest = argv
    if verb == "snapshot":
        return _snapshot(fs, rest)
    try:
        call = read(rest, _SHORT, ("image-opts", "output=", "shrink"))
    except Failed:  # an option that is right, since it ends well, and that nothing with steps has
        return None
    first, *others = call.words
    layer = Layer(first, Format(call.get("f") or "qcow2"))
    match verb:
        case "create" if call.has("u"):
            return qemu_img.CreateOverlay(first, call.get("b") or "", call.get("F") or "", int(others[0]))
        case "commit" if call.has("b"):
            return qemu_img.Commit(layer, Layer(call.get("b") or "", _format(fs, layer, call.get("b") or "")))
        case "rebase":
            return qemu_img.Rebase(layer, call.get("b") or "", call.get("F") or "", copy=not call.has("u"))
        case "resize":
            return qemu_img.Resize(layer, int(others[0]))
        case "check" if call.has("r"):
            return qemu_img.Repair(layer)
        case "convert" if (call.get("l") or "").startswith("snapshot.id="):
            wanted = (call.get("l") or "").removeprefix("snapshot.id=")
            return qemu_img.CopyOut(layer, wanted, others[0], call.has("U"))
    return None


def _snapshot(fs: FileSystem, rest: Sequence[str]) -> Program | None:
    call = read(rest, "c:a:d:lqU", ("image-opts", "force-share"))
    layer = _layer(call)
    image = opened(fs, layer).image
    if not isinstance(image, Qcow2):
        return None
    if (tag := call.get("c")) is not None:
        return qemu_img.SnapshotCreate(layer, tag)
    if (wanted := call.get("a")) is not None and (entry := image.table.by_id(wanted) or image.table.by_tag(wanted)):
        return qemu_img.SnapshotApply(layer, entry.told.id)
    if (tag := call.get("d")) is not None and (entry := image.table.by_tag(tag)):
        return qemu_img.SnapshotDelete(layer, tag, entry.told.id)
    return None


def _layer(call: Call) -> Layer:
    """The one image, by its name or by options with a plain file."""
    (word,) = call.words
    if not call.has("image-opts"):
        return Layer(word, Format.QCOW2)
    _, _, path = word.partition("file.filename=")
    return Layer(path.replace(",,", ","), Format.QCOW2)


def _format(fs: FileSystem, top: Layer, path: str) -> Format:
    """The format in which an image of a chain is opened."""
    try:
        return next((Format(link.format) for link in chain(fs, top) if link.path == path), Format.QCOW2)
    except OpenError:
        return Format.QCOW2
