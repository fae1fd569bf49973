"""Laws of simulated disks: what a snapshot, a commit, a rebase and a fork must never change."""

from hypothesis import given
from hypothesis import strategies as st

from simulator import pattern
from simulator.tools.qemu_img import Commit, Rebase
from tests.laws.worlds import DEEDS, SIZE, do, hosts
from xensnap.model import Format

LIVED = hosts()


@given(LIVED, st.integers(1, 2), DEEDS)
def test_a_revert_brings_back_what_was_there(lived, number, deeds):
    host, layers = lived
    layer = layers[number]
    entry = host.run(host.images.snapshot_create(layer, tag="kept"))
    before = host.visible_layer(layer)
    for deed in deeds:
        # What lies below must stay: an internal snapshot knows nothing of its backing file.
        if deed.layer == number and getattr(deed, "tag", "") != "kept":
            if type(deed).__name__ == "Drop":
                continue
            do(host, layers, deed)
    assert host.visible_snapshot(layer, entry.id) == before
    host.run(host.images.snapshot_apply(layer, snapshot_id=entry.id))
    assert host.visible_layer(layer) == before


@given(LIVED, st.integers(1, 2), st.integers(0, 9))
def test_a_deletion_changes_no_other_snapshot(lived, number, which):
    host, layers = lived
    layer = layers[number]
    entries = host.run(host.images.inspect(layer)).snapshots
    if not entries:
        return
    gone = entries[which % len(entries)]
    before = {entry.id: host.visible_snapshot(layer, entry.id) for entry in entries if entry != gone}
    now = host.visible_layer(layer)
    host.run(host.images.snapshot_delete(layer, tag=gone.tag, snapshot_id=gone.id))
    assert {entry_id: host.visible_snapshot(layer, entry_id) for entry_id in before} == before
    assert host.visible_layer(layer) == now
    assert [entry.id for entry in host.run(host.images.inspect(layer)).snapshots] == list(before)


@given(LIVED, st.integers(0, 1))
def test_a_commit_keeps_what_the_top_shows_and_gives_it_to_the_base(lived, into):
    host, layers = lived
    top = layers[2]
    before = host.visible_layer(top)
    assert not host.operate(Commit(top, layers[into]))
    assert host.visible_layer(top) == before
    assert host.visible_layer(layers[into]) == before


@given(LIVED, st.booleans())
def test_a_safe_rebase_keeps_what_the_top_shows(lived, flatten):
    host, layers = lived
    before = host.visible_layer(layers[2])
    name, form = ("", "") if flatten else ("0", layers[0].format.value)
    assert not host.operate(Rebase(layers[2], name, form, copy=True))
    assert host.visible_layer(layers[2]) == before
    assert len(host.run(host.images.chain(layers[2])).images) == (1 if flatten else 2)


@given(LIVED, DEEDS, DEEDS)
def test_forks_never_see_each_other(lived, left, right):
    host, layers = lived
    kept = host.world
    other = host.fork()
    for deed in left:
        do(host, layers, deed)
    assert other.world is kept
    mine = host.world
    for deed in right:
        do(other, layers, deed)
    assert host.world is mine


@given(LIVED, DEEDS)
def test_the_same_deeds_make_the_same_world(lived, deeds):
    host, layers = lived
    other = host.fork()
    for deed in deeds:
        do(host, layers, deed)
        do(other, layers, deed)
    assert host.world == other.world


@given(LIVED)
def test_content_is_equal_exactly_when_the_bytes_are(lived):
    host, layers = lived
    shown = [(host.visible_layer(layer), host.read_layer(layer)) for layer in layers]
    for one, its_bytes in shown:
        for other, other_bytes in shown:
            assert (one == other) == (its_bytes == other_bytes)


@given(LIVED, st.integers(0, SIZE - 1), st.integers(0, 5000))
def test_a_part_reads_as_in_the_whole(lived, offset, length):
    host, layers = lived
    length = min(length, SIZE - offset)
    assert host.read_layer(layers[2], offset, length) == host.read_layer(layers[2])[offset : offset + length]


@given(st.integers(1, 1 << 40), st.integers(0, 1 << 20), st.integers(0, 3000))
def test_the_bytes_of_a_write_depend_on_their_place_alone(write_id, offset, length):
    whole = pattern(write_id, 0, offset + length) if offset < 1 << 16 else pattern(write_id, offset - 512, length + 512)
    assert pattern(write_id, offset, length) == whole[len(whole) - length :]
    assert length == 0 or any(pattern(write_id, offset, max(length, 16)))


@given(LIVED)
def test_a_copy_of_a_snapshot_shows_the_snapshot(lived):
    host, layers = lived
    entry = host.run(host.images.snapshot_create(layers[2], tag="kept"))
    host.write_layer(layers[2], 0, SIZE)
    host.run(host.files.create("/images/copy"))
    host.run(host.images.copy_out(layers[2], snapshot_id=entry.id, to="/images/copy"))
    copied = type(layers[2])("/images/copy", Format.QCOW2)
    assert host.visible_layer(copied) == host.visible_snapshot(layers[2], entry.id)
