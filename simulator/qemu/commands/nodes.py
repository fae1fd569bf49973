"""Images opened and closed by the monitor: `blockdev-add`, `blockdev-del`, and what stays when nothing needs it."""

from typing import Any

import msgspec

from simulator.core.unmodelled import NotModelled
from simulator.disk import operations as op
from simulator.disk.chain import below
from simulator.disk.chain import opened as link_of
from simulator.disk.drivers import DRIVERS
from simulator.disk.image import Qcow2
from simulator.qemu import graph
from simulator.qemu.bitmap import cut
from simulator.qemu.blockers import backed, busy, root
from simulator.qemu.board import (
    Board,
    Place,
    by_device,
    by_node,
    found,
    is_raw,
    opened_node,
    put_root,
    require_absolute,
    require_name,
)
from simulator.qemu.commands.command import Command, Result
from simulator.qemu.graph import Drive, Node, Qemu
from simulator.qemu.points import QmpError
from simulator.qemu.schema import Arguments, Kind, anything, enum, record, tagged, text, truth, whole
from xensnap.model import Format, Layer

replace = msgspec.structs.replace

_COMMON: dict[str, Kind] = {
    "node-name?": text,
    "discard?": enum("ignore", "unmap"),
    "cache?": record({"direct?": truth, "no-flush?": truth}),
    "read-only?": truth,
    "auto-read-only?": truth,
    "force-share?": truth,
    "detect-zeroes?": enum("off", "on", "unmap"),
}
_VARIANTS: dict[str, dict[str, Kind]] = {
    "file": {
        "filename": text,
        "locking?": enum("auto", "on", "off"),
        "aio?": enum("threads", "native", "io_uring"),
    },
    "raw": {"file": anything},
    "qcow2": {
        "file": anything,
        "backing?": anything,
        "lazy-refcounts?": truth,
        "pass-discard-request?": truth,
        "pass-discard-snapshot?": truth,
        "pass-discard-other?": truth,
    },
}
BLOCKDEV: Kind = tagged("driver", _COMMON, _VARIANTS, enum(*sorted(DRIVERS)))


class _File(msgspec.Struct, frozen=True):
    """What a format stands on: a file to open, or a node that is there."""

    path: str
    name: str = ""
    node: Place | None = None
    locking: bool = True


def _add(board: Board, arguments: Arguments) -> Result:
    name = arguments.get("node-name")
    if name is None:
        raise QmpError("'node-name' must be specified for the root node")
    if not name:
        raise QmpError("Invalid node-name: ''")
    board, drive = opened_drive(board, arguments, name)
    drive = replace(drive, chain=(replace(drive.root, owned=True), *drive.chain[1:]))
    return board.having(board.fs, replace(board.qemu, drives=(*board.qemu.drives, drive))), {}


def opened_drive(board: Board, arguments: Arguments, name: str) -> tuple[Board, Drive]:
    """A new drive that no device stands on. A node that it takes for its file or backing stands alone no more."""
    readonly = bool(arguments.get("read-only"))
    driver = arguments["driver"]
    _require_plain(arguments, readonly=readonly)
    if driver == "file":
        board, node = _file_node(board, arguments["filename"], name, readonly=readonly)
        if name:
            require_free_name(board, name)
        return board, Drive(name, (node,), attached=False)
    file = _file(board, arguments["file"])
    if file.node is None and board.fs.find(file.path) is None:
        raise QmpError(f"Could not open '{file.path}': No such file or directory")
    if name:
        require_free_name(board, name)
    board, node = opened_node(
        board,
        Layer(file.path, Format(driver)),
        name=name,
        readonly=readonly,
        # A raw node that nothing uses takes no lock (qemu.md 92).
        locked=file.locking and driver != "raw",
    )
    if file.name:
        node = replace(node, file_name=file.name, file_owned=file.node is not None)
    drive = Drive(name, (node,), attached=False)
    if file.node is not None:
        board = replace(board, qemu=_without(board.qemu, file.node.drive))
    if driver == "raw":
        return board, drive
    return _on_backing(board, drive, arguments)


def _require_plain(arguments: Arguments, *, readonly: bool) -> None:
    """Options that go together, and of those that would be told of the node only their defaults."""
    if arguments.get("force-share"):
        if not readonly:
            raise QmpError("force-share=on can only be used with read-only images")
        raise NotModelled("QMP: blockdev-add with force-share")
    zeroes = arguments.get("detect-zeroes", "off")
    if zeroes == "unmap" and arguments.get("discard") != "unmap":
        words = "setting detect-zeroes to unmap is not allowed without setting discard operation to unmap"
        raise QmpError(words)
    if zeroes != "off":
        raise NotModelled("QMP: blockdev-add with detect-zeroes")
    if any(arguments.get("cache", {}).values()):
        raise NotModelled("QMP: blockdev-add with another cache than the host's")


def require_free_name(board: Board, name: str) -> None:
    """A new node may be called so."""
    require_name(name)
    if by_node(board.qemu, name) is not None or any(job.filter_name == name for job in board.qemu.jobs if not job.over):
        raise QmpError(f"Duplicate nodes with node-name='{name}'")
    if by_device(board.qemu, name) is not None:
        raise QmpError(f"node-name={name} is conflicting with a device id")


def _file_node(board: Board, path: str, name: str, *, readonly: bool) -> tuple[Board, Node]:
    """The node of a file, on which a format may be put later; it is told as the protocol that it is."""
    require_absolute(path)
    stored = getattr(board.fs.inodes.get(board.fs.find(path) or 0), "stored", None)
    form = Format.QCOW2 if isinstance(stored, Qcow2) else Format.RAW
    board, node = opened_node(board, Layer(path, form), name=name, readonly=readonly, locked=False)
    return board, replace(node, file_name="", layer=Layer(path, Format.RAW))


def _file(board: Board, given: Any) -> _File:
    if isinstance(given, str):
        place = by_node(board.qemu, given)
        if place is None:
            raise QmpError(f"Cannot find device='{given}' nor node-name='{given}'")
        if place.file or place.node.file_name or place.at:
            raise NotModelled("QMP: a node as the file of another that is no file itself, or is in use")
        return _File(place.node.layer.path, given, place)
    if not isinstance(given, dict):
        raise QmpError("Invalid parameter type for 'file', expected: BlockdevRef")
    checked = BLOCKDEV(given, "file", "file")
    if checked["driver"] != "file":
        raise NotModelled(f"QMP: an image on the protocol {checked['driver']!r}")
    return _File(checked["filename"], checked.get("node-name", ""), locking=checked.get("locking") != "off")


def _on_backing(board: Board, drive: Drive, arguments: Arguments) -> tuple[Board, Drive]:
    node = drive.root
    given = arguments.get("backing", "implicit") if "backing" in arguments else "implicit"
    if given is None or given == "":
        return board, replace(drive, chain=(_expecting(node),))
    if isinstance(given, dict):
        board, lower = opened_drive(board, given, given.get("node-name", ""))
        return board, replace(drive, chain=(_expecting(node), *_as_backing(lower)))
    if "backing" in arguments:
        place = by_node(board.qemu, given)
        if place is None:
            raise QmpError(f"Could not open backing file: Cannot find device='{given}' nor node-name='{given}'")
        lower = replace(place.drive, chain=place.drive.chain[place.at :])
        if place.drive.attached and not place.at:
            raise NotModelled("QMP: the disk of a device as a backing file")
        if not place.drive.attached and not place.at:
            board = replace(board, qemu=_without(board.qemu, place.drive))
        # It stays open for writing where it was (measured: 7.2.22).
        kept = replace(lower.root, locked=True)
        return board, replace(drive, chain=(_expecting(node), kept, *_as_backing(lower)[1:]))
    return _implicit(board, drive)


def _expecting(node: Node) -> Node:
    """A node that stands on what it was told to, whatever its header says."""
    return replace(node, expects=getattr(node.belief, "backing_name", ""))


def _as_backing(drive: Drive) -> tuple[Node, ...]:
    return tuple(replace(node, readonly=True, locked=True) for node in drive.chain)


def _implicit(board: Board, drive: Drive) -> tuple[Board, Drive]:
    """What the header names, opened for reading, down to the end."""
    chain = list(drive.chain)
    try:
        link = link_of(board.fs, drive.root.layer)
        while (lower := below(board.fs, link)) is not None:
            _require_no_loop(chain, lower)
            board, node = opened_node(board, lower, name="", readonly=True)
            chain.append(node)
            link = link_of(board.fs, lower)
    except QmpError as error:
        raise QmpError("Could not open backing file: " * len(chain) + str(error)) from None
    return board, replace(drive, chain=tuple(chain))


def _require_no_loop(chain: list[Node], lower: Layer) -> None:
    if any(node.layer.path == lower.path for node in chain):
        raise QmpError('Failed to get shared "write" lock')


def _without(qemu: Qemu, drive: Drive) -> Qemu:
    return replace(qemu, drives=tuple(other for other in qemu.drives if other is not drive))


# --- closing ---------------------------------------------------------------------------------------------------------


def _del(board: Board, arguments: Arguments) -> Result:
    name = arguments["node-name"]
    place = by_node(board.qemu, name)
    if place is None:
        raise QmpError(f"Failed to find node with node-name='{name}'")
    drive = place.drive
    if not place.file:
        if backed(board.qemu, place):
            raise QmpError(f"Node {name} is in use")
        if words := busy(board.qemu, place, None):
            raise QmpError(words)
    owned = place.node.file_owned if place.file else place.node.owned
    if not owned:
        raise QmpError(f"Node {name} is not owned by the monitor")
    if place.file:
        raise QmpError(f"Block device {name} is in use")
    return dropped(board, drive, 1), {}


def dropped(board: Board, drive: Drive, count: int) -> Board:
    """The first nodes of a drive closed; of what stood below them, what the monitor holds stays by itself."""
    qemu = _without(board.qemu, drive)
    for node in drive.chain[:count]:
        if node.file_owned:
            kept = replace(node, name=node.file_name, file_name="", owned=True, file_owned=False, locked=False)
            layer = Layer(node.layer.path, Format.RAW)
            file = Drive(node.file_name, (replace(kept, layer=layer),), attached=False)
            qemu = replace(qemu, drives=(*qemu.drives, file))
    left = graph.kept_alone(qemu, drive.chain[count:])
    if len(left.drives) > len(qemu.drives):
        # A job goes on with what stays.
        jobs = tuple(replace(job, vdev=left.drives[-1].vdev) if job.vdev == drive.vdev else job for job in left.jobs)
        left = replace(left, jobs=jobs)
    return board.having(board.fs, left)


# --- size and header -------------------------------------------------------------------------------------------------


def _resize(board: Board, arguments: Arguments) -> Result:
    size = arguments["size"]
    place = found(board.qemu, arguments.get("device"), arguments.get("node-name"))
    if size < 0:
        raise QmpError("Parameter 'size' expects a >0 size")
    if busy(board.qemu, place, None):
        raise QmpError(f"Device '{arguments.get('device', '(null)')}' is in use")
    if place.node.readonly:
        raise QmpError("Image is read-only")
    if not is_raw(place.node.belief) and size % 512:
        raise QmpError("The new size must be a multiple of 512")
    images = graph.images(board.fs, place.drive)
    try:
        # What qemu-img refuses, a running QEMU shrinks without a word (qemu.md 170); to nothing, too.
        image = op.resized(images, size) if size else replace(op.resized(images, 512), size_bytes=0)
    except op.QemuError as error:
        raise QmpError(str(error)) from None
    board = put_root(board, place.drive, image)
    drive = found(board.qemu, None, place.node.name).drive
    cut_ones = tuple(cut(bitmap, size) for bitmap in drive.root.bitmaps)
    return replace(board, qemu=board.qemu.having(graph.with_bitmaps(drive, 0, cut_ones))), {}


def _change_backing(board: Board, arguments: Arguments) -> Result:
    device, name, backing = arguments["device"], arguments["image-node-name"], arguments["backing-file"]
    top = root(board.qemu, device)
    place = found(board.qemu, None, name)
    drive = place.drive
    image = graph.current(board.fs, place.node)
    if place.at + 1 == len(drive.chain):
        raise QmpError("not allowing backing file change on an image without a backing file")
    if drive is not top.drive:
        raise QmpError(f"'{device}' and image file are not in the same chain")
    assert isinstance(image, Qcow2)
    if len(backing.encode()) > 1023:
        raise QmpError(f"Could not change backing file to '{backing}': Invalid argument")
    form = drive.chain[place.at + 1].layer.format.value if backing else ""
    changed = replace(image, backing_name=backing, backing_format=form)
    fs, node = graph.put(board.fs, replace(place.node, expects=backing), changed)
    chain = (*drive.chain[: place.at], node, *drive.chain[place.at + 1 :])
    return board.having(fs.synced(node.number), board.qemu.having(replace(drive, chain=chain))), {}


COMMANDS = {
    "blockdev-add": Command({"": anything}, _add),
    "blockdev-del": Command({"node-name": text}, _del),
    "block_resize": Command({"device?": text, "node-name?": text, "size": whole}, _resize),
    "change-backing-file": Command({"device": text, "image-node-name": text, "backing-file": text}, _change_backing),
}
