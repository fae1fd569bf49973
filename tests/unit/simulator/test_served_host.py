"""A host that is worked on through executables and sockets does the same as one that is worked on in one process."""

import re
import socket
from collections.abc import Iterator
from errno import EIO
from pathlib import Path
from typing import NoReturn

import pytest

from simulator import Cut, NotModelled, SimulatedHost
from simulator.qemu import monitor
from simulator.serve.doorway import Doorway
from simulator.serve.held import HeldCell, HeldWorlds
from simulator.serve.xl import run as xl
from tests.crash.harness import GUEST
from tests.crash.running import UUID, running, seen
from xensnap import served
from xensnap.doors import DoorHost
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest
from xensnap.errors import XensnapError
from xensnap.served import ServedHost
from xensnap.testing.doors import Doors

FAULTS = [
    ("xl.save", Cut.BEFORE),
    ("xl.save", Cut.PARTLY),
    ("qemu-img.create-overlay", Cut.PARTLY),
    ("qmp.transaction", Cut.BEFORE),
    ("qmp.transaction", Cut.UNACKNOWLEDGED),
]
SILENT_S = 0.3


@pytest.fixture(autouse=True)
def shut() -> Iterator[None]:
    """No doors stay open."""
    yield
    served.shut()


def ended(kind: type[SimulatedHost], world: SimulatedHost, effect: str, cut: Cut) -> tuple[str, object]:
    """How a create ends of which this fails, and what it leaves once it is recovered."""
    host = kind(world.world)
    host.fail_at(effect, cut, EIO)
    outcome = "done"
    try:
        Engine(host).create(GUEST, CreateRequest("second", disk_only=effect.startswith("qmp.")))
    except XensnapError as error:
        outcome = error.id
    assert not host.unmet_faults
    Engine(host).recover(GUEST)
    return outcome, seen(host)


@pytest.mark.parametrize(("effect", "cut"), FAULTS, ids=str)
def test_what_fails_in_one_process_fails_in_another(effect: str, cut: Cut) -> None:
    world = running("e", host_kind=DoorHost)
    assert ended(ServedHost, world, effect, cut) == ended(DoorHost, world, effect, cut)


def test_a_monitor_is_there_as_soon_as_xl_says_so_and_gone_with_the_guest(doors: Doors) -> None:
    with doors.host() as host:
        host.create_image("/images/a.qcow2")
        path = host.write_configuration(host.add_domain("pv1", disks={"xvda": "/images/a.qcow2"}).name)
    script = f"""
        for n in 1 2 3; do
            xl create -q {path} && test -S $XENSNAP_QMP_DIR/qmp-libxl-$n && test -S $XENSNAP_QMP_DIR/qmp-libxenstat-$n
            xl destroy pv1 && ! test -e $XENSNAP_QMP_DIR/qmp-libxl-$n
        done
    """
    done = doors.run("sh", "-euc", script)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_xl_and_qemu_write_is_in_files_as_soon_as_xl_has_ended(doors: Doors) -> None:
    with doors.host() as host:
        host.create_image("/images/a.qcow2")
        path = host.write_configuration(host.add_domain("pv1", disks={"xvda": "/images/a.qcow2"}).name)
    script = f"""
        ls $XENSNAP_LOG_DIR
        xl create -q {path}; cat $XENSNAP_LOG_DIR/xl-pv1.log
        xl save -c pv1 /saved 2>/dev/null; tail -n +2 $XENSNAP_LOG_DIR/xl-pv1.log
        xl destroy pv1; xl create -q {path}; cat $XENSNAP_LOG_DIR/xl-pv1.log
        (cd $XENSNAP_LOG_DIR && ls)
    """
    done = doors.run("sh", "-euc", script)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.sub(r"pid \d+", "pid", done.stdout).splitlines() == [
        "Waiting for domain pv1 (domid 1) to die [pid]",
        "Domain 1 has shut down, reason code 2 0x2",
        "Domain has suspended.",
        "Done. Exiting now",
        "Waiting for domain pv1 (domid 2) to die [pid]",
        *("qemu-dm-pv1.log", "qemu-dm-pv1.log.1", "xl-pv1.log", "xl-pv1.log.1"),
    ]


@pytest.mark.parametrize("kind", [DoorHost, ServedHost])
def test_what_is_not_modelled_is_no_failure_of_a_tool_or_a_monitor(kind: type[SimulatedHost], monkeypatch) -> None:
    def unknown(*_args: object) -> NoReturn:
        raise NotModelled("that")

    host = running("e", host_kind=kind)
    with monkeypatch.context() as patch:
        patch.setitem(xl.SUBCOMMANDS, "list", unknown)
        with pytest.raises(NotModelled, match="that"):
            Engine(host).domains()
    with monkeypatch.context() as patch:
        patch.setitem(monitor.COMMANDS, "transaction", monitor.COMMANDS["transaction"]._replace(do=unknown))
        with pytest.raises(NotModelled, match="that"):
            Engine(host).create(GUEST, CreateRequest("second", disk_only=True))


@pytest.fixture
def guest() -> SimulatedHost:
    """A guest that runs, in a world that several may work on."""
    host = ServedHost.fresh()
    host.create_image("/images/a.qcow2")
    host.add_domain(GUEST, UUID, disks={"xvda": "/images/a.qcow2"})
    host.start(GUEST)
    return host


@pytest.fixture
def doorway(guest: SimulatedHost) -> Iterator[Doorway]:
    cell = guest.cell
    assert isinstance(cell, HeldCell)
    opened = Doorway(lambda: HeldWorlds(cell))
    yield opened
    opened.close()


def test_who_comes_to_a_monitor_that_a_stranger_keeps_hears_nothing_until_it_is_let_go(
    guest: SimulatedHost, doorway: Doorway
) -> None:
    guest.hold_monitor(GUEST, "libxenstat")
    doorway.look()
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(SILENT_S)
        client.connect(str(doorway.sockets / f"qmp-libxenstat-{guest.incarnation(GUEST).domid}"))
        with pytest.raises(TimeoutError):
            client.recv(1)
        guest.hold_monitor(GUEST, "")
        client.settimeout(None)
        assert client.recv(4) == b'{"QM'
    doorway.settle()


def test_of_a_qemu_that_has_died_the_sockets_stay_and_nobody_listens(guest: SimulatedHost, doorway: Doorway) -> None:
    path: Path = doorway.sockets / f"qmp-libxl-{guest.incarnation(GUEST).domid}"
    guest.kill_qemu(GUEST)
    doorway.look()
    with socket.socket(socket.AF_UNIX) as client, pytest.raises(ConnectionRefusedError):
        client.connect(str(path))
    guest.run(guest.toolstack.destroy(Engine(guest).view(GUEST).domain))
    doorway.look()
    assert not path.exists()
