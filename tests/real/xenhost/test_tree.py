"""Reverts to everywhere in a tree, and deletes of all kinds, while the guest runs."""

import pytest

from tests.real.xenhost.lab import Before, XenLab
from tests.real.xenhost.ways import EXTERNAL, INTERNAL, Way


def grow(lab: XenLab, way: Way) -> None:
    """root - middle - leaf, and a branch from root, where the guest is."""
    name = lab.guest.name
    for each in ("root", "middle", "leaf"):
        lab.face.mark(each)
        lab.xensnap("create", name, "--name", each, *way.options)
    lab.face.mark("lost")
    lab.xensnap("revert", name, "root")
    lab.face.mark("branch")
    lab.xensnap("create", name, "--name", "branch", *way.options)
    lab.face.mark("now")


EACH_TREE = pytest.mark.parametrize(
    "before", [pytest.param(Before(f"tree-{way.name}", grow, way), id=way.name) for way in (INTERNAL, EXTERNAL)]
)


@EACH_TREE
def test_the_guest_can_be_brought_to_every_snapshot(lab: XenLab) -> None:
    for each in ("root", "middle", "leaf", "branch", "root"):
        lab.xensnap("revert", lab.guest.name, each)
        lab.face.holds(each, each)
        assert lab.running()
    lab.images_are_whole()


@EACH_TREE
@pytest.mark.parametrize("gone", ["root", "middle", "leaf", "branch"])
def test_deleting_one_snapshot_changes_no_other_and_not_the_guest(lab: XenLab, gone: str) -> None:
    lab.xensnap("delete", lab.guest.name, gone)
    lab.face.holds("now", "now")
    assert lab.running()
    left = [each for each in ("root", "middle", "leaf", "branch") if each != gone]
    assert sorted(lab.snapshots()) == sorted(left)
    for each in left:
        lab.xensnap("revert", lab.guest.name, each)
        lab.face.holds(each, each)
    lab.images_are_whole()


@EACH_TREE
@pytest.mark.parametrize("how", [("root", "--children"), ("root", "--children-only")], ids=["children", "only"])
def test_a_whole_branch_goes_while_the_guest_runs(lab: XenLab, how: tuple[str, ...]) -> None:
    lab.xensnap("delete", lab.guest.name, *how)
    lab.face.holds("now", "now")
    assert lab.snapshots() == (["root"] if "--children-only" in how else [])
    lab.images_are_whole()


def test_a_guest_that_writes_all_the_while_goes_over_to_the_base_and_reboots_from_it(lab: XenLab) -> None:
    lab.face.mark("one")
    lab.xensnap("create", lab.guest.name, "--name", "one", *EXTERNAL.options)
    lab.face.mark("two")
    lab.face.ask(f"work {' '.join(lab.face.writable)}")
    lab.xensnap("delete", lab.guest.name, "one")
    lab.face.works_well()
    lab.face.holds("two", "two")
    name = lab.guest.name
    assert {disk["path"] for disk in lab.json("info", name)["disks"]} == {each.path(name) for each in lab.guest.disks}
    before = lab.domid
    lab.xl("reboot", "-F", name)
    lab.wait_for_another_domid(before)
    lab.face.holds("", "two")
    lab.images_are_whole()
