"""A guest whose watcher was lost, as by an `xl save -c` of somebody else, is watched again."""

from tests.real.xenhost.lab import XenLab
from tests.real.xenhost.ways import EACH_GUEST

SAVED = "/var/tmp/somebody-elses"


def saved_by_somebody_else(lab: XenLab) -> None:
    lab.xl("save", "-c", lab.guest.name, SAVED)
    lab.dom0.run("rm", SAVED)
    assert lab.running()


def repaired(lab: XenLab) -> None:
    (seen,) = lab.json("doctor", lab.guest.name, "--repair")["domains"]
    assert [each["id"] for each in seen["repaired"]] == ["watcher-lost"]


def lost_and_replaced(lab: XenLab) -> None:
    """What stands in outlives the next save, which xl's own daemon does not."""
    saved_by_somebody_else(lab)
    assert lab.watchers() == []
    repaired(lab)
    (standing_in,) = lab.stand_ins()
    saved_by_somebody_else(lab)
    lab.xensnap("doctor", lab.guest.name)
    assert lab.stand_ins() == [standing_in]


@EACH_GUEST
def test_a_guest_whose_watcher_was_lost_reboots_and_powers_off_as_ever_once_it_is_repaired(lab: XenLab) -> None:
    """It is back on the disks that it wrote, and an xl watches it from then on; one that lies about is cleaned up."""
    lab.face.mark("one")
    lab.xensnap("create", lab.guest.name, "--name", "one", "--type", "external")
    lab.face.mark("two")
    lost_and_replaced(lab)
    before = lab.domid
    lab.face.ask("reboot")
    lab.wait_for_another_domid(before)
    lab.face.holds("", "two")
    assert lab.stand_ins() == []
    assert len(lab.watchers()) == 1
    saved_by_somebody_else(lab)
    lab.face.ask("poweroff")
    lab.wait_until_shut_down()
    repaired(lab)
    lab.wait_until_off()
    lab.xensnap("revert", lab.guest.name, "one")
    lab.face.holds("one", "one")
    lab.images_are_whole()
