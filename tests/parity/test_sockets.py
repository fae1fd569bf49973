"""Clients of a monitor's socket, well and badly behaved: the simulated one and a real QEMU answer the same bytes."""

import select
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from simulator import SimulatedHost
from simulator.qemu.wire import NESTING_MAX, TOKENS_MAX
from simulator.serve.held import HeldCell, HeldWorlds
from simulator.serve.sockets import SocketServer
from tests.deep import DEEP_S

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("qemu_system")]

_ANSWER_S_MAX = 600
NEGOTIATE = b'{"execute":"qmp_capabilities"}'
NAME = b'{"execute":"nosuch"}'
UNREAD = 40
"""So many answers of 60 kB and more are more than any socket takes."""
OF_ITSELF = (b"qmp_capabilities", b"query-commands", b"query-qmp-schema")
"""What a monitor knows without its machine."""


class Client:
    """One connection, of which every byte that is heard is kept."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(_ANSWER_S_MAX)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("rb")

    def says(self, data: bytes) -> None:
        self._socket.sendall(data)

    def hears(self) -> bytes:
        """One message, with the end of its line."""
        return self._lines.readline()

    def asks(self, data: bytes) -> bytes:
        self.says(data)
        return self.hears()

    def is_hung_up_on(self) -> None:
        """Return when nobody is at the other end any more; nothing is read for that."""
        ended = select.poll()
        ended.register(self._socket, 0)
        assert ended.poll(_ANSWER_S_MAX * 1000)

    def has_heard_nothing(self) -> bool:
        return not select.select([self._socket], [], [], 0)[0]

    def goes(self) -> None:
        self._lines.close()
        self._socket.close()


@contextmanager
def simulated(directory: Path) -> Iterator[Path]:
    """The socket of a running domain's monitor."""
    host = SimulatedHost.fresh()
    host.create_image("/images/a.qcow2")
    host.add_domain("pv1", disks={"xvda": "/images/a.qcow2"})
    host.start("pv1")
    server, over = SocketServer(HeldWorlds(HeldCell(host.world)), directory), threading.Event()
    server.attend()
    thread = threading.Thread(target=server.run, args=(over.is_set,))
    thread.start()
    try:
        yield directory / f"qmp-libxl-{host.incarnation('pv1').domid}"
    finally:
        over.set()
        thread.join()


@contextmanager
def real(directory: Path) -> Iterator[Path]:
    """That of a QEMU without a machine, which listens as xl has it listen."""
    path = directory / "qmp"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        argv = ["qemu-system-x86_64", "-machine", "none", "-display", "none", "-nodefaults"]
        argv += ["-chardev", f"socket,id=c,fd={listener.fileno()},server=on,wait=off", "-mon", "chardev=c,mode=control"]
        process = subprocess.Popen(argv, pass_fds=[listener.fileno()], cwd=directory)
    try:
        yield path
    finally:
        process.kill()
        process.wait()


Story = Callable[[Path], list[bytes]]


def a_second_client_waits(path: Path) -> list[bytes]:
    """It is greeted when the first has gone, and what it has said meanwhile is answered then."""
    first = Client(path)
    heard = [first.hears(), first.asks(NEGOTIATE)]
    second = Client(path)
    second.says(NEGOTIATE + NAME)
    heard.append(first.asks(NAME))
    assert second.has_heard_nothing()
    first.goes()
    heard += [second.hears(), second.hears(), second.hears()]
    second.goes()
    return heard


def one_closes_in_mid_line(path: Path) -> list[bytes]:
    """Nothing of it is left to the next, who has to negotiate anew."""
    first = Client(path)
    heard = [first.hears(), first.asks(NEGOTIATE)]
    first.says(b'{"execute":"nosuch","arguments":{"a":"')
    first.goes()
    second = Client(path)
    heard += [second.hears(), second.asks(NAME), second.asks(NEGOTIATE), second.asks(NAME)]
    second.goes()
    return heard


def one_says_it_all_at_once(path: Path) -> list[bytes]:
    """Lines that end in any way, or in none, are the same to QEMU, which ends its own as telnet does."""
    client = Client(path)
    client.says(b"\r\n".join([NEGOTIATE, NAME, NAME]) + b"\n\n" + NAME + NAME + b"\r\n\t" + NAME)
    heard = [client.hears() for _ in range(7)]
    client.goes()
    return heard


def one_cannot_write_json(path: Path) -> list[bytes]:
    """Each mistake is told once, and after it the next command is understood."""
    client = Client(path)
    heard = [client.hears(), client.asks(NEGOTIATE)]
    for mistake in (b'{"execute":nosuch}', b'{"execute":"\\q"}', b"[1,2]", b"]", b'{"execute":1}', b"{'execute' 'x'}"):
        heard += [client.asks(mistake), client.asks(NAME)]
    client.says(b"{\xff" + NAME)
    heard += [client.hears(), client.hears()]
    client.goes()
    return heard


def one_nests_too_deep(path: Path) -> list[bytes]:
    """What is too deep is told once it is, and what is left of it is one mistake more."""
    client = Client(path)
    heard = [client.hears(), client.asks(NEGOTIATE), client.asks(b"[" * (NESTING_MAX + 1)), client.asks(NAME)]
    client.says(b"[" * (NESTING_MAX + 76) + b"\xff\n" + NAME)
    heard += [client.hears() for _ in range(3)]
    client.says(b'{"execute":"nosuch","arguments":' + b'{"a":' * (NESTING_MAX + 1) + b"\xff\n" + NAME)
    heard += [client.hears() for _ in range(3)]
    client.goes()
    return heard


def one_asks_and_does_not_read(path: Path) -> list[bytes]:
    """All that it asks for is done all the same."""
    client = Client(path)
    client.says(NEGOTIATE + b'{"execute":"query-qmp-schema"}' * UNREAD + b'{"execute":"quit"}')
    client.is_hung_up_on()
    heard = [client.hears(), client.hears()]
    client.goes()
    return heard


def one_works_out_of_band(path: Path) -> list[bytes]:
    """Who has not asked for it may not; who has may, but not of these commands; the next has to ask for it again."""
    oob = b'{"exec-oob":"query-version","id":1}'
    first = Client(path)
    heard = [first.hears(), first.asks(NEGOTIATE), first.asks(oob), first.asks(NEGOTIATE)]
    first.goes()
    second = Client(path)
    heard += [
        second.hears(),
        second.asks(b'{"execute":"qmp_capabilities","arguments":{"enable":["nosuch"]}}'),
        second.asks(b'{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}'),
        second.asks(oob),
        second.asks(b'{"exec-oob":"nosuch","id":2}'),
        *(second.asks(b'{"exec-oob":"%s","arguments":{"a":1}}' % name) for name in OF_ITSELF),
        second.asks(b'{"execute":"qmp_capabilities","arguments":{"enable":1}}'),
        second.asks(b'{"exec-oob":"query-version","execute":"query-version"}'),
    ]
    second.goes()
    third = Client(path)
    heard += [third.hears(), third.asks(NEGOTIATE), third.asks(oob)]
    third.goes()
    return heard


def one_sends_too_many_tokens(path: Path) -> list[bytes]:
    client = Client(path)
    heard = [client.hears(), client.asks(NEGOTIATE), client.asks(b"[" + b"1," * (TOKENS_MAX // 2))]
    client.says(b"\xff\n" + NAME)
    heard += [client.hears(), client.hears()]
    client.goes()
    return heard


STORIES: list[Story] = [
    a_second_client_waits,
    one_closes_in_mid_line,
    one_says_it_all_at_once,
    one_cannot_write_json,
    one_nests_too_deep,
    one_asks_and_does_not_read,
    one_works_out_of_band,
]


if DEEP_S:
    # QEMU reads one byte at a time: these two million take it minutes where there is other work.
    STORIES.append(one_sends_too_many_tokens)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__.replace("_", " "))
def test_both_sockets_say_the_same(story: Story, tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("r", "s")]
    for place in places:
        place.mkdir()
    with real(places[0]) as path:
        expected = story(path)
    with simulated(places[1]) as path:
        assert story(path) == expected
    assert all(line.endswith(b"\r\n") for line in expected)
