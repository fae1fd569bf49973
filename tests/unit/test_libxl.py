"""The library interface of the 2014 design, function by function, on the simulated host."""

import pytest
from msgspec.structs import replace

from simulator import SimulatedHost
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest
from xensnap.errors import Busy, Failed, NotFound, Refused, Unknown, Usage, XensnapError
from xensnap.libxl import (
    ERRORS,
    LibxlDiskSnapshot,
    LibxlDomainSnapshot,
    libxl_delete_dom_snapshot_conf,
    libxl_disk_snapshot_create,
    libxl_disk_snapshot_delete,
    libxl_disk_snapshot_revert,
    libxl_disk_to_snapshot,
    libxl_domain_snapshot_list,
    libxl_error,
    libxl_load_dom_snapshot_conf,
    libxl_store_dom_snapshot_conf,
)
from xensnap.model import Disk, Format

UUID = "5c84adcc-bd59-788a-96d2-195f9b599cfe"
CLUSTER = 65536


@pytest.fixture
def host() -> SimulatedHost:
    """A host with a guest of two disks and a cdrom."""
    host = SimulatedHost.fresh(seed=1)
    layers = [host.create_image(f"/images/{vdev}.qcow2", size_bytes=4 * CLUSTER) for vdev in ("hda", "hdc")]
    disks = [Disk(vdev, layer.path, layer.format) for vdev, layer in zip(("hda", "hdc"), layers, strict=True)]
    iso = host.create_image("/images/i.iso", Format.RAW, CLUSTER)
    host.add_domain("guest1", UUID, [*disks, Disk("hdd", iso.path, iso.format, readonly=True, cdrom=True)])
    return host


@pytest.fixture
def ctx(host) -> Engine:
    return Engine(host)


BOTH = [LibxlDiskSnapshot("hda", "s"), LibxlDiskSnapshot("hdc", "s", "/images/c2.qcow2", "qcow2")]


def test_disks_are_snapshotted_at_one_moment_and_told_as_they_were_taken(host, ctx) -> None:
    taken = libxl_disk_snapshot_create(ctx, "guest1", BOTH)
    assert taken == (
        LibxlDiskSnapshot("hda", "s", path="/images/hda.qcow2"),
        LibxlDiskSnapshot("hdc", "", "/images/c2.qcow2", "qcow2", "/images/hdc.qcow2"),
    )
    (snapshot,) = libxl_domain_snapshot_list(ctx, "guest1")
    assert (snapshot.name, snapshot.memory, snapshot.disks) == ("s", "", taken)


@pytest.mark.parametrize("running", [False, True])
def test_a_domain_is_known_by_name_uuid_and_domid(host, ctx, running) -> None:
    refs: list[str | int] = ["guest1", UUID]
    if running:
        host.start(UUID)
        domid = ctx.list("guest1").domain.domid
        assert domid is not None
        refs.append(domid)
    libxl_disk_snapshot_create(ctx, refs[-1], BOTH[:1])
    told = [libxl_load_dom_snapshot_conf(ctx, ref, "s") for ref in refs]
    assert told == [told[0]] * len(refs)
    assert told[0].running is running


def test_without_a_name_it_is_the_second_of_the_creation(ctx) -> None:
    libxl_disk_snapshot_create(ctx, "guest1", [LibxlDiskSnapshot("hda")])
    (snapshot,) = libxl_domain_snapshot_list(ctx, "guest1")
    assert snapshot.name == str(snapshot.creation_time)


def test_disks_are_reverted_all_or_one(host, ctx) -> None:
    taken = libxl_disk_snapshot_create(ctx, "guest1", BOTH)
    before = host.visible("guest1")
    for vdev in ("hda", "hdc"):
        host.write("guest1", vdev, 0, CLUSTER)
    after = host.visible("guest1")
    libxl_disk_snapshot_revert(ctx, "guest1", taken[:1])
    assert host.visible("guest1") == {**after, "hda": before["hda"]}
    libxl_disk_snapshot_revert(ctx, "guest1", taken)
    assert host.visible("guest1") == before


def test_a_snapshot_is_deleted_as_a_whole(host, ctx) -> None:
    taken = libxl_disk_snapshot_create(ctx, "guest1", BOTH)
    before = host.visible("guest1")
    with pytest.raises(Usage, match="has other disks, too: hdc"):
        libxl_disk_snapshot_delete(ctx, "guest1", taken[:1])
    libxl_disk_snapshot_delete(ctx, "guest1", taken)
    assert libxl_domain_snapshot_list(ctx, "guest1") == ()
    assert host.visible("guest1") == before


def test_the_disks_that_a_snapshot_would_cover_are_told(ctx) -> None:
    assert libxl_disk_to_snapshot(ctx, "guest1") == (
        LibxlDiskSnapshot("hda", path="/images/hda.qcow2"),
        LibxlDiskSnapshot("hdc", path="/images/hdc.qcow2"),
    )
    asked = LibxlDomainSnapshot("s", disks=(LibxlDiskSnapshot("768"),))
    assert libxl_disk_to_snapshot(ctx, "guest1", asked) == (LibxlDiskSnapshot("768", "s", path="/images/hda.qcow2"),)
    with pytest.raises(NotFound, match="no disk hdb"):
        libxl_disk_to_snapshot(ctx, "guest1", replace(asked, disks=(LibxlDiskSnapshot("hdb"),)))


def test_what_is_forgotten_can_be_stored_again_as_it_was(host, ctx) -> None:
    host.start(UUID)
    ctx.create("guest1", CreateRequest("whole"))
    before = libxl_load_dom_snapshot_conf(ctx, "guest1", "whole")
    assert before.memory
    libxl_delete_dom_snapshot_conf(ctx, "guest1", "whole")
    with pytest.raises(NotFound):
        libxl_load_dom_snapshot_conf(ctx, "guest1", "whole")
    assert libxl_store_dom_snapshot_conf(ctx, "guest1", before) == before


def test_a_description_is_stored_and_nothing_else_of_what_was_taken_changes(ctx) -> None:
    libxl_disk_snapshot_create(ctx, "guest1", BOTH)
    snapshot = libxl_load_dom_snapshot_conf(ctx, "guest1", "s")
    described = replace(snapshot, description="what for")
    assert libxl_store_dom_snapshot_conf(ctx, "guest1", described) == described
    assert libxl_store_dom_snapshot_conf(ctx, "guest1", described) == described
    with pytest.raises(Usage, match="more than its description"):
        libxl_store_dom_snapshot_conf(ctx, "guest1", replace(snapshot, creation_time=1))


def test_what_another_tool_has_taken_is_stored_once_it_is_found(host, ctx) -> None:
    layer = ctx.list("guest1").domain.disks[0].layer
    host.run(host.images.snapshot_create(layer, tag="theirs"))
    theirs = LibxlDomainSnapshot("theirs", creation_time=1403522755, disks=(LibxlDiskSnapshot("hda"),))
    stored = libxl_store_dom_snapshot_conf(ctx, "guest1", theirs)
    assert stored.disks == (LibxlDiskSnapshot("hda", "theirs", path=layer.path),)
    assert stored.creation_time == 1403522755
    with pytest.raises(Refused, match="no image of its chain has an internal snapshot"):
        libxl_store_dom_snapshot_conf(ctx, "guest1", replace(theirs, name="nobodys"))


@pytest.mark.parametrize(
    ("disks", "told"),
    [
        ([LibxlDiskSnapshot("hda", "a"), LibxlDiskSnapshot("hdc", "b")], "different names"),
        ([LibxlDiskSnapshot("hda"), LibxlDiskSnapshot("768")], "there twice"),
        ([LibxlDiskSnapshot("hda", file="/o", format="qed")], "not qed"),
    ],
)
def test_what_makes_no_sense_is_told(ctx, disks, told) -> None:
    with pytest.raises(Usage, match=told):
        libxl_disk_snapshot_create(ctx, "guest1", disks)


def test_disks_of_no_snapshot_or_of_two_are_told(ctx) -> None:
    libxl_disk_snapshot_create(ctx, "guest1", [LibxlDiskSnapshot("hda", "one")])
    libxl_disk_snapshot_create(ctx, "guest1", [LibxlDiskSnapshot("hda", "two")])
    with pytest.raises(Usage, match="different snapshots: 'one', 'two'"):
        libxl_disk_snapshot_revert(ctx, "guest1", [LibxlDiskSnapshot("hda", "one"), LibxlDiskSnapshot("hda", "two")])
    for disks in ([], [LibxlDiskSnapshot("hda", "three")]):
        with pytest.raises(NotFound):
            libxl_disk_snapshot_delete(ctx, "guest1", disks)


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (NotFound("x", id="domain-not-found"), "DOMAIN_NOTFOUND"),
        (NotFound("x"), "NOTFOUND"),
        (Busy("x"), "LOCK_FAIL"),
        (Usage("x"), "INVAL"),
        (Unknown("x"), "TIMEDOUT"),
        (Failed("x"), "FAIL"),
    ],
)
def test_an_error_has_the_number_that_libxl_has_for_it(error: XensnapError, name: str) -> None:
    assert libxl_error(error) == ERRORS[name]


def test_a_domain_that_is_not_there_is_told_by_its_number(ctx) -> None:
    for call in (libxl_domain_snapshot_list, libxl_disk_to_snapshot):
        with pytest.raises(NotFound) as caught:
            call(ctx, 77)
        assert libxl_error(caught.value) == -21
    with pytest.raises(NotFound) as caught:
        libxl_store_dom_snapshot_conf(ctx, 77, LibxlDomainSnapshot("s"))
    assert libxl_error(caught.value) == ERRORS["DOMAIN_NOTFOUND"]
