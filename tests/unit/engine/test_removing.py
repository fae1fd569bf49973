"""What is removed: the very file that the ledger tells of, and none where it does not tell which that is."""

import pytest

from simulator import SimulatedHost
from xensnap.engine.context import Context
from xensnap.engine.journal import Journal
from xensnap.engine.overlay_steps import RemoveImage
from xensnap.engine.records import Store
from xensnap.model import DomainUuid, Format, Layer

UUID = DomainUuid("5c84adcc-bd59-488a-96d2-195f9b599cfe")
IMAGE = Layer("/images/xvda.qcow2", Format.QCOW2)


@pytest.mark.parametrize(("told", "stays"), [(0, False), (1, True), (None, True)], ids=["it", "another", "nothing"])
def test_an_image_goes_only_if_it_is_that_very_file(told: int | None, stays: bool) -> None:
    host = SimulatedHost.fresh()
    host.make_directory("/images")
    host.create_image(IMAGE.path)
    inode = host.world.fs.number(IMAGE.path)
    store = Store.of(host, UUID)
    at = Context(host, store, "0" * 12, UUID, Journal(host, store.journal))
    host.run(RemoveImage("xvda", IMAGE, 0 if told is None else inode + told).do(at))
    assert (host.world.fs.find(IMAGE.path) is not None) == stays
