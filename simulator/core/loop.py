"""An asyncio event loop in which time passes only when nobody has anything to do, and then at once.

Coroutines that were written for a real loop run on it unchanged, hours of timers in milliseconds, the same every time.
There are no descriptors, no threads and no wall clock. When nothing is runnable and no timer is set the loop would wait
for ever, which is an error here.
"""

import asyncio
import selectors
from asyncio import transports
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from simulator.core.unmodelled import NotModelled


class Deadlock(RuntimeError):
    """Every task waits for another."""


class Peer(Protocol):
    """The other end of a simulated connection."""

    def connected(self, write: Callable[[bytes | None], None]) -> None:
        """Somebody has connected. What is written goes to him; None hangs up."""

    def received(self, data: bytes | None) -> None:
        """He has sent this, or has hung up."""


class _TimeTravel(selectors.BaseSelector):
    """A selector that has nothing to select: instead of waiting it moves the clock."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._keys: dict[int, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        number = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        key = selectors.SelectorKey(fileobj, number, events, data)
        self._keys[number] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj if isinstance(fileobj, int) else fileobj.fileno())

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Deadlock("no task can run and no timer is set")
        self.now_s += max(timeout, 0.0)
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys

    def close(self) -> None:
        self._keys.clear()


class SimulatedLoop(asyncio.SelectorEventLoop):
    """The loop.

    Args:
        latency_s: how long each message is on its way; called once for each, so that it can be drawn. Those of one
            connection never overtake each other.
        passes: told how many seconds have passed, each time the clock has moved.
    """

    def __init__(
        self, latency_s: Callable[[], float] = lambda: 0.001, passes: Callable[[float], None] = lambda _seconds: None
    ) -> None:
        self._travel = _TimeTravel()
        super().__init__(self._travel)
        self._latency_s = latency_s
        self._passes = passes
        self._told_s = 0.0
        self._listeners: dict[str, Callable[[], Peer]] = {}

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        now = self._travel.now_s
        if now > self._told_s:
            passed, self._told_s = now - self._told_s, now
            self._passes(passed)
        return now

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """What is not modelled ends the loop: who waits for an answer would take it for a peer that says nothing."""
        error = context.get("exception")
        if isinstance(error, NotModelled):
            raise error
        super().call_exception_handler(context)

    def listening(self, path: str, accept: Callable[[], Peer]) -> None:
        """From now on a connection to this UNIX socket reaches what `accept` makes; it may raise `OSError` instead."""
        self._listeners[path] = accept

    async def create_unix_connection(  # type: ignore[override]
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], path: str | None = None, **_options: Any
    ) -> tuple[transports.Transport, asyncio.BaseProtocol]:
        """As asyncio's, to one of the listeners."""
        accept = self._listeners.get(str(path))
        if accept is None:
            raise FileNotFoundError(2, "No such file or directory", path)
        peer = accept()
        protocol = protocol_factory()
        transport = _Pipe(self, protocol, peer, self._latency_s)
        protocol.connection_made(transport)
        peer.connected(transport.deliver)
        return transport, protocol


class _Pipe(transports.Transport):
    """One connection, kept in memory."""

    def __init__(
        self, loop: SimulatedLoop, protocol: asyncio.BaseProtocol, peer: Peer, latency_s: Callable[[], float]
    ) -> None:
        super().__init__()
        self._loop = loop
        self._protocol: Any = protocol
        self._peer = peer
        self._latency_s = latency_s
        self._latest = [0.0, 0.0]
        self._closed = False

    def _later(self, way: int, call: Callable[[bytes | None], None], data: bytes | None) -> None:
        self._latest[way] = max(self._latest[way], self._loop.time() + self._latency_s())
        self._loop.call_at(self._latest[way], call, data)

    def deliver(self, data: bytes | None) -> None:
        """From the peer to us."""
        self._later(1, self._arrived, data)

    def _arrived(self, data: bytes | None) -> None:
        if self._closed:
            return
        if data is not None:
            self._protocol.data_received(data)
            return
        self._closed = True
        self._protocol.eof_received()
        self._protocol.connection_lost(None)

    def write(self, data: Any) -> None:
        if not self._closed:
            self._later(0, self._peer.received, bytes(data))

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._loop.call_soon(self._protocol.connection_lost, None)
            self._later(0, self._peer.received, None)

    def abort(self) -> None:
        self.close()

    def is_closing(self) -> bool:
        return self._closed

    def pause_reading(self) -> None:
        """What is on its way arrives all the same: nothing here is large."""

    def resume_reading(self) -> None:
        """As `pause_reading`."""

    def is_reading(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return 0, 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is no buffer."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        del name
        return default

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol  # type: ignore[no-any-return]

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol
