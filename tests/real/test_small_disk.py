"""A file system that runs full, for real: an error or success, never a loss, and `recover` once there is room again."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import require_tool
from tests.real.lab import MIB, Lab, tool

SIZE_MIB = 24


@pytest.fixture
def small(tmp_path, lab) -> Iterator[Lab]:
    """A laboratory on a file system of its own of a few MiB; mounting it takes rights that not everybody has."""
    require_tool("mount")
    place = tmp_path / "small"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "xensnap-test", str(place)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = f"capability missing: a tmpfs cannot be mounted: {done.stderr.strip()}"
        if os.environ.get("CI") == "true" and os.geteuid() == 0:
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    try:
        yield Lab(place, scratch=tmp_path)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@contextlib.contextmanager
def nearly_full(lab: Lab, *, free_bytes: int) -> Iterator[None]:
    """Leaves only so much room, in whole pages."""
    ballast = lab.path("ballast")
    room = os.statvfs(lab.directory)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, room.f_bavail * room.f_frsize - free_bytes))
    try:
        yield
    finally:
        ballast.unlink()


def named(lab: Lab) -> list[str]:
    """The snapshots there are. What was made within one second is listed by name."""
    return sorted(lab.snapshots())


def guest(lab: Lab, kind: str) -> None:
    for name in ("a.qcow2", "b.qcow2"):
        lab.image(name, "3M")
    lab.describe("guest", ("a.qcow2", "qcow2"), ("b.qcow2", "qcow2"))
    for number, name in enumerate(("one", "two"), 1):
        for vdev in ("xvda", "xvdb"):
            lab.guest_writes(number, vdev=vdev, length="1M")
        lab.ok("create", "guest", "-n", name, "--type", kind)
    for vdev in ("xvda", "xvdb"):
        lab.guest_writes(3, vdev=vdev, length="1M")


FREE = (0, 4096, 16384, 65536, 200_000, 400_000, 800_000, MIB + 100_000, 2 * MIB + 100_000, 3 * MIB)


@pytest.mark.parametrize("kind", ["internal", "external"])
@pytest.mark.parametrize("verb", ["create", "revert", "delete"])
def test_on_a_full_disk_nothing_is_lost(small, verb, kind) -> None:
    guest(small, kind)
    words = {"create": ["-n", "three"], "revert": ["one"], "delete": ["one"]}[verb]
    names, now = ["one", "two"], small.shown()
    small.ok("revert", "guest", "one")
    then = small.shown()
    for vdev in ("xvda", "xvdb"):
        small.guest_writes(3, vdev=vdev, length="1M")
    assert small.shown() == now
    codes = []
    for free_bytes in FREE:
        with nearly_full(small, free_bytes=free_bytes):
            result = small.run(verb, "guest", *words)
            codes.append(result.exit_code)
            again = small.run("recover", "guest")
        small.ok("recover", "guest")
        assert small.json("list", "guest")["pending"] is None
        if codes[-1] in {1, 6}:
            assert again.exit_code == 0, again.output
            assert (named(small), small.shown()) == (names, now)
        after = {"create": (["one", "three", "two"], now), "revert": (names, then), "delete": (["two"], now)}[verb]
        assert (named(small), small.shown()) in ((names, now), after), (codes, result.output)
        for image in small.directory.glob("*.qcow2"):
            assert small.clean(image)
        if (named(small), small.shown()) == after:
            break
    assert codes[-1] in {0, 5}, codes
    for name in small.snapshots():
        small.ok("revert", "guest", name)
        assert name != "one" or small.shown() == then
    for name in small.snapshots():
        small.ok("delete", "guest", name)
    assert small.files() == {"a.qcow2", "b.qcow2", "guest.toml"}
    assert tool("qemu-img", "check", "-q", str(small.path("a.qcow2"))).returncode == 0


def test_a_full_disk_is_told_before_anything_is_done(small) -> None:
    guest(small, "internal")
    with nearly_full(small, free_bytes=100_000):
        told = small.refused("create", "guest", "-n", "three", "--type", "internal")
        assert told["id"] == "no-space"


def test_nothing_can_be_read_from_a_full_disk_wrongly(small, tmp_path) -> None:
    guest(small, "external")
    told = small.json("list", "guest")
    with nearly_full(small, free_bytes=0):
        assert small.json("list", "guest") == told
        assert Path(small.directory, "snapshots").is_dir()
