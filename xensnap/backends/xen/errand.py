"""Stands between us and one xl, for what xl alone cannot do: a program of its own, never imported for what it does.

    python errand.py PLAN        (PLAN is a JSON object, see `supervisor`)

`start`: run an xl that leaves a daemon and a QEMU behind. Whoever starts programs here passes its locks on to them, so
that nobody else begins while they work; what stays behind for weeks must not have them. This program holds them until
xl has ended, and xl gets none. With a `head`, xl reads that and then the rest of a file, as if it were one.

`revive`: begin a save that fails. xl then resumes a guest that a killed save has left suspended.

Nothing of xensnap is imported, which is half of the time that this costs us.
"""

# ruff: noqa: PTH123 -- the operating system's own calls are what it is about

import base64
import contextlib
import os
import struct
import subprocess
import sys
import threading
from typing import Any

_FIXED_BYTES, _LENGTH_AT = 48, 44
_BEYOND_BYTES = 16 + 8 + 24
"""What a reader takes after the head before it leaves: the head of libxl's stream, that of its first record, and the
head of libxc's image in it. Then the helper of xl is at work, and when that fails, xl resumes the guest. Where libxl
cannot write its own part, xl ends without doing so (4.17.7); much further on it would wait a minute for the guest."""
_PIPE_BYTES = 1 << 20


def main(plan: dict[str, Any]) -> int:
    """Do it; what xl ended with."""
    return _revive(plan) if plan["errand"] == "revive" else _start(plan)


def _start(plan: dict[str, Any]) -> int:
    if "head" not in plan:
        return subprocess.run(plan["argv"], stdin=subprocess.DEVNULL, close_fds=True, check=False).returncode
    with open(plan["file"], "rb") as file:
        xl = subprocess.Popen(plan["argv"], stdin=subprocess.PIPE, close_fds=True)
        assert xl.stdin is not None
        # xl may end before it has read all: an error that it tells itself.
        with contextlib.suppress(BrokenPipeError):
            _widen(xl.stdin.fileno())
            xl.stdin.write(base64.b64decode(plan["head"]))
            xl.stdin.flush()
            file.seek(plan["skip"])
            _copy(file.fileno(), xl.stdin.fileno(), plan["skip"])
        with contextlib.suppress(BrokenPipeError):
            xl.stdin.close()
        return xl.wait()


def _copy(source: int, pipe: int, offset: int) -> None:
    while moved := os.splice(source, pipe, _PIPE_BYTES, offset_src=offset):
        offset += moved


def _widen(pipe: int) -> None:
    with contextlib.suppress(OSError):
        import fcntl  # noqa: PLC0415 -- only a restore needs it

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _revive(plan: dict[str, Any]) -> int:
    reader, writer = os.pipe()
    # A broken pipe would kill xl, and then the guest stays suspended: xl must see an error (Python ignores SIGPIPE).
    xl = subprocess.Popen(
        [*plan["argv"], f"/dev/fd/{writer}"],
        stdin=subprocess.DEVNULL,
        pass_fds=[writer],
        restore_signals=False,
    )
    os.close(writer)
    threading.Thread(target=_taste, args=(reader,), daemon=True).start()
    return xl.wait()


def _taste(reader: int) -> None:
    head = _read(reader, _FIXED_BYTES)
    if len(head) == _FIXED_BYTES:
        _read(reader, struct.unpack_from("<I", head, _LENGTH_AT)[0] + _BEYOND_BYTES)
    os.close(reader)


def _read(reader: int, length: int) -> bytes:
    """So many bytes, and none more; fewer where there are no more."""
    taken = b""
    while len(taken) < length and (part := os.read(reader, length - len(taken))):
        taken += part
    return taken


if __name__ == "__main__":
    import json

    sys.exit(main(json.loads(sys.argv[1])))
