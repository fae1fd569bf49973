"""G5: how often a create waits for the disk beyond what its images need, counted exactly; not a matter of time."""

import pytest

from simulator import SimulatedHost
from tests.crash.harness import GUEST, guest, scribble
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest

BEGIN = ["journal.fsync"]
DECISION = ["record.replace", "domain.replace", "dir.fsync"]
"""What becomes durable together: a replacement is synced before it is renamed, and the names once for both."""
END = ["journal.fsync"]


def barriers(host: SimulatedHost, name: str) -> list[str]:
    """What a create makes durable in the store, in order."""
    running = host.fork()
    with running.recording() as watch:
        Engine(running).create(GUEST, CreateRequest(name))
    return [
        event.effect
        for event in watch.trace
        if not event.subject.startswith("/images") and event.effect.endswith((".fsync", ".replace"))
    ]


@pytest.mark.parametrize("snapshots", [1, 20])
@pytest.mark.parametrize("kinds", ["i", "iiii", "e", "eeee"])
def test_a_create_waits_three_times_for_the_store(kinds: str, snapshots: int) -> None:
    host = guest(kinds)
    for number in range(snapshots):
        scribble(host, number)
        Engine(host).create(GUEST, CreateRequest(f"s{number}"))
    assert barriers(host, "more") == BEGIN + DECISION + END


@pytest.mark.parametrize("kinds", ["i", "iiii"])
def test_the_first_create_also_makes_the_new_directories_durable(kinds: str) -> None:
    made = ["dir.fsync"] * 3
    assert barriers(guest(kinds), "first") == made + BEGIN + DECISION + END
