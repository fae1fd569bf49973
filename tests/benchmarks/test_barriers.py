"""G5: how often a create waits for the disk beyond what its images need, counted exactly; not a matter of time."""

import pytest

from simulator import SimulatedHost
from tests.crash.harness import GUEST, guest, scribble
from tests.crash.running import running
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, Quiesce

BEGIN = ["journal.fsync"]
DECISION = ["record.replace", "domain.replace", "dir.fsync"]
"""What becomes durable together: a replacement is synced before it is renamed, and the names once for both."""
END = ["journal.fsync"]


MEMORY = ["file.fsync", "journal.fsync", "dir.fsync"]
"""The memory, once the guest has gone on; which file it is, and its name."""
QUIET = ["journal.fsync"] * 3
"""That the guest is asked to be quiet, that it was, and that it is let go: who dies meanwhile must leave that known."""


def barriers(host: SimulatedHost, request: CreateRequest) -> list[str]:
    """What a create makes durable in the store, in order."""
    fork = host.fork()
    with fork.recording() as watch:
        Engine(fork).create(GUEST, request)
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
    assert barriers(host, CreateRequest("more")) == BEGIN + DECISION + END


@pytest.mark.parametrize("kinds", ["i", "iiii"])
def test_the_first_create_also_makes_the_new_directories_durable(kinds: str) -> None:
    made = ["dir.fsync"] * 3
    assert barriers(guest(kinds), CreateRequest("first")) == made + BEGIN + DECISION + END


@pytest.mark.parametrize("kinds", ["i", "e", "ie", "eee"])
def test_of_a_guest_that_runs_disks_cost_no_more(kinds: str) -> None:
    assert barriers(running(kinds), CreateRequest("more", disk_only=True)) == BEGIN + DECISION + END


@pytest.mark.parametrize("kinds", ["i", "e", "ie", "eee"])
def test_memory_and_quiet_disks_cost_the_same_whatever_the_number_of_disks(kinds: str) -> None:
    assert barriers(running(kinds), CreateRequest("more")) == BEGIN + MEMORY + DECISION + END
    quiet = CreateRequest("more", disk_only=True, quiesce=Quiesce.REQUIRE)
    assert barriers(running(kinds), quiet) == BEGIN + QUIET + DECISION + END
