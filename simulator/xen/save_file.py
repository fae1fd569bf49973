"""Save files: a head with the configuration, then libxl's stream with the memory, as `xl save` writes them (4.17).

The records are libxl's and libxc's own, each with its length, so that whoever looks only at the structure finds what
he expects. What they hold is no page of memory but all that a simulated guest remembers.
"""

import struct

import msgspec

from simulator.guest import Memory
from simulator.xen import configurations
from xensnap.errors import Damaged
from xensnap.formats import libxl_json, savefile
from xensnap.formats.savefile import Head
from xensnap.model import Disk, GuestKind

MANDATORY_FLAGS = 3
"""A configuration in JSON, and a stream of version 2."""
_LIBXL = savefile.STREAM + struct.pack(">2I", 2, 0)
_CONTEXT = struct.pack("<2I", 1, 0)
_LIBXC = b"\xff" * 8 + b"XENF" + struct.pack(">IHHI", 3, 0, 0, 0) + struct.pack("<IHHII", 1, 12, 0, 4, 17)
_PAGES = 1
_END = bytes(8)
BEGIN = _LIBXL + _CONTEXT + _LIBXC
"""What comes before the pages."""
_RECORD = struct.Struct("<2I")
_AFTER = _END + _END
"""The end of libxc's records, and of libxl's."""


class SavedError(Exception):
    """The file is no save file, or not a whole one."""


class Header(msgspec.Struct, frozen=True):
    """The configuration that a save file carries: what the domain had when it was made (xen.md 14, 23)."""

    kind: GuestKind
    name: str
    uuid: str
    disks: tuple[Disk, ...]
    items: str = ""
    served: frozenset[str] = frozenset()


def header(told: Header) -> bytes:
    """The first bytes of a save file."""
    config = configurations.spelled(told.kind, told.name, told.uuid, told.disks, told.items, served=told.served)
    return savefile.encode(Head(config, MANDATORY_FLAGS, 0, b"", 0))


def announced(data: bytes) -> str:
    """How xl tells of a head: its flags, and the length of what is optional in it."""
    _, mandatory, optional, length = struct.unpack_from("<4I", data, 32)
    return f"0x{mandatory:x}/0x{optional:x}/{length}"


def body(memory: Memory, length_bytes: int) -> bytes:
    """The rest of it, this long where the memory fits in."""
    pages = msgspec.json.encode(memory)
    length = max(length_bytes - len(BEGIN) - _RECORD.size - len(_AFTER), len(pages))
    return BEGIN + _record(pages.ljust(length)) + _AFTER


def outdated(length_bytes: int) -> bytes:
    """Pages that are sent again later in the stream: there, and of no meaning."""
    return _record(b" " * length_bytes)


def last(memory: Memory) -> bytes:
    """What ends a stream in which other pages came before: those that count."""
    return _record(msgspec.json.encode(memory)) + _AFTER


def _record(pages: bytes) -> bytes:
    pages = pages.ljust(len(pages) + -len(pages) % 8)
    return _RECORD.pack(_PAGES, len(pages)) + pages


def read_header(data: bytes) -> Header:
    """The configuration in a save file; `SavedError` where there is none."""
    if len(data) < savefile.FIXED_BYTES or not data.startswith(savefile.MAGIC):
        raise SavedError("File has wrong magic number - not a save file")
    try:
        config = savefile.parse(data[: savefile.length(data, path="")], path="").config
    except Damaged:
        raise SavedError("File has a damaged header") from None
    kind = libxl_json.kind(config) or GuestKind.PV
    name, uuid, disks = libxl_json.name(config), libxl_json.uuid(config), configurations.disks_of(config)
    return Header(kind, name, uuid, disks, configurations.items_of(config), configurations.served_of(config))


def read_memory(data: bytes) -> Memory:
    """The memory in a save file; `SavedError` where it is a fragment."""
    at, pages = savefile.length(data, path="") + len(BEGIN), b""
    while data[at : at + len(_AFTER)] != _AFTER:
        if len(data) < at + _RECORD.size:
            raise SavedError("restore failed: stream truncated")
        _, length = _RECORD.unpack_from(data, at)
        pages, at = data[at + _RECORD.size : at + _RECORD.size + length], at + _RECORD.size + length
    try:
        return msgspec.json.decode(pages.strip(), type=Memory)
    except msgspec.DecodeError:
        raise SavedError("restore failed: stream damaged") from None
