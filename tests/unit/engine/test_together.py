"""Steps side by side: what can be told of them together is what can be told of each."""

import pytest

from simulator import SimulatedHost
from xensnap.engine.context import Context
from xensnap.engine.journal import Journal
from xensnap.engine.live_steps import SaveAway
from xensnap.engine.records import Store
from xensnap.engine.steps import Together
from xensnap.model import DomainUuid, RunState

UUID = DomainUuid("5c84adcc-bd59-488a-96d2-195f9b599cfe")
MEMORIES = ("/images/a.save", "/images/b.save", "/images/c.save")


@pytest.mark.parametrize("lost", [None, *MEMORIES])
def test_they_can_go_on_when_each_of_them_can(lost: str | None) -> None:
    host = SimulatedHost.fresh()
    host.make_directory("/images")
    for path in MEMORIES:
        if path != lost:
            host.run(host.files.create(path))
    store = Store.of(host, UUID)
    at = Context(host, store, "0" * 12, UUID, Journal(host, store.journal))
    together = Together(tuple(SaveAway(path, RunState.RUNNING, ()) for path in MEMORIES))
    assert host.run(together.can_go_on(at)) == (lost is None)
