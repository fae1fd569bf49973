"""A snapshot becomes another domain, while the guest that it was taken of goes on."""

from dataclasses import replace

from tests.real.xenhost.guests import IMAGES
from tests.real.xenhost.lab import Face, XenLab

ARCHIVE = "/var/tmp/one.xensnap"


def another(lab: XenLab, name: str) -> Face:
    """A domain with the guest's program and its disks."""
    return Face(lab.dom0, replace(lab.guest, name=name))


def test_an_archive_becomes_a_second_guest_with_memory_and_disks_beside_the_first(lab: XenLab) -> None:
    lab.face.mark("one")
    lab.xensnap("create", lab.guest.name, "--name", "one", "--type", "external")
    lab.face.mark("two")
    lab.xensnap("export", lab.guest.name, "one", "--output", ARCHIVE)
    here = ("--directory", IMAGES, "--name", "second", "--new-uuid", "--config", lab.guest.file)
    lab.xensnap("import", ARCHIVE, *here)
    lab.xensnap("revert", "second", "one")
    second = another(lab, "second")
    second.holds("one", "one")
    second.mark("three")
    lab.face.holds("two", "two")
    assert {each.running for each in lab.domains().values()} == {True}
    lab.images_are_whole()


def test_a_clone_boots_on_the_frozen_disks_and_changes_nothing_of_them(lab: XenLab) -> None:
    lab.face.mark("one")
    lab.xensnap("create", lab.guest.name, "--name", "one", "--type", "external")
    lab.face.mark("two")
    lab.xensnap("clone", lab.guest.name, "one", "twin", "--linked")
    lab.xl("create", f"{IMAGES}/twin.cfg")
    twin = another(lab, "twin")
    twin.holds("", "one")
    twin.mark("three")
    lab.face.holds("two", "two")
    lab.xensnap("revert", lab.guest.name, "one")
    lab.face.holds("one", "one")
    twin.holds("three", "three")
    lab.images_are_whole()
