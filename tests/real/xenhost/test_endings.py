"""What becomes of a guest that ends after a snapshot or a revert: is it back, on the right disks, and cleaned up?"""

import pytest

from tests.real.xenhost.guests import HVM, PV, PVH
from tests.real.xenhost.lab import XenLab
from tests.real.xenhost.ways import EXTERNAL, LIVELY, PLAIN, Way

WAYS = [(guest, way) for guest in (PV, PVH, HVM) for way in (*PLAIN, *(() if guest is PV else LIVELY))]
AFTER_EACH = pytest.mark.parametrize(
    ("guest", "way"), [pytest.param(guest, way, id=f"{guest.type}-{way.name}") for guest, way in WAYS]
)


def taken(lab: XenLab, way: Way) -> None:
    lab.face.mark("one")
    lab.xensnap("create", lab.guest.name, "--name", "one", *way.options)
    lab.face.mark("two")


def end(lab: XenLab, how: str, by: str) -> None:
    if by == "guest":
        lab.face.ask(how)
    else:
        lab.xl({"reboot": "reboot", "poweroff": "shutdown"}[how], "-F", lab.guest.name)


def rebooted_and_powered_off(lab: XenLab, by: str, by_then: str, disks: str) -> None:
    """It is back on the disks that it wrote, and cleaned up when it ends for good."""
    before = lab.domid
    end(lab, "reboot", by)
    lab.wait_for_another_domid(before)
    lab.face.holds("", disks)
    assert len(lab.watchers()) == 1
    end(lab, "poweroff", by_then)
    lab.wait_until_off()
    assert lab.watchers() == []


@AFTER_EACH
def test_a_guest_that_ends_after_a_snapshot_and_after_a_revert_is_handled_as_ever(lab: XenLab, way: Way) -> None:
    """Who ends it is the other one after the revert; half of the ways begin with the guest."""
    by, other = ("guest", "xl") if WAYS.index((lab.guest, way)) % 2 else ("xl", "guest")
    taken(lab, way)
    rebooted_and_powered_off(lab, by, other, "two")
    lab.xensnap("revert", lab.guest.name, "one", "--then", "running")
    lab.face.holds("one" if way.memory else "", "one")
    lab.face.mark("three")
    rebooted_and_powered_off(lab, other, by, "three")
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
