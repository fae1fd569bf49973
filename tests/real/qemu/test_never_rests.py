"""The memory of a guest that changes it all the time, copied while it runs, on real QEMU."""

import os
import time
from pathlib import Path

import pytest

from tests.real.qemu.conftest import PATIENCE_S
from xensnap.backends.local.qmp import connected
from xensnap.backends.qemu import memory
from xensnap.backends.qemu.memory import MemorySave
from xensnap.engine import CreateRequest, Engine
from xensnap.errors import Failed, Refused
from xensnap.hypervisor import Capability, Then
from xensnap.model import RunState

# mov dx,0x3f8; mov al,'!'; out dx,al; cli; xor bx,bx
# mov dx,0x1000; again: mov es,dx; inc bx; mov ax,bx; xor di,di; mov cx,0x8000; rep stosw
# add dx,0x1000; cmp dx,0x9000; jb again; jmp -27
NEVER_RESTS = bytes.fromhex("BAF803 B021 EE FA 31DB BA0010 8EC2 43 89D8 31FF B90080 F3AB 81C20010 81FA0090 72EA EBE5")
"""A boot sector that is heard on the serial line and then fills 512 KiB, each time with the next number."""
FILLED, FILLED_BYTES, PAGE = 0x10000, 0x80000, 4096


@pytest.fixture
def slow(monkeypatch) -> None:
    """The memory is written at 512 KiB/s."""
    monkeypatch.setattr(memory, "_BYTES_PER_S_MAX", 512 << 10)


@pytest.fixture
def restless(lab):
    """Such a guest, which has begun."""
    uuid = lab.describe()
    sector = NEVER_RESTS.ljust(510, b"\0") + b"\x55\xaa"
    Path(lab.directory, "guest.img").write_bytes(sector.ljust(1440 << 10, b"\0"))
    domain = lab.run(lab.toolstack.create(uuid))
    serial, until = Path(lab.processes.serial(uuid)), time.monotonic() + PATIENCE_S
    while not (serial.exists() and b"!" in serial.read_bytes()):
        assert time.monotonic() < until, "the guest has not begun"
        time.sleep(0.02)
    return domain


async def filled(lab, domain, name) -> bytes:
    """What the guest has filled, as it stands still."""
    path = lab.directory / name
    async with connected(lab.connector, await lab.toolstack.inspect(domain.uuid)) as monitor:
        await monitor.execute("pmemsave", {"val": FILLED, "size": FILLED_BYTES, "filename": str(path)})
    return path.read_bytes()


def test_what_is_saved_is_the_memory_of_the_moment_when_it_stopped(lab, restless, slow) -> None:
    """QEMU's TCG does not notice writes to a page that it has looked at twice while the guest runs (7.2.22)"""
    to = lab.empty("memory")

    async def saved() -> bytes:
        async with lab.toolstack.saving(restless, to=to, live=True) as save:
            await save.suspended()
            stopped = await filled(lab, restless, "stopped")
            await save.finish(then=Then.STOPPED)
        return stopped

    stopped = lab.run(saved())
    layers = {disk.vdev: disk.layer for disk in restless.disks}
    lab.run(lab.toolstack.restore(to, uuid=restless.uuid, layers=layers, paused=True))
    back = lab.run(filled(lab, restless, "back"))
    # It was stopped in the middle of a filling: so are nearly all moments, while in one of 128 the last page is begun.
    assert len({stopped[at : at + 2] for at in range(0, FILLED_BYTES, 2)}) > 1, "the guest has not written"
    assert [at for at in range(0, FILLED_BYTES, PAGE) if stopped[at : at + PAGE] != back[at : at + PAGE]] == []


def test_how_long_it_stands_still_cannot_be_bounded_under_tcg(lab, restless) -> None:
    assert Capability.DOWNTIME_LIMIT not in lab.host.capabilities
    with pytest.raises(Refused) as caught:
        Engine(lab.host).create("guest", CreateRequest("s", live=True, max_downtime_s=1))
    assert caught.value.id == "no-downtime-limit"
    with pytest.raises(Refused):
        lab.toolstack.saving(restless, to="/m", live=True, max_downtime_s=1)


def test_where_it_can_it_is_not_stopped_for_longer(lab, restless, slow, monkeypatch) -> None:
    monkeypatch.setattr(memory, "_ROUNDS_MAX", 1)
    fd = os.open(lab.empty("memory"), os.O_RDWR)
    save = MemorySave(
        lab.connector, restless, path="memory", fd=fd, live=True, one_pass=False, max_downtime_s=0.1,
        complaints=lambda: "", destroy=lambda: lab.toolstack.destroy(restless),
    )  # fmt: skip
    with pytest.raises(Failed, match="stand still") as caught:
        lab.run(save.suspended())
    assert caught.value.id == "not-converging"
    assert os.fstat(fd).st_size == 0
    os.close(fd)
    assert lab.seen(restless).state is RunState.RUNNING
