"""QEMU's monitor over a UNIX socket, by the library `qemu.qmp`, which is loaded when a monitor is first needed.

QEMU serves one client at a time. A second one connects all the same (it waits in the socket's backlog) and hears
nothing, not even the greeting, until the first hangs up (facts: QEMU 7.2.22). So a connection is made for one piece of
work and closed again, waiting for the greeting is bounded, and silence means that another client is at work.
"""

# ruff: noqa: PLC0415 -- asyncio, qemu.qmp and what they are made of load when they are used

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from xensnap.backends.local.waiting import loop
from xensnap.errors import Busy, Failed, Unknown
from xensnap.hypervisor import Monitor
from xensnap.model import Domain

if TYPE_CHECKING:
    import socket

    from qemu.qmp import QMPClient

Dial = Callable[[str, float], Awaitable["str | socket.socket"]]
M = TypeVar("M", bound=Monitor)
M_co = TypeVar("M_co", bound=Monitor, covariant=True)

PATIENCE_S = 5.0
"""How long another client of the same monitor is waited for. Ours hold it for fractions of a second."""
_REPLY_S_MAX = 120.0
_BACKLOG_PAUSE_S = 0.01


class CommandFailed(Failed):
    """QEMU refused a command: effect none.

    Args:
        command: its name.
        words: QEMU's own.
        error_class: QEMU's class of the error, `GenericError` for nearly all.
    """

    default_id = "qmp-error"

    def __init__(self, command: str, words: str, error_class: str) -> None:
        super().__init__(f"QEMU refuses {command}: {words}")
        self.command = command
        self.words = words
        self.error_class = error_class


class LocalMonitor:
    """The `Monitor` port: one negotiated connection.

    Args:
        client: the library's, connected.
        line: the socket that the client was told to use, if it was told one.
        reply_s_max: seconds after which a command that got no reply counts as lost.
    """

    def __init__(
        self,
        client: "QMPClient",
        line: "socket.socket | None" = None,
        *,
        reply_s_max: float = _REPLY_S_MAX,
    ) -> None:
        self._client = client
        self._line = line
        self._reply_s_max = reply_s_max

    async def execute(self, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
        """See `Monitor.execute`."""
        import asyncio

        from qemu.qmp import ExecuteError, QMPError, StateError

        try:
            async with asyncio.timeout(self._reply_s_max):
                return await self._client.execute(command, dict(arguments) if arguments else None)
        except ExecuteError as error:
            raise CommandFailed(command, str(error), error.error_class) from error
        except StateError as error:
            # The library knew before sending that nobody is there.
            raise _gone(f"{command} was not sent: the monitor has hung up") from error
        except TimeoutError as error:
            raise Unknown(f"no reply to {command} within {self._reply_s_max} s", id="reply-lost") from error
        except (QMPError, OSError, EOFError) as error:
            raise Unknown(f"the monitor hung up before it replied to {command}: {error}", id="reply-lost") from error

    async def give(self, name: str, fd: int) -> None:
        """Let QEMU have a copy of one of our descriptors, which commands then call `fd:NAME`.

        `Failed`: none. `Unknown`: the reply was lost, and with the connection QEMU forgets the descriptor.
        """
        try:
            self._client.send_fd_scm(fd)
        except OSError as error:
            raise _gone(f"the descriptor {name} was not sent: {error.strerror}") from error
        await self.execute("getfd", {"fdname": name})

    async def close(self) -> None:
        """See `Monitor.close`. Never fails: who hangs up does not care what was wrong with the line.

        Who is cancelled meanwhile has hung up all the same, or QEMU would hear nobody else until the last frame of the
        interrupted work is gone.
        """
        import asyncio

        from qemu.qmp import QMPError

        # A line of more than 10 MiB ends the library's reader with ValueError, one nested too deep with RecursionError.
        # One that broke off while it was being made ready fails an assertion of the library's.
        wrong = (QMPError, OSError, EOFError, ValueError, RecursionError, AssertionError)
        hanging_up = asyncio.ensure_future(self._client.disconnect())
        try:
            with contextlib.suppress(*wrong):
                await asyncio.shield(hanging_up)
        except asyncio.CancelledError:
            with contextlib.suppress(*wrong):
                await hanging_up
            raise
        finally:
            # Cancelled before it has made a stream of it, the library forgets the socket (qemu.qmp 0.0.6).
            if self._line is not None:
                self._line.close()


class SocketConnector:
    """The `MonitorConnector` for monitors on UNIX sockets.

    Args:
        where: the path of a domain's socket, or None where the domain has no QEMU.
        dial: connects to a path by a time of the running loop, and gives what the library takes for an address;
            `OSError` where nobody listens, `TimeoutError` where there is no room even to wait.
    """

    def __init__(self, where: Callable[[Domain], Awaitable[str | None]], dial: "Dial | None" = None) -> None:
        self._where = where
        self._dial = dial or _dialled

    async def connect(self, domain: Domain, *, timeout_s: float) -> LocalMonitor:
        """See `MonitorConnector.connect`."""
        path = await self._where(domain)
        if path is None:
            raise _gone(f"{domain.name} has no QEMU")
        await loop()
        import asyncio
        import logging

        from qemu.qmp import ConnectError

        # Without any handler, logging would print the library's words on stderr; they are in our errors.
        logging.getLogger("qemu.qmp").addHandler(logging.NullHandler())
        deadline = asyncio.get_running_loop().time() + timeout_s
        try:
            return await _negotiated(partial(self._dial, path, deadline), deadline)
        except TimeoutError as error:
            cause = f"another client holds the monitor of {domain.name} ({path}), for more than {timeout_s} s"
            raise Busy(cause, id="monitor-busy") from error
        except ConnectError as error:
            raise _gone(f"the monitor of {domain.name} hung up: {error.exc!r}") from error
        except OSError as error:
            raise _gone(f"the monitor of {domain.name} does not answer: {error.strerror}") from error


class Connects(Protocol[M_co]):
    """A `MonitorConnector` whose monitors may do more than the port asks for."""

    async def connect(self, domain: Domain, *, timeout_s: float) -> M_co:
        """See `MonitorConnector.connect`."""


@contextlib.asynccontextmanager
async def connected(connector: Connects[M], domain: Domain, *, timeout_s: float = PATIENCE_S) -> AsyncIterator[M]:
    """The domain's monitor for one piece of work; it is hung up whatever happens. Errors as `connect`."""
    monitor = await connector.connect(domain, timeout_s=timeout_s)
    try:
        yield monitor
    finally:
        await monitor.close()


async def _negotiated(dial: "Callable[[], Awaitable[str | socket.socket]]", deadline: float) -> LocalMonitor:
    """A monitor that takes commands. Errors are those of the library, of the socket, and `TimeoutError`.

    What QEMU still has to say to a client that was killed within a command comes to the next one: before the greeting,
    or as if it were the reply to the negotiation. An event of another of QEMU's threads (a migration's) can come there,
    too. The library takes some of this for a broken line and hangs up (7.2.22, qemu.qmp 0.0.6). QEMU does one command
    after the other, so the reply to a question of ours is behind all that; only then is the line good.
    """
    import asyncio

    from qemu.qmp import ConnectError, ExecInterruptedError, QMPClient, StateError
    from qemu.qmp.qmp_client import GreetingError, NegotiationError

    clock = asyncio.get_running_loop().time
    while True:
        client = QMPClient()
        client.events.event_filter = lambda _: False  # nobody asks for events, and it would keep them all
        line = await dial()
        monitor = LocalMonitor(client, None if isinstance(line, str) else line)
        try:
            async with asyncio.timeout_at(deadline):
                await client.connect(line)
                await client.execute("query-name")
        except ConnectError as error:
            early = isinstance(error.exc, GreetingError) and isinstance(error.exc.exc, KeyError)
            if not early and not (
                isinstance(error.exc, NegotiationError) and isinstance(error.exc.exc, AssertionError)
            ):
                raise
        except (ExecInterruptedError, StateError, AssertionError):
            # With an assertion the library fails where QEMU hangs up right after the negotiation.
            await monitor.close()
        except BaseException:
            await monitor.close()
            raise
        else:
            return monitor
        # A QEMU that has ended refuses the next connection, so this ends.
        if clock() >= deadline:
            raise TimeoutError


async def _dialled(path: str, deadline: float) -> "socket.socket":
    """A socket connected to `path`; `TimeoutError` where even the backlog stays full."""
    import asyncio
    import socket

    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    line.setblocking(False)  # noqa: FBT003 -- the library's own signature
    try:
        while True:
            try:
                line.connect(path)
            except BlockingIOError:
                # QEMU's backlog holds one client. asyncio would take this for a connection being made.
                if asyncio.get_running_loop().time() >= deadline:
                    raise TimeoutError from None
                await asyncio.sleep(_BACKLOG_PAUSE_S)
            else:
                return line
    except BaseException:
        line.close()
        raise


def _gone(cause: str) -> Failed:
    return Failed(cause, id="monitor-gone", remedy="Look whether the domain still runs; if so, end it.")
