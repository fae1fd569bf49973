"""A monitor that says more than anybody reads, or nests it deeper: our own error, and the rest is never taken."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from xensnap.backends.local.qmp import SocketConnector, connected
from xensnap.backends.local.waiting import run
from xensnap.errors import Failed, Unknown
from xensnap.model import Disk, Domain, DomainUuid, DomId, Format, RunState

MIB = 1 << 20
SAID = 100 * MIB
TAKEN_MAX = 32 * MIB
"""The library reads lines of 10 MiB, its stream twice as much before it pauses; some is in the socket by then."""

GREETING = (
    b'{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": []}}\r\n'
)
DEEP = b'{"return": ' + b"[" * 200_000 + b"]" * 200_000 + b"}\r\n"
DOMAIN = Domain(
    DomainUuid("5c84adcc-bd59-488a-96d2-195f9b599cfe"),
    "guest",
    RunState.RUNNING,
    (Disk("xvda", "/a", Format.RAW),),
    domid=DomId(1),
)

Says = Callable[[socket.socket], int]
"""Says something on a line; how many bytes of it were taken."""


def endlessly(line: socket.socket) -> int:
    taken = 0
    while taken < SAID:
        try:
            taken += line.send(b"x" * MIB)
        except OSError:
            break
    return taken


def deeply(line: socket.socket) -> int:
    line.sendall(DEEP)
    return len(DEEP)


def heard(line: socket.socket) -> dict[str, Any]:
    """The next command; the library ends none with a newline."""
    told = b""
    while not told.endswith(b"}"):
        told += line.recv(4096)
    command: dict[str, Any] = json.loads(told)
    return command


@contextmanager
def monitor(path: Path, *, greets: bool, says: Says) -> Iterator[list[int]]:
    """Somebody who listens there once, and what was taken of what he says, at last or as his greeting."""
    taken: list[int] = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            line, _ = listening.accept()
            with line:
                if greets:
                    line.sendall(GREETING)
                    for _ in range(2):  # the negotiation, and what the line is tried with
                        known = {key: told for key, told in heard(line).items() if key == "id"}
                        line.sendall(json.dumps({"return": {}} | known).encode() + b"\r\n")
                    heard(line)
                taken.append(says(line))

        thread = threading.Thread(target=serve)
        thread.start()
        yield taken
        thread.join()


async def ask(path: Path) -> object:
    async def where(_domain: Domain) -> str:
        return str(path)

    async with connected(SocketConnector(where), DOMAIN, timeout_s=30) as there:
        return await there.execute("query-status")


@pytest.mark.parametrize("says", [endlessly, deeply])
@pytest.mark.parametrize(
    ("greets", "error", "told"),
    [(True, Unknown, "reply-lost"), (False, Failed, "monitor-gone")],
    ids=["reply", "greeting"],
)
def test_what_never_ends_is_lost_as_a_reply_and_none_as_a_greeting(
    tmp_path: Path, greets: bool, error: type[Failed | Unknown], told: str, says: Says
) -> None:
    with monitor(tmp_path / "qmp", greets=greets, says=says) as taken, pytest.raises(error) as caught:
        run(ask(tmp_path / "qmp"))
    assert caught.value.id == told
    assert taken[0] < TAKEN_MAX
