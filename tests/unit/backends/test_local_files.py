"""What the contract of `Files` cannot say of a real file system: links, modes, and locks that children inherit."""

import errno
import os
import resource
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xensnap.backends.local.files import LocalFiles, can_flag
from xensnap.backends.local.machine import sleep
from xensnap.backends.local.runner import LocalRunner
from xensnap.backends.local.waiting import run
from xensnap.errors import Busy, Effect, FileFailed
from xensnap.hypervisor import WHOLE_BYTES_MAX


@pytest.fixture
def files():
    return LocalFiles(sleep)


@pytest.fixture
def no_umask():
    """Whoever starts us with a generous umask must not widen what we make, nor a strict one narrow it."""
    old = os.umask(0o000)
    yield
    os.umask(old)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("told_bytes", [None, 100])
def test_of_what_is_larger_than_any_text_nothing_is_read_and_of_what_grows_no_more(
    files, tmp_path, monkeypatch, told_bytes
):
    path, read, counted = tmp_path / "large", os.read, list[int]()

    def counting(fd: int, length_bytes: int) -> bytes:
        data = read(fd, length_bytes)
        counted.append(len(data))
        return data

    path.touch()
    os.truncate(path, 100 << 20)
    if told_bytes:  # it is large only when somebody reads
        monkeypatch.setattr("xensnap.backends.local.files._regular", lambda *_: told_bytes << 18)
    monkeypatch.setattr(os, "read", counting)
    with pytest.raises(FileFailed) as caught:
        run(files.read(f"{path}"))
    assert caught.value.errno == errno.EFBIG
    assert sum(counted) == (WHOLE_BYTES_MAX + 1 if told_bytes else 0)


def test_what_we_make_is_ours_alone_whatever_the_umask(files, tmp_path, no_umask):
    run(files.create(f"{tmp_path}/a"))
    run(files.append(f"{tmp_path}/b", b"x"))
    run(files.replace(f"{tmp_path}/c", b"x"))
    run(files.mkdir(f"{tmp_path}/d/e"))
    run(run(files.lock(f"{tmp_path}/f", note=b"x")).release())
    run(files.create(f"{tmp_path}/g", mode=0o640))
    assert [mode(tmp_path / name) for name in "abcf"] == [0o600] * 4
    assert [mode(tmp_path / name) for name in ("d", "d/e")] == [0o700] * 2
    assert mode(tmp_path / "g") == 0o640


def test_no_link_leads_us_elsewhere(files, tmp_path):
    target = tmp_path / "target"
    target.write_bytes(b"theirs")
    link = tmp_path / "link"
    link.symlink_to(target)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    attempts = (
        files.create(str(link), b"ours"),
        files.create(f"{tmp_path}/dangling", b"ours"),
        files.append(str(link), b"ours"),
        files.append(f"{tmp_path}/dangling", b"ours"),
        files.read(str(link)),
        files.lock(str(link), note=b"ours"),
    )
    for work in attempts:
        with pytest.raises(FileFailed) as caught:
            run(work)
        assert caught.value.errno in (errno.EEXIST, errno.ELOOP)
    assert target.read_bytes() == b"theirs"
    assert not (tmp_path / "nowhere").exists()
    assert not run(files.stat(str(link))).is_regular


def test_replacing_a_link_leaves_alone_what_it_leads_to(files, tmp_path):
    target = tmp_path / "target"
    target.write_bytes(b"theirs")
    link = tmp_path / "link"
    link.symlink_to(target)
    run(files.replace(str(link), b"ours"))
    assert target.read_bytes() == b"theirs"
    assert not link.is_symlink()
    assert link.read_bytes() == b"ours"


def test_names_are_made_durable_in_a_directory_behind_a_link(files, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "images")
    run(files.create(f"{tmp_path}/link/a"))
    run(files.sync_dir(f"{tmp_path}/link"))
    assert run(files.names(f"{tmp_path}/images")) == ("a",)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileFailed):
        run(files.sync_dir(f"{tmp_path}/pipe"))


def test_a_pipe_holds_nobody_up(files, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileFailed):
        run(files.read(f"{tmp_path}/pipe"))


def test_a_file_system_that_is_full_leaves_no_half_written_file(files, tmp_path):
    (tmp_path / "record").write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        for work in (
            files.create(f"{tmp_path}/new", bytes(200_000)),
            files.replace(f"{tmp_path}/record", bytes(200_000)),
        ):
            with pytest.raises(FileFailed) as caught:
                run(work)
            assert (caught.value.errno, caught.value.effect) == (errno.EFBIG, Effect.NONE)
        with pytest.raises(FileFailed) as caught:
            run(files.append(f"{tmp_path}/record", bytes(200_000)))
        assert caught.value.effect is Effect.UNKNOWN
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["record"]
    assert (tmp_path / "record").read_bytes() == b"old".ljust(100_000, b"\0")


def test_a_renaming_that_died_between_its_two_names_is_brought_to_its_end(files, tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"ours")
    new.hardlink_to(old)
    run(files.rename(str(old), str(new), replace=False))
    assert (old.exists(), new.read_bytes()) == (False, b"ours")
    old.write_bytes(b"another")
    with pytest.raises(FileFailed) as caught:
        run(files.rename(str(old), str(new), replace=False))
    assert (caught.value.errno, old.read_bytes(), new.read_bytes()) == (errno.EEXIST, b"another", b"ours")


def test_a_file_larger_than_one_read_is_read_whole(files, tmp_path):
    data = os.urandom(3 << 20)
    run(files.create(f"{tmp_path}/large", data))
    assert run(files.read(f"{tmp_path}/large")) == data
    assert run(files.read("/proc/self/status")).startswith(b"Name:")  # whose length stat gives as 0


@pytest.mark.skipif(not can_flag("."), reason="capability missing: immutable")
def test_the_flag_stops_writes_on_descriptors_that_are_open_already(files, tmp_path):
    path = tmp_path / "image"
    path.write_bytes(b"content")
    fd = os.open(path, os.O_RDWR)
    run(files.set_immutable(str(path), on=True))
    try:
        with pytest.raises(PermissionError):
            os.pwrite(fd, b"x", 0)
    finally:
        run(files.set_immutable(str(path), on=False))
        os.close(fd)


def test_whether_the_flag_works_is_tried_without_leaving_a_trace(tmp_path):
    can_flag(str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    assert not can_flag("/proc")
    assert not can_flag("/proc/nowhere/at/all")


def test_a_directory_that_is_to_be_made_is_on_the_file_system_of_the_one_above(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for directory in (f"{tmp_path}/to/be/made", "to/be/made"):
        assert can_flag(directory) == can_flag(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_lock_lives_on_in_the_children_that_we_start(files, tmp_path):
    path = f"{tmp_path}/lock"
    ready = tmp_path / "ready"
    held = run(files.lock(path, note=b"first"))
    # The runner hands the lock down to a program which leaves one of its own behind, as xl leaves QEMU.
    script = f"(until test -e {tmp_path}/over; do sleep 0.05; done) & touch {ready}; exit 0"
    run(LocalRunner(files.held).run(["sh", "-c", f"({script}) >/dev/null 2>&1 </dev/null"]))
    assert ready.exists()
    run(held.release())
    assert files.held == []
    with pytest.raises(Busy):
        run(files.lock(path, note=b"second"))
    (tmp_path / "over").touch()
    second = run(files.lock(path, note=b"second", wait_s=60))
    run(second.release())


INTERRUPTED = """
import os, signal, sys
from pathlib import Path
from xensnap.backends.local.files import LocalFiles
from xensnap.backends.local.gate import Gate
from xensnap.backends.local.machine import LocalMachine, sleep
from xensnap.backends.local.waiting import run
directory, locked = sys.argv[1], sys.argv[2] == "locked"
image = f"{directory}/a.qcow2"
Path(image).touch()
opens = os.open
def strikes(path, flags, *more, **others):
    fd = opens(path, flags, *more, **others)
    if path == image:
        os.kill(os.getpid(), signal.SIGINT)
    return fd
async def work():
    if locked:
        await LocalFiles(sleep).lock(f"{directory}/lock", note=b"me")
    os.open = strikes
    Gate(None).in_use(image)
    await sleep(60)
try:
    run(work())
except KeyboardInterrupt:
    opened = [str(fd.resolve()) for fd in Path("/proc/self/fd").iterdir()]
    print("left open" if image in opened else "interrupted")
"""


@pytest.mark.parametrize(("locked", "told"), [("locked", "interrupted"), ("not locked", "left open")])
def test_an_interruption_under_a_lock_leaves_no_image_open(tmp_path, locked, told):
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, tmp_path, locked], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == (f"{told}\n", "")


def test_a_lock_dies_with_its_holder(files, tmp_path):
    path = f"{tmp_path}/lock"
    code = (
        "import sys, time\n"
        "from xensnap.backends.local.files import LocalFiles\n"
        "from xensnap.backends.local.machine import sleep\n"
        "from xensnap.backends.local.waiting import run\n"
        "lock = run(LocalFiles(sleep).lock(sys.argv[1], note=b'doomed'))\n"
        "print('held', flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Busy, match="doomed"):
            run(files.lock(path, note=b"heir"))
        holder.kill()
    run(run(files.lock(path, note=b"heir", wait_s=60)).release())


def test_a_lock_on_a_file_that_was_removed_meanwhile_is_taken_anew(files, tmp_path):
    path = tmp_path / "lock"
    first = run(files.lock(str(path), note=b"first"))
    path.unlink()
    second = run(files.lock(str(path), note=b"second"))
    with pytest.raises(Busy, match="second"):
        run(files.lock(str(path), note=b"third"))
    run(first.release())
    run(second.release())
    run(second.release())  # once more does no harm


def test_waiting_is_not_busy(files, tmp_path):
    held = run(files.lock(f"{tmp_path}/lock", note=b"x"))
    before = time.process_time()
    with pytest.raises(Busy):
        run(files.lock(f"{tmp_path}/lock", note=b"y", wait_s=0.4))
    assert time.process_time() - before < 0.1
    run(held.release())


def test_directories_that_others_make_at_the_same_time_are_welcome(tmp_path, files, monkeypatch):
    made = os.mkdir

    def makes_it_first(path, mode=0o777):
        if Path(path).parent.is_dir():
            made(path, mode)
        made(path, mode)

    monkeypatch.setattr(os, "mkdir", makes_it_first)
    run(files.mkdir(str(tmp_path / "a" / "b" / "c")))
    assert (tmp_path / "a" / "b" / "c").is_dir()
