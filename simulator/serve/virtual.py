"""Door two: the monitors of a world on the deterministic loop, for any asyncio client that connects to UNIX sockets."""

import asyncio
import errno
import os
import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import msgspec

from simulator.core.loop import Deadlock, Peer, SimulatedLoop
from simulator.core.unmodelled import NotModelled
from simulator.ports.seat import Cell
from simulator.qemu.graph import GONE
from simulator.serve.low.said import said
from simulator.world import line
from simulator.world.line import MONITORS, Line
from xensnap.errors import XensnapError

replace = msgspec.structs.replace

_CANCELS_MAX = 3
POLL_S = 0.05
"""How often the world moves while QEMU has something to do and no client waits for a time of its own."""


def socket_path(which: str, domid: int) -> str:
    """Where a domain's monitor listens on a Xen host."""
    return f"/var/run/xen/qmp-{which}-{domid}"


class VirtualMonitors:
    """The monitors of every domain that runs in a cell's world, and a loop on which they answer.

    Time is one: what passes on the loop passes in the world, so jobs go on and guests write meanwhile.
    """

    def __init__(self, cell: Cell, latency_s: Callable[[], float] = lambda: 0.001) -> None:
        self.cell = cell
        self._served: dict[tuple[int, str], list[_Connection]] = {}
        self._ticking = False
        self.loop = SimulatedLoop(latency_s, self._passed)
        self.attend()

    def attend(self) -> None:
        """Listen for every domain that runs now."""
        for domid in self.cell.world.qemus:
            for which in MONITORS:
                self.loop.listening(socket_path(which, domid), partial(self._accept, domid, which))

    async def dial(self, path: str, _deadline: float) -> str:
        """The address under which a client reaches a monitor.

        Raises:
            OSError: there is no such socket, or nobody listens on it any more (xen.md 25).
        """
        self.attend()
        found = re.fullmatch(r"/var/run/xen/qmp-(\w+)-(\d+)", path)
        domid = int(found[2]) if found else 0
        if domid not in self.cell.world.xen.there:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        self._require(domid)
        return path

    def abandon(self) -> None:
        """End everybody on the loop: with what is not modelled nobody can go on, nor can they wait for an answer."""
        for _ in range(_CANCELS_MAX):
            tasks = asyncio.all_tasks(self.loop)
            if not tasks:
                return
            for task in tasks:
                task.cancel()
            with suppress(NotModelled, Deadlock):  # who puts things right again may ask for it once more
                self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))

    def close(self) -> None:
        """Hang up on everybody, and end the loop with whatever was still on its way."""
        for queue in self._served.values():
            for connection in list(queue):
                connection.received(None)
        self.loop.close()

    def _require(self, domid: int) -> None:
        if domid not in self.cell.world.qemus or self.cell.world.held(domid) == GONE:
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))

    def _accept(self, domid: int, which: str) -> Peer:
        self._require(domid)
        return _Connection(self, domid, which)

    def arrived(self, connection: "_Connection") -> None:
        """A client has come: it is served now, or when those before it have gone."""
        queue = self._served.setdefault((connection.domid, connection.which), [])
        queue.append(connection)
        if queue[0] is connection:
            connection.served()

    def left(self, connection: "_Connection") -> None:
        """A client has gone, and the next one hears its greeting."""
        queue = self._served[connection.domid, connection.which]
        first = queue[0] is connection
        queue.remove(connection)
        if first and queue:
            queue[0].served()

    def changed(self) -> None:
        """The world is another: whoever is served hears of it, and where QEMU is at work its time goes on."""
        for queue in self._served.values():
            if queue:
                queue[0].hear()
        if self.cell.world.orphans() and not self._ticking:
            self._ticking = True
            self.loop.call_later(POLL_S, self._tick)

    def _passed(self, seconds: float) -> None:
        self.cell.world = self.cell.world.slept(round(seconds * 1e9))

    def _tick(self) -> None:
        self._ticking = False
        self.changed()


class _Connection:
    """One client of one monitor."""

    def __init__(self, monitors: VirtualMonitors, domid: int, which: str) -> None:
        self._monitors = monitors
        self._cell = monitors.cell
        self.domid = domid
        self.which = which
        self._line: Line | None = None
        self._unread = b""
        self._over = False
        self._write: Callable[[bytes | None], None] = lambda _data: None

    def connected(self, write: Callable[[bytes | None], None]) -> None:
        self._write = write
        self._monitors.arrived(self)

    def served(self) -> None:
        """The monitor is ours: greet, and take what was sent before. Nothing, while a stranger keeps it to himself."""
        if self.domid not in self._cell.world.qemus:
            self._write(None)
            return
        if self._cell.world.held(self.domid) == self.which:
            return
        self._cell.world, self._line, greeting = line.opened(self._cell.world, self.domid, self.which)
        self._write(greeting)
        if self._unread:
            self.received(self._unread)

    def received(self, data: bytes | None) -> None:
        if data is None:
            self._gone()
        elif self._over:
            pass  # sent before the client has heard that nobody is there any more
        elif self._line is None:
            self._unread += data
        else:
            self._said(self._line, data)

    def _said(self, heard: Line, data: bytes) -> None:
        """A message of the client's, which is an effect where it is a command."""
        try:
            self._line, answer = said(self._cell, heard, data)
        except XensnapError:
            # A fault on the line: the client learns nothing but that QEMU has hung up, and then serves the next one.
            self._hang_up()
            return
        self._tell(answer)
        self._monitors.changed()

    def hear(self) -> None:
        """Tell what has happened."""
        if self._line is not None and not self._over:
            self._cell.world, self._line, told = line.heard(self._cell.world, self._line)
            self._tell(told)

    def _tell(self, data: bytes) -> None:
        assert self._line is not None
        if data:
            self._write(data)
        if self._line.over and not self._over:
            self._hang_up()

    def _hang_up(self) -> None:
        self._write(None)
        self._gone()

    def _gone(self) -> None:
        if self._over:
            return
        self._over = True
        if self._line is not None:
            self._cell.world = line.closed(self._cell.world, self._line)
        self._monitors.left(self)
