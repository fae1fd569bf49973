"""The whole way, for each type of guest: take, damage, revert, delete, and all is as it was."""

from pathlib import PurePosixPath

import pytest

from tests.real.xenhost.guests import HVM, IMAGES, MANY, PV, PVH
from tests.real.xenhost.lab import XenLab
from tests.real.xenhost.ways import EACH_GUEST, EVERYTHING, Way

ATTACHED = f"{IMAGES}/attached.raw"


@pytest.mark.quick
@EACH_GUEST
def test_memory_and_disks_come_back_together_and_nothing_is_left_behind(lab: XenLab) -> None:
    watchers, files = lab.watchers(), lab.files()
    remembered = {"description.json", "domain.libxl-json", "journal", "reserve"}
    lab.face.mark("one")
    lab.xensnap("create", lab.guest.name, "--name", "one")
    assert lab.running()
    assert lab.watchers() == watchers
    lab.face.mark("two")
    lab.xensnap("revert", lab.guest.name, "one")
    assert lab.running()
    lab.face.holds("one", "one")
    assert lab.snapshots() == ["one"]
    lab.xensnap("delete", lab.guest.name, "one")
    lab.face.holds("one", "one")
    assert lab.snapshots() == []
    assert len(lab.watchers()) == 1
    assert {PurePosixPath(file).name for file in lab.files() - files} == remembered
    lab.images_are_whole()


@EVERYTHING
def test_what_a_snapshot_covers_comes_back_while_the_guest_works(lab: XenLab, way: Way) -> None:
    lab.face.mark("one")
    lab.face.ask("work xvda xvdb")
    lab.xensnap("create", lab.guest.name, "--name", "one", *way.options)
    assert lab.running()
    lab.face.works_well()
    lab.face.mark("two")
    lab.xensnap("revert", lab.guest.name, "one")
    assert lab.running()
    lab.face.holds("one" if way.memory else "", "one")
    if way.memory:
        lab.face.works_on()
    lab.xensnap("delete", lab.guest.name, "one")
    lab.face.holds("one" if way.memory else "", "one")
    lab.images_are_whole()


@pytest.mark.parametrize("guest", [MANY], ids=["pv-four-disks"])
def test_a_guest_with_a_raw_disk_and_a_disc_goes_external_and_the_disc_stays_out(lab: XenLab) -> None:
    lab.face.mark("one")
    lab.refused("create", lab.guest.name, "--name", "no", "--type", "internal")
    lab.xensnap("create", lab.guest.name, "--name", "one", "--type", "external")
    lab.face.mark("two")
    lab.xensnap("revert", lab.guest.name, "one")
    lab.face.holds("one", "one")
    assert lab.face.ask("write xvdd 0 no").startswith("error")
    lab.xensnap("delete", lab.guest.name, "one")
    lab.face.holds("one", "one")
    lab.images_are_whole()


@pytest.mark.parametrize("guest", [MANY], ids=["pv-four-disks"])
def test_each_disk_goes_its_own_way(lab: XenLab) -> None:
    lab.face.mark("one")
    ways = ("--disk", "xvda=internal", "--disk", "xvdb=external", "--disk", "xvdc=internal")
    lab.xensnap("create", lab.guest.name, "--name", "one", *ways)
    lab.face.mark("two")
    lab.xensnap("revert", lab.guest.name, "one")
    lab.face.holds("one", "one")
    lab.images_are_whole()


@pytest.mark.parametrize("guest", [PV], ids=["pv"])
def test_a_live_checkpoint_of_a_pv_guest_is_refused_and_the_guest_feels_nothing(lab: XenLab) -> None:
    lab.face.ask("gap")
    document = lab.refused("create", lab.guest.name, "--name", "one", "--live")
    assert document["effect"] == "none"
    assert lab.running()
    assert int(lab.face.ask("gap")) < 500_000
    assert lab.snapshots() == []


@pytest.mark.parametrize("guest", [pytest.param(each, id=each.type) for each in (PVH, HVM)])
def test_live_checkpoints_can_follow_each_other_and_reverts(lab: XenLab) -> None:
    """A guest that was restored is streamed like any other (xen-live.md A6: one was found dead by it)."""
    lab.face.ask("work xvda xvdb")
    for name in ("one", "two"):
        lab.face.mark(name)
        lab.xensnap("create", lab.guest.name, "--name", name, "--live")
    lab.face.mark("lost")
    for name, more in (("two", "three"), ("one", "four"), ("three", "five")):
        lab.xensnap("revert", lab.guest.name, name)
        lab.face.holds(name, name)
        lab.face.mark(more)
        lab.xensnap("create", lab.guest.name, "--name", more, "--live")
        assert lab.running()
        lab.face.works_well()
        lab.face.holds(more, more)
    lab.xensnap("revert", lab.guest.name, "five")
    lab.face.works_well()
    lab.face.holds("five", "five")
    lab.images_are_whole()


@pytest.mark.parametrize("guest", [pytest.param(PVH, id="pvh")])
def test_a_raw_disk_that_was_attached_meanwhile_goes_live_with_the_others(lab: XenLab) -> None:
    lab.dom0.run("qemu-img", "create", "-q", "-f", "raw", ATTACHED, "16M")
    lab.xl("block-attach", lab.guest.name, f"format=raw,vdev=xvdc,access=rw,backendtype=qdisk,target={ATTACHED}")
    disks = ("xvda", "xvdb", "xvdc")
    lab.face.sees("xvdc")
    lab.face.mark("one", *disks)
    lab.face.ask(f"work {' '.join(disks)}")
    lab.xensnap("create", lab.guest.name, "--name", "one", "--live", "--type", "external")
    lab.face.works_well()
    lab.face.mark("two", *disks)
    lab.xensnap("revert", lab.guest.name, "one")
    lab.face.works_well()
    assert [lab.face.kept, *(lab.face.on(vdev) for vdev in disks)] == ["one"] * 4
    lab.images_are_whole()
