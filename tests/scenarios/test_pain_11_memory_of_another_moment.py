"""Memory and disk were of two moments; the guest came back, wrote what it remembered, and its file system was gone.

`xl save -c` lets the guest go on before the disk is looked at. Every guide of its time did it this way.
Source: CERT-Polska/drakvuf-sandbox#566, #567, and the warning in the book of Xen.
"""

import pytest

from simulator.checkers.guests import torn
from tests.crash.running import running, seen
from tests.scenarios.stage import CLUSTER, GUEST, Naive
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, RevertRequest
from xensnap.errors import Refused


def test_a_script_gives_the_guest_a_disk_from_its_future() -> None:
    host = running("i")
    assert host.xl_save(GUEST, "/images/memory", then="-c") == ""
    host.guest_writes(GUEST, "xvda", 0, CLUSTER, flush=True)
    Engine(host).stop(GUEST)
    assert Naive(host).tag("/images/xvda.qcow2", "by-hand") == ""
    assert host.xl_restore(GUEST, "/images/memory") == "", "and xl finds nothing wrong"
    assert [finding.rule for finding in torn(host.world)] == ["memory-and-disk-disagree"]


@pytest.mark.parametrize("kind", ["pv", "pvh", "hvm"])
def test_the_engine_takes_both_while_nothing_executes(kind: str) -> None:
    host = running("ie", kind)
    for vdev in ("xvda", "xvdb"):
        host.guest_never_rests(GUEST, vdev, end_bytes=4 * CLUSTER)
    Engine(host).create(GUEST, CreateRequest("busy"))
    host.guest_rests(GUEST)
    Engine(host).revert(GUEST, RevertRequest("busy"))
    assert not list(torn(host.world))


def test_the_engine_refuses_a_memory_whose_disk_was_changed() -> None:
    host = running("i")
    Engine(host).stop(GUEST)
    assert Naive(host).untag("/images/xvda.qcow2", "first", "2") == ""
    assert Naive(host).tag("/images/xvda.qcow2", "first") == ""
    before = seen(host)
    with pytest.raises(Refused) as refused:
        Engine(host).revert(GUEST, RevertRequest("first"))
    assert "image-changed" in {reason.id for reason in refused.value.reasons}
    assert seen(host) == before
