"""G4, G12: how often a create asks the toolstack, which on Xen is an xl each time; counted exactly."""

import pytest

from simulator import SimulatedHost
from tests.crash.harness import GUEST, guest
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest

OBSERVED = ["toolstack.inspect", "toolstack.domains", "toolstack.configuration"]
"""Whose lock is to be taken; then, under the lock, all that the plan depends on."""
SAVED = ["toolstack.inspect"] * 3
"""Before its watcher is held and after, and once it was saved: a disk may have been attached meanwhile."""


def asked(host: SimulatedHost) -> list[str]:
    with host.recording() as watch:
        Engine(host).create(GUEST, CreateRequest("one"))
    return [event.effect for event in watch.trace if event.effect.startswith("toolstack.")]


@pytest.mark.parametrize("kinds", ["i", "iiii"])
def test_a_create_asks_as_often_for_many_disks_as_for_one(kinds: str) -> None:
    host = guest(kinds)
    assert asked(host.fork()) == OBSERVED
    host.start(GUEST)
    assert asked(host) == OBSERVED + SAVED
