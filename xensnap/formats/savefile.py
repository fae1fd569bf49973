"""The files that `xl save` writes: a head with the domain's configuration, then libxl's stream (Xen 4.17.7).

    32 bytes   magic
    4 x u32    byte order 0x01020304, mandatory flags, optional flags, length of what follows
    ...        u32 length of the configuration, the configuration as JSON with a zero byte, and what may come after it
    ...        the stream, which begins with `LibxlFmt` and ends with an empty record of type 0: eight zero bytes

Pure: bytes in, value out. A changed head can be longer or shorter; the stream does not know where it begins.
"""

import struct

import msgspec

from xensnap.errors import Damaged
from xensnap.formats import libxl_json
from xensnap.formats.libxl_json import Config

MAGIC = b"Xen saved domain, xl format\n \0 \r"
STREAM = b"LibxlFmt"
END = bytes(8)
FIXED_BYTES = 48
"""Length of what comes before the part whose length it tells."""
OPTIONAL_BYTES_MAX = 16 << 20
"""libxl's own configurations have some kilobytes."""

_ORDER = 0x01020304
_JSON = 1


class Head(msgspec.Struct, frozen=True):
    """The head of a save file. `rest` is what follows the configuration within it."""

    config: Config
    mandatory_flags: int
    optional_flags: int
    rest: bytes
    length_bytes: int


def length(fixed: bytes, *, path: str) -> int:
    """How long the head is, from its first 48 bytes.

    Raises:
        Damaged: this is no save file of xl, or one of a kind that we do not know.
    """
    if len(fixed) < FIXED_BYTES or fixed[:32] != MAGIC:
        raise _bad(path, 0, "it is no save file of xl")
    order, mandatory, _, optional = struct.unpack_from("<4I", fixed, 32)
    if order != _ORDER:
        raise _bad(path, 32, f"the byte order is {order:#x}")
    if not mandatory & _JSON:
        raise _bad(path, 36, "its configuration is not in JSON")
    if not 4 <= optional <= OPTIONAL_BYTES_MAX:
        raise _bad(path, 44, f"the configuration would be {optional} bytes long")
    return FIXED_BYTES + int(optional)


def parse(head: bytes, *, path: str) -> Head:
    """The head, from exactly as many bytes as `length` tells. `Damaged` as there."""
    whole = length(head, path=path)
    if len(head) != whole:
        raise _bad(path, len(head), f"it ends within its head of {whole} bytes")
    _, mandatory, optional, _ = struct.unpack_from("<4I", head, 32)
    (config_bytes,) = struct.unpack_from("<I", head, FIXED_BYTES)
    begin = FIXED_BYTES + 4
    if begin + config_bytes > whole:
        raise _bad(path, FIXED_BYTES, f"the configuration would be {config_bytes} bytes long")
    config = libxl_json.parse(head[begin : begin + config_bytes], source=path)
    return Head(config, mandatory, optional, head[begin + config_bytes :], whole)


def encode(head: Head) -> bytes:
    """The bytes of a head, with the configuration that it has now; `length_bytes` is not looked at."""
    config = libxl_json.dump(head.config) + b"\0"
    data = struct.pack("<I", len(config)) + config + head.rest
    return MAGIC + struct.pack("<4I", _ORDER, head.mandatory_flags, head.optional_flags, len(data)) + data


def _bad(path: str, offset: int, what: str) -> Damaged:
    return Damaged(f"{path}: {what} - at offset {offset}", path=path)
