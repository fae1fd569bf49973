"""G6: a command to QEMU's monitor through the library and our port, and over a bare socket."""

import asyncio
import json
import socket
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.images import place, tool
from tests.benchmarks.race import Goal, Race, Side, Sides
from tests.conftest import require_tool
from xensnap.backends.local.qmp import LocalMonitor, SocketConnector
from xensnap.model import Domain, DomainUuid, RunState

pytestmark = pytest.mark.real

DISKS = 4
ASKED = 20
DOMAIN = Domain(DomainUuid("5c84adcc-bd59-488a-96d2-195f9b599cfe"), "guest", RunState.RUNNING, ())


class Bare:
    """As little as can talk to a monitor: one socket, one line at a time, events thrown away."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._rest = b""
        self._line()
        self.execute("qmp_capabilities")

    def _line(self) -> Any:
        while b"\n" not in self._rest:
            self._rest += self._socket.recv(1 << 18)
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line)

    def execute(self, command: str, arguments: Any = None) -> Any:
        """Send one command and return its result."""
        message = {"execute": command, **({"arguments": arguments} if arguments else {})}
        self._socket.sendall(json.dumps(message).encode() + b"\n")
        while "event" in (reply := self._line()):
            pass
        return reply["return"]

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def started(race: Race, disks: int) -> Path:
    """A directory with the sockets of a QEMU that has disks and no machine."""
    program = require_tool("qemu-system-x86_64")
    directory = place(race)
    argv = [str(program), "-machine", "none", "-nodefaults", "-display", "none", "-S"]
    for name in ("bare", "ours"):
        argv += ["-qmp", f"unix:{directory}/{name},server=on,wait=off"]
    for number in range(disks):
        path = directory / f"d{number}.qcow2"
        tool("qemu-img", "create", "-q", "-f", "qcow2", str(path), "1G")
        argv += ["-drive", f"if=none,id=d{number},file={path},format=qcow2"]
    process = race.resources.enter_context(subprocess.Popen(argv))
    race.resources.callback(process.terminate)
    until = time.monotonic() + 20
    while not all((directory / name).exists() for name in ("bare", "ours")):
        assert time.monotonic() < until, "QEMU does not come up"
        time.sleep(0.01)
    return directory


def connected(race: Race, disks: int = DISKS) -> tuple[Bare, LocalMonitor, Any]:
    """Both clients, and what runs the second one's coroutines."""
    directory = started(race, disks)

    async def where(domain: Domain) -> str:
        return str(directory / "ours")

    bare = Bare(directory / "bare")
    race.resources.callback(bare.close)
    # One loop for all of it, as in an engine's run: what is measured is a command, not the start of asyncio.
    loop = race.resources.enter_context(closing(asyncio.new_event_loop()))
    run = loop.run_until_complete
    monitor = run(SocketConnector(where).connect(DOMAIN, timeout_s=10))
    race.resources.callback(lambda: run(monitor.close()))
    return bare, monitor, run


@pytest.mark.parametrize("side", ["bare socket", "xensnap's port"])
def test_ask_for_the_state(race: Race, side: str) -> None:
    def sides() -> Sides:
        bare, monitor, run = connected(race)

        async def ours() -> None:
            # In one run of the loop: an engine does not start and stop it for each command.
            for _ in range(ASKED):
                await monitor.execute("query-status")

        return {
            "bare socket": Side(lambda: [bare.execute("query-status") for _ in range(ASKED)]),
            "xensnap's port": Side(lambda: run(ours())),
        }

    goal = Goal("G6", "`query-status` by qemu.qmp", "xensnap's port", "bare socket", at_most=2.1)
    race(f"query-status, {ASKED} times", sides, goals=(goal,))


@pytest.mark.parametrize("side", ["bare socket", "xensnap's port"])
def test_snapshot_all_disks_at_once(race: Race, side: str) -> None:
    def sides() -> Sides:
        bare, monitor, run = connected(race)
        name = "one"
        actions = [
            {"type": "blockdev-snapshot-internal-sync", "data": {"device": f"d{number}", "name": name}}
            for number in range(DISKS)
        ]

        def forget() -> None:
            for number in range(DISKS):
                bare.execute("blockdev-snapshot-delete-internal-sync", {"device": f"d{number}", "name": name})

        return {
            "bare socket": Side(lambda: bare.execute("transaction", {"actions": actions}), after=forget),
            "xensnap's port": Side(
                lambda: run(monitor.execute("transaction", {"actions": actions})), after=forget
            ),
        }  # fmt: skip

    goal = Goal("G6", f"internal snapshot of {DISKS} disks at once", "xensnap's port", "bare socket", at_most=1.2)
    race(f"transaction: internal snapshot of {DISKS} disks", sides, rounds=21, goals=(goal,))


ONE, EACH = "one transaction", "a command for each"


@pytest.mark.parametrize("side", [ONE, EACH])
def test_snapshot_many_disks(race: Race, side: str) -> None:
    def sides() -> Sides:
        disks = race.upto(16)
        bare, monitor, run = connected(race, disks)
        data = [{"device": f"d{number}", "name": "one"} for number in range(disks)]
        actions = [{"type": "blockdev-snapshot-internal-sync", "data": each} for each in data]

        def one_by_one() -> None:
            for each in data:
                run(monitor.execute("blockdev-snapshot-internal-sync", each))

        def forget() -> None:
            for each in data:
                bare.execute("blockdev-snapshot-delete-internal-sync", each)

        return {
            ONE: Side(lambda: run(monitor.execute("transaction", {"actions": actions})), after=forget),
            EACH: Side(one_by_one, after=forget),
        }

    goal = Goal("G6", "internal snapshot of 16 disks by xensnap's port", ONE, EACH, at_most=0.8)
    race("internal snapshot of 16 disks: one transaction or sixteen commands", sides, rounds=9, goals=(goal,))
