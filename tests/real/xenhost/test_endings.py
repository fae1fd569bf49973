"""What becomes of a guest that ends after a snapshot or a revert: is it back, on the right disks, and cleaned up?"""

import pytest

from tests.real.xenhost.guests import HVM, PV, PVH
from tests.real.xenhost.lab import XenLab
from tests.real.xenhost.ways import DISK_ONLY, DISK_ONLY_EXTERNAL, EXTERNAL, INTERNAL, LIVE, LIVE_EXTERNAL, Way

WAYS = [(PV, way) for way in (INTERNAL, EXTERNAL, DISK_ONLY, DISK_ONLY_EXTERNAL)]
WAYS += [(guest, way) for guest in (PVH, HVM) for way in (INTERNAL, LIVE, LIVE_EXTERNAL)]
AFTER_EACH = pytest.mark.parametrize(
    ("guest", "way"), [pytest.param(guest, way, id=f"{guest.type}-{way.name}") for guest, way in WAYS]
)
BY = pytest.mark.parametrize("by", ["guest", "xl"])


def taken(lab: XenLab, way: Way) -> None:
    lab.face.mark("one")
    lab.xensnap("create", lab.guest.name, "--name", "one", *way.options)
    lab.face.mark("two")


def end(lab: XenLab, how: str, by: str) -> None:
    if by == "guest":
        lab.face.ask(how)
    else:
        lab.xl({"reboot": "reboot", "poweroff": "shutdown"}[how], "-F", lab.guest.name)


@AFTER_EACH
@BY
def test_a_guest_that_reboots_after_a_snapshot_is_back_on_the_disks_it_wrote(lab: XenLab, way: Way, by: str) -> None:
    taken(lab, way)
    before = lab.domain
    assert before is not None
    end(lab, "reboot", by)
    lab.wait_for_another_domid(before.domid)
    lab.face.holds("", "two")
    lab.xensnap("revert", lab.guest.name, "one", "--then", "running")
    lab.face.holds("one" if way.memory else "", "one")
    lab.images_are_whole()


@AFTER_EACH
def test_a_guest_that_powers_off_after_a_snapshot_is_cleaned_up(lab: XenLab, way: Way) -> None:
    taken(lab, way)
    end(lab, "poweroff", "guest")
    lab.wait_until_off()
    assert lab.watchers() == []
    lab.xensnap("revert", lab.guest.name, "one", "--then", "running")
    lab.face.holds("one" if way.memory else "", "one")


@pytest.mark.parametrize("way", [pytest.param(way, id=way.name) for way in (INTERNAL, EXTERNAL)])
@pytest.mark.parametrize("guest", [pytest.param(guest, id=guest.type) for guest in (PV, PVH)])
def test_a_guest_that_ends_after_a_revert_is_handled_as_ever(lab: XenLab, way: Way) -> None:
    taken(lab, way)
    lab.xensnap("revert", lab.guest.name, "one")
    lab.face.mark("three")
    before = lab.domain
    assert before is not None
    end(lab, "reboot", "guest")
    lab.wait_for_another_domid(before.domid)
    lab.face.holds("", "three")
    end(lab, "poweroff", "guest")
    lab.wait_until_off()
    lab.images_are_whole()


def test_the_old_configuration_file_cannot_harm_a_frozen_base(lab: XenLab) -> None:
    taken(lab, EXTERNAL)
    lab.xl("destroy", lab.guest.name)
    # xl reports success, whatever the guest can see of its disks (Xen 4.17.7).
    lab.dom0.try_run("xl", "create", lab.guest.file, timeout_s=120)
    if lab.domain is not None:
        if lab.face.answers(timeout_s=60):
            assert lab.face.ask("write xvda 0 harm").startswith("error")
        lab.xl("destroy", lab.guest.name)
    lab.xensnap("revert", lab.guest.name, "one")
    lab.face.holds("one", "one")
    lab.images_are_whole()
