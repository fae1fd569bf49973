"""QEMU or xensnap dies in the very moment in which a merge or a save has come to its end: nothing of it is lost.

A QEMU that dies loses what it has in its memory of the tables of images, not what it has written.
"""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import pytest

from tests.conftest import require_tool
from tests.real.qemu.conftest import PATIENCE_S, kill_when
from tests.real.qemu.test_bad_disk_running import bad
from xensnap.backends.local.qmp import LocalMonitor
from xensnap.backends.qemu import memory
from xensnap.engine import CreateRequest, DeleteRequest, Engine
from xensnap.errors import XensnapError
from xensnap.hypervisor import TakeInternal, Then
from xensnap.model import Domain, Kind, RunState

ALL_SECTORS = 40
"""After so many reports there is enough on the disks, so that a merge has something to copy."""

SLOW_SAVE = "import xensnap.backends.qemu.memory as memory; memory._BYTES_PER_S_MAX = 4096"


def dies_when(monkeypatch, lab, domain: Domain, status: str) -> list[str]:
    """From now on QEMU dies as soon as it has told that a job is so far; the commands that it has heard until then."""
    execute = LocalMonitor.execute
    died: list[int] = []
    heard: list[str] = []

    async def dying(self: LocalMonitor, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
        answer = await execute(self, command, arguments)
        heard.append(" ".join([command, *map(str, (arguments or {}).values())]))
        if command == "query-jobs" and any(job["status"] == status for job in answer) and not died:
            process = await lab.processes.find(domain.uuid)
            os.kill(process.pid, signal.SIGKILL)
            died.append(process.pid)
            await lab.processes.ended(process, timeout_s=PATIENCE_S)
        return answer

    monkeypatch.setattr(LocalMonitor, "execute", dying)
    return heard


def flushes_in_vain(monkeypatch, lab, domain: Domain) -> list[str]:
    """From now on no image can be written to while QEMU is told to flush one; what it was told then."""
    execute = LocalMonitor.execute
    heard: list[str] = []

    async def in_vain(self: LocalMonitor, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
        if command != "human-monitor-command":
            return await execute(self, command, arguments)
        heard.append(str(arguments))
        process = await lab.processes.find(domain.uuid)
        with bad(process.pid, *map(str, lab.directory.glob("*.qcow2"))):
            return await execute(self, command, arguments)

    monkeypatch.setattr(LocalMonitor, "execute", in_vain)
    return heard


def with_much_to_copy(lab, more: Sequence[str]) -> tuple[Domain, Engine, dict[str, bytes]]:
    """A guest that stands still on external snapshots, two and these; what its disks show."""
    domain, engine = lab.start(), Engine(lab.host)
    engine.create("guest", CreateRequest("root", kind=Kind.EXTERNAL, disk_only=True))
    lab.heard(domain, reports=ALL_SECTORS)
    engine.pause("guest")  # so that everything has to be copied
    for snapshot in ("middle", *more):
        engine.create("guest", CreateRequest(snapshot, kind=Kind.EXTERNAL, disk_only=True))
    lab.run(lab.blocks.flush(domain))
    return domain, engine, shown(lab, engine)


def shown(lab, engine: Engine) -> dict[str, bytes]:
    """What the files of a guest's disks hold."""
    return {disk.vdev: lab.in_the_file(disk.layer) for disk in engine.view("guest").domain.disks}


UP = {"into an image below": (["leaf"], "middle"), "into what the guest writes": ([], "middle")}
MERGES = UP | {"down": ([], "root")}


@pytest.mark.parametrize("status", ["pending", "concluded"])
@pytest.mark.parametrize(("more", "name"), MERGES.values(), ids=MERGES)
def test_a_qemu_that_dies_when_a_merge_ends_loses_nothing_of_it(lab, monkeypatch, more, name, status) -> None:
    domain, engine, before = with_much_to_copy(lab, more)
    heard = dies_when(monkeypatch, lab, domain, status)
    with suppress(XensnapError):
        engine.delete("guest", DeleteRequest(name))
    monkeypatch.undo()
    if status == "concluded":
        finalized = next(at for at, command in enumerate(heard) if command.startswith("job-finalize"))
        assert any(command.endswith(" flush") for command in heard[:finalized])
    engine.recover("guest")
    assert engine.view("guest").domain.state is RunState.OFF, "no job has come so far"
    assert shown(lab, engine) == before
    with suppress(XensnapError):
        engine.compact("guest")
    assert shown(lab, engine) == before


@pytest.mark.parametrize(("more", "name"), UP.values(), ids=UP)  # what goes down finds its tables there
def test_a_merge_whose_last_tables_cannot_be_written_does_not_end(lab, monkeypatch, more, name) -> None:
    """Unless QEMU has written all of them before, by chance: then there is nothing to tell, and it may."""
    require_tool("strace")
    domain, engine, before = with_much_to_copy(lab, more)
    dies_when(monkeypatch, lab, domain, "concluded")
    heard = flushes_in_vain(monkeypatch, lab, domain)
    try:
        engine.delete("guest", DeleteRequest(name))
    except XensnapError as error:
        assert "cannot write the tables" in str(error)  # noqa: PT017 -- it need not come
    monkeypatch.undo()
    assert heard, "nothing was flushed"
    engine.recover("guest")
    assert shown(lab, engine) == before


def test_a_save_whose_program_was_killed_stops_the_guest_no_more_after_recovery(lab) -> None:
    domain, engine = lab.start(), Engine(lab.host)
    lab.heard(domain)
    words = ("0", "create", "next", "live")
    code = f"{SLOW_SAVE}; from tests.real.qemu.killed import main; main({str(lab.directory)!r}, *{words!r})"
    kill_when([sys.executable, "-c", code], lambda: lab.execute(domain, "query-migrate").get("status") == "active")
    assert lab.execute(domain, "query-migrate")["status"] == "active"
    assert engine.recover("guest") is not None
    assert lab.execute(domain, "query-migrate")["status"] == "cancelled"
    lab.heard(domain)
    engine.create("guest", CreateRequest("next"))
    lab.heard(domain)


def test_a_guest_that_stands_still_after_a_save_that_was_killed_at_its_end_survives_what_follows(
    lab, monkeypatch
) -> None:
    domain = lab.start()
    lab.heard(domain)
    lab.run(lab.blocks.transaction(domain, [TakeInternal("xvda", "tag")]))
    lab.run(lab.toolstack.pause(domain))

    async def killed(_: object) -> None:
        raise KeyboardInterrupt

    async def save() -> None:
        async with lab.toolstack.saving(domain, to=lab.empty("memory")) as saving:
            await saving.suspended()
            with monkeypatch.context() as patched:
                patched.setattr(memory, "take_images_back", killed)
                with suppress(KeyboardInterrupt):
                    await saving.finish(then=Then.SAME)
            saving.finished = True

    lab.run(save())
    lab.run(lab.blocks.delete_internal(domain, "xvda", tag="tag", snapshot_id="1"))
    assert lab.seen(domain).state is RunState.PAUSED
    lab.run(lab.toolstack.unpause(domain))
    lab.heard(domain)
