"""Death at every effect while the real Xen host's code works on a simulated machine; then `recover` by that code.

Ordinary runs try every so many of the deaths; the profile `deep` tries all, of every operation.
"""

import pytest

from tests.crash import harness, running
from tests.crash.harness import guest, scribble
from tests.crash.test_every_effect import OPERATIONS, with_history
from tests.deep import EXHAUSTIVE
from xensnap.doors import DoorHost
from xensnap.engine.request import CreateRequest

EVERY = 1 if EXHAUSTIVE else 41
QUIET = {"quiet disks"}  # a Xen host has no agent
LIVE = [("ie", verb) for verb in ("checkpoint", "checkpoint live", "disks", "revert", "delete")]
CASES = [case for case in running.CASES if case[1] not in QUIET] if EXHAUSTIVE else LIVE


@pytest.mark.parametrize("kinds", ["i", "e", "ie"] if EXHAUSTIVE else ["ie"])
def test_die_while_a_first_snapshot_is_taken_of_a_guest_that_is_off(kinds: str) -> None:
    host = guest(kinds, host_kind=DoorHost)
    scribble(host, 0)
    deaths = harness.judge(host, lambda engine: engine.create("guest", CreateRequest("first")), every=EVERY)
    assert deaths > 200 // EVERY


@pytest.mark.parametrize("verb", sorted(OPERATIONS) if EXHAUSTIVE else ["revert", "delete"])
def test_die_while_the_snapshots_of_a_guest_that_is_off_change(verb: str) -> None:
    assert harness.judge(with_history("ie", host_kind=DoorHost), OPERATIONS[verb], every=EVERY) > 100 // EVERY


@pytest.mark.parametrize(("kinds", "verb"), CASES)
def test_die_while_the_guest_runs(kinds: str, verb: str) -> None:
    host = running.guest_for(verb, kinds, host_kind=DoorHost)
    assert running.judge(host, running.OPERATIONS[verb], every=EVERY) > 100 // EVERY
