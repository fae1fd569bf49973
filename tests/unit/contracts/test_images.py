"""The contract of `ImageTool`."""

from typing import NamedTuple

import pytest

from xensnap.errors import Busy, Damaged, Effect, NotFound, Refused, XensnapError
from xensnap.model import Backing, Format, Image, Layer

MIB = 1 << 20
CLUSTER = 65536


@pytest.fixture
def images(bench):
    return bench.host.images


@pytest.fixture
def base(bench):
    layer = bench.image("base.qcow2")
    bench.write(layer, 0, 3 * CLUSTER)
    return layer


@pytest.fixture
def overlay(bench, base):
    layer = bench.image("overlay.qcow2", backing=base)
    bench.write(layer, 2 * CLUSTER, 2 * CLUSTER)
    return layer


class State(NamedTuple):
    """What must be the same where nothing may have changed. Block counts are left out: a journal may flush late."""

    image: tuple[object, ...]
    content: object


def state(bench, layer) -> State:
    image: Image = bench.run(bench.host.images.inspect(layer))
    told = (image.file, image.virtual_size_bytes, image.backing, image.snapshots, image.dirty, image.corrupt)
    return State(told, bench.content(layer))


def backing_of(layer: Layer) -> Backing:
    return Backing(layer.path, layer.path, layer.format)


# --- Reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compat", ["0.10", "1.1"])
@pytest.mark.parametrize("cluster", [512, 65536, 2 * MIB])
def test_a_header_is_told_as_it_was_made(bench, images, compat, cluster):
    layer = bench.image("a.qcow2", size_bytes=8 * MIB, cluster_size_bytes=cluster, compat=compat)
    image = bench.run(images.inspect(layer))
    assert image.layer == layer
    assert (image.virtual_size_bytes, image.cluster_size_bytes, image.compat) == (8 * MIB, cluster, compat)
    assert (image.refcount_bits, image.backing, image.snapshots, image.bitmaps) == (16, None, (), 0)
    assert image.data_file == ""
    assert not any((image.encrypted, image.dirty, image.corrupt))
    stat = bench.run(bench.host.files.stat(layer.path))
    assert (image.file, image.file_length_bytes) == (stat.file, stat.length_bytes)


def test_a_raw_image_has_only_sizes(bench, images):
    layer = bench.image("a.raw", "raw", size_bytes=3 * MIB)
    image = bench.run(images.inspect(layer))
    assert (image.virtual_size_bytes, image.file_length_bytes) == (3 * MIB, 3 * MIB)
    assert (image.cluster_size_bytes, image.compat, image.snapshots, image.backing) == (0, "", (), None)


def test_what_is_not_there_is_not_found(bench, images, directory):
    layer = Layer(f"{directory}/nothing", Format.QCOW2)
    for work in (images.inspect(layer), images.chain(layer), images.holds_data(layer), images.require_unused(layer),
                 images.extents(layer), images.in_use(layer)):  # fmt: skip
        with pytest.raises(NotFound) as caught:
            bench.run(work)
        assert caught.value.id == "image-not-found"


def test_what_is_no_qcow2_image_is_damaged(bench, images, directory):
    layer = Layer(f"{directory}/text", Format.QCOW2)
    bench.run(bench.host.files.create(layer.path, b"this is no image at all" * 100))
    for work in (images.inspect(layer), images.chain(layer), images.holds_data(layer), images.extents(layer)):
        with pytest.raises(Damaged) as caught:
            bench.run(work)
        assert caught.value.path == layer.path


def test_a_chain_is_told_from_the_active_layer_down(bench, images, base, overlay):
    chain = bench.run(images.chain(overlay))
    assert [image.layer for image in chain] == [overlay, base]
    assert chain.active.backing == backing_of(base)
    assert chain.base.backing is None


def test_a_backing_file_need_not_exist_to_inspect_but_to_walk(bench, images, base, overlay):
    bench.run(bench.host.files.remove(base.path))
    assert bench.run(images.inspect(overlay)).backing == backing_of(base)
    with pytest.raises(NotFound, match=base.path):
        bench.run(images.chain(overlay))


def test_a_chain_that_is_a_loop_is_damaged(bench, images, base, overlay):
    bench.run(images.rebase(base, backing=backing_of(overlay), copy=False))
    with pytest.raises(Damaged):
        bench.run(images.chain(overlay))


def test_a_relative_backing_name_starts_from_the_images_own_directory(bench, images, base, directory):
    path = f"{directory}/top.qcow2"
    bench.run(bench.host.files.create(path))
    bench.run(images.create_overlay(path, backing=Backing("base.qcow2", base.path, base.format), size_bytes=MIB))
    layer = Layer(path, Format.QCOW2)
    assert bench.run(images.inspect(layer)).backing == Backing("base.qcow2", base.path, base.format)
    assert bench.content(layer) == bench.content(base)


def test_reading_minds_nobody_who_has_the_image_open(bench, images, base):
    with bench.opened(base.path, writing=True):
        assert bench.run(images.inspect(base)).virtual_size_bytes == MIB
        assert len(bench.run(images.chain(base)).images) == 1


# --- The gate --------------------------------------------------------------------------------------------------------


def writing_methods(images, base, overlay, spare):
    return {
        "snapshot_create": (overlay, images.snapshot_create(overlay, tag="late")),
        "snapshot_apply": (overlay, images.snapshot_apply(overlay, snapshot_id="1")),
        "snapshot_delete": (overlay, images.snapshot_delete(overlay, tag="early", snapshot_id="1")),
        "commit": (base, images.commit(overlay, into=base)),
        "rebase": (overlay, images.rebase(overlay, backing=None, copy=True)),
        "rebase_unsafe": (overlay, images.rebase(overlay, backing=None, copy=False)),
        "resize": (overlay, images.resize(overlay, size_bytes=2 * MIB)),
        "repair": (overlay, images.check(overlay, repair_leaks=True)),
        "copy": (spare, images.copy(overlay, to=spare.path)),
        "copy_out": (spare, images.copy_out(overlay, snapshot_id="1", to=spare.path)),
        "create_overlay": (spare, images.create_overlay(spare.path, backing=backing_of(base), size_bytes=MIB)),
        "require_unused": (overlay, images.require_unused(overlay)),
    }


@pytest.mark.parametrize("writing", [False, True], ids=["reader", "writer"])
@pytest.mark.parametrize(
    "method",
    [
        "snapshot_create", "snapshot_apply", "snapshot_delete", "commit", "rebase", "rebase_unsafe", "resize",
        "repair", "copy", "copy_out", "create_overlay", "require_unused",
    ],
)  # fmt: skip
def test_nothing_is_written_that_anybody_has_open(bench, images, base, overlay, directory, method, writing):
    spare = Layer(f"{directory}/spare", Format.RAW)
    bench.run(bench.host.files.create(spare.path))
    bench.run(images.snapshot_create(overlay, tag="early"))
    bench.write(overlay, 0, CLUSTER)
    before = [state(bench, layer) for layer in (base, overlay)]
    works = writing_methods(images, base, overlay, spare)
    subject, work = works.pop(method)
    for _, other in works.values():
        other.close()
    with bench.opened(subject.path, writing=writing) as pid, pytest.raises(Busy, match=str(pid)) as caught:
        bench.run(work)
    assert (caught.value.id, caught.value.effect) == ("image-open", Effect.NONE)
    assert [state(bench, layer) for layer in (base, overlay)] == before
    assert bench.run(bench.host.files.stat(spare.path)).length_bytes == 0


@pytest.mark.parametrize("writing", [False, True], ids=["reader", "writer"])
def test_an_image_is_in_use_while_anybody_has_it_open(bench, images, overlay, writing):
    assert bench.run(images.in_use(overlay)) is False
    with bench.opened(overlay.path, writing=writing):
        assert bench.run(images.in_use(overlay)) is True
    assert bench.run(images.in_use(overlay)) is False


def test_nothing_is_committed_that_somebody_writes(bench, images, base, overlay):
    before = state(bench, base)
    with bench.opened(overlay.path, writing=True) as pid, pytest.raises(Busy, match=str(pid)):
        bench.run(images.commit(overlay, into=base))
    assert state(bench, base) == before


def test_nothing_is_copied_out_of_what_somebody_writes(bench, images, overlay, directory):
    path = f"{directory}/spare"
    bench.run(bench.host.files.create(path))
    bench.run(images.snapshot_create(overlay, tag="s"))
    with bench.opened(overlay.path, writing=True) as pid, pytest.raises(Busy, match=str(pid)):
        bench.run(images.copy_out(overlay, snapshot_id="1", to=path))
    assert bench.run(bench.host.files.stat(path)).length_bytes == 0


def test_a_copy_is_the_same_file_with_its_snapshots_on_the_same_base(bench, images, base, overlay, directory):
    path = f"{directory}/spare"
    bench.write(base, 0, CLUSTER)
    bench.run(images.snapshot_create(overlay, tag="s"))
    bench.write(overlay, CLUSTER, CLUSTER)
    bench.run(bench.host.files.create(path))
    bench.run(images.copy(overlay, to=path))
    copy = Layer(path, overlay.format)
    assert bench.content(copy) == bench.content(overlay)
    told, copied = bench.run(images.inspect(overlay)), bench.run(images.inspect(copy))
    assert (copied.snapshots, copied.backing, copied.file_length_bytes) == (
        told.snapshots, told.backing, told.file_length_bytes,
    )  # fmt: skip
    assert copied.file != told.file
    assert bench.run(images.check(copy)).clean


def test_a_mere_reader_is_in_no_readers_way(bench, images, overlay, directory):
    path = f"{directory}/spare"
    bench.run(bench.host.files.create(path))
    bench.run(images.snapshot_create(overlay, tag="s"))
    with bench.opened(overlay.path, writing=False):
        bench.run(images.copy_out(overlay, snapshot_id="1", to=path))
        assert bench.run(images.check(overlay)).clean


# --- Overlays --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["raw", "qcow2"])
def test_an_empty_overlay_reads_as_its_base_and_stays_the_file_it_was(bench, images, directory, format):
    base = bench.image("base", format, size_bytes=2 * MIB)
    bench.write(base, CLUSTER, CLUSTER)
    layer = Layer(f"{directory}/overlay.qcow2", Format.QCOW2)
    bench.run(bench.host.files.create(layer.path))
    file = bench.run(bench.host.files.stat(layer.path)).file
    assert not bench.run(images.holds_data(layer))
    bench.run(images.create_overlay(layer.path, backing=backing_of(base), size_bytes=2 * MIB))
    assert bench.content(layer) == bench.content(base)
    image = bench.run(images.inspect(layer))
    assert (image.file, image.backing, image.virtual_size_bytes) == (file, backing_of(base), 2 * MIB)
    assert bench.run(bench.host.files.stat(layer.path)).mode == 0o600
    assert not bench.run(images.holds_data(layer))
    bench.write(layer, 0, 512)
    assert bench.run(images.holds_data(layer))


def test_an_overlay_is_made_in_an_empty_file_of_ours_only(bench, images, base, overlay):
    before = state(bench, overlay)
    with pytest.raises(Refused) as caught:
        bench.run(images.create_overlay(overlay.path, backing=backing_of(base), size_bytes=MIB))
    assert (caught.value.id, caught.value.effect) == ("overlay-not-empty", Effect.NONE)
    assert state(bench, overlay) == before
    with pytest.raises(NotFound):
        bench.run(images.create_overlay(f"{overlay.path}.not", backing=backing_of(base), size_bytes=MIB))
    assert bench.run(bench.host.files.stat(f"{overlay.path}.not")) is None


def test_an_overlay_can_be_made_above_a_base_that_somebody_uses(bench, images, base, directory):
    path = f"{directory}/overlay"
    bench.run(bench.host.files.create(path))
    with bench.opened(base.path, writing=True):
        bench.run(images.create_overlay(path, backing=backing_of(base), size_bytes=MIB))


# --- Internal snapshots ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compat", ["0.10", "1.1"])
def test_an_internal_snapshot_gives_back_content(bench, images, compat):
    layer = bench.image("a.qcow2", compat=compat)
    contents = []
    for number in range(3):
        bench.write(layer, number * CLUSTER, 2 * CLUSTER)
        entry = bench.run(images.snapshot_create(layer, tag=f"tag {number}"))
        assert (entry.id, entry.tag, entry.disk_size_bytes) == (str(number + 1), f"tag {number}", MIB)
        contents.append(bench.content(layer))
    bench.write(layer, 0, MIB)
    for number in (1, 0, 2):
        bench.run(images.snapshot_apply(layer, snapshot_id=str(number + 1)))
        assert bench.content(layer) == contents[number]
    bench.run(images.snapshot_delete(layer, tag="tag 1", snapshot_id="2"))
    assert [entry.id for entry in bench.run(images.inspect(layer)).snapshots] == ["1", "3"]
    bench.run(images.snapshot_apply(layer, snapshot_id="3"))
    assert bench.content(layer) == contents[2]
    assert bench.run(images.check(layer)).clean


def test_a_snapshot_brings_back_the_size_of_its_disk(bench, images, base):
    bench.run(images.snapshot_create(base, tag="small"))
    small = bench.content(base)
    bench.run(images.resize(base, size_bytes=2 * MIB))
    entry = bench.run(images.snapshot_create(base, tag="large"))
    assert entry.disk_size_bytes == 2 * MIB
    bench.run(images.snapshot_apply(base, snapshot_id="1"))
    assert bench.run(images.inspect(base)).virtual_size_bytes == MIB
    assert bench.content(base) == small


def test_a_tag_is_given_once(bench, images, base):
    bench.run(images.snapshot_create(base, tag="taken"))
    before = state(bench, base)
    with pytest.raises(Refused) as caught:
        bench.run(images.snapshot_create(base, tag="taken"))
    assert (caught.value.id, caught.value.effect) == ("tag-taken", Effect.NONE)
    assert state(bench, base) == before


@pytest.mark.parametrize("tag", ["2", "-x", "", "a,b", "snapshot.id=1", "ü", "with space", "new\nline", "x" * 255])
def test_odd_tags_are_kept_as_they_are(bench, images, base, tag):
    bench.run(images.snapshot_create(base, tag="first"))
    before = bench.content(base)
    entry = bench.run(images.snapshot_create(base, tag=tag))
    assert entry.tag == tag
    bench.write(base, 0, CLUSTER)
    bench.run(images.snapshot_apply(base, snapshot_id=entry.id))
    assert bench.content(base) == before
    bench.run(images.snapshot_delete(base, tag=tag, snapshot_id=entry.id))
    assert [entry.tag for entry in bench.run(images.inspect(base)).snapshots] == ["first"]


def test_of_two_with_one_tag_the_one_with_the_id_is_removed(bench, images, base):
    bench.run(images.snapshot_create(base, tag="twin"))
    bench.duplicate_tag(base, "twin")
    bench.duplicate_tag(base, "1")
    bench.run(images.snapshot_delete(base, tag="twin", snapshot_id="2"))
    assert [(one.id, one.tag) for one in bench.run(images.inspect(base)).snapshots] == [("1", "twin"), ("3", "1")]
    assert bench.run(images.check(base)).clean


@pytest.mark.parametrize("tag", ["x" * 256, "ü" * 128])
def test_a_tag_that_would_be_cut_off_is_refused(bench, images, base, tag):
    with pytest.raises(Refused) as caught:
        bench.run(images.snapshot_create(base, tag=tag))
    assert caught.value.id == "tag-too-long"
    assert bench.run(images.inspect(base)).snapshots == ()


@pytest.mark.parametrize("size", [0, -512, 1000])
def test_sizes_are_in_whole_sectors(bench, images, base, directory, size):
    bench.run(bench.host.files.create(f"{directory}/new"))
    before = state(bench, base)
    overlay = images.create_overlay(f"{directory}/new", backing=backing_of(base), size_bytes=size)
    for work in (overlay, images.resize(base, size_bytes=size)):
        with pytest.raises(Refused) as caught:
            bench.run(work)
        assert caught.value.id == "not-whole-sectors"
    assert state(bench, base) == before
    assert bench.run(bench.host.files.stat(f"{directory}/new")).length_bytes == 0


def test_what_is_not_in_the_table_is_not_found(bench, images, base):
    bench.run(images.snapshot_create(base, tag="one"))
    before = state(bench, base)
    works = (
        images.snapshot_apply(base, snapshot_id="2"),
        images.snapshot_apply(base, snapshot_id="one"),
        images.snapshot_delete(base, tag="one", snapshot_id="2"),
        images.snapshot_delete(base, tag="two", snapshot_id="1"),
    )
    for work in works:
        with pytest.raises(NotFound) as caught:
            bench.run(work)
        assert (caught.value.id, caught.value.effect) == ("snapshot-not-in-image", Effect.NONE)
    assert state(bench, base) == before


def test_a_raw_image_has_no_snapshots(bench, images):
    layer = bench.image("a.raw", "raw")
    works = (
        images.snapshot_create(layer, tag="s"),
        images.snapshot_apply(layer, snapshot_id="1"),
        images.snapshot_delete(layer, tag="s", snapshot_id="1"),
    )
    for work in works:
        with pytest.raises(Refused) as caught:
            bench.run(work)
        assert caught.value.id == "no-internal-snapshots"
    assert bench.run(images.inspect(layer)).file_length_bytes == MIB


# --- Merging ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["raw", "qcow2"])
def test_a_commit_makes_the_base_read_as_the_top_which_stays_as_it_is(bench, images, format):
    base = bench.image("base", format)
    bench.write(base, 0, 3 * CLUSTER)
    middle = bench.image("middle", backing=base)
    bench.write(middle, CLUSTER, CLUSTER)
    top = bench.image("top", backing=middle, size_bytes=2 * MIB)
    bench.write(top, 2 * CLUSTER, 20 * CLUSTER)
    before = state(bench, top)
    for _ in range(2):
        bench.run(images.commit(top, into=base))
        assert state(bench, top) == before
        assert bench.content(base) == before.content
    assert bench.run(images.inspect(base)).virtual_size_bytes == 2 * MIB


def test_a_commit_into_what_is_not_below_changes_nothing(bench, images, base, overlay):
    other = bench.image("other.qcow2")
    before = [state(bench, layer) for layer in (base, overlay, other)]
    for into in (other, overlay):
        with pytest.raises(NotFound) as caught:
            bench.run(images.commit(overlay, into=into))
        assert caught.value.id == "not-in-chain"
    assert [state(bench, layer) for layer in (base, overlay, other)] == before


def test_a_rebase_that_copies_keeps_the_content(bench, images, base, overlay):
    content = bench.content(overlay)
    other = bench.image("other.qcow2")
    bench.write(other, 0, 5 * CLUSTER)
    bench.run(images.rebase(overlay, backing=backing_of(other), copy=True))
    assert bench.run(images.inspect(overlay)).backing == backing_of(other)
    assert bench.content(overlay) == content
    bench.run(images.rebase(overlay, backing=None, copy=True))
    assert bench.run(images.inspect(overlay)).backing is None
    assert bench.content(overlay) == content


def test_a_rebase_that_does_not_copy_changes_the_header_only(bench, images, base, directory):
    path = f"{directory}/overlay"
    bench.run(bench.host.files.create(path))
    bench.run(images.create_overlay(path, backing=backing_of(base), size_bytes=MIB))
    layer = Layer(path, Format.QCOW2)
    other = bench.image("other.qcow2")
    bench.write(other, 0, 5 * CLUSTER)
    bench.run(images.rebase(layer, backing=backing_of(other), copy=False))
    assert bench.content(layer) == bench.content(other)
    assert not bench.run(images.holds_data(layer))
    gone = Backing(f"{directory}/gone", f"{directory}/gone", Format.RAW)
    bench.run(images.rebase(layer, backing=gone, copy=False))
    assert bench.run(images.inspect(layer)).backing == gone


# --- Sizes, checks, copies -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["raw", "qcow2"])
def test_a_disk_can_be_made_larger_and_smaller(bench, images, format):
    layer = bench.image("disk", format)
    bench.write(layer, 0, MIB)
    for size in (2 * MIB, MIB // 2, MIB // 2):
        bench.run(images.resize(layer, size_bytes=size))
        assert bench.run(images.inspect(layer)).virtual_size_bytes == size


def test_an_old_image_with_snapshots_keeps_its_size(bench, images):
    layer = bench.image("old.qcow2", compat="0.10")
    bench.run(images.snapshot_create(layer, tag="s"))
    before = state(bench, layer)
    with pytest.raises(XensnapError) as caught:
        bench.run(images.resize(layer, size_bytes=2 * MIB))
    assert caught.value.effect is Effect.NONE
    assert state(bench, layer) == before


def test_an_image_is_at_a_snapshot_until_it_is_written_to(bench, images):
    layer = bench.image("snapped.qcow2")
    bench.write(layer, 0, CLUSTER)
    first = bench.run(images.snapshot_create(layer, tag="first")).id
    assert bench.run(images.is_at(layer, snapshot_id=first))
    bench.write(layer, 0, CLUSTER)
    assert not bench.run(images.is_at(layer, snapshot_id=first))
    second = bench.run(images.snapshot_create(layer, tag="second")).id
    bench.run(images.snapshot_apply(layer, snapshot_id=first))
    assert [bench.run(images.is_at(layer, snapshot_id=each)) for each in (first, second)] == [True, False]
    with pytest.raises(NotFound) as caught:
        bench.run(images.is_at(layer, snapshot_id="77"))
    assert caught.value.id == "snapshot-not-in-image"


def test_an_image_of_another_size_is_at_the_snapshot_that_it_was_made(bench, images):
    layer = bench.image("grown.qcow2")
    bench.write(layer, 0, CLUSTER)
    small = bench.run(images.snapshot_create(layer, tag="small")).id
    bench.run(images.resize(layer, size_bytes=3 << 30))
    bench.write(layer, 2 << 30, CLUSTER)
    large = bench.run(images.snapshot_create(layer, tag="large")).id
    for wanted, other in ((small, large), (large, small)):
        bench.run(images.snapshot_apply(layer, snapshot_id=wanted))
        assert bench.run(images.is_at(layer, snapshot_id=wanted))
        assert not bench.run(images.is_at(layer, snapshot_id=other))


def test_sound_images_are_clean(bench, images, base, overlay):
    raw = bench.image("a.raw", "raw")
    for layer in (base, overlay, raw):
        assert bench.run(images.check(layer)).clean
        assert bench.run(images.check(layer, repair_leaks=True)).clean


def test_a_copy_needs_room_for_what_it_shows(bench, images, base):
    empty = bench.image("empty.qcow2")
    raw = bench.image("a.raw", "raw")
    bench.write(raw, 0, CLUSTER)
    needed = [bench.run(images.measure_bytes(layer)) for layer in (empty, raw, base)]
    assert needed == [5 * CLUSTER, 6 * CLUSTER, 8 * CLUSTER]


def test_a_snapshot_copied_out_is_an_image_of_its_own(bench, images, overlay, directory):
    entry = bench.run(images.snapshot_create(overlay, tag="s"))
    content = bench.content(overlay)
    bench.write(overlay, 0, MIB)
    layer = Layer(f"{directory}/copy", Format.QCOW2)
    bench.run(bench.host.files.create(layer.path))
    bench.run(images.copy_out(overlay, snapshot_id=entry.id, to=layer.path))
    assert bench.content(layer) == content
    assert bench.run(images.inspect(layer)).backing is None


@pytest.mark.parametrize("size_now", [MIB // 2, 2 * MIB])
def test_a_snapshot_is_copied_out_at_its_own_size(bench, images, overlay, directory, size_now):
    entry = bench.run(images.snapshot_create(overlay, tag="s"))
    content = bench.content(overlay)
    bench.run(images.resize(overlay, size_bytes=size_now))
    bench.write(overlay, 0, MIB // 2)
    now = state(bench, overlay)
    layer = Layer(f"{directory}/copy", Format.QCOW2)
    bench.run(bench.host.files.create(layer.path))
    bench.run(images.copy_out(overlay, snapshot_id=entry.id, to=layer.path))
    assert bench.content(layer) == content
    copy = bench.run(images.inspect(layer))
    assert (copy.backing, copy.snapshots) == (None, ())
    assert state(bench, overlay) == now


@pytest.mark.parametrize("format", ["raw", "qcow2"])
def test_what_an_image_shows_is_copied_out_with_all_that_it_stands_on(bench, images, directory, format):
    below = bench.image("below", format)
    bench.write(below, 0, 3 * CLUSTER)
    overlay = bench.image("above.qcow2", backing=below)
    bench.write(overlay, 2 * CLUSTER, 2 * CLUSTER)
    for number, source in enumerate((below, overlay)):
        copy = Layer(f"{directory}/copy{number}", Format.QCOW2)
        bench.run(bench.host.files.create(copy.path))
        bench.run(images.copy_out(source, to=copy.path))
        assert bench.content(copy) == bench.content(source)
        found = bench.run(images.inspect(copy))
        assert (found.backing, found.snapshots) == (None, ())
        assert bench.run(bench.host.files.stat(copy.path)).mode == 0o600


def test_only_what_is_in_the_table_is_copied_out(bench, images, overlay, directory):
    path = f"{directory}/copy"
    bench.run(bench.host.files.create(path))
    with pytest.raises(NotFound):
        bench.run(images.copy_out(overlay, snapshot_id="9", to=path))
    assert bench.run(bench.host.files.stat(path)).length_bytes == 0


# --- Which clusters there are ----------------------------------------------------------------------------------------


def covered(extents) -> set[int]:
    return {
        index
        for extent in extents
        for index in range(extent.start_bytes // CLUSTER, (extent.start_bytes + extent.length_bytes) // CLUSTER)
    }


def places(extents) -> dict[int, int]:
    return {
        (extent.start_bytes + shift) // CLUSTER: extent.place + shift
        for extent in extents
        for shift in range(0, extent.length_bytes, CLUSTER)
    }


def test_extents_are_what_the_image_itself_has(bench, images, base, overlay):
    assert covered(bench.run(images.extents(base))[""]) == {0, 1, 2}
    assert covered(bench.run(images.extents(overlay))[""]) == {2, 3}
    assert bench.run(images.extents(bench.image("empty.qcow2"))) == {"": ()}


def test_of_a_raw_image_extents_are_where_its_data_is(bench, images):
    layer = bench.image("a.raw", "raw", size_bytes=16 * CLUSTER)
    bench.write(layer, 4 * CLUSTER, 2 * CLUSTER)
    assert covered(bench.run(images.extents(layer))[""]) == {4, 5}


def test_states_share_a_cluster_until_one_of_them_writes_it(bench, images, base):
    first = bench.run(images.snapshot_create(base, tag="first"))
    bench.write(base, CLUSTER, CLUSTER)
    second = bench.run(images.snapshot_create(base, tag="second"))
    bench.write(base, 5 * CLUSTER, CLUSTER)
    states = {state: places(extents) for state, extents in bench.run(images.extents(base)).items()}
    assert set(states) == {"", first.id, second.id}
    assert {state: set(found) for state, found in states.items()} == {
        "": {0, 1, 2, 5},
        first.id: {0, 1, 2},
        second.id: {0, 1, 2},
    }
    assert states[first.id][0] == states[second.id][0] == states[""][0]
    assert states[first.id][1] != states[second.id][1] == states[""][1]
    assert len({place for found in states.values() for place in found.values()}) == 5


def test_a_snapshot_that_is_made_active_shares_all_its_clusters(bench, images, base):
    taken = bench.run(images.snapshot_create(base, tag="first"))
    bench.write(base, 0, 4 * CLUSTER)
    bench.run(images.snapshot_apply(base, snapshot_id=taken.id))
    states = bench.run(images.extents(base))
    assert states[""] == states[taken.id]
