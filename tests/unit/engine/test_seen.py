"""What differs between states and what they hold, by clusters, held to the content that the simulator keeps."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import SimulatedHost
from tests.crash.harness import CLUSTER, GUEST, guest
from xensnap.engine.diff import NOW, difference
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, DeleteRequest, RevertRequest
from xensnap.engine.seen import LayerState, Piece, composed, differing
from xensnap.engine.sizes import usage
from xensnap.model import ZEROS, Extent, Kind

SECTOR = 512
SIZE = 4 * CLUSTER

Step = tuple[str, int, int]
STEPS = st.lists(
    st.tuples(st.sampled_from(["write", "write", "create", "revert", "delete"]), st.integers(0, 7), st.integers(1, 4)),
    max_size=14,
)


def lived(kinds: str, steps: list[Step]) -> SimulatedHost:
    """A domain that is off, with some history."""
    host = guest(kinds, size_bytes=SIZE)
    engine = Engine(host)
    for number, (what, place, extent) in enumerate(steps):
        names = list(engine.list(GUEST).contents.snapshots)
        if what == "write":
            for disk in engine.view(GUEST).domain.disks:
                start = place * CLUSTER // 2
                host.write(GUEST, disk.vdev, start, min(extent * SECTOR * 40, SIZE - start))
        elif what == "create":
            engine.create(GUEST, CreateRequest(str(number)))
        elif what == "revert" and names:
            engine.revert(GUEST, RevertRequest(names[place % len(names)]))
        elif what == "delete" and names:
            engine.delete(GUEST, DeleteRequest(names[place % len(names)]))
    return host


def sectors(seen) -> list[int]:
    size_bytes, runs = seen
    written = [0] * (size_bytes // SECTOR)
    for start, end, write in runs:
        written[start:end] = [write] * (end - start)
    return written


def content(host: SimulatedHost, name: str, vdev: str) -> list[int]:
    """The write that each sector of a disk holds, now or at a snapshot."""
    view = Engine(host).view(GUEST)
    if name == NOW:
        disk = view.domain.disk(vdev)
        assert disk is not None
        return sectors(host.visible_layer(disk.layer))
    kept = view.snapshots[name].disk(vdev)
    assert kept is not None
    if kept.kind is Kind.EXTERNAL:
        return sectors(host.visible_layer(kept.image))
    return sectors(host.visible_snapshot(kept.image, kept.fingerprint.snapshot_id))


@pytest.mark.every_effect
@settings(max_examples=60)
@given(st.sampled_from(["i", "e", "ie"]), STEPS)
def test_all_that_differs_is_told_and_what_is_the_same_cluster_is_not(kinds: str, steps: list[Step]) -> None:
    host = lived(kinds, steps)
    engine = Engine(host)
    view = engine.view(GUEST)
    maps = engine.maps(view)
    for before in view.snapshots:
        for after in (*view.snapshots, NOW):
            for disk in difference(view, maps, before, after).disks:
                one, other = content(host, before, disk.vdev), content(host, after, disk.vdev)
                told = {at for each in disk.stretches for at in range(each.start // SECTOR, each.end // SECTOR)}
                assert {at for at in range(SIZE // SECTOR) if one[at] != other[at]} <= told
                assert before != after or not told


@pytest.mark.every_effect
@settings(max_examples=60)
@given(st.sampled_from(["i", "e"]), STEPS)
def test_what_is_reclaimable_comes_back(kinds: str, steps: list[Step]) -> None:
    host = lived(kinds, steps)
    engine = Engine(host)
    view = engine.view(GUEST)
    used = usage(view, engine.maps(view))
    for name in view.snapshots:
        space = used.of(name)
        assert 0 <= space.reclaimable_bytes <= space.exclusive_bytes <= space.held_bytes
        fork = host.fork()
        Engine(fork).delete(GUEST, DeleteRequest(name))
        freed = taken(host) - taken(fork)
        # An overlay that goes takes its tables with it, and one that takes over fills holes of a raw image.
        assert freed >= space.reclaimable_bytes - CLUSTER


def taken(host: SimulatedHost) -> int:
    """Bytes that all images take."""
    view = Engine(host).view(GUEST)
    return sum(image.allocated_bytes for image in view.images.values() if image)


@pytest.mark.every_effect
@settings(max_examples=60)
@given(st.sampled_from(["i", "e"]), STEPS, st.integers(0, 7))
def test_what_is_written_since_grows_with_what_is_written(kinds: str, steps: list[Step], place: int) -> None:
    host = lived(kinds, steps)
    engine = Engine(host)
    engine.create(GUEST, CreateRequest("last"))
    view = engine.view(GUEST)
    assert usage(view, engine.maps(view)).since == {"xvda": 0}
    host.write(GUEST, "xvda", place * CLUSTER // 2, SECTOR)
    view = engine.view(GUEST)
    assert usage(view, engine.maps(view)).since == {"xvda": CLUSTER}


def test_layers_hide_what_is_below_them_and_zeros_are_zeros() -> None:
    maps = {
        "top": {"": (Extent(10, 10, 1000), Extent(40, 10, ZEROS))},
        "base": {"": (Extent(0, 15, 0), Extent(18, 30, 18))},
    }
    shown = composed(maps, [LayerState("top"), LayerState("base")])
    assert shown == [
        Piece(0, 10, "base", 0),
        Piece(10, 20, "top", 1000),
        Piece(20, 40, "base", 20),
        Piece(40, 50, "top", ZEROS),
    ]
    assert differing(shown, composed(maps, [LayerState("base")]), size_bytes=60) == [(10, 20), (40, 48)]
