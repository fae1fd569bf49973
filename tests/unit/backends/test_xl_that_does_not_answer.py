"""The code of the real Xen host where xl finds no Xen, or no xenstored: it ends, and nothing is changed."""

import pytest

from simulator import SimulatedHost
from tests.crash.harness import GUEST, guest
from xensnap.backends.xen.xl import ASK_S_MAX
from xensnap.doors import DoorHost
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest
from xensnap.errors import Failed, Unknown

ONE = CreateRequest("one")


@pytest.fixture
def host() -> SimulatedHost:
    return guest("i", host_kind=DoorHost)


def test_a_list_that_never_ends_is_given_up_and_nothing_has_changed(host: SimulatedHost):
    host.xl_finds(xenstored=False)
    before = host.world
    with pytest.raises(Unknown) as given_up:
        Engine(host).create(GUEST, ONE)
    assert given_up.value.id == "timed-out"
    waited_ns = host.world.clock.monotonic_ns - before.clock.monotonic_ns
    assert ASK_S_MAX * 10**9 <= waited_ns < 2 * ASK_S_MAX * 10**9
    assert host.world.fs == before.fs


def test_what_was_asked_for_can_be_done_when_xl_answers_again(host: SimulatedHost):
    host.xl_finds(xenstored=False)
    with pytest.raises(Unknown):
        Engine(host).create(GUEST, ONE)
    host.xl_finds()
    Engine(host).create(GUEST, ONE)
    assert "one" in Engine(host).list(GUEST).contents.snapshots


def test_without_xen_the_words_of_xl_are_told(host: SimulatedHost):
    host.xl_finds(xen=False)
    before = host.world.fs
    with pytest.raises(Failed, match="cannot init xl context") as refused:
        Engine(host).create(GUEST, ONE)
    assert refused.value.id == "xl-failed"
    assert host.world.fs == before
