"""Door three for tools: executables on a PATH, and a server that runs each call on a world.

The executables are small: they hand over their command line, print what comes back and end as they are told. So a
call costs some milliseconds, and what a program is made of is loaded once.
"""

import json
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simulator.serve import programs
from simulator.serve.ended import Told
from simulator.serve.sockets import Worlds
from xensnap.errors import XensnapError

NOT_MODELLED = 70
"""The exit code where the simulator does not know what the real program would do. No real tool here has it."""

_BACKLOG = 16
_PART_BYTES = 1 << 16

# Bytes go as text in which each letter is one of them.
_EXECUTABLE = """#!{python} -IS
import json, os, socket, sys
fed = "/dev/stdin" in sys.argv or {name!r} == "qemu-storage-daemon"
told = {{"name": {name!r}, "argv": sys.argv[1:], "cwd": os.getcwd()}}
told["stdin"] = sys.stdin.buffer.read().decode("latin-1") if fed else ""
line = socket.socket(socket.AF_UNIX)
line.connect({path!r})
line.sendall(json.dumps(told).encode())
line.shutdown(socket.SHUT_WR)
ended = json.loads(line.makefile("rb").read())
for stream, text in ((sys.stdout, ended["stdout"]), (sys.stderr, ended["stderr"])):
    stream.buffer.write(text.encode("utf-8", "surrogateescape"))
    stream.flush()
os._exit(ended["returncode"])
"""


class ToolServer:
    """Runs the tools of a simulated host, one call after the other.

    Args:
        worlds: where the world is kept.
        path: the socket that the executables connect to.
    """

    def __init__(self, worlds: Worlds, path: Path) -> None:
        self._worlds = worlds
        self._path = path
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(_BACKLOG)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def install(self, directory: Path, names: Sequence[str]) -> None:
        """An executable for each tool."""
        for name in names:
            executable = directory / name
            text = _EXECUTABLE.format(python=sys.executable, name=name, path=str(self._path))
            executable.write_text(text, encoding="utf-8")
            executable.chmod(0o755)

    def close(self) -> None:
        """Let the call under way end, and take no more."""
        # Closing alone does not wake who waits in accept.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            with line:
                self._answer(line)

    def _answer(self, line: socket.socket) -> None:
        told = b""
        try:
            while part := line.recv(_PART_BYTES):
                told += part
            line.sendall(json.dumps(called(self._worlds, **json.loads(told))).encode())
        except (OSError, ValueError):
            return  # whoever called has been killed


def called(worlds: Worlds, *, name: str, argv: Sequence[str], cwd: str, stdin: str) -> dict[str, Any]:
    """Run a simulated program as the real one would run: how it ends."""
    try:
        told = Told(cwd, stdin.encode("latin-1"))
        with worlds.changing() as cell:
            done = programs.run(cell.world, (name, *argv), told)
            cell.world = done.world
    except NotImplementedError as error:
        return _told(NOT_MODELLED, "", f"xensnap simulator: not modelled: {error}\n")
    except XensnapError as error:
        return _told(NOT_MODELLED, "", f"xensnap simulator: {error}\n")
    except Exception as error:  # noqa: BLE001 -- whoever calls must hear of it, and others be served
        return _told(NOT_MODELLED, "", f"xensnap simulator: an error of its own: {error!r}\n")
    return _told(done.returncode, done.stdout, done.stderr)


def _told(code: int, out: str, err: str) -> dict[str, Any]:
    return {"returncode": code, "stdout": out, "stderr": err}
