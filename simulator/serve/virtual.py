"""Door two: the monitors of a world on the deterministic loop, for any asyncio client that connects to UNIX sockets."""

from collections.abc import Callable
from functools import partial

from simulator.core.loop import Peer, SimulatedLoop
from simulator.ports.seat import Cell
from simulator.world import line
from simulator.world.line import MONITORS, Line

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

    def _accept(self, domid: int, which: str) -> Peer:
        if domid not in self.cell.world.qemus:
            raise ConnectionRefusedError(111, "Connection refused")
        return _Connection(self, domid, which)

    def arrived(self, connection: "_Connection") -> None:
        """A client has come: it is served now, or when those before it have gone."""
        queue = self._served.setdefault((connection.domid, connection.which), [])
        queue.append(connection)
        if len(queue) == 1:
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
        """The monitor is ours: greet, and take what was sent before."""
        if self.domid not in self._cell.world.qemus:
            self._write(None)
            return
        self._cell.world, self._line, greeting = line.opened(self._cell.world, self.domid, self.which)
        self._write(greeting)
        if self._unread:
            self.received(self._unread)

    def received(self, data: bytes | None) -> None:
        if data is None:
            self._gone()
        elif self._line is None:
            self._unread += data
        else:
            self._cell.world, self._line, answer = line.said(self._cell.world, self._line, data)
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
            self._over = True
            self._write(None)

    def _gone(self) -> None:
        if self._line is not None:
            self._cell.world = line.closed(self._cell.world, self._line)
        self._over = True
        self._monitors.left(self)
