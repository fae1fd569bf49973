"""Simulated images written as files that the real tools take, and files of the real tools read into a world."""

import json
import random
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator import SimulatedHost, persist
from simulator.disk import chain as chains
from simulator.disk.content import bytes_of, pattern
from simulator.disk.image import EXTENDED_LEAST, Qcow2, fresh_qcow2
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
from tests.parity.monitors import File, RealQemu
from tests.parity.shells import PLACE, Shells
from tests.parity.tools import run
from tests.parity.traces import NEGOTIATE, made
from xensnap.model import Format, Layer

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("qemu_img", "qemu_io")]

KIB = 1024
WRITES = st.tuples(st.just("write"), st.integers(0, 4095), st.sampled_from([1, 3, 8, 128, 700]))
OTHERS = st.tuples(st.sampled_from(["snapshot", "apply", "delete", "zero", "resize"]), st.integers(0, 20), st.just(0))
LIVES = st.lists(WRITES | OTHERS, max_size=14)
EXTENDED = ("extended_l2", 16)
KINDS = st.tuples(
    st.sampled_from([512, 4 * KIB, 64 * KIB, 2048 * KIB]),
    st.sampled_from([("0.10", 16), ("1.1", 16), ("1.1", 1), ("1.1", 2), ("1.1", 8), ("1.1", 64), EXTENDED, EXTENDED]),
    st.sampled_from([64 * KIB, 1024 * KIB, 2048 * KIB + 1536]),
)


def fresh(kind: tuple[int, tuple[str, int], int], below: str = "") -> Qcow2:
    """An empty image, perhaps over another; one that shall be extended is where its clusters are large enough."""
    cluster, (compat, bits), size = kind
    return fresh_qcow2(
        size,
        cluster_bytes=cluster,
        compat="1.1" if compat == EXTENDED[0] else compat,
        refcount_bits=bits,
        backing_name=below,
        backing_format="qcow2" if below else "",
        extended_l2=compat == EXTENDED[0] and cluster >= EXTENDED_LEAST,
    )


def lived(kind: tuple[int, tuple[str, int], int], life: list[tuple[str, int, int]]) -> Qcow2:
    """An image to which all this has been done."""
    image = fresh(kind)
    for number, (what, where, length) in enumerate(life, 1):
        image = _lived(image, number, what, where, length)
    return image


def _lived(image: Qcow2, number: int, what: str, where: int, length: int, below: tuple[Qcow2, ...] = ()) -> Qcow2:
    entries = list(image.table)
    entry = entries[where % len(entries)] if entries else None
    sectors = image.size_bytes // 512
    match what:
        case "write" | "zero":
            start = where % sectors
            run_ = (start, min(sectors, start + max(length, 8)), number if what == "write" else 0)
            changed = written((image, *below), [run_])
            assert isinstance(changed, Qcow2)
            return changed
        case "snapshot" if may_snapshot(image):
            return snapshot_entered(snapshot_raised(image), f"s{number}", number * 10**9, live=bool(where % 2))
        case "apply" if entry:
            return snapshot_settled(snapshot_applied(snapshot_counted(image, entry), entry))
        case "delete" if entry:
            return snapshot_dropped(snapshot_forgotten(image, entry))
        case "resize" if image.version > 2 or not entries:
            more = image.size_bytes + (where - 10) * 4096
            changed = resized((image, *below), more) if where != 10 else image
            assert isinstance(changed, Qcow2)
            return changed
    return image


def shown_bytes(*stack: Qcow2) -> bytes:
    """What a guest reads of the first, through those below it."""
    size = stack[0].size_bytes
    return bytes_of(chains.between(stack, 0, -(-size // 512)), 0, size)


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


@given(st.tuples(st.sampled_from([16 * KIB, 64 * KIB]), st.just(EXTENDED), st.just(1024 * KIB)), LIVES)
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_real_tool_finds_the_parts_of_clusters_where_ours_does(kind, life):
    """Offsets in the file and all, of what is data, marked as zeros or neither."""
    image = lived(kind, life)
    shells = Shells.alone()
    shells.fs = shells.fs.create(f"{PLACE}/image", image)
    ours = json.loads(shells.simulated(["map", "--output=json", "image"]).stdout)
    with tempfile.TemporaryDirectory(prefix="map") as scratch:
        path = Path(scratch) / "image"
        path.write_bytes(encoded(image))
        assert json.loads(run(["qemu-img", "map", "--output=json", str(path)], path.parent).stdout) == ours


# --- chains ----------------------------------------------------------------------------------------------------------

NAMES = ("base", "middle", "top")
WORLDS = st.lists(st.tuples(KINDS, LIVES), min_size=2, max_size=3)


def chained(drawn: list[tuple[tuple[int, tuple[str, int], int], list[tuple[str, int, int]]]]) -> tuple[Qcow2, ...]:
    """One image over the other, each with what was done to it since, the top one first."""
    stack: tuple[Qcow2, ...] = ()
    for kind, life in drawn:
        image = fresh(kind, NAMES[len(stack) - 1] if stack else "")
        for number, (what, where, length) in enumerate(life, 1):
            image = _lived(image, 100 * len(stack) + number, what, where, length, stack)
        stack = (image, *stack)
    return stack


@given(WORLDS)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_whole_chain_goes_out_and_comes_back(drawn):
    """Every image of it, through those below; every snapshot of the top one, which the real tool applies."""
    stack = chained(drawn)
    with tempfile.TemporaryDirectory(prefix="chain") as scratch:
        paths = [Path(scratch) / name for name in NAMES[: len(stack)]][::-1]
        for path, image in zip(paths, stack, strict=True):
            path.write_bytes(encoded(image))
        back = tuple(decoded(path.read_bytes()) for path in paths)
        for depth, (path, image) in enumerate(zip(paths, back, strict=True)):
            check = run(["qemu-img", "check", "-f", "qcow2", str(path)], path.parent)
            assert check.returncode == (3 if leaks(stack[depth]) else 0), check
            assert (image.backing_name, image.backing_format) == (
                stack[depth].backing_name,
                stack[depth].backing_format,
            )
            assert told(image) == told(stack[depth])
            assert raw_of(path) == shown_bytes(*stack[depth:]) == shown_bytes(*back[depth:])
        for entry in stack[0].table:
            if may_apply(stack[0], entry):
                done = run(["qemu-img", "snapshot", "-a", str(entry.number), str(paths[0])], paths[0].parent)
                assert not done.returncode, done
                assert raw_of(paths[0]) == shown_bytes(snapshot_applied(stack[0], entry), *stack[1:])


REAL_LIVES = st.lists(
    st.tuples(
        st.sampled_from(["write", "other bytes", "compressed", "zeros", "snapshot", "apply"]), st.integers(0, 2000)
    ),
    max_size=7,
)


@given(st.lists(st.tuples(REAL_LIVES, st.sampled_from(["4k", "64k", "64k,extended_l2=on"])), min_size=1, max_size=3))
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_chain_of_the_real_tool_is_read_into_the_world_and_goes_out_again(drawn):
    """Patterns of ours, other bytes, zeros and compressed clusters, with snapshots of each image."""
    with tempfile.TemporaryDirectory(prefix="in") as scratch:
        places = [Path(scratch) / "real", Path(scratch) / "again"]
        for place in places:
            place.mkdir()
        stack: tuple[Qcow2, ...] = ()
        taken: list[str] = []
        path = again = places[0]
        for depth, (life, cluster) in enumerate(drawn):
            path = places[0] / NAMES[depth]
            below = ["-b", NAMES[depth - 1], "-F", "qcow2"] if depth else []
            argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", f"cluster_size={cluster}", *below, str(path), "1M"]
            assert not run(argv, path.parent).returncode
            taken = []
            for number, (what, where) in enumerate(life, 1):
                _real(path, 100 * depth + number, what, where, taken)
            image = decoded(path.read_bytes())
            stack = (image, *stack)
            assert [entry.tag.decode() for entry in image.table] == taken
            assert shown_bytes(*stack) == raw_of(path)
            again = places[1] / path.name
            again.write_bytes(encoded(image))
            assert raw_of(again) == raw_of(path)
        for tag in taken:
            for place in (path, again):
                assert not run(["qemu-img", "snapshot", "-a", tag, str(place)], place.parent).returncode
            assert raw_of(again) == raw_of(path)


def _real(path: Path, number: int, what: str, where: int, taken: list[str]) -> None:
    at = where * 512 if what != "compressed" else where // 128 * 65536 % (1 << 20)
    if what == "snapshot":
        taken.append(f"s{number}")
        done = run(["qemu-img", "snapshot", "-c", taken[-1], str(path)], path.parent)
    elif what == "apply" and taken:
        done = run(["qemu-img", "snapshot", "-a", taken[where % len(taken)], str(path)], path.parent)
    else:
        source = path.parent.parent / "pattern"
        length = 65536 if what == "compressed" else 4096
        random_bytes = random.Random(number).randbytes(600) if where % 3 else bytes([number % 255 + 1])
        source.write_bytes(pattern(number, at, length) if what == "write" else random_bytes)
        how = {"compressed": "-c ", "zeros": "-z "}.get(what, "")
        fed = "" if what == "zeros" else f"-s {source} "
        done = run(["qemu-io", "-f", "qcow2", "-c", f"write -q {how}{fed}{at} {length}", str(path)], path.parent)
    # A cluster is compressed only where there is none yet.
    assert not done.returncode or (what == "compressed" and b"write failed: Input/output error" in done.stdout), done


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


def test_which_clusters_were_compressed_is_not_told(tmp_path: Path):
    path = tmp_path / "image"
    run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "1M"], tmp_path)
    run(["qemu-io", "-f", "qcow2", "-c", "write -q -c -P 7 0 64k", str(path)], tmp_path)
    shells = Shells.alone()
    shells.fs = shells.fs.create(f"{PLACE}/a", decoded(path.read_bytes()))
    for argv in (["check", "a"], ["map", "a"]):
        with pytest.raises(NotImplementedError, match="compressed"):
            shells.simulated(argv)


@pytest.mark.parametrize(
    ("options", "named"),
    [("compression_type=zstd", "another compression"), ("data_file=d", "data file")],
)
def test_what_has_no_place_in_a_world_is_refused_by_name(tmp_path: Path, options: str, named: str):
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", options, "image", "1M"], tmp_path)
    with pytest.raises(NotImplementedError, match=named):
        decoded((tmp_path / "image").read_bytes())


@pytest.mark.usefixtures("qemu_system")
def test_a_machines_state_is_refused(tmp_path: Path):
    files = [File("image", node="a")]
    made(tuple(files), tmp_path)
    real = RealQemu(tmp_path, files)
    try:
        real.answers(NEGOTIATE)
        save = {"job-id": "j", "tag": "s", "vmstate": "a", "devices": ["a"]}
        real.answers(json.dumps({"execute": "snapshot-save", "arguments": save}).encode())
        real.answers(b'{"execute":"quit"}')
    finally:
        real.close()
    with pytest.raises(NotImplementedError, match="machine's state"):
        decoded((tmp_path / "image").read_bytes())


def test_a_world_with_bytes_of_somebody_else_is_kept_as_any_other(tmp_path: Path):
    path = tmp_path / "image"
    run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "1M"], tmp_path)
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -q -P 7 0 4096", str(path)], check=True)
    host = SimulatedHost.fresh()
    host.add_image("/images/a.qcow2", decoded(path.read_bytes()))
    assert persist.decode(persist.encode(host.world)) == host.world
    assert host.read_layer(Layer("/images/a.qcow2", Format.QCOW2))[:8192] == bytes([7]) * 4096 + bytes(4096)
