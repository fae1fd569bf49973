"""Our programs between us and xl, with a program in xl's place that does what xl does with its files and children."""

import asyncio
import os
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.backends.xen.scripted import config, disk
from xensnap.backends.local.runner import LocalRunner
from xensnap.backends.xen import receive
from xensnap.backends.xen.receive import Broken, Tee
from xensnap.backends.xen.receiving import LocalReceivers
from xensnap.backends.xen.supervisor import Feed, LocalSupervisor
from xensnap.errors import Failed
from xensnap.formats import savefile


def record(kind: int, body: bytes = b"") -> bytes:
    """One record of libxl's or libxc's stream, padded to eight bytes."""
    return struct.pack("<2I", kind, len(body)) + body + bytes(-len(body) % 8)


LIBXC = (
    bytes(8)
    + b"XENF"
    + bytes(28)
    + record(0x11, b"x" * 1224)
    + record(1, b"page" * 1000)
    + record(2, b"odd")
    + record(0)
)
STREAM = b"LibxlFmt" + bytes(8) + struct.pack("<2I", 1, 0) + LIBXC + record(2, b"emulator") + record(0)
WHOLE = savefile.encode(savefile.Head(config("pv1"), 3, 0, b"", 0)) + STREAM

ENDS_S_MAX = 20.0

XL = """
import fcntl, os, select, struct, subprocess, sys, termios, time
verb, words = sys.argv[1], sys.argv[2:]
here = os.path.dirname(os.path.abspath(__file__))
def note(name, data):
    open(os.path.join(here, name), "wb").write(data)
if verb == "restore":
    note("fds", " ".join(sorted(os.listdir("/proc/self/fd"))).encode())
    note("heard", open(words[-1], "rb").read())
elif verb == "save":
    whole = open(os.path.join(here, "stream"), "rb").read()
    begin = whole.index(b"LibxlFmt")
    pipe = os.open(words[-1], os.O_WRONLY)
    def left_at(part):  # whether the reader leaves before it has taken all of this
        try:
            os.write(pipe, part)
        except BrokenPipeError:
            return True
        watched = select.poll()
        watched.register(pipe, 0)
        while struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0]:
            if watched.poll(1):
                return True
        return False
    if left_at(whole[:begin]) or left_at(whole[begin : begin + 24]):
        sys.exit("libxl: error: libxl_aoutils.c: writing stream header during copy of save v2 stream")
    for part in (whole[begin + 24 : begin + 48], whole[begin + 48 :]):
        if left_at(part):
            note("resumed", b"")
            sys.exit("Failed to save domain, resuming domain")
    sys.exit("guest didn't acknowledge suspend, cancelling request")
elif verb == "migrate":
    while os.path.exists(os.path.join(here, "slow")):
        time.sleep(0.01)
    child = subprocess.Popen(["sh", "-c", words[-1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    note("greeting", child.stdout.readline())
    data = open(os.path.join(here, "stream"), "rb").read()
    try:
        child.stdin.write(data)
        child.stdin.flush()
        if os.path.exists(os.path.join(here, "break")):
            child.stdin.close()
    except BrokenPipeError:
        pass
    note("ended", str(child.wait()).encode())
    sys.exit("Migration failed, resuming at sender.")
"""


@pytest.fixture
def xl(tmp_path: Path) -> str:
    program = tmp_path / "xl"
    program.write_text(f"#!{sys.executable}\n{XL}")
    program.chmod(0o700)
    return str(program)


def test_xl_reads_another_head_and_the_rest_of_the_file(xl: str, tmp_path: Path) -> None:
    memory = tmp_path / "m.save"
    memory.write_bytes(b"old head" + bytes(range(256)) * 9999)
    feed = Feed(b"a longer new head", str(memory), 8)
    done = asyncio.run(LocalSupervisor(LocalRunner()).start([xl, "restore", "/dev/stdin"], feed=feed, timeout_s=60))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "heard").read_bytes() == b"a longer new head" + bytes(range(256)) * 9999


def test_what_xl_leaves_behind_gets_none_of_our_locks(xl: str, tmp_path: Path) -> None:
    """a daemon and a QEMU live for weeks, and would hold them as long"""
    lock = os.open(tmp_path, os.O_RDONLY)
    high = os.dup2(lock, 200, inheritable=False)
    memory = tmp_path / "m.save"
    memory.write_bytes(b"x")
    runner = LocalRunner([high])
    asyncio.run(
        LocalSupervisor(runner).start([xl, "restore", "/dev/stdin"], feed=Feed(b"", str(memory), 0), timeout_s=60)
    )
    os.close(lock)
    os.close(high)
    assert "200" not in (tmp_path / "fds").read_text().split()


def test_a_program_that_leaves_early_is_no_error_of_ours(tmp_path: Path) -> None:
    memory = tmp_path / "m.save"
    memory.write_bytes(bytes(1 << 22))
    argv = ["sh", "-c", "echo no such thing >&2; exit 3"]
    done = asyncio.run(LocalSupervisor(LocalRunner()).start(argv, feed=Feed(b"h", str(memory), 0), timeout_s=60))
    assert (done.returncode, done.stderr) == (3, b"no such thing\n")


@pytest.mark.parametrize("disks", [0, 1, 2, 40])
def test_live_e2_a_save_into_a_pipe_whose_reader_leaves_resumes_the_guest(xl: str, tmp_path: Path, disks: int) -> None:
    """SIGPIPE would end xl before; so would a reader that leaves while libxl writes itself, however long the head is"""
    told = config("pv1", disks=[disk(f"xvd{number}", f"/images/{number}.qcow2") for number in range(disks)])
    (tmp_path / "stream").write_bytes(savefile.encode(savefile.Head(told, 3, 0, b"", 0)) + STREAM)
    done = asyncio.run(LocalSupervisor(LocalRunner()).revive([xl, "save", "-c", "1"], timeout_s=60))
    assert (done.returncode, done.stderr) == (1, b"Failed to save domain, resuming domain\n")
    assert (tmp_path / "resumed").exists()


async def received(xl: str, to: Path, *, at_the_end: Any = None) -> int:
    async with LocalReceivers(LocalRunner()).receive(str(to), 1, xl) as stream:
        await stream.complete()
        if at_the_end:
            at_the_end()
        done = await stream.let_go()
    return done.returncode


def test_live_a2_the_stream_is_exactly_a_save_file_and_xl_waits_for_our_leave(xl: str, tmp_path: Path) -> None:
    (tmp_path / "stream").write_bytes(WHOLE)
    to = tmp_path / "m.save"
    to.touch()
    seen: list[bool] = []
    assert asyncio.run(received(xl, to, at_the_end=lambda: seen.append((tmp_path / "ended").exists()))) == 1
    assert seen == [False]
    assert to.read_bytes() == WHOLE
    assert (tmp_path / "greeting").read_bytes() == receive.GREETING
    assert (tmp_path / "ended").read_text() == "1"


def test_nothing_is_left_of_the_socket_once_the_receiver_has_come(
    xl: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """whoever is killed while a long stream comes could remove nothing"""
    place = tmp_path / "socket"
    place.mkdir()
    monkeypatch.setattr("tempfile.mkdtemp", lambda **_: str(place))
    (tmp_path / "stream").write_bytes(WHOLE)
    to = tmp_path / "m.save"
    to.touch()
    seen: list[bool] = []
    asyncio.run(received(xl, to, at_the_end=lambda: seen.append(place.exists())))
    assert seen == [False]


@pytest.mark.parametrize("length", [0, 47, 300, len(WHOLE) // 2, len(WHOLE) - 1])
def test_live_a6_a_stream_that_breaks_off_is_told_with_its_length(xl: str, tmp_path: Path, length: int) -> None:
    (tmp_path / "stream").write_bytes(WHOLE[:length])
    (tmp_path / "break").touch()
    to = tmp_path / "m.save"
    to.touch()
    with pytest.raises(Failed, match=f"ends after {length} bytes.*resuming at sender") as caught:
        asyncio.run(received(xl, to))
    assert caught.value.id == "stream-broken"


def test_live_a6_a_file_that_cannot_be_written_is_told(xl: str, tmp_path: Path) -> None:
    (tmp_path / "stream").write_bytes(WHOLE)
    with pytest.raises(Failed, match="No space left on device") as caught:
        asyncio.run(received(xl, Path("/dev/full")))
    assert caught.value.id == "save-failed"


def test_a_save_that_is_given_up_before_its_receiver_has_come_is_over_when_it_comes(xl: str, tmp_path: Path) -> None:
    """by Ctrl-C right at its start: the receiver would wait for us, xl for the receiver, and the guest for xl"""
    (tmp_path / "stream").write_bytes(WHOLE)
    (tmp_path / "slow").touch()
    to = tmp_path / "m.save"
    to.touch()

    async def given_up() -> int:
        async with LocalReceivers(LocalRunner()).receive(str(to), 1, xl) as stream:
            with suppress(TimeoutError):
                await asyncio.wait_for(stream.complete(), 0.01)
            over = asyncio.create_task(stream.let_go())
            await asyncio.sleep(0.01)
            (tmp_path / "slow").unlink()
            return (await asyncio.wait_for(over, ENDS_S_MAX)).returncode

    assert asyncio.run(given_up()) == 1
    assert (tmp_path / "ended").read_text() == "1"


def test_an_xl_that_cannot_even_begin_is_told_in_its_words(tmp_path: Path) -> None:
    program = tmp_path / "xl"
    program.write_text("#!/bin/sh\necho 'Failed to enable logdirty: 95,22,0' >&2; exit 1\n")
    program.chmod(0o700)
    with pytest.raises(Failed, match="Failed to enable logdirty"):
        asyncio.run(received(str(program), tmp_path / "m.save"))


def test_a_receiver_whose_engine_dies_leaves_and_the_guest_goes_on(xl: str, tmp_path: Path) -> None:
    (tmp_path / "stream").write_bytes(WHOLE)
    to = tmp_path / "m.save"
    to.touch()
    script = (
        "import asyncio, os, sys\n"
        "from tests.unit.backends.xen.test_programs import received\n"
        "from pathlib import Path\n"
        "asyncio.run(received(sys.argv[1], Path(sys.argv[2]), at_the_end=lambda: os._exit(9)))\n"
    )
    assert subprocess.run([sys.executable, "-c", script, xl, str(to)], check=False).returncode == 9
    for _ in range(3000):
        if (tmp_path / "ended").exists():
            break
        subprocess.run(["sleep", "0.01"], check=True)
    assert (tmp_path / "ended").exists()


@given(st.binary(max_size=200), st.integers(0, len(WHOLE)))
def test_any_stream_ends_as_whole_or_broken(junk: bytes, at: int) -> None:
    data = WHOLE[:at] + junk + WHOLE[at + len(junk) :]
    source, file = os.memfd_create("source"), os.memfd_create("file")
    try:
        os.write(source, data)
        os.lseek(source, 0, os.SEEK_SET)
        tee = Copying(source, file)
        with suppress(Broken):
            receive.copy(tee)
        length = os.lseek(file, 0, os.SEEK_END)
        assert tee.total_bytes <= length <= len(data)
        assert os.pread(file, length, 0) == data[:length]
    finally:
        os.close(source)
        os.close(file)


class Copying(Tee):
    """A `Tee` on files: only pipes can be spliced."""

    def move(self, length: int) -> None:
        """The same, by hand."""
        while length:
            length -= len(self.take(min(length, 1 << 16)))
