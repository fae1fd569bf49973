"""The manager listed a snapshot that no image had any more, and knew nothing of one that was there.

Each believed its own books. It came out at the revert.
Source: OpenNebula/one#4017, #5992; apache/cloudstack#7043; abbbi/virtnbdbackup#17.
"""

from tests.scenarios.stage import GUEST, Naive, guest, scribble
from xensnap.engine.engine import Engine
from xensnap.engine.request import AdoptRequest, CreateRequest


def story():
    host = guest("i")
    scribble(host, 0)
    Engine(host).create(GUEST, CreateRequest("booked"))
    assert Naive(host).untag("/images/xvda.qcow2", "booked", "1") == ""
    assert Naive(host).tag("/images/xvda.qcow2", "unbooked") == ""
    return host


def test_a_list_of_records_alone_believes_its_books() -> None:
    assert list(Engine(story()).list(GUEST).contents.snapshots) == ["booked"]


def test_the_doctor_tells_both_ways_round_and_adopt_takes_in() -> None:
    engine = Engine(story())
    assert {finding.id for finding in engine.diagnose(GUEST).found} == {"tag-missing", "tag-unknown"}
    engine.perform(GUEST, AdoptRequest("unbooked"))
    assert {finding.id for finding in engine.diagnose(GUEST).found} == {"tag-missing"}
