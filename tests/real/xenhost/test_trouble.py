"""Guests and hosts in trouble: nothing is lost, and what is told is true."""

import json
from pathlib import Path

import pytest

from tests.real.xenhost import failing, killing
from tests.real.xenhost.dom0 import Running
from tests.real.xenhost.guests import HVM, PV, PVH
from tests.real.xenhost.lab import STORE, VERB_S, XenLab
from tests.real.xenhost.strikes import struck
from tests.real.xenhost.ways import DISK_ONLY, DISK_ONLY_EXTERNAL, EACH_GUEST, EXTERNAL, INTERNAL, Way

FAILING_XL = """#!/bin/sh
if [ "$1" = restore ] && [ -e /run/restore-fails ]; then
    rm /run/restore-fails
    echo "xl: no" >&2
    exit 1
fi
exec /usr/sbin/xl "$@"
"""


def room(lab: XenLab, mib: int) -> None:
    """So much, and no more, for all that is saved."""
    options = f"size={mib}M,mode=700"
    lab.dom0.shell(
        f"mkdir -p {STORE}; if mountpoint -q {STORE}; then mount -o remount,{options} {STORE}; "
        f"else mount -t tmpfs -o {options} store {STORE}; fi"
    )


@EACH_GUEST
def test_a_save_that_meets_a_full_disk_leaves_the_guest_running_and_no_fragment(lab: XenLab) -> None:
    """Where it is known beforehand that it will not fit, nothing begins; where it is not, xl's fragment goes."""
    name = lab.guest.name
    room(lab, 50)
    watchers = lab.watchers()
    lab.face.mark("one")
    document = lab.refused("create", name, "--name", "one")
    assert (document["id"], document["exit_code"], document["effect"]) == ("no-space", 6, "none"), document
    room(lab, 450)
    lab.xensnap("create", name, "--name", "one")
    lab.face.mark("two")
    lab.face.ask("work xvda xvdb")
    saved = saves(lab)
    for what, *options in [("save",), *([("migrate", "--live")] if lab.guest is not PV else [])]:
        answer, at = struck(lab, what, "full", "create", name, "--name", "two", "--json", *options)
        assert at["bytes"] >= killing.BEGUN_BYTES
        document = json.loads(answer.out)
        assert (document["exit_code"], document["effect"]) == (1, "none"), document
        assert "No space left on device" in document["cause"]
        assert lab.running()
        assert lab.watchers() == watchers
        assert lab.snapshots() == ["one"]
        assert saves(lab) == saved
        lab.face.works_well()
        lab.face.holds("two", "two")
        room(lab, 450)
    lab.xensnap("revert", name, "one")
    lab.face.holds("one", "one")
    lab.images_are_whole()


def disk_that_can_fail(lab: XenLab, mib: int) -> str:
    """A disk of this size, with a file system on it; what to call it."""
    lab.dom0.put("/tmp/failing.py", Path(failing.__file__).read_bytes())
    device = lab.dom0.shell(f"truncate -s {mib}M /srv/disk && losetup --find --show /srv/disk").strip()
    lab.dom0.run("python3", "-E", "-S", "/tmp/failing.py", "make", device)
    return device


@EACH_GUEST
def test_a_save_onto_a_disk_that_fails_leaves_the_guest_running_and_no_fragment(lab: XenLab) -> None:
    """xl is satisfied once the kernel has taken what it writes; that the disk has not is seen by asking for it."""
    name = lab.guest.name
    device = disk_that_can_fail(lab, 1024)
    watchers = lab.watchers()
    lab.face.mark("one")
    lab.xensnap("create", name, "--name", "one", "--memory", f"{failing.PLACE}/one")
    lab.face.mark("two")
    lab.dom0.run("python3", "-E", "-S", "/tmp/failing.py", "fail", device)
    for options in [(), *([("--live",)] if lab.guest is not PV else [])]:
        document = lab.refused("create", name, "--name", "two", "--memory", f"{failing.PLACE}/two", *options)
        assert (document["exit_code"], document["effect"]) == (1, "none"), document
        assert "Input/output error" in document["cause"]
        assert lab.running()
        assert lab.watchers() == watchers
        assert lab.snapshots() == ["one"]
        assert lab.dom0.shell(f"ls {failing.PLACE}").split() == ["lost+found", "one"]
        lab.face.holds("two", "two")
    lab.dom0.run("python3", "-E", "-S", "/tmp/failing.py", "heal", device)
    lab.xensnap("create", name, "--name", "two", "--memory", f"{failing.PLACE}/two")
    lab.xensnap("revert", name, "one")
    lab.face.holds("one", "one")
    lab.images_are_whole()


def saves(lab: XenLab) -> set[str]:
    """The memory files, whole or not."""
    return {file for file in lab.files() if ".save" in file}


OFF = ((PV, DISK_ONLY), (PVH, DISK_ONLY_EXTERNAL), (HVM, DISK_ONLY))
"""Of whom and how; the snapshot of a guest that is off goes the way of the one before it."""

HOLDING = """
import pathlib, socket, time
monitor = socket.socket(socket.AF_UNIX)
monitor.connect('{monitor}')
monitor.recv(99)
pathlib.Path('/run/held').touch()
time.sleep({seconds})
"""


def held(lab: XenLab, seconds: int) -> Running:
    """Somebody has the guest's monitor for so long."""
    stranger = lab.dom0.start("python3", "-c", HOLDING.format(monitor=lab.monitor(), seconds=seconds), timeout_s=VERB_S)
    lab.dom0.shell("until [ -e /run/held ]; do sleep 0.1; done")
    return stranger


def test_a_stranger_who_holds_the_monitor_for_a_while_is_waited_for(lab: XenLab) -> None:
    lab.face.mark("one")
    stranger = held(lab, 4)
    lab.xensnap("create", lab.guest.name, "--name", "one")
    stranger().must()
    assert lab.running()
    assert lab.snapshots() == ["one"]
    lab.face.holds("one", "one")


def test_a_stranger_who_never_lets_go_of_the_monitor_stops_nothing_but_the_snapshot(lab: XenLab) -> None:
    lab.face.mark("one")
    watchers, saved = lab.watchers(), saves(lab)
    held(lab, 1000)
    document = lab.refused("create", lab.guest.name, "--name", "one")
    assert (document["id"], document["exit_code"], document["effect"]) == ("qemu-not-asked", 4, "none"), document
    assert lab.running()
    assert (lab.watchers(), saves(lab)) == (watchers, saved)
    assert lab.snapshots() == []
    lab.face.holds("one", "one")


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


@EACH_GUEST
def test_a_paused_guest_is_refused_at_once_and_its_disks_alone_are_not(lab: XenLab) -> None:
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


@pytest.mark.parametrize(
    ("guest", "way"),
    [pytest.param(guest, way, id=f"{guest.type}-{way.name}") for guest, way in OFF],
)
def test_a_guest_that_is_off_has_its_disks_snapshotted(lab: XenLab, way: Way) -> None:
    lab.face.mark("one")
    lab.xensnap("create", lab.guest.name, "--name", "running", *way.options)
    lab.face.mark("two")
    lab.face.ask("poweroff")
    lab.wait_until_off()
    lab.xensnap("create", lab.guest.name, "--name", "off")
    lab.xensnap("domain", "start", lab.guest.name)
    lab.face.holds("", "two")
    lab.face.mark("three")
    lab.xensnap("revert", lab.guest.name, "off", "--then", "running")
    lab.face.holds("", "two")
    lab.xensnap("revert", lab.guest.name, "running", "--then", "running")
    lab.face.holds("", "one")
    lab.images_are_whole()
