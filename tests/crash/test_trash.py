"""Snapshots thrown away, had back, and given up at last; death at every effect of each."""

from collections.abc import Callable

import pytest

from simulator import SimulatedHost
from simulator.core.effects import Cut
from simulator.tools.qemu_img import SnapshotCreate
from tests.crash.harness import (
    DEATHS,
    ENGINE_DEATHS,
    GUEST,
    HOST_DEATHS,
    Operation,
    every_effect,
    guest,
    held_by,
    judge,
    scribble,
)
from tests.crash.harness import truth as seen
from tests.crash.test_every_effect import with_history
from tests.crash.test_every_fault import told
from xensnap.engine.engine import Engine
from xensnap.engine.request import (
    AdoptRequest,
    CreateRequest,
    DeleteRequest,
    EmptyRequest,
    ForgetRequest,
    PinRequest,
    RenameRequest,
    Request,
    RestoreRequest,
    RevertRequest,
)
from xensnap.errors import Refused, XensnapError
from xensnap.model import Format, Layer

LAYOUTS = ("i", "e", "ie")


def thrown_away(kinds: str, name: str = "middle") -> SimulatedHost:
    host = with_history(kinds)
    Engine(host).perform(GUEST, ForgetRequest(name))
    return host


@pytest.mark.parametrize("kinds", LAYOUTS)
@pytest.mark.parametrize("name", ["root", "middle", "branch"])
def test_what_is_thrown_away_comes_back_as_it_was(kinds: str, name: str) -> None:
    host = with_history(kinds)
    engine = Engine(host)
    before = seen(host)
    engine.perform(GUEST, ForgetRequest(name))
    assert name not in engine.list(GUEST).contents.snapshots
    assert not [each.id for each in engine.diagnose(GUEST, check=True).found]
    engine.perform(GUEST, RestoreRequest(name))
    after = seen(host)
    assert after.held == before.held
    assert after.now == before.now


@pytest.mark.parametrize("kinds", LAYOUTS)
def test_nothing_that_is_done_meanwhile_harms_what_is_in_the_trash(kinds: str) -> None:
    host = with_history(kinds)
    engine = Engine(host)
    held = held_by(host, {"middle": engine.list(GUEST).contents.snapshots["middle"]})
    engine.perform(GUEST, ForgetRequest("middle"))
    engine.delete(GUEST, DeleteRequest("root", children=True))
    scribble(host, 2)
    engine.create(GUEST, CreateRequest("later"))
    engine.revert(GUEST, RevertRequest("later"))
    engine.delete(GUEST, DeleteRequest("later"))
    assert not [each.id for each in engine.diagnose(GUEST, check=True).found]
    engine.perform(GUEST, RestoreRequest("middle"))
    assert held_by(host, {"middle": engine.list(GUEST).contents.snapshots["middle"]}) == held
    engine.revert(GUEST, RevertRequest("middle"))
    engine.delete(GUEST, DeleteRequest("middle"))
    assert not [each.id for each in engine.diagnose(GUEST, check=True).found]


@pytest.mark.parametrize("kinds", LAYOUTS)
def test_emptying_gives_back_what_a_deletion_gives_back(kinds: str) -> None:
    deleted, emptied = with_history(kinds), thrown_away(kinds)
    Engine(deleted).delete(GUEST, DeleteRequest("middle"))
    Engine(emptied).perform(GUEST, EmptyRequest(("middle",)))
    assert seen(emptied) == seen(deleted)
    assert len(emptied.world.fs.names("/images")) == len(deleted.world.fs.names("/images"))


def test_a_name_in_the_trash_is_taken_and_a_pin_holds() -> None:
    host = thrown_away("i")
    engine = Engine(host)
    with pytest.raises(Refused, match="in the trash"):
        engine.create(GUEST, CreateRequest("middle"))
    engine.perform(GUEST, PinRequest("root", "somebody"))
    with pytest.raises(Refused, match="pinned"):
        engine.perform(GUEST, ForgetRequest("root"))


def test_a_tag_that_another_tool_has_made_is_adopted() -> None:
    host = guest("ii")
    scribble(host, 0)
    for vdev in ("xvda", "xvdb"):
        assert not host.operate(SnapshotCreate(Layer(f"/images/{vdev}.qcow2", Format.QCOW2), "by hand"))
    before = host.visible(GUEST)
    scribble(host, 0)
    engine = Engine(host)
    assert {each.id for each in engine.diagnose(GUEST).found} == {"tag-unknown"}
    engine.perform(GUEST, AdoptRequest("by hand"))
    assert not engine.diagnose(GUEST).found
    engine.revert(GUEST, RevertRequest("by hand"))
    assert host.visible(GUEST) == before


OPERATIONS: dict[str, tuple[Callable[[str], SimulatedHost], Operation]] = {
    "forget": (with_history, lambda engine: engine.perform(GUEST, ForgetRequest("middle"))),
    "restore": (thrown_away, lambda engine: engine.perform(GUEST, RestoreRequest("middle"))),
    "empty": (thrown_away, lambda engine: engine.perform(GUEST, EmptyRequest(("middle",)))),
}


@pytest.mark.parametrize("verb", OPERATIONS)
@pytest.mark.parametrize("kinds", LAYOUTS)
def test_die_anywhere(kinds: str, verb: str) -> None:
    world, operation = OPERATIONS[verb]
    assert judge(world(kinds), operation, DEATHS) > 50


@pytest.mark.parametrize("verb", OPERATIONS)
def test_die_again_while_recovering(verb: str) -> None:
    world, operation = OPERATIONS[verb]
    assert judge(world("ie"), operation, (ENGINE_DEATHS[2], HOST_DEATHS[2]), twice=True) > 100


@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.PARTLY, Cut.UNACKNOWLEDGED])
@pytest.mark.parametrize("verb", OPERATIONS)
def test_one_effect_fails(verb: str, cut: Cut) -> None:
    world, operation = OPERATIONS[verb]
    host = world("ie")
    before = seen(host)
    ended = host.fork()
    operation(Engine(ended))
    for number in every_effect(host, operation):
        failing = host.fork()
        failing.fail_at(number, cut, 28)
        try:
            operation(Engine(failing))
        except XensnapError as error:
            told(failing, error, before, seen(ended), f"effect {number} {cut}")
        assert not failing.unmet_faults


@pytest.mark.parametrize(
    ("request_", "back"),
    [
        (CreateRequest("new"), "held"),
        (ForgetRequest("middle"), "held"),
        (RenameRequest("middle", "renamed"), "held"),
        (RevertRequest("root", save_current="saved"), "now"),
    ],
    ids=["create", "forget", "rename", "revert"],
)
@pytest.mark.parametrize("kinds", LAYOUTS)
def test_the_last_operation_is_taken_back(kinds: str, request_: Request, back: str) -> None:
    host = with_history(kinds)
    engine = Engine(host)
    before = seen(host)
    engine.perform(GUEST, request_)
    engine.perform(GUEST, engine.undoing(GUEST))
    assert getattr(seen(host), back) == getattr(before, back)


def test_what_is_gone_is_not_promised_back() -> None:
    host = with_history("i")
    engine = Engine(host)
    engine.delete(GUEST, DeleteRequest("middle"))
    with pytest.raises(Refused, match="cannot be taken back") as told_:
        engine.undoing(GUEST)
    assert "forget" in told_.value.remedy
