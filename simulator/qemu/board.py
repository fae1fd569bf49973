"""What a monitor's command works on: the files and one QEMU, and how images are found, named and locked there."""

import msgspec

from simulator.core.unmodelled import NotModelled
from simulator.disk.chain import OpenError, opened
from simulator.disk.filesystem import FileSystem
from simulator.disk.image import Image, Qcow2, Raw
from simulator.qemu import graph
from simulator.qemu.graph import Drive, Event, Node, Qemu
from simulator.qemu.points import QmpError
from xensnap.model import Format, Layer

replace = msgspec.structs.replace

NAME_MAX = 31


class Board(msgspec.Struct, frozen=True):
    """The files, the QEMU, the time, and what has happened and is not told yet.

    Attributes:
        crashed: the words with which this QEMU has died in the middle of a command.
        output: what it has printed on its standard output.
        later: what is told after the reply to the command under way.
        made: the image files that it has made itself, the oldest first. They stay, whatever becomes of the command.
    """

    fs: FileSystem
    qemu: Qemu
    now_ns: int
    events: tuple[Event, ...] = ()
    crashed: str = ""
    output: tuple[str, ...] = ()
    later: tuple[Event, ...] = ()
    made: tuple[tuple[str, Image], ...] = ()

    def happened(self, name: str, **data: object) -> "Board":
        """One event more."""
        return replace(self, events=(*self.events, Event(name, data)))

    def replied_first(self) -> "Board":
        """What has happened is told after the reply."""
        return replace(self, later=(*self.later, *self.events), events=())

    def having(self, fs: FileSystem, qemu: Qemu) -> "Board":
        """With other files and another QEMU, which has open what its graph says."""
        return replace(self, fs=graph.opening(fs, qemu), qemu=qemu)


class Left(QmpError):
    """A command fails, and yet something is not as it was.

    Attributes:
        board: how it is now.
    """

    def __init__(self, words: str, board: Board, error_class: str = "GenericError") -> None:
        super().__init__(words, error_class)
        self.board = board


class Place(msgspec.Struct, frozen=True):
    """A node where it stands. `file` says that the node of the file below it is meant."""

    drive: Drive
    at: int
    file: bool = False

    @property
    def node(self) -> Node:
        """The node with the format."""
        return self.drive.chain[self.at]

    @property
    def called(self) -> str:
        """What messages call it: the device that stands on it, or its own name."""
        drive = self.drive
        return drive.device if drive.attached and drive.device and not self.at else self.node.name


def places(qemu: Qemu) -> list[Place]:
    """Every node, newest first, with the node of its file after it."""
    found = [Place(drive, at) for drive in qemu.drives for at in range(len(drive.chain))]
    return sorted(found, key=lambda place: -place.node.serial)


def by_node(qemu: Qemu, name: str) -> Place | None:
    """The node of this name."""
    for place in places(qemu):
        if place.node.name == name:
            return place
        if place.node.file_name and place.node.file_name == name:
            return replace(place, file=True)
    return None


def by_device(qemu: Qemu, name: str) -> Drive | None:
    """The drive whose backend QEMU calls so; those of xenstore have no name."""
    if name and name in qemu.empty:
        raise NotModelled(f"QMP: the empty drive {name!r}")
    return next((drive for drive in qemu.drives if name and drive.attached and drive.device == name), None)


def require_media(qemu: Qemu) -> None:
    """Every drive can be told of."""
    if qemu.empty:
        raise NotModelled("QMP: what is told of an empty drive")


def found(qemu: Qemu, device: str | None, node: str | None) -> Place:
    """What either of the two names: the device is looked up first and wins (qemu.md 125)."""
    if device is not None and (drive := by_device(qemu, device)):
        return Place(drive, 0)
    if node is not None and (place := by_node(qemu, node)):
        if not place.node.file_name and isinstance(place.node.belief, Qcow2):
            raise NotModelled(f"QMP: what is done to {node!r}, the file of an image")
        return place
    raise QmpError(f"Cannot find device='{device or ''}' nor node-name='{node or ''}'")


def filename(drive: Drive, at: int) -> str:
    """What QEMU calls an image: its path, or all of it spelled out where the header says something else."""
    if not stands_elsewhere(drive, at):
        return drive.chain[at].layer.path
    from simulator.disk.qjson import written  # noqa: PLC0415 -- only such names need it

    return "json:" + written(_options(drive, at))


def stands_elsewhere(drive: Drive, at: int) -> bool:
    """Whether an image stands on something else than what QEMU has found in its header."""
    node, below = drive.chain[at], drive.chain[at + 1] if at + 1 < len(drive.chain) else None
    by_itself = below.layer.path if below else ""
    return (filename(drive, at + 1) if below else "") != (by_itself if node.expects is None else node.expects)


def _options(drive: Drive, at: int) -> dict[str, object]:
    node = drive.chain[at]
    told: dict[str, object] = {
        "driver": node.layer.format.value,
        "file": {"driver": "file", "filename": node.layer.path},
    }
    if not stands_elsewhere(drive, at):
        return told
    return told | {"backing": _options(drive, at + 1) if at + 1 < len(drive.chain) else None}


# --- names and locks -------------------------------------------------------------------------------------------------


def require_name(name: str) -> None:
    """A node may be called so."""
    if len(name.encode()) > NAME_MAX:
        raise QmpError("Node name too long")
    if not valid_id(name):
        raise QmpError(f"Invalid node-name: '{name}'")


def valid_id(name: str) -> bool:
    """What QEMU takes for an identifier: a letter, then letters, digits and `-._`."""
    return name[:1].isascii() and name[:1].isalpha() and all(c.isascii() and (c.isalnum() or c in "-._") for c in name)


def require_lock(fs: FileSystem, number: int, *, writing: bool, reading: bool = True) -> None:
    """Nobody holds QEMU's locks on this file against us, this very QEMU's other nodes included (qemu.md 88 to 94)."""
    others = [entry for entry in fs.opens.get(number, ()) if entry.locked]
    if not others:
        return
    if reading and any(entry.unread for entry in others):
        raise QmpError('Failed to get "consistent read" lock')
    if writing:
        raise QmpError('Failed to get "write" lock')
    if any(entry.writing for entry in others):
        raise QmpError('Failed to get shared "write" lock')


def require_absolute(path: str) -> None:
    """Where QEMU was started is not modelled."""
    if path and not path.startswith("/"):
        raise NotModelled(f"QMP: the file {path!r}, which is told from where QEMU was started")


def opened_node(board: Board, layer: Layer, *, name: str, readonly: bool, locked: bool = True) -> tuple[Board, Node]:
    """One image opened, without what stands below it. The node is nowhere yet."""
    require_absolute(layer.path)
    if not readonly and layer.path in board.fs.dirs:
        raise QmpError(f"Could not open '{layer.path}': Is a directory")
    try:
        link = opened(board.fs, Layer(layer.path, Format.RAW) if layer.format is Format.RAW else layer)
    except OpenError as error:
        raise QmpError(str(error)) from None
    if locked:
        require_lock(board.fs, link.number, writing=not readonly)
    number = board.qemu.numbered
    node = Node(
        name or f"#block{number + 1}",
        layer,
        link.number,
        readonly,
        graph.belief(link),
        locked,
        number + 1,
        f"#block{number}",
    )
    return replace(board, qemu=replace(board.qemu, numbered=number + 2)), node


def is_raw(image: Image) -> bool:
    """Whether the image has no header."""
    return isinstance(image, Raw)


def put_root(board: Board, drive: Drive, image: Image, failing: str = "") -> Board:
    """The root image written; where the file system refuses, the command fails with `failing` and the reason."""
    try:
        fs, node = graph.put(board.fs, drive.root, image)
    except OSError as error:
        raise QmpError(f"{failing}{error.strerror}") from None
    qemu = board.qemu.having(replace(drive, chain=(node, *drive.chain[1:])))
    return board.having(fs.synced(node.number), qemu)
