"""QEMU tells that a migration is over a moment before the guest's own state follows, and refuses `cont` until then.

Met once with QEMU 7.2.22 in this suite; whoever plays QEMU here takes his time each time.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.unit.backends.test_endless_lines import DOMAIN
from xensnap.backends.local.qmp import CommandFailed
from xensnap.backends.local.waiting import run
from xensnap.backends.qemu import memory
from xensnap.backends.qemu.memory import MemorySave
from xensnap.hypervisor import Then

LATE = 3
"""How often the guest's state is told as it was, after the migration has ended."""


class Slow:
    """A QEMU whose guest ran until now, and its monitor: the migration has everything but the devices' state."""

    def __init__(self) -> None:
        self.migration, self.guest, self.late = "pre-switchover", "finish-migrate", LATE

    async def connect(self, *_where: object, **_how: object) -> "Slow":
        return self

    async def close(self) -> None:
        pass

    async def execute(self, command: str, _arguments: Mapping[str, object] | None = None) -> Any:
        if command == "query-migrate":
            return {"status": self.migration}
        if command == "migrate-continue":
            self.migration = "completed"
        if command == "migrate_cancel":
            self.migration = "cancelled"
        if command == "query-status":
            if self.migration != "pre-switchover" and self.guest == "finish-migrate":
                self.late -= 1
                self.guest = "finish-migrate" if self.late else "postmigrate"
            return {"status": self.guest, "running": self.guest == "running", "singlestep": False}
        if command == "cont":
            if self.guest == "finish-migrate":
                raise CommandFailed(command, "Migration is not finalized yet", "GenericError")
            self.guest = "running"
        return {}


@pytest.fixture
def saved(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "memory"
    path.write_bytes(b"QEVM}")
    fd = os.open(path, os.O_RDWR)
    yield fd
    os.close(fd)


def save(qemu: Any, fd: int) -> MemorySave:
    async def destroy() -> None:
        raise AssertionError("nobody asked for that")

    return MemorySave(
        qemu, DOMAIN, path="memory", fd=fd, live=False, one_pass=False, max_downtime_s=None, complaints=str,
        destroy=destroy,
    )  # fmt: skip


def test_a_guest_that_was_saved_goes_on_once_its_state_follows(saved: int) -> None:
    qemu = Slow()
    run(save(qemu, saved).finish(then=Then.RUNNING))
    assert qemu.guest == "running"


def test_a_save_that_was_cancelled_has_ended_once_the_state_of_the_guest_follows() -> None:
    qemu: Any = Slow()
    run(memory.cancel(qemu))
    run(qemu.execute("cont"))
    assert qemu.guest == "running"
