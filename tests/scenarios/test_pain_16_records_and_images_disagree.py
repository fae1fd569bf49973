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


def test_a_script_that_keeps_books_learns_at_the_revert_that_they_are_wrong() -> None:
    host = guest("i")
    books = {"booked": "1"}
    for tag in books:
        assert Naive(host).tag("/images/xvda.qcow2", tag) == ""
    assert Naive(host).untag("/images/xvda.qcow2", "booked", "1") == ""  # by somebody else
    assert Naive(host).tag("/images/xvda.qcow2", "unbooked") == ""
    assert Naive(host).apply("/images/xvda.qcow2", books["booked"]) == "", "what is not booked has that number by now"
    assert [tag for tag, _ in Naive(host).tags("/images/xvda.qcow2")] == ["unbooked"]


def test_the_doctor_tells_both_ways_round_and_adopt_takes_in() -> None:
    engine = Engine(story())
    assert {finding.id for finding in engine.diagnose(GUEST).found} == {"tag-missing", "tag-unknown"}
    engine.perform(GUEST, AdoptRequest("unbooked"))
    assert {finding.id for finding in engine.diagnose(GUEST).found} == {"tag-missing"}
