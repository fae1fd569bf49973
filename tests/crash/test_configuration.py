"""Death at every effect of reverts that change a domain's configuration: it is one of the two, and whole."""

import json

import pytest

from simulator import SimulatedHost
from tests.crash import running
from tests.crash.harness import GUEST, Operation, configured, judge
from tests.crash.test_every_effect import with_history
from xensnap.engine.engine import Engine
from xensnap.engine.request import RevertRequest
from xensnap.model import DomainUuid


def changed(host: SimulatedHost, **items: object) -> str:
    """The domain's configuration with other items."""
    uuid = Engine(host).list(GUEST).domain.uuid
    return json.dumps(json.loads(host.run(host.toolstack.configuration(uuid))) | items)


def another(host: SimulatedHost) -> Operation:
    """A revert that gives the domain two processors and another bridge."""
    text = changed(host, b_info={"max_vcpus": 2}, nics=[{"bridge": "xenbr1"}])
    return lambda engine: engine.revert(GUEST, RevertRequest("root", use_config=text, config_file="/etc/xen/new.cfg"))


@pytest.mark.parametrize("kinds", ["i", "ie"])
def test_a_domain_that_is_off_has_one_configuration_or_the_other(kinds: str) -> None:
    host = with_history(kinds)
    assert judge(host, another(host)) > 100


def started_otherwise(kinds: str, items: dict[str, object]) -> SimulatedHost:
    """A guest with a checkpoint `first`, started since with a configuration that says other things than its memory."""
    host = running.running(kinds)
    text = changed(host, **items)
    host.run(host.toolstack.destroy(Engine(host).list(GUEST).domain))
    host.run(host.toolstack.set_configuration(DomainUuid(running.UUID), text))
    host.start(running.UUID)
    return host


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("kinds", ["i", "ie"])
def test_a_guest_that_comes_back_has_the_one_that_it_was_promised(kinds: str, *, kept: bool) -> None:
    host = started_otherwise(kinds, {"on_crash": "destroy"} if kept else {"b_info": {"max_vcpus": 2}})
    ended = host.fork()
    request = RevertRequest("first", keep_config=kept)
    Engine(ended).revert(GUEST, request)
    assert (configured(ended) == configured(host)) is kept
    assert running.judge(host, lambda engine: engine.revert(GUEST, request)) > 100


def test_with_memory_and_a_file_both_are_the_new_one() -> None:
    host = running.running("i")
    text = changed(host, on_crash="destroy")
    request = RevertRequest("first", use_config=text, config_file="/etc/xen/new.cfg")
    assert running.judge(host, lambda engine: engine.revert(GUEST, request)) > 100
