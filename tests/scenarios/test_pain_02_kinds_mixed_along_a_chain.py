"""Internal and external snapshots were mixed along one chain, and could neither be reverted to nor deleted any more.

The default of the manager had changed from one version to the next; nobody had asked for it.
Source: virt-manager/virt-manager#800, #818, #824, #862.
"""

import pytest

from tests.scenarios.stage import GUEST, Naive, guest, held, scribble
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, RevertRequest
from xensnap.errors import Refused
from xensnap.model import Kind


def story():
    host = guest("i")
    scribble(host, 0)
    Engine(host).create(GUEST, CreateRequest("first", kind=Kind.EXTERNAL))
    return host


def test_a_script_makes_a_snapshot_that_the_next_revert_throws_away() -> None:
    host = story()
    active = Engine(host).view(GUEST).domain.disks[0].path
    assert Naive(host).tag(active, "second") == ""
    with pytest.raises(Refused, match="holds internal snapshots"):  # by then only a person can help
        Engine(host).revert(GUEST, RevertRequest("first"))


def test_the_engine_refuses_before_it_is_too_late() -> None:
    host = story()
    with pytest.raises(Refused) as refused:
        Engine(host).create(GUEST, CreateRequest("second", kind=Kind.INTERNAL))
    assert refused.value.id == "kind-is-sticky"
    Engine(host).create(GUEST, CreateRequest("second"))
    assert len(held(host)) == 2
