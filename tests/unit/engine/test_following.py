"""What a dry run of a delete says of the merges that follow is what follows."""

from collections.abc import Callable
from functools import partial

import pytest

from simulator import SimulatedHost
from tests.crash.harness import CLUSTER, GUEST
from tests.crash.running import running
from tests.doctor.damages import off
from xensnap.engine.engine import Engine
from xensnap.engine.journal import Begin
from xensnap.engine.plan import Plan
from xensnap.engine.request import CreateRequest, DeleteRequest, EmptyRequest, ForgetRequest

WORLDS: dict[str, Callable[[], SimulatedHost]] = {
    **{f"off {kinds}": partial(off, kinds) for kinds in ("i", "e", "ie", "ee")},
    **{f"on {kinds}": partial(running, kinds) for kinds in ("i", "e", "ie")},
}


def collected(engine: Engine) -> list[Plan]:
    """The merges that were carried out so far."""
    entries = engine.audit(GUEST)[1]
    return [entry.plan for entry in entries if isinstance(entry, Begin) and entry.plan.verb == "collect"]


def follows_as_told(host: SimulatedHost, request: DeleteRequest | EmptyRequest) -> bool:
    """Whether anything follows; what comes first is what was told first."""
    engine = Engine(host)
    before = len(collected(engine))
    told = engine.following(engine.plan(GUEST, request))
    engine.perform(GUEST, request)
    done = collected(engine)[before:]
    assert bool(told) == bool(done), (told, done)
    if done:
        assert (told[0].summary, told[0].image) == (done[0].summary, done[0].image)
        assert {each.image for each in told} <= {each.image for each in done}
    return bool(done)


@pytest.mark.parametrize("name", WORLDS)
def test_what_follows_a_delete_is_told_before(name: str) -> None:
    host = WORLDS[name]()
    followed = 0
    for snapshot in Engine(host).list(GUEST).contents.snapshots:
        followed += follows_as_told(host.fork(), DeleteRequest(snapshot))
    followed += follows_as_told(host.fork(), DeleteRequest(every=True))
    assert bool(followed) == ("e" in name)


@pytest.mark.parametrize("kinds", ["e", "ie"])
def test_what_follows_the_emptying_of_the_trash_is_told_before(kinds: str) -> None:
    host = off(kinds)
    Engine(host).perform(GUEST, ForgetRequest("leaf"))
    Engine(host).perform(GUEST, ForgetRequest("branch"))
    assert follows_as_told(host, EmptyRequest(("leaf", "branch")))


def test_nothing_follows_what_frees_no_image() -> None:
    host = off("ie")
    host.write(GUEST, "xvda", 0, CLUSTER)
    engine = Engine(host)
    assert engine.following(engine.plan(GUEST, CreateRequest("more"))) == ()
