"""Door three for QMP: the monitors of a world on real UNIX sockets.

One thread, one selector. A second client of the same monitor may connect and hears nothing until the first has gone,
as with QEMU's own backlog of one. What several programs do to the world at once is kept apart by `Worlds`.
"""

import contextlib
import selectors
import socket
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from simulator.core.unmodelled import NotModelled
from simulator.ports.seat import Cell
from simulator.world import line
from simulator.world.line import MONITORS, Line

_READ_BYTES = 1 << 16
TICK_S = 0.05


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
    """

    def __init__(self, worlds: Worlds, directory: Path, complain: Callable[[str], None] | None = None) -> None:
        self._worlds = worlds
        self._directory = directory
        self._complain = complain or (lambda words: print(words, file=sys.stderr))  # noqa: T201 -- a server's log
        self._selector = selectors.DefaultSelector()
        self._listeners: dict[tuple[int, str], socket.socket] = {}
        self._clients: dict[tuple[int, str], _Client] = {}
        self._jobs = False

    def attend(self) -> None:
        """Have a socket for each monitor that there is, and none for those that are gone."""
        if not self._jobs and not self._worlds.changed():
            return
        with self._worlds.changing() as cell:
            there = {(domid, which) for domid in cell.world.qemus for which in MONITORS}
            self._jobs = bool(cell.world.orphans())
        for key in there - set(self._listeners):
            self._listen(key)
        for key in set(self._listeners) - there:
            self._unlisten(key)

    def run(self, until: Callable[[], bool]) -> None:
        """Serve until told to stop; looks every tick."""
        try:
            while not until():
                self.attend()
                for key, _ in self._selector.select(TICK_S):
                    key.data()
                self._hear()
        finally:
            self.close()

    def close(self) -> None:
        """Hang up and remove the sockets."""
        for client in list(self._clients.values()):
            self._hang_up(client)
        for key in list(self._listeners):
            self._unlisten(key)
        self._selector.close()

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
        self._selector.register(listener, selectors.EVENT_READ, lambda: self._accept(key))

    def _unlisten(self, key: tuple[int, str]) -> None:
        if (client := self._clients.get(key)) is not None:
            self._hang_up(client)
        listener = self._listeners.pop(key)
        with contextlib.suppress(KeyError):
            self._selector.unregister(listener)
        listener.close()
        self._path(key).unlink(missing_ok=True)

    def _accept(self, key: tuple[int, str]) -> None:
        connection, _ = self._listeners[key].accept()
        # Nobody else is listened to before this one has gone.
        self._selector.unregister(self._listeners[key])
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
                cell.world, client.line, answer = line.said(cell.world, client.line, data)
                self._jobs = bool(cell.world.orphans())
        except NotModelled as error:
            # Loud for who watches, and for the client an error that QEMU never gives.
            self._complain(f"xensnap simulator: not modelled: {error}")
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
        listener = self._listeners.get(client.key)
        if listener is not None:
            self._selector.register(listener, selectors.EVENT_READ, lambda: self._accept(client.key))


class _Client:
    """Who is served by one monitor."""

    def __init__(self, key: tuple[int, str], connection: socket.socket, opened: Line) -> None:
        self.key = key
        self.connection = connection
        self.line = opened
