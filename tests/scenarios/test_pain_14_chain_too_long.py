"""Snapshots piled up until the chain was so long that no more could be taken and the guest started no more.

Nightly snapshots, nothing that merges, and the limit told by the failure.
Source: vatesfr/xen-orchestra#2193, #4965; xcp-ng/xcp#298; xapi-project/sm#550; libvirt before 12.0.
"""

import pytest

from tests.scenarios.stage import GUEST, Naive, guest, scribble
from xensnap.engine.create import DEPTH_WARNING
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, PruneRequest, RevertRequest
from xensnap.engine.retention import Retention

NIGHTS = 12


def depth(engine: Engine) -> int:
    chain = engine.view(GUEST).chain("xvda")
    assert chain is not None
    return len(chain.images)


def nightly(nights: int) -> Engine:
    host = guest("e")
    engine = Engine(host)
    for night in range(nights):
        scribble(host, night)
        engine.create(GUEST, CreateRequest(f"night-{night}"))
    return engine


def test_a_script_only_adds() -> None:
    host = guest("e")
    for night in range(NIGHTS):
        scribble(host, night)
        now = host.run(host.toolstack.inspect(GUEST)).disks[0].layer
        size_bytes = host.run(host.images.inspect(now)).virtual_size_bytes
        Naive(host).overlay(f"/images/night-{night}.qcow2", now, size_bytes)
    assert depth(Engine(host)) == NIGHTS + 1


@pytest.mark.one_door("what is taken in one second depends on how long things take")
def test_the_engine_merges_what_is_pruned_and_reverting_adds_nothing() -> None:
    engine = nightly(NIGHTS)
    engine.revert(GUEST, RevertRequest(f"night-{NIGHTS - 1}"))
    assert depth(engine) == NIGHTS + 1
    engine.perform(GUEST, PruneRequest(Retention(last=2)))
    assert depth(engine) == 3, "two snapshots, and where the guest writes"


@pytest.mark.one_door("a domain that its operator describes has warnings of its own")
def test_the_engine_says_so_long_before_it_hurts() -> None:
    engine = nightly(DEPTH_WARNING)
    (warning,) = engine.create(GUEST, CreateRequest("one-more")).warnings
    assert f"{DEPTH_WARNING + 1} layers" in warning
