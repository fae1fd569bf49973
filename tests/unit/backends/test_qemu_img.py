"""What the contract of `ImageTool` cannot say of the real qemu-img: its names, locks, words, and how it fails."""

# ruff: noqa: PTH104, PTH116, PTH123, PTH208, PTH211 -- names that are no text are told as the ports tell them

import gc
import os
import signal
import subprocess
import time
from contextlib import suppress

import pytest

from tests.conftest import require_tool
from xensnap.backends.local.machine import LocalMachine
from xensnap.backends.local.qemu_img import QemuImg
from xensnap.backends.local.reader import read_image, where
from xensnap.backends.local.runner import LocalRunner
from xensnap.backends.local.waiting import run
from xensnap.errors import Busy, Damaged, Effect, NotFound, Refused, ToolFailed
from xensnap.hypervisor import Completed
from xensnap.model import Backing, Format, Layer

pytestmark = pytest.mark.real
MIB = 1 << 20
ODD_NAMES = ["a,b", "a:b", "-a", "json:{}", "nbd:a", "a b", "a=b,c", "ü", "\udcff", "%s", "a\nb"]


class Recorder(LocalRunner):
    """Runs programs, or pretends to; what was run can be looked at, and something can be done before."""

    def __init__(self):
        super().__init__()
        self.ran = []
        self.answer = None
        self.before = lambda: None

    async def run(self, argv, *, stdin=b"", timeout_s=None, heard=None):
        self.ran.append(tuple(argv))
        self.before()
        if self.answer is not None:
            return Completed(tuple(argv), *self.answer)
        return await super().run(argv, stdin=stdin, timeout_s=timeout_s, heard=heard)


@pytest.fixture
def runner():
    return Recorder()


@pytest.fixture
def tool(qemu_img, runner):
    return QemuImg(runner, LocalMachine(), program=str(qemu_img))


@pytest.fixture
def image(qemu_img, tmp_path):
    path = tmp_path / "image.qcow2"
    subprocess.run([qemu_img, "create", "-q", "-f", "qcow2", path, "1M"], check=True)
    return Layer(str(path), Format.QCOW2)


def write(qemu_io, layer, pattern=1):
    subprocess.run([qemu_io, "-f", layer.format, "-c", f"write -P {pattern} 0 1M", layer.path], check=True)


# --- Names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("relative", "name"), [(False, name) for name in ODD_NAMES] + [(True, name) for name in ODD_NAMES[:3]]
)
def test_any_name_is_a_file_name(tool, image, tmp_path, monkeypatch, relative, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    place = "" if relative else f"{tmp_path}/"
    base, overlay, copy = (Layer(f"{place}{kind}{name}", Format.QCOW2) for kind in ("", "sub/", "copy"))
    os.rename(image.path, base.path)
    run(tool.snapshot_create(base, tag="s"))
    for path in (overlay.path, copy.path):
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
    backing = Backing(f"../{name}", f"{tmp_path}/{name}", Format.QCOW2)
    run(tool.create_overlay(overlay.path, backing=backing, size_bytes=MIB))
    chain = run(tool.chain(overlay))
    assert [one.file.inode for one in chain] == [os.stat(one.path).st_ino for one in (overlay, base)]
    run(tool.snapshot_create(overlay, tag=name))
    run(tool.snapshot_apply(overlay, snapshot_id="1"))
    run(tool.snapshot_delete(overlay, tag=name, snapshot_id="1"))
    run(tool.resize(overlay, size_bytes=2 * MIB))
    run(tool.copy_out(base, snapshot_id="1", to=copy.path))
    assert run(tool.check(overlay)).clean
    assert run(tool.measure_bytes(overlay)) > 0
    run(tool.snapshot_delete(base, tag="s", snapshot_id="1"))
    run(tool.commit(overlay, into=base))
    assert run(tool.inspect(base)).virtual_size_bytes == 2 * MIB
    run(tool.rebase(overlay, backing=None, copy=True))
    run(tool.rebase(overlay, backing=backing, copy=False))
    assert [one.file for one in run(tool.chain(overlay))] == [one.file for one in chain]


@pytest.mark.parametrize("repair", [False, True])
def test_an_image_that_stands_on_itself_is_not_given_to_a_check_that_would_never_end(
    tool, runner, image, qemu_img, repair
):
    subprocess.run([qemu_img, "rebase", "-u", "-F", "qcow2", "-b", image.path, image.path], check=True)
    runner.answer = (0, b"{}", b"")
    with pytest.raises(Damaged, match="loop"):
        run(tool.check(image, repair_leaks=repair))
    assert not runner.ran


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_backing_name_beside_the_overlay_is_no_protocol(tool, image, tmp_path, name):
    base = Layer(f"{tmp_path}/{name}", Format.QCOW2)
    os.rename(image.path, base.path)
    path = f"{tmp_path}/overlay"
    open(path, "w").close()
    run(tool.create_overlay(path, backing=Backing(name, base.path, Format.QCOW2), size_bytes=MIB))
    chain = run(tool.chain(Layer(path, Format.QCOW2)))
    assert [one.layer.path for one in chain] == [path, base.path]
    # And QEMU finds it, too.
    assert run(tool.measure_bytes(Layer(path, Format.QCOW2))) > 0


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("base", "/images/base"),
        ("./base", "/images/base"),
        (".//base", "/images/base"),
        ("../base", "/images/../base"),
        ("/other/base", "/other/base"),
        ("a/b:c", "/images/a/b:c"),
        ("./a:b", "/images/a:b"),
        ("file:/other/base", "/other/base"),
        ("file:base", ""),
        ("json:{}", ""),
        ("nbd://host/export", ""),
        ("a:b", ""),
    ],
)
def test_backing_names_lead_where_qemu_follows_them(name, path):
    assert where("/images/overlay", name) == path


def test_a_chain_that_leaves_this_machine_is_refused(tool, qemu_img, tmp_path):
    layer = Layer(f"{tmp_path}/a", Format.QCOW2)
    command = [qemu_img, "create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", "nbd://host/x", layer.path, "1M"]
    subprocess.run(command, check=True)
    assert run(tool.inspect(layer)).backing == Backing("nbd://host/x", "", Format.RAW)
    with pytest.raises(Refused) as caught:
        run(tool.chain(layer))
    assert caught.value.id == "backing-not-a-file"


def test_a_backing_file_without_a_format_is_never_probed(tool, image, tmp_path):
    path = f"{tmp_path}/a"
    open(path, "w").close()
    run(tool.create_overlay(path, backing=Backing("image.qcow2", image.path, Format.QCOW2), size_bytes=MIB))
    with open(path, "r+b") as file:
        content = file.read(4096)
        at = content.index(bytes.fromhex("e2792aca"))
        file.seek(at)
        file.write(b"\x11\x11\x11\x11")  # an extension that nobody knows
    layer = Layer(path, Format.QCOW2)
    assert run(tool.inspect(layer)).backing == Backing("image.qcow2", image.path, None)
    with pytest.raises(Refused) as caught:
        run(tool.chain(layer))
    assert caught.value.id == "backing-format-missing"
    assert "qemu-img rebase" in caught.value.remedy


# --- Tags ------------------------------------------------------------------------------------------------------------


def test_tags_that_no_program_can_be_told_are_refused_before_anything_is_done(tool, runner, image):
    for tag, id in (("x" * 256, "tag-too-long"), ("ü" * 128, "tag-too-long"), ("a\0b", "zero-byte")):
        with pytest.raises(Refused) as caught:
            run(tool.snapshot_create(image, tag=tag))
        assert caught.value.id == id
    assert runner.ran == []


@pytest.mark.parametrize("tag", ["twin", "", "ü", "\udcff", "a b"])
def test_of_twins_each_can_be_deleted(tool, runner, image, qemu_img, qemu_storage_daemon, tag):
    for _ in range(3):
        subprocess.run([qemu_img, "snapshot", "-c", os.fsencode(tag), image.path], check=True)
    run(tool.snapshot_delete(image, tag=tag, snapshot_id="2"))
    assert [(one.id, one.tag) for one in run(tool.inspect(image)).snapshots] == [("1", tag), ("3", tag)]
    assert runner.ran[-1][0] == "qemu-storage-daemon"
    run(tool.snapshot_delete(image, tag=tag, snapshot_id="1"))
    run(tool.snapshot_delete(image, tag=tag, snapshot_id="3"))
    assert runner.ran[-1][0] == str(qemu_img)
    assert run(tool.check(image)).clean


# --- Who is in the way -----------------------------------------------------------------------------------------------


@pytest.fixture
def running(qemu_storage_daemon, image):
    """A QEMU that has the image open and locked; it opens it between our gate and the tool's own look."""
    started = []

    def start():
        arguments = ["--blockdev", f"driver=qcow2,node-name=n,file.driver=file,file.filename={image.path}"]
        process = subprocess.Popen([qemu_storage_daemon, *arguments])
        started.append(process)
        deadline = time.monotonic() + 60
        while not any(opener.writing for opener in run(LocalMachine().openers(image.path))):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.1)

    yield start
    for process in started:
        process.terminate()
        process.wait()


def test_qemus_own_lock_is_busy_too(tool, runner, image, running):
    run(tool.snapshot_create(image, tag="early"))
    before = run(tool.inspect(image))

    def open_elsewhere():
        runner.before = lambda: None
        running()

    runner.before = open_elsewhere
    with pytest.raises(Busy, match="qemu-storage-daemon") as caught:
        run(tool.snapshot_create(image, tag="late"))
    assert caught.value.effect is Effect.NONE
    assert run(tool.inspect(image)).snapshots == before.snapshots


def test_a_daemon_that_finds_the_image_locked_is_busy_too(tool, runner, image, qemu_img, running):
    for _ in range(2):
        subprocess.run([qemu_img, "snapshot", "-c", "twin", image.path], check=True)
    runner.before = running
    with pytest.raises(Busy, match="qemu-storage-daemon"):
        run(tool.snapshot_delete(image, tag="twin", snapshot_id="2"))
    assert len(run(tool.inspect(image)).snapshots) == 2


# --- What a failure has changed --------------------------------------------------------------------------------------


def test_the_tools_own_words_are_kept(tool, image, tmp_path):
    os.rename(image.path, f"{tmp_path}/gone")
    layer = Layer(f"{tmp_path}/a", Format.QCOW2)
    open(layer.path, "w").close()
    run(tool.create_overlay(layer.path, backing=Backing("image.qcow2", image.path, Format.QCOW2), size_bytes=MIB))
    with pytest.raises(ToolFailed, match="No such file or directory") as caught:
        run(tool.snapshot_create(layer, tag="s"))
    error = caught.value
    assert (error.returncode, error.effect) == (1, Effect.NONE)
    assert error.argv[1:3] == ("snapshot", "--image-opts")
    assert "Could not open backing file" in error.stderr


@pytest.mark.parametrize(
    ("done_first", "returncode", "effect"),
    [(False, 1, Effect.NONE), (True, 1, Effect.DONE), (False, -9, Effect.UNKNOWN), (True, -9, Effect.UNKNOWN)],
)
def test_a_failed_snapshot_is_looked_up_in_the_table(tool, runner, image, qemu_img, done_first, returncode, effect):
    def before():
        if done_first:
            subprocess.run([qemu_img, "snapshot", "-c", "s", image.path], check=True)

    runner.before, runner.answer = before, (returncode, b"", b"it broke")
    with pytest.raises(ToolFailed, match="it broke") as caught:
        run(tool.snapshot_create(image, tag="s"))
    assert caught.value.effect is effect


def test_a_failed_deletion_is_looked_up_in_the_table(tool, runner, image, qemu_img):
    run(tool.snapshot_create(image, tag="s"))
    runner.answer = (1, b"", b"it broke")
    with pytest.raises(ToolFailed) as caught:
        run(tool.snapshot_delete(image, tag="s", snapshot_id="1"))
    assert caught.value.effect is Effect.NONE
    runner.before = lambda: subprocess.run([qemu_img, "snapshot", "-d", "s", image.path], check=True)
    with pytest.raises(ToolFailed) as caught:
        run(tool.snapshot_delete(image, tag="s", snapshot_id="1"))
    assert caught.value.effect is Effect.DONE


def test_a_tool_that_lies_is_not_believed(tool, runner, image):
    runner.answer = (0, b"", b"")
    with pytest.raises(Damaged, match="not in the table"):
        run(tool.snapshot_create(image, tag="s"))
    runner.answer = None
    run(tool.snapshot_create(image, tag="s"))
    runner.answer = (0, b"", b"")
    with pytest.raises(Damaged, match="still there"):
        run(tool.snapshot_delete(image, tag="s", snapshot_id="1"))


def test_an_apply_that_bitmaps_forbid_has_changed_nothing(tool, image, qemu_img):
    run(tool.snapshot_create(image, tag="s"))
    subprocess.run([qemu_img, "bitmap", "--add", image.path, "b"], check=True)
    with pytest.raises(ToolFailed, match="active dirty bitmaps") as caught:
        run(tool.snapshot_apply(image, snapshot_id="1"))
    assert caught.value.effect is Effect.NONE


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6])
def test_a_rebase_that_is_killed_at_a_write_has_lost_nothing(tool, image, qemu_img, qemu_io, tmp_path, number):
    """Also where the header names the new base by then, so that a second try would find nothing to do."""
    strace = require_tool("strace")
    write(qemu_io, image)
    layer = Layer(f"{tmp_path}/a", Format.QCOW2)
    open(layer.path, "w").close()
    run(tool.create_overlay(layer.path, backing=Backing("image.qcow2", image.path, Format.QCOW2), size_bytes=MIB))
    killed = tmp_path / "killed-qemu-img"
    how = f"{strace} -f -qq -o /dev/null -e trace=pwrite64 -e inject=pwrite64:signal=KILL:when={number}"
    killed.write_text(f'#!/bin/sh\nexec {how} {qemu_img} "$@"\n')
    killed.chmod(0o755)
    with suppress(ToolFailed):
        run(QemuImg(LocalRunner(), LocalMachine(), program=str(killed)).rebase(layer, backing=None, copy=True))
    subprocess.run([qemu_img, "compare", "-q", "-f", "qcow2", "-F", "qcow2", image.path, layer.path], check=True)


def test_a_killed_rebase_can_be_repeated(tool, runner, image, qemu_io, qemu_img, tmp_path):
    write(qemu_io, image)
    layer = Layer(f"{tmp_path}/a", Format.QCOW2)
    open(layer.path, "w").close()
    run(tool.create_overlay(layer.path, backing=Backing("image.qcow2", image.path, Format.QCOW2), size_bytes=MIB))
    runner.answer = (-signal.SIGKILL, b"", b"")
    with pytest.raises(ToolFailed) as caught:
        run(tool.rebase(layer, backing=None, copy=True))
    assert caught.value.effect is Effect.UNKNOWN
    runner.answer = None
    run(tool.rebase(layer, backing=None, copy=True))
    subprocess.run([qemu_img, "compare", "-q", "-f", "qcow2", "-F", "qcow2", layer.path, image.path], check=True)


# --- Checks ----------------------------------------------------------------------------------------------------------


def test_leaks_are_counted_and_given_back(tool, image, qemu_io):
    write(qemu_io, image)
    with open(image.path, "r+b") as file:  # a cluster at the end of the image that nothing refers to
        length = file.seek(0, os.SEEK_END)
        cluster = length // 65536
        file.truncate((cluster + 1) * 65536)
        file.seek(2 * 65536 + cluster * 2)  # the first refcount block is the third cluster, with 16 bits for each
        file.write(b"\0\1")
    assert run(tool.check(image)).leaks == 1
    assert run(tool.check(image, repair_leaks=True)).clean
    assert run(tool.check(image)).clean


def test_corruption_is_counted_and_not_repaired(tool, image, qemu_io):
    write(qemu_io, image)
    with open(image.path, "r+b") as file:
        file.seek(2 * 65536 + 5 * 2)
        file.write(b"\0\0")
    found = run(tool.check(image))
    assert found.corruptions
    assert run(tool.check(image, repair_leaks=True)).corruptions == found.corruptions


def test_what_cannot_be_checked_has_not_been_changed(tool, image, tmp_path):
    run(tool.rebase(image, backing=Backing("gone", f"{tmp_path}/gone", Format.RAW), copy=False))
    with pytest.raises(ToolFailed) as caught:
        run(tool.check(image))
    assert caught.value.effect is Effect.NONE


# --- Reading ---------------------------------------------------------------------------------------------------------


def test_what_is_no_file_is_no_image(tool, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in (".", "pipe"):
        with pytest.raises(Damaged):
            run(tool.inspect(Layer(f"{tmp_path}/{name}", Format.RAW)))
    with pytest.raises(NotFound):
        run(tool.inspect(Layer(f"{tmp_path}/nothing", Format.RAW)))
    with pytest.raises(Refused) as caught:
        run(tool.inspect(Layer(f"{tmp_path}/a.vhd", Format.VHD)))
    assert caught.value.id == "unsupported-format"


def test_a_link_to_an_image_is_that_image(tool, image, tmp_path):
    os.symlink(image.path, f"{tmp_path}/link")
    assert run(tool.inspect(Layer(f"{tmp_path}/link", Format.QCOW2))).file == run(tool.inspect(image)).file


def test_a_partial_sector_is_shown_as_qemu_shows_it(tool, qemu_img, tmp_path):
    (tmp_path / "raw").write_bytes(bytes(1000))
    assert run(tool.inspect(Layer(f"{tmp_path}/raw", Format.RAW))).virtual_size_bytes == 1024


def test_overlays_are_of_whole_sectors(tool, runner, image, tmp_path):
    path = tmp_path / "a"
    path.touch()
    for size in (0, -512, 1000):
        with pytest.raises(Refused) as caught:
            run(tool.create_overlay(str(path), backing=Backing("x", "x", Format.RAW), size_bytes=size))
        assert caught.value.id == "not-whole-sectors"
    assert path.read_bytes() == b""
    assert runner.ran == []


def test_clusters_are_found_wherever_they_are(tool, qemu_img, qemu_io, tmp_path):
    path = f"{tmp_path}/a"
    for format in ("0.10", "1.1"):
        command = [qemu_img, "create", "-q", "-f", "qcow2", "-o", f"compat={format},cluster_size=512", path, "64M"]
        subprocess.run(command, check=True)
        layer = Layer(path, Format.QCOW2)
        assert not run(tool.holds_data(layer))
        subprocess.run([qemu_io, "-f", "qcow2", "-c", "write 63M 512", path], check=True)
        assert run(tool.holds_data(layer))
        subprocess.run([qemu_io, "-f", "qcow2", "-c", "discard 63M 512", path], check=True)
        # In version 3 a discarded cluster reads as zeros, whatever is below; in version 2 it is given back.
        assert run(tool.holds_data(layer)) is (format == "1.1")


def test_reading_starts_no_program_and_leaves_nothing_open(tool, runner, image):
    gc.collect()  # what tests before this one have left is closed now, and not meanwhile
    before = os.listdir("/proc/self/fd")
    run(tool.inspect(image))
    run(tool.chain(image))
    run(tool.holds_data(image))
    with pytest.raises(Damaged):
        read_image(Layer("/proc/version", Format.QCOW2))
    assert runner.ran == []
    assert os.listdir("/proc/self/fd") == before


SLOW = """#!/bin/sh
printf '    (0.00/100%%)\\r    (50.00/100%%)\\r'
while [ ! -e heard ]; do sleep 0.02; done
"""
"""A qemu-img that stays where it is until somebody has heard of it."""


def test_how_far_qemu_img_is_is_told_while_it_runs(tmp_path, monkeypatch, qemu_img) -> None:
    """`-p` tells on a pipe, too, and `-q` silences it (7.2.22)"""
    monkeypatch.chdir(tmp_path)
    for words in (["b.qcow2", "1M"], ["-b", "b.qcow2", "-F", "qcow2", "o.qcow2"]):
        subprocess.run([qemu_img, "create", "-q", "-f", "qcow2", *words], check=True)
    program = tmp_path / "slow"
    program.write_text(SLOW)
    program.chmod(0o700)
    tool, told = QemuImg(LocalRunner(), LocalMachine(), program=str(program)), []

    def progress(done_bytes, total_bytes):
        told.append((done_bytes, total_bytes))
        (tmp_path / "heard").touch()

    top, base = (Layer(str(tmp_path / name), Format.QCOW2) for name in ("o.qcow2", "b.qcow2"))
    run(tool.commit(top, into=base, progress=progress))
    assert {2 * done for done, _ in told} == {total for _, total in told}
    (tmp_path / "heard").unlink()
    told.clear()
    run(tool.rebase(top, backing=None, copy=True, progress=progress))
    assert told
