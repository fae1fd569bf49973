"""The host itself, with plain xl: what every other case rests on."""

import json

import pytest

from tests.real.xenhost.guests import MANY
from tests.real.xenhost.lab import XenLab, versions
from tests.real.xenhost.states import READY_S
from tests.real.xenhost.ways import EACH_GUEST


@EACH_GUEST
def test_xl_alone_saves_the_memory_of_a_thawed_guest_and_restores_it(lab: XenLab) -> None:
    before = int(lab.face.ask("ticks"))
    lab.face.mark("then")
    lab.face.holds("then", "then")
    assert int(lab.face.ask("ticks")) > before
    assert lab.running()
    assert len(lab.watchers()) == 1
    lab.xl("save", "-p", lab.guest.name, "/var/tmp/saved")
    found = lab.domain
    assert found is not None
    assert found.paused
    assert not lab.face.answers()
    lab.xl("unpause", lab.guest.name)
    assert lab.face.answers(timeout_s=READY_S)
    lab.face.ask("keep now")
    lab.xl("destroy", lab.guest.name)
    lab.xl("restore", "/var/tmp/saved")
    lab.face.holds("then", "then")


@pytest.mark.parametrize("guest", [MANY], ids=["pv-four-disks"])
def test_a_guest_sees_qcow2_raw_and_a_disc(lab: XenLab) -> None:
    lab.face.mark("here")
    lab.face.holds("here", "here")
    assert lab.face.ask("read xvdd 0") == ""
    assert lab.face.ask("write xvdd 0 no").startswith("error")


def test_it_is_the_xen_that_the_facts_are_of(lab: XenLab, record_property) -> None:
    found = versions(lab)
    record_property("versions", json.dumps(found))
    assert (found["xen"].rpartition(".")[0], found["qemu"].split(".")[0]) == ("4.17", "7")


def test_what_one_case_does_is_unknown_to_the_next(lab: XenLab) -> None:
    assert lab.face.kept == ""
    assert lab.face.on("xvda") == ""
