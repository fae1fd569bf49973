"""External snapshots could be made for ten years, and neither be reverted to nor deleted.

People went back by starting the guest from the frozen image itself. That worked once: from then on the guest wrote to
what the snapshot was to keep.
Source: minishift/minishift#386, metal3-io/metal3-dev-env#536, retspen/webvirtmgr#437; libvirt could from 9.9 on.
"""

import pytest

from simulator import SimulatedHost
from simulator.faults import damage as d
from tests.crash.running import UUID
from tests.scenarios.stage import GUEST, guest, scribble
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, DeleteRequest, RevertRequest
from xensnap.model import Format, Layer

BASE = Layer("/images/xvda.raw", Format.RAW)


def start_from(host: SimulatedHost, layer: Layer) -> SimulatedHost:
    return SimulatedHost(d.damaged(host.world, d.StartFrom(UUID, "xvda", layer)))


@pytest.mark.one_door("a domain starts there from what its store remembers")
def test_a_script_goes_back_once_and_spoils_the_snapshot() -> None:
    host = guest("e")
    scribble(host, 0)
    clean = host.visible(GUEST)
    host = start_from(host, host.create_image("/images/clean.qcow2", "qcow2", 4 * 65536, backing=BASE))
    scribble(host, 1)
    host = start_from(host, BASE)
    assert host.visible(GUEST) == clean
    scribble(host, 2)
    assert start_from(host, BASE).visible(GUEST) != clean


def test_the_engine_goes_back_as_often_as_it_is_asked_and_the_chain_grows_no_longer() -> None:
    host = guest("e")
    scribble(host, 0)
    clean = host.visible(GUEST)
    engine = Engine(host)
    engine.create(GUEST, CreateRequest("clean"))
    for place in (1, 2, 3):
        scribble(host, place)
        engine.revert(GUEST, RevertRequest("clean"))
        assert host.visible(GUEST) == clean
        chain = engine.view(GUEST).chain("xvda")
        assert chain is not None
        assert len(chain.images) == 2
    engine.delete(GUEST, DeleteRequest("clean"))
    assert host.visible(GUEST) == clean
