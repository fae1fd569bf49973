"""Who stands in for a lost watcher: what it does with a guest that ends, and that it stays behind until then."""

import asyncio
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.backends.xen.scripted import UUID, ScriptedXen, config, disk
from tests.unit.backends.xen.test_listing import HEADER
from xensnap.backends.local.files import LocalFiles
from xensnap.backends.local.machine import sleep
from xensnap.backends.local.runner import LocalRunner
from xensnap.backends.xen import log
from xensnap.backends.xen.daemons import LocalDaemons
from xensnap.backends.xen.listing import Line
from xensnap.backends.xen.stand_in import Deed, deed, looked
from xensnap.backends.xen.supervisor import LocalSupervisor
from xensnap.backends.xen.watcher import Watchers
from xensnap.backends.xen.xl import Xl
from xensnap.errors import Failed
from xensnap.formats import libxl_json
from xensnap.model import DomainUuid, DomId, RunState

ENDS_S_MAX = 60.0
SHUT = RunState.SHUTDOWN


@pytest.mark.parametrize(
    ("state", "reason", "told", "wanted"),
    [
        (RunState.RUNNING, "", {}, Deed.WAIT),
        (RunState.PAUSED, "", {}, Deed.WAIT),
        (RunState.DYING, "", {}, Deed.WAIT),
        (RunState.SUSPENDED, "s", {"on_poweroff": "restart"}, Deed.WAIT),
        (SHUT, "", {}, Deed.DESTROY),
        (SHUT, "", {"on_poweroff": "restart"}, Deed.RESTART),
        (SHUT, "r", {}, Deed.RESTART),
        (SHUT, "r", {"on_reboot": "destroy"}, Deed.DESTROY),
        (SHUT, "w", {"on_watchdog": "restart"}, Deed.RESTART),
        (RunState.CRASHED, "c", {}, Deed.DESTROY),
        (RunState.CRASHED, "c", {"on_crash": "preserve"}, Deed.LEAVE),
        (RunState.CRASHED, "c", {"on_crash": "coredump_restart"}, Deed.LEAVE),
        (SHUT, "r", {"on_reboot": "rename_restart"}, Deed.LEAVE),
        (SHUT, "S", {"on_soft_reset": "soft_reset"}, Deed.LEAVE),
    ],
)
def test_what_is_done_is_what_the_configuration_says(
    state: RunState, reason: str, told: dict[str, str], wanted: Deed
) -> None:
    assert deed(Line("pv1", DomId(1), DomainUuid(UUID), state, reason), told) is wanted


def test_a_guest_that_is_gone_needs_nobody() -> None:
    assert deed(None, {}) is Deed.LEAVE


def look(xen: ScriptedXen, domid: int) -> bool:
    return xen.host.run(looked(Xl(xen), xen.host.toolstack, DomId(domid), DomainUuid(UUID)))


def test_a_guest_that_was_powered_off_is_cleaned_up_and_one_that_runs_is_left_alone(tmp_path: Path) -> None:
    xen = ScriptedXen(tmp_path)
    domid = xen.add("pv1")
    assert not look(xen, domid)
    assert domid in xen.guests
    xen.guests[domid].letters = "---s--"
    assert look(xen, domid)
    assert not xen.guests


def test_a_guest_that_reboots_is_started_by_a_new_xl(tmp_path: Path) -> None:
    xen = ScriptedXen(tmp_path)
    told = config("pv1", disks=[disk("xvda", "/dev/vg/pv1", "raw") | {"backend": "phy"}])
    domid = xen.enter(told, "---sr-")

    def create(*_: str) -> tuple[int, bytes]:
        xen.enter(told, "--p---")
        return 0, b""

    xen.monitor |= {"query-named-block-nodes": [], "x-debug-query-block-graph": {"nodes": [], "edges": []}}
    xen.instead["create"] = create
    xen.instead["-N"] = lambda *_: (0, libxl_json.dump(told))
    assert look(xen, domid)
    (again,) = xen.guests
    assert again != domid
    assert not xen.guests[again].pauses


def test_another_incarnation_is_left_alone(tmp_path: Path) -> None:
    """a revert has ended the guest after we had looked, and has restored it"""
    xen = ScriptedXen(tmp_path)
    domid = DomId(xen.add("pv1", letters="---s--"))

    class Overtaken(Xl):
        async def configurations(self, domid: DomId | None = None) -> dict[int, libxl_json.Config]:
            told = await super().configurations(domid)
            xen.guests.clear()
            xen.enter(config("pv1"))
            return told

    assert xen.host.run(looked(Overtaken(xen), xen.host.toolstack, domid, DomainUuid(UUID)))
    assert [guest.letters for guest in xen.guests.values()] == ["r-----"]


# --- the process -----------------------------------------------------------------------------------------------------

XL = """
import sys
from pathlib import Path
here = Path(__file__).parent
sys.stdout.write((here / "list").read_text())
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An xl that tells of what is in `list`, and a xenstore-watch that tells of what is written into `events`."""
    (tmp_path / "xl").write_text(f"#!{sys.executable}\n{XL}")
    (tmp_path / "xenstore-watch").write_text(f"#!/bin/sh\nexec {shutil.which('cat')} {tmp_path}/events\n")
    for name in ("xl", "xenstore-watch"):
        (tmp_path / name).chmod(0o700)
    os.mkfifo(tmp_path / "events")
    (tmp_path / "list").write_text(
        HEADER + f"pv1  7   160     1     r-----      14.4 {UUID}        -                -\n"
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def stand_in(place: Path) -> None:
    daemons = LocalDaemons(LocalSupervisor(LocalRunner()), str(place / "store"))
    asyncio.run(daemons.stand_in(DomId(7), DomainUuid(UUID), str(place / "xl-pv1.log")))


def is_watcher(pid: int, path: Path) -> bool:
    return asyncio.run(LocalDaemons(LocalSupervisor(LocalRunner()), "").is_watcher(pid, str(path)))


def test_a_process_stays_behind_and_is_found_by_its_log_until_its_guest_has_gone(tools: Path) -> None:
    written = tools / "xl-pv1.log"
    written.write_text("Waiting for domain pv1 (domid 3) to die [pid 1]\n")
    stand_in(tools)
    told = log.watching(written.read_text())
    assert told is not None
    assert told.domid == 7
    assert is_watcher(told.pid, written)
    assert not is_watcher(told.pid, tools / "xl-pv2.log")
    ended = os.pidfd_open(told.pid)
    with (tools / "events").open("w") as events:
        (tools / "list").write_text(HEADER)
        events.write("@releaseDomain\n")
    assert select.select([ended], [], [], ENDS_S_MAX)[0]
    os.close(ended)
    assert written.read_text().endswith("domain 7: gone; leave\n")


def test_where_nobody_can_watch_it_is_said(tools: Path) -> None:
    (tools / "xenstore-watch").unlink()
    with pytest.raises(Failed, match="xenstore-watch is not installed") as failed:
        stand_in(tools)
    assert failed.value.id == "watcher-not-replaced"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A process whose program is called xl, and its log."""
    shutil.copy(shutil.which("sleep") or "", tmp_path / "xl")
    written = tmp_path / "xl-pv1.log"
    with written.open("w") as log, subprocess.Popen([tmp_path / "xl", "1000"], stdout=log) as process:
        yield process.pid, written
        process.kill()


def stopped(pid: int) -> bool:
    """Whether it stands still, as soon as the signals that it has been sent have reached it."""
    process = Path(f"/proc/{pid}/status")
    told = process.read_text()
    while "ShdPnd:\t0000000000000000" not in told or "State:\tR" in told:
        time.sleep(0.001)
        told = process.read_text()
    return "State:\tT" in told


def test_a_daemon_whose_program_was_replaced_by_an_update_watches_still(daemon: tuple[int, Path]) -> None:
    """/proc then says "xl (deleted)"; a save would end it, and the doctor would start a second one"""
    pid, written = daemon
    assert is_watcher(pid, written)
    (written.parent / "xl").unlink()
    assert is_watcher(pid, written)


@pytest.mark.parametrize("rotated", [lambda log: log.rename(f"{log}.1"), Path.unlink])
def test_a_daemon_whose_log_is_rotated_while_it_stands_still_goes_on(
    daemon: tuple[int, Path], rotated: Callable[[Path], object]
) -> None:
    pid, written = daemon
    written.write_text(log.announcement("pv1", DomId(7), pid) + "\n")
    watchers = Watchers(LocalFiles(sleep), LocalDaemons(LocalSupervisor(LocalRunner()), ""), str(written.parent))
    watcher = asyncio.run(watchers.hold(DomId(7)))
    assert watcher is not None
    assert stopped(pid)
    rotated(written)
    asyncio.run(watcher.resume())
    assert not stopped(pid)


def test_another_process_that_has_the_pid_of_a_daemon_by_now_is_left_alone(daemon: tuple[int, Path]) -> None:
    pid, _ = daemon
    daemons = LocalDaemons(LocalSupervisor(LocalRunner()), "")
    started = asyncio.run(daemons.stop(pid))
    asyncio.run(daemons.go_on(pid, started - 1))
    assert stopped(pid)
