"""Several clients of the monitors of one world, on real sockets: none stands in another's way."""

import json
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import pytest

from simulator import SimulatedHost, World
from simulator.qemu import monitor
from simulator.serve.doorway import Doorway
from simulator.serve.held import HeldCell, HeldWorlds

GUEST = "pv1"
SIZE_BYTES = 8 << 20
LIMIT_S = 60
AHEAD_S_MAX = 0.3
"""A job's step is done as a whole, and what has passed before it since somebody looked last counts for it, too."""
UNREAD = 40
"""So many answers of 60 kB are more than any socket takes."""


class Client:
    """One connection to a monitor, and its negotiation."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(LIMIT_S)
        self.socket.connect(path)
        self.lines = self.socket.makefile("rb")
        self.hears()
        self.asks("qmp_capabilities")

    def hears(self) -> Any:
        line = self.lines.readline()
        return json.loads(line) if line else None

    def says(self, name: str, **arguments: Any) -> None:
        given = {key.replace("_", "-"): value for key, value in arguments.items()}
        self.socket.sendall(json.dumps({"execute": name, "arguments": given}).encode())

    def asks(self, name: str, **arguments: Any) -> Any:
        """The answer, whatever else is told before it; None where it is hung up."""
        self.says(name, **arguments)
        while (message := self.hears()) is not None and "event" in message:
            pass
        return message

    def goes(self) -> None:
        self.lines.close()
        self.socket.close()


class Served:
    """A guest that runs, and whoever serves its monitors."""

    def __init__(self) -> None:
        host = SimulatedHost.fresh()
        host.create_image("/images/a.qcow2", size_bytes=SIZE_BYTES)
        host.add_domain(GUEST, disks={"xvda": "/images/a.qcow2"})
        host.start(GUEST)
        host.write(GUEST, "xvda", 0, SIZE_BYTES)
        self.domid = host.incarnation(GUEST).domid
        self.cell = HeldCell(host.world)
        self.doorway = Doorway(lambda: HeldWorlds(self.cell))

    @contextmanager
    def client(self, which: str = "libxl") -> Iterator[Client]:
        client = Client(str(self.doorway.sockets / f"qmp-{which}-{self.domid}"))
        try:
            yield client
        finally:
            client.goes()

    def begin_a_job(self) -> None:
        """One that takes seconds, begun by somebody who does not wait for it."""
        with self.client() as client:
            overlay = {"snapshot_file": "/images/o.qcow2", "snapshot_node_name": "o"}
            assert client.asks("blockdev-snapshot-sync", node_name="xvda-qcow2", **overlay) == {"return": {}}
            assert client.asks("block-stream", device="o", job_id="j") == {"return": {}}
        self.doorway.settle()

    @property
    def at_work(self) -> bool:
        return bool(self.cell.world.qemus[self.domid].jobs)


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.doorway.close()


def test_a_job_goes_on_while_nobody_is_connected(served: Served) -> None:
    served.begin_a_job()
    until = time.monotonic() + LIMIT_S
    while served.at_work:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_time_passes_once_however_many_are_connected_and_ask(served: Served) -> None:
    began, reached_ns = time.monotonic(), served.cell.world.clock.monotonic_ns
    served.begin_a_job()
    with served.client() as one, served.client("libxenstat") as other:
        while time.monotonic() < began + 0.5:
            one.asks("query-status")
            other.asks("query-status")
        assert served.at_work
        passed_s = (served.cell.world.clock.monotonic_ns - reached_ns) / 1e9
        assert 0 < passed_s <= time.monotonic() - began + AHEAD_S_MAX


def test_who_does_not_read_keeps_nobody_waiting(served: Served) -> None:
    with served.client() as one, served.client("libxenstat") as other:
        one.socket.sendall(b'{"execute":"query-qmp-schema"}' * UNREAD)
        select.select([one.socket], [], [])
        assert other.asks("query-status")["return"]["running"]
        heard = [one.hears() for _ in range(UNREAD)]
        assert all(message == heard[0] for message in heard)
        assert one.asks("query-status")["return"]["running"]


def test_an_error_of_the_simulators_own_ends_one_conversation_only(served: Served, monkeypatch) -> None:
    def fails(*_args: object) -> NoReturn:
        raise ZeroDivisionError("that")

    monkeypatch.setitem(monitor.COMMANDS, "query-name", monitor.COMMANDS["query-name"]._replace(do=fails))
    with served.client() as one, served.client("libxenstat") as other:
        assert one.asks("query-name") is None
        assert other.asks("query-status")["return"]["running"]
    with served.client() as again:
        assert again.asks("query-status")["return"]["running"]
    (told,) = served.doorway.refused
    assert "ZeroDivisionError('that')" in told


def test_what_goes_wrong_while_time_passes_is_told_and_ends_no_conversation(served: Served, monkeypatch) -> None:
    def fails(*_args: object) -> NoReturn:
        raise ZeroDivisionError("that")

    monkeypatch.setattr(World, "slept", fails)
    served.begin_a_job()
    until = time.monotonic() + LIMIT_S
    while not served.doorway.refused:
        assert time.monotonic() < until
        time.sleep(0.01)
    with served.client() as client:
        assert client.asks("query-status")["return"]["running"]
