"""How long a guest may stand still for the end of a live save, on real QEMU and a guest that never rests."""

import time
from pathlib import Path

import pytest

from tests.real.qemu.conftest import PATIENCE_S
from xensnap.backends.qemu import memory
from xensnap.engine import CreateRequest, Engine
from xensnap.errors import Effect, Failed
from xensnap.model import RunState

# mov dx,0x3f8; mov al,'!'; out dx,al: it is heard on the serial line when it has begun
# mov ax,0x1000; again: mov es,ax; xor di,di; mov cx,0x8000; rep stosw; add ax,0x1000; cmp ax,0x9000; jb again; jmp -22
WRITES_ALL_THE_TIME = bytes.fromhex("BAF803 B021 EE B80010 8EC0 31FF B90080 F3AB 050010 3D0090 72EF EBEA")
"""A boot sector that fills 512 KiB of memory, over and over."""


def restless(lab):
    """A guest that changes its memory all the time, and has begun to."""
    uuid = lab.describe()
    sector = WRITES_ALL_THE_TIME.ljust(510, b"\0") + b"\x55\xaa"
    Path(lab.directory, "guest.img").write_bytes(sector.ljust(1440 << 10, b"\0"))
    domain = lab.run(lab.toolstack.create(uuid))
    serial, until = Path(lab.processes.serial(uuid)), time.monotonic() + PATIENCE_S
    while not (serial.exists() and b"!" in serial.read_bytes()):
        assert time.monotonic() < until, "the guest has not begun"
        time.sleep(0.02)
    return domain


@pytest.fixture
def slow(monkeypatch) -> None:
    """The memory is written at 512 KiB/s, and a guest is given up in the second round."""
    monkeypatch.setattr(memory, "_BYTES_PER_S_MAX", 512 << 10)
    monkeypatch.setattr(memory, "_ROUNDS_MAX", 1)


def test_a_guest_that_never_rests_is_not_stopped_for_longer_than_it_may_be(lab, slow) -> None:
    domain = restless(lab)
    engine = Engine(lab.host)
    with pytest.raises(Failed, match="stand still") as caught:
        engine.create("guest", CreateRequest("s", live=True, max_downtime_s=0.1))
    assert (caught.value.id, caught.value.effect) == ("not-converging", Effect.NONE)
    assert lab.seen(domain).state is RunState.RUNNING
    assert not engine.list("guest").contents.snapshots

    engine.create("guest", CreateRequest("enough", live=True, max_downtime_s=100))
    engine.create("guest", CreateRequest("no limit", live=True))
    assert lab.seen(domain).state is RunState.RUNNING
    assert len(engine.list("guest").contents.snapshots) == 2
