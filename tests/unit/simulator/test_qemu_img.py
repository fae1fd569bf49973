"""What the simulated qemu-img says and does where it refuses, each sentence traced from QEMU 7.2.22."""

import pytest

from simulator import NotModelled, SimulatedHost
from simulator.disk.refcounts import leaks
from simulator.tools.qemu_img import Commit, CopyOut, Rebase, Resize, SnapshotApply, SnapshotCreate, SnapshotDelete
from xensnap.errors import Busy, Damaged, Effect, NotFound, Refused, ToolFailed
from xensnap.model import Backing, Format, Layer

MIB = 1 << 20


@pytest.fixture
def host() -> SimulatedHost:
    return SimulatedHost.fresh()


def overlay(host: SimulatedHost, name: str, on: str, compat: str = "1.1") -> Layer:
    return host.create_image(f"/images/{name}", "qcow2", MIB, compat=compat, backing=Layer(on, Format.QCOW2))


def tags(host: SimulatedHost, layer: Layer) -> list[tuple[str, str]]:
    return [(entry.id, entry.tag) for entry in host.run(host.images.inspect(layer)).snapshots]


def test_ids_are_the_highest_plus_one_and_the_highest_is_used_again(host):
    layer = host.create_image("/images/a")
    for tag in ("dup", "dup", "3", ""):
        assert not host.operate(SnapshotCreate(layer, tag))
    assert tags(host, layer) == [("1", "dup"), ("2", "dup"), ("3", "3"), ("4", "")]
    assert not host.operate(SnapshotDelete(layer, "dup", "2"))
    assert not host.operate(SnapshotDelete(layer, "", "4"))
    assert not host.operate(SnapshotCreate(layer, "new"))
    assert tags(host, layer) == [("1", "dup"), ("3", "3"), ("4", "new")]


def test_a_tag_is_cut_after_255_bytes_in_the_middle_of_a_character(host):
    layer = host.create_image("/images/a")
    host.operate(SnapshotCreate(layer, "x" * 254 + "ü"))
    ((_, tag),) = tags(host, layer)
    assert tag == "x" * 254 + "\udcc3"


def test_a_raw_image_takes_no_internal_snapshot(host):
    layer = host.create_image("/images/r", "raw")
    assert host.operate(SnapshotCreate(layer, "s1")) == (
        "qemu-img: Could not create snapshot 's1': -95 (Operation not supported)"
    )
    with pytest.raises(Refused) as caught:
        host.run(host.images.snapshot_create(layer, tag="s1"))
    assert caught.value.id == "no-internal-snapshots"


def test_a_narrow_refcount_stops_a_snapshot_and_leaks_one_cluster(host):
    layer = host.create_image("/images/a", refcount_bits=1)
    assert not host.operate(SnapshotCreate(layer, "empty"))
    host.write_layer(layer, 0, 65536)
    words = host.operate(SnapshotCreate(layer, "s1"))
    assert words == "qemu-img: Could not create snapshot 's1': -22 (Invalid argument)"
    assert host.run(host.images.check(layer)).leaks == 1
    assert host.run(host.images.check(layer, repair_leaks=True)).clean


def test_two_bits_of_refcount_allow_three_references_until_the_cluster_is_written_again(host):
    layer = host.create_image("/images/a", refcount_bits=2)
    host.write_layer(layer, 0, 65536)
    assert not host.operate(SnapshotCreate(layer, "s1"))
    assert not host.operate(SnapshotCreate(layer, "s2"))
    assert "-22" in host.operate(SnapshotCreate(layer, "s3"))
    host.write_layer(layer, 0, 65536)
    assert not host.operate(SnapshotCreate(layer, "s3"))


def test_version_2_with_snapshots_is_not_resized_not_even_to_its_own_size(host):
    layer = host.create_image("/images/a", compat="0.10")
    host.operate(SnapshotCreate(layer, "s"))
    for size in (MIB, 2 * MIB, 512):
        assert host.operate(Resize(layer, size)) == "qemu-img: Can't resize a v2 image which has snapshots"


def test_a_version_2_overlay_does_not_grow_over_a_longer_base_past_its_last_cluster(host):
    host.create_image("/images/b", size_bytes=2 * MIB)
    layer = overlay(host, "o", "b", compat="0.10")
    words = host.operate(Resize(layer, 2 * MIB))
    assert words == "qemu-img: Failed to zero out new clusters: Operation not supported"
    assert host.visible_layer(layer)[0] == MIB


def test_an_overlay_that_grows_over_a_longer_base_shows_zeros_there(host):
    base = host.create_image("/images/b", size_bytes=2 * MIB)
    host.write_layer(base, 0, 2 * MIB)
    layer = overlay(host, "o", "b")
    assert not host.operate(Resize(layer, 2 * MIB))
    assert host.read_layer(layer, MIB, MIB) == bytes(MIB)
    assert not host.operate(Commit(layer, base))
    assert host.read_layer(base, MIB, MIB) == bytes(MIB)


def test_the_tail_of_the_last_cluster_comes_back_when_a_shrunken_disk_grows(host):
    layer = host.create_image("/images/a")
    host.write_layer(layer, 0, MIB)
    before = host.read_layer(layer)
    assert not host.operate(Resize(layer, 65536 + 512))
    assert not host.operate(Resize(layer, MIB))
    assert host.read_layer(layer) == before[: 2 * 65536] + bytes(MIB - 2 * 65536)


def test_the_disk_size_comes_back_with_a_snapshot(host):
    layer = host.create_image("/images/a")
    host.write_layer(layer, 0, MIB)
    before = host.visible_layer(layer)
    host.operate(SnapshotCreate(layer, "s"))
    host.operate(Resize(layer, 65536))
    assert not host.operate(SnapshotApply(layer, "1"))
    assert host.visible_layer(layer) == before


def test_a_safe_rebase_of_a_bare_version_2_image_lets_the_new_base_shine_through(host):
    base = host.create_image("/images/b")
    host.write_layer(base, 0, 65536)
    layer = host.create_image("/images/a", compat="0.10")
    assert not host.operate(Rebase(layer, "b", "qcow2", copy=True))
    assert host.visible_layer(layer) == host.visible_layer(base)
    newer = host.create_image("/images/c")
    assert not host.operate(Rebase(newer, "b", "qcow2", copy=True))
    assert host.visible_layer(newer) == (MIB, ())


def test_a_missing_backing_file_stops_all_but_looking_and_an_unsafe_rebase(host):
    host.create_image("/images/b")
    layer = overlay(host, "o", "b")
    host.run(host.files.remove("/images/b"))
    missing = (
        "qemu-img: Could not open '/images/o': Could not open backing file: "
        "Could not open '/images/b': No such file or directory"
    )
    assert host.operate(SnapshotCreate(layer, "s")) == missing
    assert host.operate(Rebase(layer, "", "", copy=True)) == missing
    assert host.run(host.images.inspect(layer)).backing == Backing("b", "/images/b", Format.QCOW2)
    with pytest.raises(NotFound, match="/images/b"):
        host.run(host.images.chain(layer))
    with pytest.raises(ToolFailed, match="backing file") as caught:
        host.run(host.images.snapshot_create(layer, tag="s"))
    assert caught.value.effect is Effect.NONE
    assert not host.operate(Rebase(layer, "", "", copy=False))
    assert not host.operate(SnapshotCreate(layer, "s"))


def test_an_unsafe_rebase_makes_a_loop_and_takes_it_away_again(host):
    base = host.create_image("/images/b")
    layer = overlay(host, "o", "b")
    assert not host.operate(Rebase(base, "o", "qcow2", copy=False))
    assert 'Failed to get shared "write" lock' in host.operate(SnapshotCreate(layer, "s"))
    with pytest.raises(Damaged, match="loop"):
        host.run(host.images.chain(layer))
    assert not host.operate(Rebase(base, "", "", copy=False))
    assert not host.operate(SnapshotCreate(layer, "s"))


@pytest.mark.parametrize(
    ("name", "form", "words"),
    [
        (
            "missing",
            "qcow2",
            "Could not open new backing file 'missing': Could not open '/images/missing': No such file",
        ),
        ("o", "qcow2", "Could not open new backing file 'o': Failed to get shared \"write\" lock"),
        ("x" * 1024, "qcow2", "Could not change the backing file to 'xxx"),
    ],
)
def test_a_rebase_onto_what_cannot_be_says_why(host, name, form, words):
    host.create_image("/images/b")
    layer = overlay(host, "o", "b")
    assert words in host.operate(Rebase(layer, name, form, copy=len(name) < 100))


def test_commits_name_what_is_in_the_way(host):
    base = host.create_image("/images/b", compat="0.10", size_bytes=65536)
    host.operate(SnapshotCreate(base, "s"))
    layer = overlay(host, "o", "b")
    other = host.create_image("/images/x")
    assert host.operate(Commit(other, base)) == "qemu-img: Image does not have a backing file"
    assert host.operate(Commit(layer, other)).startswith("qemu-img: Did not find '/images/x' in the backing chain")
    assert host.operate(Commit(layer, base)) == "qemu-img: Block job failed: Operation not supported"


def test_space_is_used_returned_and_refused(host):
    layer = host.create_image("/images/a")
    host.operate(SnapshotCreate(layer, "s"))
    used = host.world.fs.used_bytes
    host.write_layer(layer, 0, 4 * 65536)
    assert host.world.fs.used_bytes == used + 4 * 65536
    host.set_capacity(free_bytes=2 * 65536)
    base = host.visible_layer(layer)
    over = overlay(host, "o", "a") if host.world.fs.free_bytes > 5 * 65536 else None
    assert over is None
    with pytest.raises(ToolFailed, match="No space left on device"):
        host.run(_copy(host, layer))
    assert host.visible_layer(layer) == base
    host.set_capacity(1 << 40)
    host.operate(SnapshotApply(layer, "1"))
    assert host.world.fs.used_bytes < used + 4 * 65536


async def _copy(host: SimulatedHost, layer: Layer) -> None:
    await host.files.create("/images/copy")
    await host.images.copy_out(layer, snapshot_id="1", to="/images/copy")


def test_an_immutable_image_is_not_written_by_anything(host):
    layer = host.create_image("/images/a")
    host.run(host.files.set_immutable("/images/a", on=True))
    words = "qemu-img: Could not open '/images/a': Could not open '/images/a': Operation not permitted"
    assert host.operate(SnapshotCreate(layer, "s")) == words
    with pytest.raises(Exception, match="Operation not permitted"):
        host.write_layer(layer)


def test_another_process_keeps_the_tool_out_and_ends(host):
    layer = host.create_image("/images/a")
    pid = host.open_image("/images/a")
    with pytest.raises(Busy, match=f"pid {pid}, writing"):
        host.run(host.images.snapshot_create(layer, tag="s"))
    host.end_process(pid)
    host.run(host.images.snapshot_create(layer, tag="s"))


def test_a_child_that_was_left_behind_keeps_the_image_until_it_ends(host):
    layer = host.create_image("/images/a")
    host.write_layer(layer, 0, MIB)
    work = host.images.snapshot_create(layer, tag="s")
    while not host.world.agenda:
        work.send(None)
    work.close()
    assert leaks(host.world.fs.inode("/images/a").stored) > 0
    other = SimulatedHost(host.world.ended(host.pid))
    with pytest.raises(Busy, match="qemu-img snapshot -c s /images/a"):
        other.run(other.images.check(layer))
    other.run(other.machine.sleep(1))
    assert other.run(other.images.check(layer)).clean
    assert tags(other, layer) == [("1", "s")]


def test_any_file_is_a_raw_image_of_its_bytes(host):
    host.run(host.files.create("/images/text", b"no image"))
    assert host.read_layer(Layer("/images/text", Format.RAW)) == b"no image".ljust(512, b"\0")


def test_what_is_not_modelled_is_loud(host):
    host.create_image("/images/a")
    host.create_image("/images/raw", "raw")
    host.run(host.files.create("/images/text", b"no image"))
    with pytest.raises(NotModelled):
        host.run(host.files.read("/images/raw"))
    with pytest.raises(Damaged):
        host.run(host.images.inspect(Layer("/images/text", Format.QCOW2)))
    with pytest.raises(NotModelled):
        host.create_image("/images/old", compat="0.9")
    host.operate(SnapshotCreate(Layer("/images/a", Format.QCOW2), "s"))
    with pytest.raises(NotModelled):
        host.operate(CopyOut(Layer("/images/a", Format.QCOW2), "1", "/images/text"))


def test_measuring_is_as_the_real_tool_measures(host):
    layer = host.create_image("/images/a")
    host.write_layer(layer, 0, 512)
    assert host.run(host.images.measure_bytes(layer)) == 393216
