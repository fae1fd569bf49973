"""Door three for QMP: the monitors of a world on real UNIX sockets.

One thread, one selector, and nobody who keeps the others waiting. A second client of the same monitor may connect and
hears nothing until the first has gone, as with QEMU's own backlog of one. What several programs do to the world at once
is kept apart by `Worlds`.
"""

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from simulator.core.unmodelled import NotModelled
from simulator.ports.seat import Cell
from simulator.serve.low.said import said
from simulator.world import World, line
from simulator.world.line import MONITORS, Line
from xensnap.errors import XensnapError

_READ_BYTES = 1 << 16
TICK_S = 0.05
_NOTICED_S_MAX = 60.0
"""How long another thread waits for this one, which only a fault of its own keeps from going on."""


class Worlds(Protocol):
    """Where the world is kept between what different programs do to it."""

    def changing(self) -> AbstractContextManager[Cell]:
        """The world, for us alone until this is left; what is in the cell then is the world."""

    def changed(self) -> bool:
        """Whether somebody else may have changed the world since the last time."""


class SocketServer:
    """Serves `DIR/qmp-libxl-DOMID` and `DIR/qmp-libxenstat-DOMID` for every domain that runs.

    Args:
        worlds: where the world is kept.
        directory: where the sockets are made.
        complain: told in words what was asked and is not modelled.
        attending: shown the world whenever it may be another.
        unattended: whether time passes while nobody is connected, too: not in a world that others change then
            without `worlds`.
    """

    def __init__(
        self,
        worlds: Worlds,
        directory: Path,
        complain: Callable[[str], object] = id,
        attending: Callable[[World], object] = id,
        *,
        unattended: bool = True,
    ) -> None:
        self._worlds = worlds
        self._unattended = unattended
        self._directory = directory
        self._attending = attending
        self._complain = complain
        self._selector = selectors.DefaultSelector()
        self._listeners: dict[tuple[int, str], socket.socket] = {}
        self._clients: dict[tuple[int, str], _Client] = {}
        self._jobs = False
        self._stirred = False
        # The moment up to which the world has gone on.
        self._reached_ns = time.monotonic_ns()
        # Of a QEMU that has died the sockets stay until xl cleans up after it, and nobody listens (xen.md 25).
        self._refusing: set[tuple[int, str]] = set()
        self._attended: frozenset[int] = frozenset()
        self._rounds = _Rounds()
        self._selector.register(self._rounds.woken, selectors.EVENT_READ, self._rounds.awake)

    def attend(self) -> None:
        """Have a socket for each monitor that there is, and none for those that are gone."""
        if not self._jobs and not self._worlds.changed():
            return
        with self._worlds.changing() as cell:
            there = {(domid, which) for domid in cell.world.qemus for which in MONITORS}
            kept = {(domid, which) for domid, which in there if cell.world.held(domid) == which}
            self._jobs = bool(cell.world.orphans())
            domids = set(cell.world.xen.there)
            self._attending(cell.world)
        self._stirred = True
        for key in there - set(self._listeners):
            self._listen(key)
        for key in set(self._listeners) - there:
            self._unlisten(key)
        for key in [each for each in self._refusing if each[0] not in domids]:
            self._refusing.discard(key)
            self._path(key).unlink(missing_ok=True)
        for key in there:
            # Whoever comes while a stranger keeps the monitor to himself waits as a second client does.
            self._hearing(key, wanted=key not in kept and key not in self._clients)
        self._attended = frozenset(domid for domid, _ in there)

    def run(self, until: Callable[[], bool]) -> None:
        """Serve until told to stop; looks every tick."""
        try:
            while not until():
                self.attend()
                for key, _ in self._selector.select(0 if self._rounds.wanted else TICK_S):
                    key.data()
                self._pass()
                self._hear()
                self._rounds.done()
        finally:
            self._rounds.over()
            self.close()

    # --- for other threads than the one that serves

    def look(self) -> None:
        """Return when the world has been attended to as it is now."""
        self._rounds.wait()

    def serving(self, world: World) -> None:
        """Return when there is a socket for each monitor of this world."""
        if self._attended != set(world.qemus):
            self._rounds.wait()

    def wake(self) -> None:
        """Have the thread that serves go round now."""
        self._rounds.wake()

    def settle(self) -> None:
        """Return when everybody who has hung up is forgotten."""
        while self._clients:
            self._rounds.wait()

    def close(self) -> None:
        """Hang up and remove the sockets."""
        for client in list(self._clients.values()):
            self._hang_up(client)
        for key in list(self._listeners):
            self._unlisten(key)
        for key in self._refusing:
            self._path(key).unlink(missing_ok=True)
        self._selector.close()
        self._rounds.close()

    def _path(self, key: tuple[int, str]) -> Path:
        return self._directory / f"qmp-{key[1]}-{key[0]}"

    def _listen(self, key: tuple[int, str]) -> None:
        path = self._path(key)
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen(1)
        listener.setblocking(False)  # noqa: FBT003 -- the library's own signature
        self._listeners[key] = listener
        self._refusing.discard(key)

    def _hearing(self, key: tuple[int, str], *, wanted: bool) -> None:
        """Whether somebody who comes to a monitor is served, or waits."""
        listener = self._listeners[key]
        heard = listener in self._selector.get_map()
        if wanted and not heard:
            self._selector.register(listener, selectors.EVENT_READ, lambda: self._accept(key))
        elif heard and not wanted:
            self._selector.unregister(listener)

    def _unlisten(self, key: tuple[int, str]) -> None:
        if (client := self._clients.get(key)) is not None:
            self._hang_up(client)
        self._hearing(key, wanted=False)
        self._listeners.pop(key).close()
        self._refusing.add(key)

    def _accept(self, key: tuple[int, str]) -> None:
        connection, _ = self._listeners[key].accept()
        connection.setblocking(False)  # noqa: FBT003 -- the library's own signature
        with self._worlds.changing() as cell:
            if key[0] not in cell.world.qemus:
                # It has died since somebody last looked.
                connection.close()
                return
            cell.world, opened, greeting = line.opened(cell.world, key[0], key[1])
        # Nobody else is listened to before this one has gone.
        self._hearing(key, wanted=False)
        client = _Client(key, connection, opened)
        self._clients[key] = client
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._ready(client))
        client.unsent += greeting
        self._send(client)

    def _ready(self, client: "_Client") -> None:
        """A client has said something, or can hear more."""
        try:
            data = client.connection.recv(_READ_BYTES)
        except BlockingIOError:
            self._send(client)
            return
        except ConnectionResetError:
            data = b""
        if not data:
            self._hang_up(client)
            return
        self._stirred = True
        with self._conversing(client), self._worlds.changing() as cell:
            client.line, answer = said(cell, client.line, data)
            self._jobs = bool(cell.world.orphans())
            client.unsent += answer
        self._send(client)

    @contextmanager
    def _conversing(self, client: "_Client") -> Iterator[None]:
        """Whatever goes wrong here ends this conversation, and no other."""
        try:
            yield
        except XensnapError:
            self._hang_up(client)
        except Exception as error:  # noqa: BLE001 -- whoever watches must hear of it, and others be served
            # Loud for who watches, and for the client an error that QEMU never gives.
            self._complain(_told(error))
            self._hang_up(client)

    def _pass(self) -> None:
        """The world goes on for as long as it is since the last time, where something is at work in it."""
        behind_ns = time.monotonic_ns() - self._reached_ns
        if behind_ns < TICK_S * 1e9:
            return
        if not self._jobs or not (self._clients or self._unattended):
            self._reached_ns += behind_ns
            return
        self._stirred = True
        try:
            with self._worlds.changing() as cell:
                before = cell.world.clock
                cell.world = cell.world.slept(behind_ns)
                # A step is done as a whole: it is ahead of us then.
                self._reached_ns += cell.world.clock.monotonic_ns - before.monotonic_ns
                self._jobs = bool(cell.world.orphans())
        except Exception as error:  # noqa: BLE001 -- as above
            self._complain(_told(error))
            # It would go wrong again, until somebody does something.
            self._jobs = False

    def _hear(self) -> None:
        """Every client is told what has happened by itself, or by what others have done."""
        if not self._stirred:
            return
        self._stirred = False
        for client in list(self._clients.values()):
            with self._conversing(client), self._worlds.changing() as cell:
                cell.world, client.line, told = line.heard(cell.world, client.line)
                client.unsent += told
            self._send(client)

    def _send(self, client: "_Client") -> None:
        """As much as it takes now. QEMU 7.2.22 keeps the rest in memory and reads on, however much that gets."""
        if self._clients.get(client.key) is not client:
            return
        try:
            del client.unsent[: client.connection.send(client.unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self._hang_up(client)
            return
        if client.line.over:
            # What has not been read by then is lost, as when a QEMU ends.
            self._hang_up(client)
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.unsent else 0)
        self._selector.modify(client.connection, wanted, self._selector.get_key(client.connection).data)

    def _hang_up(self, client: "_Client") -> None:
        if self._clients.pop(client.key, None) is None:
            return
        self._selector.unregister(client.connection)
        client.connection.close()
        with self._worlds.changing() as cell:
            cell.world = line.closed(cell.world, client.line)
            kept = cell.world.held(client.key[0]) == client.key[1]
        if client.key in self._listeners:
            self._hearing(client.key, wanted=not kept)


def _told(error: Exception) -> str:
    if isinstance(error, NotModelled):
        return f"xensnap simulator: not modelled: {error}"
    return f"xensnap simulator: an error of its own: {error!r}"


class _Rounds:
    """Counts how often the thread that serves has been round, so that others can wait until it has seen what they did.

    Attributes:
        woken: readable where somebody waits.
        wanted: whether somebody waits for the round that begins now.
    """

    def __init__(self) -> None:
        self.woken, self._waker = socket.socketpair()
        self._turn = threading.Condition()
        self._done = 0
        self._until = 0
        self._over = False

    @property
    def wanted(self) -> bool:
        return self._until > self._done

    def wait(self) -> None:
        """Return after a whole round, which begins after this was called. At once where nobody goes round any more."""
        with self._turn:
            # The one under way may have looked already.
            until = self._until = self._done + 2
            self.wake()
            if not self._turn.wait_for(lambda: self._done >= until or self._over, _NOTICED_S_MAX):
                raise TimeoutError(f"monitors were not attended to within {_NOTICED_S_MAX} s")

    def wake(self) -> None:
        """End the sleep of whoever goes round."""
        with contextlib.suppress(OSError):  # nobody goes round any more
            self._waker.send(b"\0")

    def awake(self) -> None:
        """Sleep again the next time."""
        self.woken.recv(_READ_BYTES)

    def done(self) -> None:
        """One more round is over."""
        with self._turn:
            self._done += 1
            self._turn.notify_all()

    def over(self) -> None:
        """Nobody is to wait any more."""
        with self._turn:
            self._over = True
            self._turn.notify_all()

    def close(self) -> None:
        self.woken.close()
        self._waker.close()


class _Client:
    """Who is served by one monitor."""

    def __init__(self, key: tuple[int, str], connection: socket.socket, opened: Line) -> None:
        self.key = key
        self.connection = connection
        self.line = opened
        self.unsent = bytearray()
