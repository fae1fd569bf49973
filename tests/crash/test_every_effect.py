"""Death at every effect of create, revert and delete, for both kinds and one to three disks; then `recover`."""

import pytest

from simulator import SimulatedHost
from tests.crash.harness import ENGINE_DEATHS, GUEST, HOST_DEATHS, Operation, guest, judge, scribble
from xensnap.engine.engine import Engine
from xensnap.engine.request import (
    CreateRequest,
    DeleteRequest,
    PinRequest,
    PruneRequest,
    RenameRequest,
    RevertRequest,
)
from xensnap.engine.retention import Retention

LAYOUTS = ("i", "e", "ii", "ie", "ee", "iie")


def with_history(kinds: str, *, host_kind: type[SimulatedHost] = SimulatedHost) -> SimulatedHost:
    """root - middle - leaf, and a branch beside leaf; the guest is on the branch and has written since."""
    host = guest(kinds, host_kind=host_kind)
    engine = Engine(host)
    for place, name in enumerate(("root", "middle", "leaf")):
        scribble(host, place)
        engine.create(GUEST, CreateRequest(name))
    scribble(host, 3)
    engine.revert(GUEST, RevertRequest("middle"))
    scribble(host, 0)
    engine.create(GUEST, CreateRequest("branch"))
    scribble(host, 1)
    return host


@pytest.mark.parametrize("kinds", LAYOUTS)
def test_create_the_first(kinds: str) -> None:
    host = guest(kinds)
    scribble(host, 0)
    assert judge(host, lambda engine: engine.create(GUEST, CreateRequest("first"))) > 100


@pytest.mark.parametrize("kinds", LAYOUTS)
def test_create_one_more(kinds: str) -> None:
    assert judge(with_history(kinds), lambda engine: engine.create(GUEST, CreateRequest("more"))) > 100


@pytest.mark.parametrize("name", ["root", "middle", "leaf", "branch"])
@pytest.mark.parametrize("kinds", LAYOUTS)
def test_revert(kinds: str, name: str) -> None:
    assert judge(with_history(kinds), lambda engine: engine.revert(GUEST, RevertRequest(name))) > 100


@pytest.mark.parametrize("kinds", ["ii", "ie", "ee"])
def test_revert_one_disk(kinds: str) -> None:
    request = RevertRequest("root", only=("xvda",))
    assert judge(with_history(kinds), lambda engine: engine.revert(GUEST, request)) > 100


@pytest.mark.parametrize("name", ["root", "middle", "leaf", "branch"])
@pytest.mark.parametrize("kinds", LAYOUTS)
def test_delete(kinds: str, name: str) -> None:
    assert judge(with_history(kinds), lambda engine: engine.delete(GUEST, DeleteRequest(name))) > 100


@pytest.mark.parametrize("kinds", LAYOUTS)
def test_delete_with_children(kinds: str) -> None:
    request = DeleteRequest("middle", children=True)
    assert judge(with_history(kinds), lambda engine: engine.delete(GUEST, request)) > 100


@pytest.mark.parametrize("kinds", ["i", "e", "ie"])
@pytest.mark.parametrize("verb", ["prune", "rename", "pin", "replace"])
def test_what_else_is_done_to_snapshots(kinds: str, verb: str) -> None:
    assert judge(with_history(kinds), OPERATIONS[verb]) > 30


OPERATIONS: dict[str, Operation] = {
    "create": lambda engine: engine.create(GUEST, CreateRequest("more")),
    "revert": lambda engine: engine.revert(GUEST, RevertRequest("root")),
    "revert for good": lambda engine: engine.revert(GUEST, RevertRequest("root", no_undo=True)),
    "delete": lambda engine: engine.delete(GUEST, DeleteRequest("middle")),
    "replace": lambda engine: engine.create(GUEST, CreateRequest("middle", replace=True)),
    "prune": lambda engine: engine.perform(GUEST, PruneRequest(Retention(last=2))),
    "rename": lambda engine: engine.perform(GUEST, RenameRequest("middle", "centre")),
    "pin": lambda engine: engine.perform(GUEST, PinRequest("middle", "me")),
}


@pytest.mark.parametrize("verb", ["create", "revert", "delete", "rename"])
@pytest.mark.parametrize("kinds", ["i", "e"])
def test_die_again_while_recovering(kinds: str, verb: str) -> None:
    deaths = (ENGINE_DEATHS[2], HOST_DEATHS[0], HOST_DEATHS[2])
    assert judge(with_history(kinds), OPERATIONS[verb], deaths, twice=True) > 300
