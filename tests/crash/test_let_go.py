"""Records taken away on purpose, and had back; death at every effect of each. What they told of is never touched."""

import pytest

from simulator import SimulatedHost
from tests.crash import running, test_relocate
from tests.crash.harness import GUEST, guest, held_by, judge, scribble, truth
from tests.crash.test_every_effect import with_history
from xensnap.engine.engine import Engine
from xensnap.engine.request import AdoptRequest, CreateRequest, DeleteRequest, PinRequest, RevertRequest
from xensnap.errors import Refused

LAYOUTS = ("i", "e", "ie")
NAMES = ("root", "middle", "branch")


def let_go(host: SimulatedHost, name: str) -> None:
    Engine(host).delete(GUEST, DeleteRequest(name, metadata_only=True))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kinds", LAYOUTS)
def test_what_was_let_go_is_there_told_of_and_comes_back_as_it_was(kinds: str, name: str) -> None:
    host = with_history(kinds)
    engine = Engine(host)
    before = truth(host)
    snapshot = engine.list(GUEST).contents.snapshots[name]
    content = held_by(host, {name: snapshot})
    let_go(host, name)
    assert name not in engine.list(GUEST).contents.snapshots
    assert held_by(host, {name: snapshot}) == content
    assert [(each.id, each.subject) for each in engine.diagnose(GUEST, check=True).found] == [("record-let-go", name)]
    assert not engine.repair(GUEST, check=True).repaired
    engine.perform(GUEST, AdoptRequest(name))
    after = truth(host)
    assert (after.held, after.now, after.pins) == (before.held, before.now, before.pins)
    assert not engine.diagnose(GUEST, check=True).found
    engine.revert(GUEST, RevertRequest(name))


@pytest.mark.parametrize("kinds", ["i", "ie"])
def test_die_at_every_effect(kinds: str) -> None:
    host = with_history(kinds)
    assert judge(host, lambda engine: engine.delete(GUEST, DeleteRequest("middle", metadata_only=True))) > 30
    let_go(host, "middle")
    assert judge(host, lambda engine: engine.perform(GUEST, AdoptRequest("middle"))) > 30


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kinds", LAYOUTS)
def test_it_goes_with_the_images_to_another_directory_and_comes_back_there(kinds: str, name: str) -> None:
    host = with_history(kinds)
    host.make_directory(test_relocate.TO)
    engine = Engine(host)
    before = truth(host)
    let_go(host, name)
    assert judge(host, lambda engine: engine.perform(GUEST, test_relocate.MOVE)) > 30
    engine.perform(GUEST, test_relocate.MOVE)
    assert [(each.id, each.subject) for each in engine.diagnose(GUEST, check=True).found] == [("record-let-go", name)]
    assert judge(host, lambda engine: engine.perform(GUEST, AdoptRequest(name))) > 30
    engine.perform(GUEST, AdoptRequest(name))
    after = truth(host)
    assert (after.held, after.now, after.pins) == (before.held, before.now, before.pins)
    assert not engine.diagnose(GUEST, check=True).found
    engine.revert(GUEST, RevertRequest(name))


def test_the_memory_of_a_checkpoint_stays_and_comes_back_with_it() -> None:
    host = running.running("ie")
    engine = Engine(host)
    before = running.seen(host)
    told = engine.delete(GUEST, DeleteRequest("first", metadata_only=True)).warnings
    assert any("the memory in" in text for text in told)
    assert [each.id for each in engine.diagnose(GUEST).found] == ["record-let-go"]
    engine.perform(GUEST, AdoptRequest("first"))
    assert running.seen(host).held == before.held
    engine.revert(GUEST, RevertRequest("first"))


def test_what_is_not_what_it_was_is_forgotten_and_cannot_be_adopted() -> None:
    host = guest("i")
    scribble(host, 0)
    engine = Engine(host)
    engine.create(GUEST, CreateRequest("root"))
    tagged = engine.list(GUEST).contents.snapshots["root"].disks[0]
    let_go(host, "root")
    host.run(host.images.snapshot_delete(tagged.image, tag="root", snapshot_id=tagged.fingerprint.snapshot_id))
    with pytest.raises(Refused) as caught:
        engine.perform(GUEST, AdoptRequest("root"))
    assert caught.value.id == "image-missing"
    assert [each.id for each in engine.repair(GUEST).repaired] == ["record-let-go"]
    assert not engine.diagnose(GUEST).found


def test_letting_go_is_taken_back_by_undo_and_is_refused_for_a_pin() -> None:
    host = with_history("i")
    engine = Engine(host)
    engine.perform(GUEST, PinRequest("leaf", "me"))
    with pytest.raises(Refused):
        let_go(host, "leaf")
    let_go(host, "middle")
    assert engine.undoing(GUEST) == AdoptRequest("middle")
