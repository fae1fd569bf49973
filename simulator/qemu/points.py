"""Points of several disks at one moment: QMP's `transaction`, and the deletion of an internal snapshot.

All or nothing: every action is first tried on values, so a refused list has changed nothing. QEMU's own words are for
7.2.22; the class of all these errors is GenericError (xen.md 22).
"""

import errno
from os import strerror

import msgspec

from simulator.disk import operations as op
from simulator.disk.chain import OpenError, opened
from simulator.disk.filesystem import FileSystem
from simulator.disk.image import Qcow2
from simulator.qemu import graph
from simulator.qemu.graph import Drive, Node, Qemu
from xensnap.model import Layer

replace = msgspec.structs.replace


class QmpError(Exception):
    """QEMU refuses a command in these words; nothing has changed. Nearly all are of one class."""

    def __init__(self, words: str, error_class: str = "GenericError") -> None:
        super().__init__(words)
        self.error_class = error_class


class HungUp(QmpError):
    """QEMU has ended in the middle of a command: nobody is told what has become of it."""


class Internal(msgspec.Struct, frozen=True, tag="internal"):
    """`blockdev-snapshot-internal-sync`."""

    vdev: str
    tag: str


class External(msgspec.Struct, frozen=True, tag="external"):
    """`blockdev-snapshot-sync` with mode existing, the overlay under a node name of its own."""

    vdev: str
    overlay: Layer


Action = Internal | External


def acted(fs: FileSystem, qemu: Qemu, action: Action, now_ns: int) -> tuple[FileSystem, Qemu]:
    """The images and the graph after one action."""
    return _internal(fs, qemu, action, now_ns) if isinstance(action, Internal) else _external(fs, qemu, action)


def _drive(qemu: Qemu, vdev: str, node: str) -> Drive:
    drive = qemu.drive(vdev)
    if drive is None:
        raise QmpError(f"Cannot find device='{node}' nor node-name='{node}'")
    return drive


def _internal(fs: FileSystem, qemu: Qemu, action: Internal, now_ns: int) -> tuple[FileSystem, Qemu]:
    drive = _drive(qemu, action.vdev, action.vdev)
    return internal(fs, qemu, drive, action.tag, now_ns, called=drive.root.name)


def internal(
    fs: FileSystem, qemu: Qemu, drive: Drive, tag: str, now_ns: int, *, called: str
) -> tuple[FileSystem, Qemu]:
    """An internal snapshot in the root of a drive, which messages call as the client has called it."""
    # The order in which QEMU looks: qemu.md 114.
    root = drive.root
    if qemu.holding(drive.root.name):
        raise QmpError("Need a root block node")
    if root.readonly:
        raise QmpError(f"Device '{called}' is read only")
    image = graph.current(fs, root)
    if not isinstance(image, Qcow2) or qemu.inactive:
        # The words are the same where the images are given up, and mislead (xen-live.md A4).
        form = root.layer.format if root.file_name else "file"
        words = f"Block format '{form}' used by device '{called}' does not support internal snapshots"
        raise QmpError(words)
    if not tag:
        raise QmpError("Name is empty")
    if image.table.by_tag(tag) is not None:
        raise QmpError(f"Snapshot with name '{tag}' already exists on device '{called}'")
    failing = f"Failed to create snapshot '{tag}' on device '{called}': "
    try:
        raised = op.snapshot_raised(image)
        if op.snapshot_refused(image) is not None:
            raise QmpError(f"{failing}{strerror(errno.EINVAL)}")
        taken = op.snapshot_entered(raised, tag, now_ns, live=True)
    except op.QemuError as error:
        raise QmpError(f"{failing}{error}") from None
    return _put(fs, qemu, drive, taken, failing)


def _put(fs: FileSystem, qemu: Qemu, drive: Drive, image: Qcow2, failing: str) -> tuple[FileSystem, Qemu]:
    try:
        after, root = graph.put(fs, drive.root, image)
    except OSError as error:
        raise QmpError(f"{failing}{strerror(error.errno or errno.EIO)}") from None
    return after.synced(root.number), qemu.having(replace(drive, chain=(root, *drive.chain[1:])))


def _external(fs: FileSystem, qemu: Qemu, action: External) -> tuple[FileSystem, Qemu]:
    drive, path = _drive(qemu, action.vdev, ""), action.overlay.path
    if job := qemu.holding(drive.root.name):
        raise QmpError(f"Node '{drive.root.name}' is busy: block device is in use by block job: {job.kind}")
    if drive.root.layer.path == path:
        raise QmpError("Error: Trying to create an image with the same filename as the backing file")
    try:
        link = opened(fs, action.overlay)
    except OpenError as error:
        raise QmpError(str(error)) from None
    if not isinstance(link.image, Qcow2):
        raise QmpError("The overlay does not support backing images")
    if any(entry.pid == qemu.pid for entry in fs.opens.get(link.number, ())):
        raise QmpError('Failed to get "write" lock')
    # What the overlay's header names as its backing file is not looked at: it stands on the old node (qemu.md 135).
    name = f"{action.vdev[:18]}-overlay-{qemu.numbered}"
    number = qemu.numbered
    root = Node(name, action.overlay, link.number, readonly=False, belief=graph.belief(link), locked=True)
    root = replace(root, serial=number, file_name=f"#block{number + 1}")
    frozen = replace(drive.root, readonly=True)
    qemu = replace(qemu, numbered=number + 2)
    qemu = qemu.having(replace(drive, chain=(root, frozen, *drive.chain[1:])))
    return graph.opening(fs, qemu), qemu


def deleted(fs: FileSystem, qemu: Qemu, vdev: str, *, tag: str, snapshot_id: str) -> tuple[FileSystem, Qemu]:
    """`blockdev-snapshot-delete-internal-sync` with name and id. `LookupError` where there is no such snapshot."""
    drive = _drive(qemu, vdev, vdev)
    if qemu.holding(drive.root.name):
        raise QmpError("Need a root block node")
    image = graph.current(fs, drive.root)
    if not isinstance(image, Qcow2):
        raise QmpError("Failed to get a snapshot list: Operation not supported")
    entry = image.table.by_id(snapshot_id)
    if entry is None or entry.told.tag != tag:
        name = drive.root.name
        raise LookupError(f"Snapshot with id '{snapshot_id}' and name '{tag}' does not exist on device '{name}'")
    image = op.snapshot_dropped(op.snapshot_forgotten(image, entry))
    return _put(fs, qemu, drive, image, "Failed to remove snapshot from snapshot list: ")
