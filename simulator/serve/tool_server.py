"""Door three for tools: executables on a PATH, and a server that runs each call on a world.

The executables are small: they hand over their command line, print what comes back and end as they are told. So a
call costs some milliseconds, and what a program is made of is loaded once.
"""

import marshal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, BinaryIO

from simulator.serve import programs
from simulator.serve.ended import Ended, Hangs, Told
from simulator.serve.sockets import Worlds
from simulator.serve.xl import migrating
from simulator.world import World
from xensnap.errors import XensnapError

NOT_MODELLED = 70
"""The exit code where the simulator does not know what the real program would do. No real tool here has it."""

PARENT = "XENSNAP_SIM_PID"
"""The variable that tells an executable which process of the world has started it."""

_BACKLOG = 16
_GONE = (OSError, EOFError, ValueError, TypeError)
"""Whoever has called was killed, in the middle of a word perhaps."""

# Both ends are the same Python, which has `marshal` and `_socket` built in: `json` and `socket` would double what each
# costs (CPython 3.11: 33 ms instead of 17 on a busy machine, of which 11 are Python itself).
_EXECUTABLE = """#!{python} -IS
import marshal, os, sys
from _socket import AF_UNIX, socket
fed = "/dev/stdin" in sys.argv or {name!r} == "qemu-storage-daemon"
told = {{"name": {name!r}, "argv": sys.argv[1:], "cwd": os.getcwd(), "parent": int(os.environ.get({parent!r}, 0))}}
told["stdin"] = sys.stdin.buffer.read() if fed else b""
line = socket(AF_UNIX)
line.connect({path!r})
line.sendall(marshal.dumps(told))
heard, child = open(line.fileno(), "rb", closefd=False), None
def done(what, *words):
    global child
    if what == "run":
        import subprocess
        child = subprocess.Popen(["sh", "-c", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return child.pid
    if what == "read":
        return child.stdout.read(*words)
    if what == "send":
        try:
            child.stdin.write(*words)
            child.stdin.flush()
        except BrokenPipeError:
            return False
    if what == "say":
        sys.stderr.write(*words)
        sys.stderr.flush()
    if what == "wait":
        import subprocess
        try:
            child.stdin.close()
        except BrokenPipeError:
            pass
        try:
            return child.wait(*words)
        except subprocess.TimeoutExpired:
            return None
    return True
while "ask" in (ended := marshal.load(heard)):
    line.sendall(marshal.dumps(done(*ended["ask"])))
for stream, text in ((sys.stdout, ended["stdout"]), (sys.stderr, ended["stderr"])):
    stream.buffer.write(text.encode("utf-8", "surrogateescape"))
    stream.flush()
if ended["returncode"] < 0:
    os.kill(os.getpid(), -ended["returncode"])
os._exit(ended["returncode"])
"""

Runs = Callable[[Worlds, Sequence[str], Told], Ended]
"""Runs a program to its end: by its command line, in the world."""


def at_once(worlds: Worlds, argv: Sequence[str], told: Told) -> Ended:
    """The program has the world for itself from its beginning to its end."""
    with worlds.changing() as cell:
        done = programs.run(cell.world, argv, told)
        cell.world = done.world
    return done


class ToolServer:
    """Runs the tools of a simulated host, one call after the other.

    Args:
        worlds: where the world is kept.
        path: the socket that the executables connect to.
        runs: how each is run.
        after: hears of the world after each, before whoever has called it goes on.
        refusing: told in words what was asked and is not modelled, or met an error of the simulator's own.
    """

    def __init__(
        self,
        worlds: Worlds,
        path: Path,
        *,
        runs: Runs = at_once,
        after: Callable[[World], object] = id,
        refusing: Callable[[str], object] = id,
    ) -> None:
        self._worlds = worlds
        self._refusing = refusing
        self._path = path
        self._runs = runs
        self._after = after
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(_BACKLOG)
        self._unanswered: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def install(self, directory: Path, names: Sequence[str]) -> None:
        """An executable for each tool."""
        for name in names:
            executable = directory / name
            text = _EXECUTABLE.format(python=sys.executable, name=name, path=str(self._path), parent=PARENT)
            executable.write_text(text, encoding="utf-8")
            executable.chmod(0o755)

    def close(self) -> None:
        """Let the call under way end, and take no more."""
        # Closing alone does not wake who waits in accept.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for line in self._unanswered:
            line.close()

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            if self._answer(line):
                line.close()

    def _answer(self, line: socket.socket) -> bool:
        """Answer a call; whether it has been answered to its end."""
        heard = line.makefile("rb")
        try:
            told = marshal.load(heard)  # noqa: S302 -- from a program of ours, in a directory of ours
            if told["name"] == "xl" and migrating.is_meant(told["argv"]):
                # It lasts as long as another program takes, which may call others of ours.
                threading.Thread(target=self._talk, args=(line, heard, told["argv"]), daemon=True).start()
                return False
            _say(line, self._called(**told))
        except Hangs:
            self._unanswered.append(line)
            return False
        except _GONE:
            pass  # whoever called has been killed
        return True

    def _called(self, *, name: str, argv: Sequence[str], stdin: bytes, **told: Any) -> dict[str, Any]:
        def ran() -> Ended:
            done = self._runs(self._worlds, (name, *argv), Told(stdin=stdin, **told))
            self._after(done.world)
            return done

        return self._ended(ran)

    def _talk(self, line: socket.socket, heard: BinaryIO, argv: list[str]) -> None:
        with line, closing(migrating.talk(self._worlds, argv)) as talk, suppress(OSError, _Killed):
            _say(line, self._ended(lambda: _talked(talk, line, heard)))

    def _ended(self, what: Callable[[], Ended]) -> dict[str, Any]:
        """How a program ends, or that the simulator cannot tell."""
        try:
            done = what()
        except (_Killed, Hangs):
            raise
        except NotImplementedError as error:
            words = f"xensnap simulator: not modelled: {error}"
            self._refusing(words)
            return _told(NOT_MODELLED, "", f"{words}\n")
        except XensnapError as error:
            return _told(NOT_MODELLED, "", f"xensnap simulator: {error}\n")
        except Exception as error:  # noqa: BLE001 -- whoever calls must hear of it, and others be served
            words = f"xensnap simulator: an error of its own: {error!r}"
            self._refusing(words)
            return _told(NOT_MODELLED, "", f"{words}\n")
        return _told(done.returncode, done.stdout, done.stderr)


def _talked(talk: migrating.Talk, line: socket.socket, heard: BinaryIO) -> Ended:
    """Have the executable do what it is asked for, until there is an end."""
    answer = None
    while True:
        try:
            ask = talk.send(answer)
        except StopIteration as over:
            ended: Ended = over.value
            return ended
        try:
            _say(line, {"ask": ask})
            answer = marshal.load(heard)  # noqa: S302 -- from a program of ours, in a directory of ours
        except _GONE:
            raise _Killed from None


class _Killed(Exception):
    """The executable is gone in the middle of what it does."""


def _say(line: socket.socket, what: dict[str, Any]) -> None:
    line.sendall(marshal.dumps(what))


def _told(code: int, out: str, err: str) -> dict[str, Any]:
    return {"returncode": code, "stdout": out, "stderr": err}
