"""Snapshots thrown away, had back, and given up at last; death at every effect of each."""

from collections.abc import Callable
from itertools import permutations

import pytest

from simulator import SimulatedHost, after_engine_crash
from simulator.core.effects import Cut
from simulator.tools.qemu_img import SnapshotCreate
from tests.crash.harness import (
    DEATHS,
    ENGINE_DEATHS,
    GUEST,
    HOST_DEATHS,
    Operation,
    every_crash,
    every_effect,
    guest,
    held_by,
    judge,
    nothing_is_left,
    scribble,
)
from tests.crash.harness import truth as seen
from tests.crash.test_every_effect import with_history
from tests.crash.test_every_fault import told
from xensnap.engine.engine import Engine
from xensnap.engine.execute import Outcome
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
from xensnap.model import Format, Kind, Layer

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


def reverted(kinds: str, to: str = "middle", *, no_undo: bool = False) -> SimulatedHost:
    """What was given up is in the trash, or the trash is empty with `no_undo`; and the guest has run since."""
    host = with_history(kinds)
    engine = Engine(host)
    if no_undo:
        engine.perform(GUEST, EmptyRequest(tuple(engine.view(GUEST).trashed)))
    engine.revert(GUEST, RevertRequest(to, no_undo=no_undo))
    scribble(host, 2)
    return host


@pytest.mark.parametrize("kinds", LAYOUTS)
@pytest.mark.parametrize("name", ["root", "middle", "leaf", "branch"])
def test_a_revert_is_taken_back_and_that_too(kinds: str, name: str) -> None:
    host = with_history(kinds)
    engine = Engine(host)
    before = seen(host)
    engine.revert(GUEST, RevertRequest(name))
    scribble(host, 2)
    meanwhile = seen(host)
    assert meanwhile.held == before.held
    engine.undo(GUEST)
    back = seen(host)
    assert back.now == before.now
    assert back.held.items() >= before.held.items()
    engine.undo(GUEST)
    assert seen(host).now == meanwhile.now
    assert len(engine.view(GUEST).trashed) == 1
    assert not [each.id for each in engine.diagnose(GUEST, check=True).found]


@pytest.mark.parametrize("kinds", LAYOUTS)
def test_what_recovery_finishes_is_what_is_taken_back(kinds: str) -> None:
    """Before recovery the journal tells of an older operation as the last one: to take back a create is to delete."""
    host = with_history(kinds)
    before, decided = seen(host), 0
    for point in every_crash(host, lambda engine: engine.revert(GUEST, RevertRequest("root"))):
        died = SimulatedHost(after_engine_crash(point.world))
        recovered = Engine(died.fork()).recover(GUEST)
        if recovered is not None and recovered.outcome is Outcome.DONE:
            decided += 1
            Engine(died).undo(GUEST)
            assert seen(died).now == before.now, repr(point)
            assert seen(died).held.items() >= before.held.items(), repr(point)
    assert decided > 5


def test_one_disk_that_was_reverted_comes_back_and_the_domain_is_where_it_was() -> None:
    host = with_history("ie")
    engine = Engine(host)
    before = seen(host)
    engine.revert(GUEST, RevertRequest("root", only=("xvdb",)))
    engine.undo(GUEST)
    assert (seen(host).now, seen(host).current) == (before.now, before.current)


@pytest.mark.parametrize("kinds", LAYOUTS)
def test_what_reverts_gave_up_does_not_add_up(kinds: str) -> None:
    host, frugal = reverted(kinds), reverted(kinds, no_undo=True)
    assert not Engine(frugal).view(GUEST).trashed
    for each, no_undo in ((host, False), (frugal, True)):
        for _ in range(3):
            Engine(each).revert(GUEST, RevertRequest("root", no_undo=no_undo))
    (kept,) = Engine(host).view(GUEST).trashed.values()
    external = [disk for disk in kept.snapshot.disks if disk.kind is Kind.EXTERNAL]
    assert len(host.world.fs.names("/images")) == len(frugal.world.fs.names("/images")) + len(external)
    assert seen(host) == seen(frugal)
    nothing_is_left(host, Engine(host).view(GUEST), "after reverts")


@pytest.mark.parametrize("kinds", LAYOUTS)
@pytest.mark.parametrize("to", ["root", "middle", "leaf"])
@pytest.mark.parametrize("names", list(permutations(("root", "middle", "branch"), 2)), ids="-".join)
def test_what_a_revert_gave_up_is_in_the_way_of_no_deletion(kinds: str, to: str, names: tuple[str, ...]) -> None:
    keeps, frugal = reverted(kinds, to), reverted(kinds, to, no_undo=True)
    for name in names:
        for host in (keeps, frugal):
            Engine(host).delete(GUEST, DeleteRequest(name))
    view = Engine(keeps).view(GUEST)
    assert seen(keeps) == seen(frugal)
    assert view.state.hidden == Engine(frugal).view(GUEST).state.hidden
    kept = {d.image.path for each in view.trashed.values() for d in each.snapshot.disks if d.kind is Kind.EXTERNAL}
    assert len(keeps.world.fs.names("/images")) == len(frugal.world.fs.names("/images")) + len(kept)
    assert not [each.id for each in Engine(keeps).diagnose(GUEST, check=True).found]
    nothing_is_left(keeps, view, f"after {names}")


@pytest.mark.parametrize("kinds", LAYOUTS)
def test_what_a_revert_gave_up_is_in_the_way_of_no_snapshot_of_the_other_kind(kinds: str) -> None:
    host = reverted(kinds)
    engine = Engine(host)
    engine.delete(GUEST, DeleteRequest(every=True))
    assert not engine.view(GUEST).trashed
    engine.create(GUEST, CreateRequest("new", kind=Kind.EXTERNAL))


def test_a_hidden_base_that_only_what_was_given_up_stands_on_is_merged_away() -> None:
    """Two stand on it when its snapshot goes, and one of them is left by a revert."""
    host = with_history("e")
    engine = Engine(host)
    engine.delete(GUEST, DeleteRequest("middle"))
    assert engine.view(GUEST).state.hidden
    engine.delete(GUEST, DeleteRequest("branch"))
    engine.revert(GUEST, RevertRequest("leaf"))
    assert engine.view(GUEST).trashed
    done = engine.compact(GUEST)
    assert not engine.view(GUEST).state.hidden
    assert not engine.view(GUEST).trashed
    assert "cannot be had back" in " ".join(done.told())


def test_what_is_given_up_for_good_is_not_promised_back() -> None:
    host = with_history("ie")
    engine = Engine(host)
    engine.revert(GUEST, RevertRequest("root", no_undo=True))
    with pytest.raises(Refused, match="cannot be taken back") as told_:
        engine.undoing(GUEST)
    assert "--no-undo" in told_.value.remedy


OPERATIONS: dict[str, tuple[Callable[[str], SimulatedHost], Operation]] = {
    "revert again": (reverted, lambda engine: engine.revert(GUEST, RevertRequest("root"))),
    "undo": (reverted, lambda engine: engine.undo(GUEST)),
    "delete": (reverted, lambda engine: engine.delete(GUEST, DeleteRequest("middle"))),
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
        (RevertRequest("root"), "now"),
    ],
    ids=["create", "forget", "rename", "revert and save", "revert"],
)
@pytest.mark.parametrize("kinds", LAYOUTS)
def test_the_last_operation_is_taken_back(kinds: str, request_: Request, back: str) -> None:
    host = with_history(kinds)
    engine = Engine(host)
    before = seen(host)
    engine.perform(GUEST, request_)
    engine.undo(GUEST)
    assert getattr(seen(host), back) == getattr(before, back)


def test_what_is_gone_is_not_promised_back() -> None:
    host = with_history("i")
    engine = Engine(host)
    engine.delete(GUEST, DeleteRequest("middle"))
    with pytest.raises(Refused, match="cannot be taken back") as told_:
        engine.undoing(GUEST)
    assert "forget" in told_.value.remedy
