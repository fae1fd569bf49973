"""G12, and how long a guest stands still: memory files and points of running guests, beside the bare QMP commands."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.images import place
from tests.benchmarks.race import Goal, Race, Side, Sides
from tests.real.qemu.conftest import Lab
from xensnap.backends.local.machine import sleep
from xensnap.backends.local.qmp import LocalMonitor, connected
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, DeleteRequest
from xensnap.model import Domain, Kind

pytestmark = pytest.mark.real

BARE, ENGINE = "bare QMP commands", "engine"
GUEST, NAME = "guest", "m"
FULL = b"full"

# A boot sector that makes every page above the first MiB its own (a page of zeros is no page to a migration), up to the
# address in its bytes 0x1fa to 0x1fd, says `full` on the serial line and rests. From `as`, as in the test guest:
#   cli; xor ax,ax; mov ds,ax; mov ss,ax; mov sp,0x7c00; in al,0x92; or al,2; out 0x92,al   (A20)
#   lgdt [table]; mov eax,cr0; or al,1; mov cr0,eax; mov bx,8; mov es,bx; and al,0xfe; mov cr0,eax   (es spans 4 GiB)
#   mov edi,0x100000; page: mov es:[edi],edi; add edi,0x1000; cmp edi,[0x7dfa]; jb page
#   mov si,text; mov dx,0x3f8; say: lodsb; test al,al; jz rest; out dx,al; jmp say; rest: hlt; jmp rest
_FILL = bytes.fromhex(
    "fa31c08ed88ed0bc007ce4920c02e6920f0116517c0f20c00c010f22c0bb08008ec324fe0f22c0"
    "66bf00001000266766893f6681c700100000663b3efa7d72ed"
    "be697cbaf803ac84c07403eeebf8f4ebfd"
    "0f00597c0000" + "0000" + "00" * 8 + "ffff00000092cf00" + "66756c6c0d0a00"
)


def filled(race: Race, memory_bytes: int) -> tuple[Lab, Domain]:
    """A guest that runs, and all of whose memory holds something."""
    lab = Lab(place(race))
    race.resources.callback(lab.close)
    limit = memory_bytes - (1 << 20)  # the BIOS keeps its tables at the end
    sector = _FILL.ljust(0x1FA, b"\0") + limit.to_bytes(4, "little") + b"\x55\xaa"
    (lab.directory / "guest.img").write_bytes(sector.ljust(1440 << 10, b"\0"))
    uuid = lab.describe(xvda="qcow2")
    text = (lab.directory / "guest.toml").read_text(encoding="utf-8")
    described = text.replace('memory = "32M"', f'memory = "{memory_bytes >> 20}M"')
    (lab.directory / "guest.toml").write_text(described, encoding="utf-8")
    domain = lab.run(lab.toolstack.create(uuid))
    serial = Path(lab.processes.serial(uuid))
    deadline = time.monotonic() + 120
    while FULL not in serial.read_bytes():
        assert time.monotonic() < deadline, "the guest does not fill its memory"
        time.sleep(0.05)
    return lab, domain


def barely(lab: Lab, domain: Domain, to: Path | None, *, disks: int) -> None:
    """What a script would do: stop, a point of each disk, the memory to a file, go on. Without a file: the points."""

    async def work() -> None:
        async with connected(lab.connector, domain) as monitor:
            points = [
                {"type": "blockdev-snapshot-internal-sync", "data": {"device": f"xvd{letter}-qcow2", "name": NAME}}
                for letter in "ab"[:disks]
            ]
            if to is None:
                await monitor.execute("transaction", {"actions": points})
                return
            await monitor.execute("stop")
            await monitor.execute("transaction", {"actions": points})
            await _migrated(monitor, to)
            await monitor.execute("cont")

    lab.run(work())


async def _migrated(monitor: LocalMonitor, to: Path) -> None:
    fd = os.open(to, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        straight = [{"capability": "pause-before-switchover", "state": False}]  # the engine has it on
        await monitor.execute("migrate-set-capabilities", {"capabilities": straight})
        await monitor.execute("migrate-set-parameters", {"max-bandwidth": 1 << 50})
        await monitor.give("memory", fd)
        await monitor.execute("migrate", {"uri": "fd:memory"})
        while (status := (await monitor.execute("query-migrate"))["status"]) != "completed":
            assert status in ("setup", "active", "device"), status
            await sleep(0.002)
        os.fdatasync(fd)
    finally:
        os.close(fd)


def forgotten(lab: Lab, domain: Domain, *, disks: int) -> None:
    """The bare points are gone again."""
    for letter in "ab"[:disks]:
        lab.execute(domain, "blockdev-snapshot-delete-internal-sync", device=f"xvd{letter}-qcow2", name=NAME)


@pytest.mark.parametrize("side", [BARE, ENGINE])
def test_save_a_gigabyte(race: Race, qemu_system, qemu_img, qemu_io, side: str) -> None:
    def sides() -> Sides:
        lab, domain = filled(race, (64 << 20) if race.smoke else (1 << 30))
        engine, memory = Engine(lab.host), lab.directory / "bare.save"
        lengths: dict[str, int] = {}

        def after_bare() -> None:
            lengths[BARE] = memory.stat().st_size
            memory.unlink()
            forgotten(lab, domain, disks=1)

        def after_engine() -> None:
            saved = engine.list(GUEST).contents.snapshots[NAME].memory
            lengths[ENGINE] = Path(saved).stat().st_size
            assert lengths[ENGINE] <= 1.001 * lengths.get(BARE, lengths[ENGINE]), "more is written than the memory"
            engine.delete(GUEST, DeleteRequest(NAME))

        return {
            BARE: Side(lambda: barely(lab, domain, memory, disks=1), after=after_bare),
            ENGINE: Side(lambda: engine.create(GUEST, CreateRequest(NAME, kind=Kind.INTERNAL)), after=after_engine),
        }

    goal = Goal("G12", "checkpoint of a guest of 1 GiB", ENGINE, BARE, at_most=1.03)
    race("checkpoint of a guest with 1 GiB of memory", sides, rounds=5, goals=(goal,))


class Silence:
    """The longest time for which the guest says nothing, while something is done. It speaks every 10 ms."""

    def __init__(self, serial: Path) -> None:
        self._serial = serial

    def during(self, work: Callable[[], Any]) -> float:
        """Seconds."""
        heard: list[float] = [time.perf_counter()]
        ended = threading.Event()

        def listen() -> None:
            length = self._serial.stat().st_size
            while not ended.wait(0.0005):
                if (now := self._serial.stat().st_size) != length:
                    length = now
                    heard.append(time.perf_counter())

        listener = threading.Thread(target=listen)
        listener.start()
        try:
            time.sleep(0.05)
            work()
            time.sleep(0.05)
        finally:
            ended.set()
            listener.join()
        return max(late - early for early, late in zip(heard, [*heard[1:], time.perf_counter()], strict=True))


@pytest.mark.parametrize("side", ["nothing is done", BARE, ENGINE])
@pytest.mark.parametrize("what", ["points of two disks", "checkpoint"])
def test_how_long_a_guest_is_silent(race: Race, qemu_system, qemu_img, qemu_io, what: str, side: str) -> None:
    def sides() -> Sides:
        lab = Lab(place(race))
        race.resources.callback(lab.close)
        domain = lab.start()
        engine, silence = Engine(lab.host), Silence(Path(lab.processes.serial(domain.uuid)))
        memory = None if what != "checkpoint" else lab.directory / "bare.save"
        request = CreateRequest(NAME, kind=Kind.INTERNAL, disk_only=memory is None)
        return {
            "nothing is done": Side(lambda: silence.during(lambda: time.sleep(0.1)), clocked=True),
            BARE: Side(
                lambda: silence.during(lambda: barely(lab, domain, memory, disks=2)),
                after=lambda: forgotten(lab, domain, disks=2),
                clocked=True,
            ),
            ENGINE: Side(
                lambda: silence.during(lambda: engine.create(GUEST, request)),
                after=lambda: engine.delete(GUEST, DeleteRequest(NAME)),
                clocked=True,
            ),
        }

    race(f"silence of a running guest: {what}", sides, rounds=11)
