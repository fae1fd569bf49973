"""A monitor that says more than anybody reads, or nests it deeper: our own error, and the rest is never taken."""

import json
import socket
import threading
import tracemalloc
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
EVENTS = 64
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

Command = dict[str, Any]
Says = Callable[[socket.socket, Command], int]
"""Says something on a line, where asked to a command; how many bytes of it were taken."""


def endlessly(line: socket.socket, _asked: Command) -> int:
    taken = 0
    while taken < SAID:
        try:
            taken += line.send(b"x" * MIB)
        except OSError:
            break
    return taken


def deeply(line: socket.socket, _asked: Command) -> int:
    line.sendall(DEEP)
    return len(DEEP)


def heard(line: socket.socket) -> Command:
    """The next command; the library ends none with a newline."""
    told = b""
    while not told.endswith(b"}"):
        told += line.recv(4096)
    command: Command = json.loads(told)
    return command


def with_events_first(line: socket.socket, asked: Command) -> int:
    for number in range(EVENTS):
        event = {"event": "GUEST_PANICKED", "data": {"number": number, "words": "x" * MIB}}
        line.sendall(json.dumps(event | {"timestamp": {"seconds": 0, "microseconds": 0}}).encode() + b"\r\n")
    reply(line, asked)
    return EVENTS * MIB


def reply(line: socket.socket, asked: Command, *, also: bytes = b"") -> None:
    known = {"id": asked["id"]} if "id" in asked else {}
    line.sendall(json.dumps({"return": {}} | known).encode() + b"\r\n" + also)


@contextmanager
def monitor(path: Path, *, greets: bool, says: Says) -> Iterator[list[int]]:
    """Somebody who listens there once, and what was taken of what he says, to a command or as his greeting."""
    taken: list[int] = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            line, _ = listening.accept()
            with line:
                asked: Command = {}
                if greets:
                    line.sendall(GREETING)
                    for _ in range(2):  # the negotiation, and what the line is tried with
                        reply(line, heard(line))
                    asked = heard(line)
                taken.append(says(line, asked))

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


def test_what_a_monitor_tells_unasked_is_kept_nowhere(tmp_path: Path) -> None:
    """The library keeps every event that it hears, for as long as the line stands."""

    async def kept_by_asking() -> int:
        async with connected(SocketConnector(lambda _: place()), DOMAIN, timeout_s=30) as there:
            before = tracemalloc.get_traced_memory()[0]
            await there.execute("query-status")
            return tracemalloc.get_traced_memory()[0] - before

    async def place() -> str:
        return str(tmp_path / "qmp")

    tracemalloc.start()
    try:
        with monitor(tmp_path / "qmp", greets=True, says=with_events_first):
            assert run(kept_by_asking()) < EVENTS // 4 * MIB
    finally:
        tracemalloc.stop()
