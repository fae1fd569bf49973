"""Guests and hosts in trouble: nothing is lost, and what is told is true."""

import pytest

from tests.real.xenhost.guests import HVM, PV, PVH
from tests.real.xenhost.lab import STORE, XenLab
from tests.real.xenhost.ways import DISK_ONLY, EACH_GUEST, EXTERNAL, INTERNAL, Way

FAILING_XL = """#!/bin/sh
if [ "$1" = restore ] && [ -e /run/restore-fails ]; then
    rm /run/restore-fails
    echo "xl: no" >&2
    exit 1
fi
exec /usr/sbin/xl "$@"
"""


@EACH_GUEST
def test_a_save_that_fills_the_disk_leaves_the_guest_running_and_no_fragment(lab: XenLab) -> None:
    lab.dom0.shell(f"mkdir -p {STORE} && mount -t tmpfs -o size=50M,mode=700 store {STORE}")
    watchers = lab.watchers()
    lab.face.mark("one")
    document = lab.refused("create", lab.guest.name, "--name", "one")
    assert document["exit_code"] in {1, 6}, document
    assert lab.running()
    assert lab.watchers() == watchers
    assert lab.snapshots() == []
    assert not [file for file in lab.files() if file.endswith(".save")]
    lab.face.holds("one", "one")
    assert lab.face.ask("write xvda 0 two") == "done"


def test_a_stranger_who_holds_the_monitor_is_waited_for_or_named(lab: XenLab) -> None:
    lab.face.mark("one")
    hold = "import socket,time; s=socket.socket(socket.AF_UNIX); s.connect('%s'); print(s.recv(99)); time.sleep(20)"
    stranger = lab.dom0.start("python3", "-c", hold % lab.monitor())
    lab.dom0.run("sleep", "2")
    answer = lab.try_xensnap("create", lab.guest.name, "--name", "one", "--json")
    stranger()
    assert answer.status in {0, 4}, answer
    assert lab.running()
    assert lab.snapshots() == (["one"] if answer.status == 0 else [])
    lab.face.holds("one", "one")


def test_a_stranger_who_never_lets_go_of_the_monitor_stops_nothing_but_the_snapshot(lab: XenLab) -> None:
    hold = "import socket,time; s=socket.socket(socket.AF_UNIX); s.connect('%s'); s.recv(99); time.sleep(1000)"
    lab.dom0.start("python3", "-c", hold % lab.monitor())
    lab.dom0.run("sleep", "2")
    document = lab.refused("create", lab.guest.name, "--name", "one")
    assert document["exit_code"] in {1, 4}, document
    assert lab.running()
    assert lab.snapshots() == []


@pytest.mark.parametrize("way", [pytest.param(way, id=way.name) for way in (INTERNAL, EXTERNAL)])
def test_a_restore_that_fails_brings_the_guest_back_as_it_was(lab: XenLab, way: Way) -> None:
    lab.face.mark("one")
    lab.xensnap("create", lab.guest.name, "--name", "one", *way.options)
    lab.face.mark("two")
    lab.dom0.put("/usr/local/sbin/xl", FAILING_XL.encode(), mode=0o755)
    lab.dom0.shell("touch /run/restore-fails")
    document = lab.refused("revert", lab.guest.name, "one")
    assert document["exit_code"] == 1, document
    lab.face.holds("two", "two")
    assert lab.running()
    lab.xensnap("revert", lab.guest.name, "one")
    lab.face.holds("one", "one")
    lab.images_are_whole()


def test_a_guest_that_hangs_is_brought_back_once_it_was_ended(lab: XenLab) -> None:
    """It cannot suspend itself, so there would be no way back from a revert that fails: the operator decides.

    One type of guest for all: libxl's minute of waiting is a long one here, since the guest spins meanwhile.
    """
    lab.face.mark("one")
    lab.xensnap("create", lab.guest.name, "--name", "one")
    lab.face.mark("two")
    lab.face.ask("hang")
    lab.dom0.run("sleep", "2")
    assert not lab.face.answers()
    document = lab.refused("revert", lab.guest.name, "one")
    assert (document["id"], document["exit_code"]) == ("guest-silent", 1), document
    assert lab.running()
    assert len(lab.watchers()) == 1
    lab.xensnap("domain", "stop", lab.guest.name)
    lab.xensnap("revert", lab.guest.name, "one")
    lab.face.holds("one", "one")
    assert len(lab.watchers()) == 1
    lab.images_are_whole()


@pytest.mark.parametrize("trouble", ["crash", "pause"])
@pytest.mark.parametrize("guest", [pytest.param(guest, id=guest.type) for guest in (PV, PVH, HVM)])
def test_a_guest_in_trouble_is_brought_back(lab: XenLab, trouble: str) -> None:
    lab.face.mark("one")
    lab.xensnap("create", lab.guest.name, "--name", "one")
    lab.face.mark("two")
    if trouble == "pause":
        lab.xl("pause", lab.guest.name)
    else:
        lab.face.ask(trouble)
        lab.dom0.run("sleep", "2")
        assert not lab.face.answers()
    lab.xensnap("revert", lab.guest.name, "one")
    lab.face.holds("one", "one")
    assert len(lab.watchers()) == 1
    lab.images_are_whole()


def test_a_paused_pv_guest_is_refused_at_once_and_its_disks_alone_are_not(lab: XenLab) -> None:
    lab.face.mark("one")
    lab.xl("pause", lab.guest.name)
    document = lab.refused("create", lab.guest.name, "--name", "all")
    assert (document["exit_code"], document["effect"]) == (6, "none")
    lab.xensnap("create", lab.guest.name, "--name", "disks", *DISK_ONLY.options)
    found = lab.domain
    assert found is not None
    assert found.paused
    lab.xl("unpause", lab.guest.name)
    lab.face.holds("one", "one")


def test_a_guest_that_is_off_has_its_disks_snapshotted(lab: XenLab) -> None:
    lab.face.mark("one")
    lab.xensnap("create", lab.guest.name, "--name", "running", *DISK_ONLY.options)
    lab.face.mark("two")
    lab.face.ask("poweroff")
    lab.wait_until_off()
    lab.xensnap("create", lab.guest.name, "--name", "off")
    lab.xl("create", lab.guest.file)
    lab.face.holds("", "two")
    lab.face.mark("three")
    lab.xensnap("revert", lab.guest.name, "off", "--then", "running")
    lab.face.holds("", "two")
    lab.xensnap("revert", lab.guest.name, "running", "--then", "running")
    lab.face.holds("", "one")
    lab.images_are_whole()
