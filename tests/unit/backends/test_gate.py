"""The gate before an image: who is told, who is waited for, and what happens where the kernel grants no leases."""

import errno
import fcntl
import os
import signal
import subprocess
import threading
import time

import pytest

from xensnap.backends.local import gate as gates
from xensnap.backends.local.gate import Gate
from xensnap.backends.local.machine import LocalMachine
from xensnap.backends.local.waiting import run
from xensnap.errors import Busy, NotFound, Reason, Refused
from xensnap.hypervisor import Opener


class Machine(LocalMachine):
    """The real one, but for who has a file open."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.slept_s = 0.0

    async def sleep(self, seconds):
        self.slept_s += seconds
        await super().sleep(seconds)

    async def openers(self, path):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


READER, WRITER = Opener(7, "reader", writing=False), Opener(8, "writer", writing=True)
CANNOT_SEE = Refused([Reason("cannot-see-openers", "cannot see", "be root")])


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image"
    path.write_bytes(b"content")
    return str(path)


@pytest.fixture
def no_leases(monkeypatch):
    """As on a file system that has none."""
    real = fcntl.fcntl

    def refuse(fd, command, argument=0):
        if command == fcntl.F_SETLEASE:
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(fd, command, argument)

    monkeypatch.setattr(fcntl, "fcntl", refuse)


def test_an_image_that_nobody_has_open_passes_at_once_and_nobody_is_asked(image):
    gate = Gate(Machine(AssertionError("asked")))
    run(gate.to_write(image))
    run(gate.to_read(image))


def test_a_reader_that_is_merely_passing_is_waited_for(image):
    fd = os.open(image, os.O_RDONLY)
    threading.Timer(0.1, os.close, [fd]).start()
    run(Gate(Machine((READER,))).to_write(image))


def test_a_reader_that_stays_is_named(image):
    fd = os.open(image, os.O_RDONLY)
    machine = Machine((READER,))
    with pytest.raises(Busy, match=r"'reader' \(pid 7\)"):
        run(Gate(machine).to_write(image))
    assert gates.PATIENCE_S <= machine.slept_s < 5 * gates.PATIENCE_S
    run(Gate(Machine((READER,))).to_read(image))
    os.close(fd)


def test_a_writer_is_named_soon(image):
    fd = os.open(image, os.O_RDWR)
    one, other = Machine((WRITER,)), Machine((READER, WRITER))
    for check in (Gate(one).to_write, Gate(other).to_read):
        with pytest.raises(Busy, match=r"'writer' \(pid 8, writing\)"):
            run(check(image))
    assert max(one.slept_s, other.slept_s) < gates.PATIENCE_S
    os.close(fd)


@pytest.mark.parametrize("answer", [(), CANNOT_SEE], ids=["nobody", "cannot-see"])
def test_one_who_cannot_be_seen_is_in_the_way_all_the_same(image, answer):
    fd = os.open(image, os.O_RDWR)
    with pytest.raises(Busy, match="does not show"):
        run(Gate(Machine(answer)).to_write(image))
    os.close(fd)


def test_without_leases_proc_is_asked(image, no_leases):
    run(Gate(Machine(())).to_write(image))
    run(Gate(Machine((READER,))).to_read(image))
    run(Gate(Machine((READER,), ())).to_write(image))
    with pytest.raises(Busy, match="reader"):
        run(Gate(Machine((READER,))).to_write(image))
    with pytest.raises(Busy, match="writer"):
        run(Gate(Machine((WRITER,))).to_read(image))


def test_without_leases_and_without_sight_nothing_passes(image, no_leases):
    for check in (Gate(Machine(CANNOT_SEE)).to_write, Gate(Machine(CANNOT_SEE)).to_read):
        with pytest.raises(Refused) as caught:
            run(check(image))
        assert caught.value.id == "cannot-see-openers"


def test_what_is_not_there_is_not_found(image):
    with pytest.raises(NotFound):
        run(Gate(Machine(())).to_write(f"{image}.not"))


def test_a_lease_that_is_broken_does_not_end_us(image):
    """Whoever opens the file while the lease is held makes the kernel send a signal, also to a thread."""

    def hold_and_break():
        fd = os.open(image, os.O_RDONLY)
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        opener = subprocess.Popen(["cat", image], stdout=subprocess.PIPE)
        time.sleep(0.1)
        os.close(fd)
        assert opener.communicate()[0] == b"content"

    thread = threading.Thread(target=hold_and_break)
    thread.start()
    thread.join()
    # Two gates at once: one may find the other's lease, and waits.
    end = time.monotonic() + 0.3
    failures = []

    def check():
        while time.monotonic() < end:
            try:
                run(Gate(Machine(())).to_write(image))
            except Exception as error:  # noqa: BLE001 - shown below
                failures.append(error)

    threads = [threading.Thread(target=check) for _ in range(3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert failures == []
