"""Save files: a header with the configuration, then the memory, then a mark that it is all there.

Not the bytes of libxl's stream, but what is in it, where it is torn, and how long it is. A file that lacks the mark
is a fragment, as a killed or failed save leaves it.
"""

import msgspec

from simulator.guest import Memory
from xensnap.model import Disk, GuestKind

MAGIC = b"Xen saved domain, xl format (simulated)\n"
END = b"\nEND\n"
HEADER_BYTES = 3161
"""Length of what a save leaves that never began (xen.md 6)."""


class SavedError(Exception):
    """The file is no save file, or not a whole one."""


class Header(msgspec.Struct, frozen=True):
    """The configuration that a save file carries: what the domain had when it was made (xen.md 14, 23)."""

    kind: GuestKind
    name: str
    uuid: str
    disks: tuple[Disk, ...]
    domid: int = 0
    items: str = ""


def header(told: Header) -> bytes:
    """The first bytes of a save file."""
    return (MAGIC + msgspec.json.encode(told) + b"\n").ljust(HEADER_BYTES)


def body(memory: Memory, length_bytes: int) -> bytes:
    """The rest of it."""
    return msgspec.json.encode(memory).ljust(length_bytes - len(END)) + END


def outdated(length_bytes: int) -> bytes:
    """Pages that are sent again later in the stream: there, and of no meaning."""
    return b" " * length_bytes


def _header_end(data: bytes) -> int:
    return max(HEADER_BYTES, data.find(b"\n", len(MAGIC)) + 1)


def read_header(data: bytes) -> Header:
    """The configuration in a save file; `SavedError` where there is none."""
    if not data.startswith(MAGIC) or len(data) < HEADER_BYTES:
        raise SavedError("File has wrong magic number - not a save file")
    try:
        return msgspec.json.decode(data[len(MAGIC) : _header_end(data)].strip(), type=Header)
    except msgspec.DecodeError:
        raise SavedError("File has a damaged header") from None


def read_memory(data: bytes) -> Memory:
    """The memory in a save file; `SavedError` where it is a fragment."""
    if not data.endswith(END):
        raise SavedError("restore failed: stream truncated")
    try:
        return msgspec.json.decode(data[_header_end(data) : -len(END)].strip(), type=Memory)
    except msgspec.DecodeError:
        raise SavedError("restore failed: stream damaged") from None
