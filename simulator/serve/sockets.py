"""Door three for QMP: the monitors of a world on real UNIX sockets.

One thread, one selector. A second client of the same monitor may connect and hears nothing until the first has gone,
as with QEMU's own backlog of one. What several programs do to the world at once is kept apart by `Worlds`.
"""

import contextlib
import selectors
import socket
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
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
    """

    def __init__(
        self,
        worlds: Worlds,
        directory: Path,
        complain: Callable[[str], object] = id,
        attending: Callable[[World], object] = id,
    ) -> None:
        self._worlds = worlds
        self._directory = directory
        self._attending = attending
        self._complain = complain
        self._selector = selectors.DefaultSelector()
        self._listeners: dict[tuple[int, str], socket.socket] = {}
        self._clients: dict[tuple[int, str], _Client] = {}
        self._jobs = False
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
        # Nobody else is listened to before this one has gone.
        self._hearing(key, wanted=False)
        with self._worlds.changing() as cell:
            cell.world, opened, greeting = line.opened(cell.world, key[0], key[1])
        client = _Client(key, connection, opened)
        self._clients[key] = client
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._said(client))
        self._send(client, greeting)

    def _said(self, client: "_Client") -> None:
        try:
            data = client.connection.recv(_READ_BYTES)
        except ConnectionResetError:
            data = b""
        if not data:
            self._hang_up(client)
            return
        try:
            with self._worlds.changing() as cell:
                client.line, answer = said(cell, client.line, data)
                self._jobs = bool(cell.world.orphans())
        except NotModelled as error:
            # Loud for who watches, and for the client an error that QEMU never gives.
            self._complain(f"xensnap simulator: not modelled: {error}")
            self._hang_up(client)
            return
        except XensnapError:
            self._hang_up(client)
            return
        self._send(client, answer)

    def _hear(self) -> None:
        for client in list(self._clients.values()) if self._jobs else ():
            with self._worlds.changing() as cell:
                if self._jobs:
                    cell.world = cell.world.slept(round(TICK_S * 1e9))
                cell.world, client.line, told = line.heard(cell.world, client.line)
            self._send(client, told)

    def _send(self, client: "_Client", data: bytes) -> None:
        try:
            client.connection.sendall(data)
        except OSError:
            self._hang_up(client)
            return
        if client.line.over:
            self._hang_up(client)

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
