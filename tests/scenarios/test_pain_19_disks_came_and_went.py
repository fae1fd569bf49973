"""A disk was attached after the snapshot. The revert took it away, and with the next clean-up its data was deleted.

The configuration of then was put back whole, and what it did not name did not exist any more.
Source: xapi-project/xen-api#1524, #1775, #7156; hashicorp/vagrant#13352; VirtualBox/virtualbox#486.
"""

import pytest

from simulator import SimulatedHost
from tests.crash.running import findings, running
from tests.scenarios.stage import GUEST
from xensnap.doors import DoorHost
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, DeleteRequest, RevertRequest
from xensnap.errors import Refused
from xensnap.model import Disk, Format

NEW = "/images/new.qcow2"


def attached(host: SimulatedHost) -> SimulatedHost:
    """The operator gives the guest one disk more, and the guest writes to it."""
    host.create_image(NEW)
    host.attach(GUEST, Disk("xvde", NEW, Format.QCOW2))
    host.guest_writes(GUEST, "xvde", flush=True)
    return host


def test_a_script_that_restores_what_was_saved_loses_the_new_disk() -> None:
    host = running("i")
    assert host.xl_save(GUEST, "/images/memory", then="-c") == ""
    attached(host)
    Engine(host).stop(GUEST)
    assert host.xl_restore(GUEST, "/images/memory") == ""
    assert "xvde" not in host.running_disks(GUEST)


def test_the_engine_takes_no_disk_away_and_says_what_stays() -> None:
    host = attached(running("ie"))
    with pytest.raises(Refused) as refused:
        Engine(host).revert(GUEST, RevertRequest("first"))
    assert [reason.id for reason in refused.value.reasons] == ["disk-not-covered"]
    result = Engine(host).revert(GUEST, RevertRequest("first", disks_only=True))
    assert any("xvde is not in the snapshot" in warning for warning in result.warnings)
    assert "xvde" in host.visible(GUEST)


@pytest.mark.parametrize("host_kind", [SimulatedHost, DoorHost])  # with DoorHost frozen images carry a flag
def test_a_disk_that_was_detached_stands_in_the_way_of_nothing_else(host_kind: type[SimulatedHost]) -> None:
    host = running("ie", host_kind=host_kind)
    host.detach(GUEST, "xvdb")
    with pytest.raises(Refused) as refused:
        Engine(host).revert(GUEST, RevertRequest("first"))
    assert [reason.id for reason in refused.value.reasons] == ["disk-gone"]
    Engine(host).revert(GUEST, RevertRequest("first", only=("xvda",)))
    Engine(host).create(GUEST, CreateRequest("second"))
    Engine(host).delete(GUEST, DeleteRequest("first"))
    assert not list(findings(host.world))
    assert set(Engine(host).list(GUEST).contents.snapshots) == {"disks", "second"}
