"""Two programs snapshotted one guest at the same time, and one of the snapshots held half of each.

Source: libvirt/libvirt#36, cocoonstack/cocoon#103, xapi-project/xen-api#2671, Corsinvest/cv4pve-autosnap#95.
"""

import pytest

from tests.discovery.interleave import interleave
from tests.scenarios.stage import GUEST, Naive, guest, held, scribble
from xensnap.engine.engine import AsyncEngine, Engine
from xensnap.engine.request import CreateRequest, RevertRequest


def test_a_script_that_is_overtaken_holds_two_moments() -> None:
    host = guest("ii")
    scribble(host, 0)
    Naive(host).tag("/images/xvda.qcow2", "a")
    scribble(host, 0)  # another program reverts, or lets the guest run
    Naive(host).tag("/images/xvdb.qcow2", "a")
    first, second = (host.visible_snapshot(disk.layer, "1") for disk in Engine(host).view(GUEST).domain.disks)
    assert first is not None
    assert second is not None
    assert abs(first[1][0][2] - second[1][0][2]) > 1, "the two tags are of different writes"


@pytest.mark.in_process("two engines are interleaved effect by effect, and a process cannot be stopped in the middle")
def test_of_two_engines_one_is_told_who_is_at_it() -> None:
    for turns in ((1, 1 << 20), (9, 1 << 20), (20, 1 << 20)):
        host = guest("ii")
        scribble(host, 0)
        Engine(host).create(GUEST, CreateRequest("clean"))
        other = host.another()
        works = (
            AsyncEngine(host).create(GUEST, CreateRequest("a")),
            AsyncEngine(other).revert(GUEST, RevertRequest("clean")),
        )
        outcomes = interleave(works, turns)
        assert set(outcomes) <= {"done", "locked"}
        assert Engine(host).list(GUEST).pending == ""
        assert len(held(host)) == (4 if outcomes[0] == "done" else 2)
