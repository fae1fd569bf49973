"""Image files that the monitor makes by itself, for an overlay or a backup."""

import posixpath

import msgspec

from simulator.core.unmodelled import NotModelled
from simulator.disk.drivers import DRIVERS
from simulator.disk.filesystem import FileSystem
from simulator.disk.image import Image, Raw, fresh_qcow2
from simulator.qemu.board import Board, require_absolute, require_lock
from simulator.qemu.points import QmpError

replace = msgspec.structs.replace

FORMATS = {"qcow2", "raw"}


def image_made(board: Board, path: str, form: str, size: int, backing_name: str, backing_format: str) -> Board:
    """The file is there from here on, whatever becomes of the command (qemu.md 128, 148).

    Args:
        form: as the client has called the format.
        size: of the disk, in bytes.
        backing_name, backing_format: what it stands on; both are empty where it stands on nothing.
    """
    require_absolute(path)
    if form not in FORMATS:
        if form in DRIVERS:
            raise NotModelled(f"QMP: an image made in {form} format")
        raise QmpError(f"Unknown file format '{form}'")
    if form == "raw" and backing_name:
        raise QmpError("Backing file not supported for file format 'raw'")
    if not path or posixpath.dirname(path.rstrip("/") or "/") not in board.fs.dirs:
        raise QmpError(f"Could not create '{path}': No such file or directory")
    if path.endswith("/") or path in board.fs.dirs:
        raise QmpError(f"Could not create '{path}': Is a directory")
    if path == backing_name:
        raise QmpError("Error: Trying to create an image with the same filename as the backing file")
    if len(backing_name.encode()) > 1023:
        words = f"Could not assign backing file '{backing_name}' with format '{backing_format}': Invalid argument"
        raise QmpError(words)
    if form == "raw":
        return _stored(board, path, Raw(size), f"fmt=raw size={size}")
    backing = f"backing_file={backing_name} backing_fmt={backing_format} " if backing_name else ""
    image = fresh_qcow2(size, backing_name=backing_name, backing_format=backing_format)
    printed = f"fmt=qcow2 cluster_size=65536 extended_l2=off compression_type=zlib size={size} {backing}"
    return _stored(board, path, image, f"{printed}lazy_refcounts=off refcount_bits=16")


def _stored(board: Board, path: str, image: Image, printed: str) -> Board:
    number = board.fs.find(path)
    board = replace(board, output=(*board.output, f"Formatting '{path}', {printed}"))
    if number is not None:
        require_lock(board.fs, number, writing=True, reading=False)
    try:
        return replace(board, fs=written_out(board.fs, path, image), made=(*board.made, (path, image)))
    except OSError as error:
        raise QmpError(f"Could not create '{path}': {error.strerror}") from None


def written_out(fs: FileSystem, path: str, image: Image) -> FileSystem:
    """The file under this name is that image, whatever it was before."""
    number = fs.find(path)
    fs = fs.create(path, image) if number is None else fs.store(number, image, path)
    return fs.sync(path)
