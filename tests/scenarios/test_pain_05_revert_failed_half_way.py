"""A revert failed at its second disk, when the first had been reverted already: neither the old state nor the new one.

What could have been tried beforehand was tried last.
Source: the order of calls in libvirt's qemu_snapshot.c; virt-manager/virt-manager#1031; xapi's xapi_vm_snapshot.ml.
"""

import pytest

from tests.scenarios.stage import GUEST, Naive, guest, scribble
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, RevertRequest
from xensnap.errors import ExitCode, XensnapError


def story():
    host = guest("ii")
    scribble(host, 0)
    Engine(host).create(GUEST, CreateRequest("clean"))
    scribble(host, 0)
    return host, host.visible(GUEST)


def test_a_script_leaves_one_disk_of_each() -> None:
    host, before = story()
    assert Naive(host).apply("/images/xvda.qcow2", "1") == ""
    assert "open" in Naive(host).apply("/images/nothing.qcow2", "1").lower()
    assert host.visible(GUEST) != before


@pytest.mark.parametrize("nth", [1, 2])
def test_the_engine_puts_everything_back(nth: int) -> None:
    host, before = story()
    host.fail_at("qemu-img.snapshot-apply", "before", 5, nth=nth)
    with pytest.raises(XensnapError) as failed:
        Engine(host).revert(GUEST, RevertRequest("clean"))
    assert failed.value.exit_code is ExitCode.NOTHING_CHANGED
    assert host.visible(GUEST) == before
