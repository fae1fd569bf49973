"""What is not modelled is refused aloud at every door, and never answered as if it had been done."""

import json
import shlex
import socket
from contextlib import closing
from pathlib import Path

import pytest
from qemu.qmp import QMPClient

from simulator import NotModelled, SimulatedHost
from simulator.ports.seat import Seat
from simulator.serve import programs
from simulator.serve.low.runner import SimulatedRunner
from simulator.serve.tool_server import NOT_MODELLED
from simulator.serve.virtual import VirtualMonitors, socket_path
from simulator.world import line
from tests.parity.unmodelled import BIOS, FILE, IMAGE, MESSAGES, PROGRAMS, SAVED, WAITS
from xensnap.doors import DoorHost
from xensnap.testing.doors import Doors

NEGOTIATE = b'{"execute":"qmp_capabilities"}'


def running(host: SimulatedHost) -> None:
    """Domains that run or wait to, a file of a memory, and a configuration."""
    host.create_image(IMAGE)
    host.add_domain("pv1", disks={"xvda": IMAGE})
    host.start("pv1")
    host.add_domain(BIOS, kind="hvm", drivers=False)
    host.start(BIOS)
    host.add_domain(WAITS, kind="hvm")
    host.start(WAITS, paused=True)
    host.make_directory(FILE.rpartition("/")[0])
    fs = host.world.fs.create(FILE, b'name = "pv2"\nkernel = "/boot/vmlinuz"\n')
    saved = programs.run(host.world.with_fs(fs), ("xl", "save", "-c", "pv1", SAVED))
    assert not saved.returncode
    host.cell.world = saved.world


@pytest.fixture
def host() -> SimulatedHost:
    made = DoorHost.fresh()
    running(made)
    return made


@pytest.mark.parametrize("what", PROGRAMS)
def test_a_program_is_refused_in_process_and_nothing_is_done(host: SimulatedHost, what: str) -> None:
    before = host.world
    with pytest.raises(NotModelled):
        programs.run(before, PROGRAMS[what])
    with pytest.raises(NotModelled):
        host.run(SimulatedRunner(Seat(host.cell, host.pid)).run(PROGRAMS[what]))
    assert (host.world.fs, host.world.xen) == (before.fs, before.xen)


@pytest.mark.parametrize("what", MESSAGES)
def test_a_message_is_refused_in_process(host: SimulatedHost, what: str) -> None:
    world, client, _ = line.opened(host.world, host.incarnation("pv1").domid)
    world, client, _ = line.said(world, client, NEGOTIATE)
    with pytest.raises(NotModelled):
        line.said(world, client, json.dumps(MESSAGES[what]).encode())


def test_a_client_on_the_virtual_loop_is_not_left_waiting(host: SimulatedHost) -> None:
    client = QMPClient()

    async def asked() -> None:
        await client.connect(socket_path("libxl", host.incarnation("pv1").domid))
        await client.execute("query-migrate")

    with closing(VirtualMonitors(host.cell)) as monitors:
        with pytest.raises(NotModelled, match="query-migrate"):
            monitors.loop.run_until_complete(asked())
        monitors.loop.run_until_complete(client.disconnect())


def test_executables_end_with_a_code_of_their_own_and_say_what_it_was(doors: Doors) -> None:
    with doors.host() as host:
        running(host)
    script = "\n".join(f"{shlex.join(argv)} && echo done || echo $?" for argv in PROGRAMS.values())
    done = doors.run("sh", "-c", script)
    assert done.stdout.split() == [str(NOT_MODELLED)] * len(PROGRAMS)
    assert done.stderr.count("xensnap simulator: not modelled: ") == len(PROGRAMS)


def test_a_client_of_a_socket_is_hung_up_on_and_whoever_serves_says_why(doors: Doors, capsys) -> None:
    with doors.host() as host:
        running(host)
    assert doors.run("xl", "list").returncode == 0  # after which every monitor has its socket
    path = Path(doors.environment["XENSNAP_QMP_DIR"]) / "qmp-libxl-1"
    for message in MESSAGES.values():
        with socket.socket(socket.AF_UNIX) as client, client.makefile("rb") as heard:
            client.connect(str(path))
            client.sendall(NEGOTIATE)
            assert [b"QMP" in heard.readline(), heard.readline()] == [True, b'{"return": {}}\r\n']
            client.sendall(json.dumps(message).encode())
            assert heard.read() == b""
    assert capsys.readouterr().err.count("xensnap simulator: not modelled: QMP") == len(MESSAGES)
