"""An operation dies, and before anybody recovers the guest is started and writes: nobody told the operator not to."""

from contextlib import suppress

import pytest

from simulator import SimulatedHost, after_engine_crash
from tests.crash.harness import GUEST, every_crash, judge_where_the_guest_runs_first
from tests.crash.running import OPERATIONS as RUNNING
from tests.crash.running import running
from tests.crash.test_every_effect import OPERATIONS, with_history
from xensnap.engine.engine import Engine
from xensnap.engine.request import DeleteRequest
from xensnap.errors import XensnapError


@pytest.mark.parametrize("kinds", ["i", "e", "ie"])
@pytest.mark.parametrize("verb", ["create", "replace", "delete", "prune"])
def test_what_the_guest_writes_before_the_recovery_is_kept(kinds: str, verb: str) -> None:
    assert judge_where_the_guest_runs_first(with_history(kinds), OPERATIONS[verb]) > 50


@pytest.mark.parametrize("name", ["root", "leaf", "branch"])
@pytest.mark.parametrize("kinds", ["i", "e"])
def test_it_is_kept_in_every_deletion(kinds: str, name: str) -> None:
    request = DeleteRequest(name)
    assert judge_where_the_guest_runs_first(with_history(kinds), lambda engine: engine.delete(GUEST, request)) > 50


@pytest.mark.parametrize("verb", ["stop", "pause", "unpause"])
def test_who_stops_or_pauses_a_domain_ends_first_what_was_interrupted(verb: str) -> None:
    due = 0
    for point in [*every_crash(running("ie"), RUNNING["checkpoint"])][::9]:
        died = SimulatedHost(after_engine_crash(point.world, "killed"))
        due += bool(Engine(died).list(GUEST).pending)
        with suppress(XensnapError):  # one that runs cannot be unpaused
            getattr(Engine(died), verb)(GUEST)
        assert not Engine(died).list(GUEST).pending, f"{point!r}"
    assert due > 3
