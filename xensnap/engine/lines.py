"""The lines of a journal: CRC-32 in eight hex digits, a space, JSON. Pure, and ignorant of what the JSON says.

A last line that is torn, or does not match its sum, was never acknowledged to anybody and does not count.
"""

import zlib
from collections.abc import Iterator


def line(text: bytes) -> bytes:
    """One line that says this."""
    return b"%08x %s\n" % (zlib.crc32(text), text)


def text_of(line: bytes) -> bytes | None:
    """What a line with its line end says; None where it is torn or damaged."""
    if not line.endswith(b"\n") or line[8:9] != b" ":
        return None
    text = line[9:-1]
    try:
        return text if int(line[:8], 16) == zlib.crc32(text) else None
    except ValueError:
        return None


def from_the_end(data: bytes) -> Iterator[bytes]:
    """The lines, last one first, with their line ends. Takes no longer for a long journal than for a short one."""
    end = len(data)
    while end:
        start = data.rfind(b"\n", 0, end - 1) + 1
        yield data[start:end]
        end = start


def last_text(data: bytes) -> bytes | None:
    """What the last line says that is whole; None where there is none."""
    return next((text for text in map(text_of, from_the_end(data)) if text is not None), None)
