"""What did not reach the disk is told by `Files.sync`, though another program has asked and heard of it before.

Linux tells each who has a file open of such an error once, and those who open it later not at all. The disk here is a
file on a small file system that has run full.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import require_tool
from tests.real.qemu.conftest import small_file_system
from xensnap.backends.local.files import LocalFiles
from xensnap.backends.local.machine import sleep
from xensnap.backends.local.waiting import run
from xensnap.errors import Effect, FileFailed

pytestmark = pytest.mark.real
LATE = 2 << 20
"""More bytes than the full file system has taken by chance."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file on a disk that has no room left where it is kept."""
    mke2fs = require_tool("mke2fs")
    small, big = tmp_path / "small", tmp_path / "big"
    big.mkdir()
    with small_file_system(small, 6 << 10):
        image = small / "image"
        image.touch()
        os.truncate(image, 64 << 20)
        subprocess.run([mke2fs, "-q", "-t", "ext4", "-O", "^has_journal", image], check=True)
        if subprocess.run(["mount", "-o", "loop", image, big], check=False).returncode:
            pytest.skip("capability missing: no loop device to mount a file as a disk")
        try:
            file = big / "file"
            file.write_bytes(bytes(4096))
            os.sync()
            with suppress(OSError), (small / "ballast").open("wb", buffering=0) as ballast:
                while True:
                    ballast.write(bytes(4096))
            yield file
        finally:
            subprocess.run(["umount", "-l", big], check=True)


def write_and_sync(path: Path) -> int:
    """As another program does; the number of the error that it is told."""
    fd = os.open(path, os.O_RDWR)
    try:
        os.pwrite(fd, b"x" * LATE, 0)
        os.fdatasync(fd)
    except OSError as error:
        return error.errno or 0
    finally:
        os.close(fd)
    return 0


def test_an_error_that_somebody_else_was_told_of_is_told_to_who_waits_for_him(disk: Path) -> None:
    heard: list[int] = []

    async def others() -> None:
        heard.append(write_and_sync(disk))

    with pytest.raises(FileFailed) as caught:
        run(LocalFiles(sleep).sync(str(disk), after=others))
    assert heard == [caught.value.errno]
    assert heard[0]
    assert caught.value.effect is Effect.UNKNOWN


def test_who_comes_too_late_is_told_nothing(disk: Path) -> None:
    """So `after` is needed."""
    assert write_and_sync(disk)
    run(LocalFiles(sleep).sync(str(disk)))
