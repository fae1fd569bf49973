"""Space: what is refused with its numbers beforehand, and a file system that fills up all the same, at any byte."""

from collections.abc import Callable
from functools import partial

import pytest

from simulator import SimulatedHost
from tests.crash.harness import GUEST, TRIED, guest, nothing_is_left, scribble, truth
from tests.crash.test_every_effect import OPERATIONS, with_history
from tests.crash.test_running import running
from xensnap.engine import space
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, DeleteRequest, RevertRequest
from xensnap.errors import ExitCode, Refused, XensnapError
from xensnap.hypervisor import Capability

STEP = 4096
LITTLE = 20 * STEP


def raised(operation: Callable[[], object]) -> XensnapError | None:
    try:
        operation()
    except XensnapError as error:
        return error
    return None


@pytest.mark.parametrize("verb", OPERATIONS)
@pytest.mark.parametrize("kinds", ["i", "e", "ie"])
def test_a_file_system_that_fills_up_leaves_all_as_it_was(kinds: str, verb: str, monkeypatch) -> None:
    monkeypatch.setattr(space, "against", lambda view, needs: iter(()))
    host = with_history(kinds)
    before = truth(host)
    ended = host.fork()
    OPERATIONS[verb](Engine(ended))
    after = truth(ended)
    failures = 0
    for free in range(0, 200 * STEP, STEP):
        full = host.fork()
        full.set_capacity(free_bytes=free)
        TRIED["full"] += 1
        error = raised(partial(OPERATIONS[verb], Engine(full)))
        if error is not None:
            failures += 1
            assert error.exit_code is ExitCode.NOTHING_CHANGED, f"{error.cause}: {free} free"
        assert truth(full) == (after if error is None else before), f"{free} free"
        nothing_is_left(full, Engine(full).view(GUEST), f"{free} free")
    assert failures or verb == "delete"


def test_a_merge_without_room_waits_for_it_and_says_how_much() -> None:
    """None of what the upper image holds need be in the lower one: all of it may have to be written anew."""
    host = guest("e")
    for place, name in enumerate(("low", "middle", "high")):
        scribble(host, place)
        Engine(host).create(GUEST, CreateRequest(name))
    host.set_capacity(free_bytes=space.BYTES_PER_DISK)
    before = truth(host).held
    Engine(host).delete(GUEST, DeleteRequest("middle"))
    (left,) = Engine(host).compact(GUEST).stays
    assert "bytes free, and up to " in left.why, "not tried, and so not undone either"
    assert {key: held for key, held in before.items() if key[0] != "middle"} == truth(host).held
    host.set_capacity(free_bytes=2 * space.BYTES_PER_DISK)
    assert Engine(host).compact(GUEST).stays == ()
    assert {key: held for key, held in before.items() if key[0] != "middle"} == truth(host).held


def test_a_create_is_refused_with_the_numbers() -> None:
    host = with_history("ie")
    host.set_capacity(free_bytes=LITTLE)
    with pytest.raises(Refused) as refused:
        Engine(host).plan(GUEST, CreateRequest("more"))
    (reason,) = refused.value.reasons
    assert reason.id == "no-space"
    assert str(LITTLE) in reason.cause
    assert "xvda" in reason.cause
    assert "xvdb" in reason.cause, "both disks are on one file system, and are counted together"


@pytest.mark.parametrize("request_", [CreateRequest("more"), RevertRequest("first")], ids=["create", "revert"])
def test_memory_is_counted(request_, needs_memory) -> None:
    host: SimulatedHost = running("i")
    free = space.MEMORY_EXTRA  # enough for tables, and not for the guest
    host.set_capacity(free_bytes=free)
    with pytest.raises(Refused) as refused:
        Engine(host).plan(GUEST, request_)
    assert [reason.id for reason in refused.value.reasons] == ["no-space"]
    assert "the memory of the guest" in refused.value.cause


def test_a_revert_that_saves_first_is_refused_where_only_one_of_both_has_room(needs_memory) -> None:
    host: SimulatedHost = running("i")
    alone = [Engine(host).plan(GUEST, each).bytes_needed for each in (CreateRequest("kept"), RevertRequest("first"))]
    request = RevertRequest("first", save_current="kept")
    assert Engine(host).plan(GUEST, request).bytes_needed == sum(alone)
    host.set_capacity(free_bytes=max(alone))
    before = truth(host)
    with pytest.raises(Refused) as refused:
        Engine(host).revert(GUEST, request)
    assert [reason.id for reason in refused.value.reasons] == ["no-space"]
    assert f"has {max(alone)} bytes free, and up to {sum(alone)} are needed" in refused.value.cause
    assert truth(host) == before


@pytest.fixture
def needs_memory(monkeypatch) -> None:
    able = SimulatedHost.capabilities | {Capability.RUNNING, Capability.MEMORY}
    monkeypatch.setattr(SimulatedHost, "capabilities", able)
