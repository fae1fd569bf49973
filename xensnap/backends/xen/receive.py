"""The receiving end of a live stream: a program of its own that xl starts, never imported for what it does.

    python receive.py SOCKET FILE       (the stream comes on stdin, xl hears us on stdout)

It greets xl, writes what comes into the existing file, and says on the socket when all of it is there. Then it stays,
and with it the guest stays suspended, until the other end of the socket closes: that is the word to leave, and also
what happens when whoever waited there has died. It never says what xl waits for, that the guest lives here now, so xl
resumes the guest where it is.

The stream is a head as in a save file, libxl's records, and within one of these libxc's records, each with an end of
its own (xen/tools: libxl-migration-stream and libxc-migration-stream, Xen 4.17). Only their lengths are looked at.

Nothing of xensnap is imported: while this starts, nothing else happens.
"""

import contextlib
import json
import os
import socket
import struct
import sys
import threading
from typing import Any

GREETING = b"xl migration receiver ready, send binary domain data.\n"
"""Without a zero byte at the end, although the source of xl has it in a C string."""
_HEAD_BYTES = 48
_MAGIC = b"Xen saved domain, xl format\n \0 \r"
_LIBXC_CONTEXT = 1
_END = 0
_WIDE_PIPE, _WIDE_BYTES = 1031, 1 << 20  # F_SETPIPE_SZ
_LEFT, _BROKEN = 1, 3


class Broken(Exception):
    """The stream is not what it should be, or ends early."""


class Tee:
    """Writes a stream into a file while its structure is read."""

    def __init__(self, source: int, file: int) -> None:
        self._source = source
        self._file = file
        self.total_bytes = 0

    def take(self, length: int) -> bytes:
        """Exactly so many bytes, which are in the file then, too."""
        taken = b""
        while len(taken) < length:
            part = os.read(self._source, length - len(taken))
            if not part:
                raise Broken(f"the stream ends after {self.total_bytes + len(taken)} bytes")
            taken += part
        rest = taken
        while rest:
            rest = rest[os.write(self._file, rest) :]
        self.total_bytes += length
        return taken

    def move(self, length: int) -> None:
        """So many bytes into the file, unseen: the kernel moves them."""
        while length:
            moved = os.splice(self._source, self._file, length)
            if not moved:
                raise Broken(f"the stream ends after {self.total_bytes} bytes")
            length -= moved
            self.total_bytes += moved


def copy(tee: Tee) -> None:
    """Take the stream to its end. `Broken` where it has none."""
    head = tee.take(_HEAD_BYTES)
    if head[:32] != _MAGIC:
        raise Broken("it is not what xl saves")
    tee.move(struct.unpack_from("<I", head, 44)[0])
    if tee.take(16)[:8] != b"LibxlFmt":
        raise Broken("it is not a stream of libxl")
    while True:
        kind, length = struct.unpack("<2I", tee.take(8))
        if kind == _LIBXC_CONTEXT:
            _copy_libxc(tee)
        else:
            tee.move(_padded(length))
            if kind == _END:
                return


def _copy_libxc(tee: Tee) -> None:
    if tee.take(40)[8:12] != b"XENF":
        raise Broken("it is not a stream of libxc")
    while True:
        kind, length = struct.unpack("<2I", tee.take(8))
        tee.move(_padded(length))
        if kind == _END:
            return


def _padded(length: int) -> int:
    return (length + 7) & ~7


def main(place: str, path: str) -> int:
    """Receive; the exit code only says that xl was never told that the guest is here."""
    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    control.connect(place)
    waiter = threading.Thread(target=_leave_with, args=(control,), daemon=True)
    waiter.start()
    with contextlib.suppress(OSError):
        import fcntl  # noqa: PLC0415 -- see above

        fcntl.fcntl(0, _WIDE_PIPE, _WIDE_BYTES)
    try:
        file = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC)
        os.write(1, GREETING)
        tee = Tee(0, file)
        copy(tee)
    except Broken as error:
        _say(control, {"broken": str(error)})
        return _BROKEN
    except OSError as error:
        _say(control, {"failed": error.strerror or str(error)})
        return _BROKEN
    _say(control, {"complete": tee.total_bytes})
    waiter.join()
    return _LEFT


def _leave_with(control: socket.socket) -> None:
    """Leave as soon as nobody is at the other end, wherever the stream is."""
    with contextlib.suppress(OSError):
        while control.recv(1):
            pass
    os._exit(_LEFT)


def _say(control: socket.socket, told: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        control.sendall(json.dumps(told).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
