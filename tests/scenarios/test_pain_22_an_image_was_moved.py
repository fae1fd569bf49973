"""An image was renamed to tidy up, and with it went every snapshot that stood on it.

Source: shvchk/virsh-external-snapshots#2, GNS3/gns3-gui#1016, fi-backup#8, xapi-project/xen-api#3927.
"""

from simulator import SimulatedHost
from simulator.faults import damage as d
from tests.scenarios.stage import GUEST, fails, guest, scribble
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, RevertRequest


def story():
    host = guest("e")
    scribble(host, 0)
    Engine(host).create(GUEST, CreateRequest("first"))
    scribble(host, 1)
    Engine(host).create(GUEST, CreateRequest("second"))
    before = host.visible(GUEST)
    frozen = Engine(host).list(GUEST).contents.snapshots["second"].disks[0].image.path
    return SimulatedHost(d.damaged(host.world, d.Move(frozen, "/images/tidy.qcow2"))), before


def test_a_script_cannot_open_the_disk_any_more() -> None:
    host, _ = story()
    assert fails(lambda: host.visible(GUEST))


def test_the_doctor_knows_the_file_by_what_it_is_and_calls_it_back() -> None:
    host, before = story()
    engine = Engine(host)
    assert "image-missing" in {finding.id for finding in engine.diagnose(GUEST).found}
    engine.repair(GUEST)
    assert host.visible(GUEST) == before
    engine.revert(GUEST, RevertRequest("second"))
