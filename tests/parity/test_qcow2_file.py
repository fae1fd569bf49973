"""Simulated images written as files that the real tools take, and files of the real tools read into a world."""

import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.disk import chain as chains
from simulator.disk.content import bytes_of, pattern
from simulator.disk.image import Qcow2, fresh_qcow2
from simulator.disk.operations import (
    resized,
    snapshot_applied,
    snapshot_counted,
    snapshot_dropped,
    snapshot_entered,
    snapshot_forgotten,
    snapshot_raised,
    snapshot_settled,
    written,
)
from simulator.disk.qcow2_file import decoded, encoded
from simulator.disk.refcounts import leaks, may_apply, may_snapshot
from tests.parity.tools import run

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("qemu_img", "qemu_io")]

KIB = 1024
WRITES = st.tuples(st.just("write"), st.integers(0, 4095), st.sampled_from([1, 3, 8, 128, 700]))
OTHERS = st.tuples(st.sampled_from(["snapshot", "apply", "delete", "zero", "resize"]), st.integers(0, 20), st.just(0))
LIVES = st.lists(WRITES | OTHERS, max_size=14)
KINDS = st.tuples(
    st.sampled_from([512, 4 * KIB, 64 * KIB, 2048 * KIB]),
    st.sampled_from([("0.10", 16), ("1.1", 16), ("1.1", 1), ("1.1", 2), ("1.1", 8), ("1.1", 64)]),
    st.sampled_from([64 * KIB, 1024 * KIB, 2048 * KIB + 1536]),
)


def lived(kind: tuple[int, tuple[str, int], int], life: list[tuple[str, int, int]]) -> Qcow2:
    """An image to which all this has been done."""
    cluster, (compat, bits), size = kind
    image = fresh_qcow2(size, cluster_bytes=cluster, compat=compat, refcount_bits=bits)
    for number, (what, where, length) in enumerate(life, 1):
        image = _lived(image, number, what, where, length)
    return image


def _lived(image: Qcow2, number: int, what: str, where: int, length: int) -> Qcow2:
    entries = list(image.table)
    entry = entries[where % len(entries)] if entries else None
    sectors = image.size_bytes // 512
    match what:
        case "write" | "zero":
            start = where % sectors
            run_ = (start, min(sectors, start + max(length, 8)), number if what == "write" else 0)
            changed = written((image,), [run_])
            assert isinstance(changed, Qcow2)
            return changed
        case "snapshot" if may_snapshot(image):
            return snapshot_entered(snapshot_raised(image), f"s{number}", number * 10**9, live=bool(where % 2))
        case "apply" if entry:
            return snapshot_settled(snapshot_applied(snapshot_counted(image, entry), entry))
        case "delete" if entry:
            return snapshot_dropped(snapshot_forgotten(image, entry))
        case "resize" if image.version > 2 or not entries:
            changed = resized((image,), image.size_bytes + (where - 10) * 4096) if where != 10 else image
            assert isinstance(changed, Qcow2)
            return changed
    return image


def shown_bytes(image: Qcow2) -> bytes:
    size = image.size_bytes
    return bytes_of(chains.between((image,), 0, -(-size // 512)), 0, size)


def raw_of(path: Path, *options: str) -> bytes:
    raw = path.with_suffix(".raw")
    done = run(["qemu-img", "convert", "-f", "qcow2", *options, "-O", "raw", str(path), str(raw)], path.parent)
    assert not done.returncode, done
    return raw.read_bytes()


def told(image: Qcow2) -> list[tuple[str, bytes, int, bool]]:
    return [(str(entry.number), entry.tag, entry.size_bytes, entry.live) for entry in image.table]


@given(KINDS, LIVES)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_real_tool_takes_the_file_and_applies_its_snapshots(kind, life):
    image = lived(kind, life)
    with tempfile.TemporaryDirectory(prefix="out") as scratch:
        path = Path(scratch) / "image"
        path.write_bytes(encoded(image))
        check = run(["qemu-img", "check", "-f", "qcow2", str(path)], path.parent)
        assert check.returncode == (3 if leaks(image) else 0), check
        assert raw_of(path) == shown_bytes(image)
        back = decoded(path.read_bytes())
        assert told(back) == told(image)
        assert shown_bytes(back) == shown_bytes(image)
        for entry in image.table:
            done = run(["qemu-img", "snapshot", "-a", str(entry.number), str(path)], path.parent)
            if not may_apply(image, entry):
                assert b"Failed to load snapshot: Invalid argument" in done.stderr
                return
            assert not done.returncode, done
            past = snapshot_applied(image, entry)
            assert raw_of(path) == shown_bytes(past)
            check = run(["qemu-img", "check", "-f", "qcow2", str(path)], path.parent)
            assert check.returncode == (3 if leaks(image) else 0), check


@given(st.lists(st.tuples(st.sampled_from(["write", "snapshot", "apply"]), st.integers(0, 2000)), max_size=8))
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_file_of_the_real_tool_is_read_into_the_world(life: list[tuple[str, int]]):
    with tempfile.TemporaryDirectory(prefix="in") as scratch:
        path = Path(scratch) / "image"
        argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", str(path), "1M"]
        assert not run(argv, path.parent).returncode
        taken: list[str] = []
        for number, (what, where) in enumerate(life, 1):
            _real(path, number, what, where, taken)
        image = decoded(path.read_bytes())
        assert shown_bytes(image) == raw_of(path)
        assert [entry.tag.decode() for entry in image.table] == taken
        again = path.with_name("again")
        again.write_bytes(encoded(image))
        assert not run(
            ["qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", str(path), str(again)], path.parent
        ).returncode


def _real(path: Path, number: int, what: str, where: int, taken: list[str]) -> None:
    if what == "snapshot":
        taken.append(f"s{number}")
        done = run(["qemu-img", "snapshot", "-c", taken[-1], str(path)], path.parent)
    elif what == "apply" and taken:
        done = run(["qemu-img", "snapshot", "-a", taken[where % len(taken)], str(path)], path.parent)
    else:
        source = path.with_name("pattern")
        source.write_bytes(pattern(number, where * 512, 4096))
        done = run(["qemu-io", "-f", "qcow2", "-c", f"write -q -s {source} {where * 512} 4096", str(path)], path.parent)
    assert not done.returncode, done


def test_lazy_refcounts_are_carried_both_ways(tmp_path: Path):
    path = tmp_path / "image"
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on", str(path), "1M"], tmp_path)
    image = decoded(path.read_bytes())
    path.write_bytes(encoded(image))
    assert image.lazy
    assert b"lazy refcounts: true" in run(["qemu-img", "info", str(path)], tmp_path).stdout


def test_dirty_bitmaps_are_refused_and_never_lost_without_a_word(tmp_path: Path):
    path = tmp_path / "image"
    run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "1M"], tmp_path)
    run(["qemu-img", "bitmap", "--add", str(path), "b"], tmp_path)
    with pytest.raises(NotImplementedError, match="dirty bitmaps"):
        decoded(path.read_bytes())


def test_bytes_of_somebody_else_are_refused(tmp_path: Path):
    path = tmp_path / "image"
    run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "1M"], tmp_path)
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -q -P 7 0 4096", str(path)], check=True)
    with pytest.raises(NotImplementedError, match="no simulated write"):
        decoded(path.read_bytes())
