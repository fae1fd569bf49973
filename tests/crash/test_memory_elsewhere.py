"""Death at every effect of a checkpoint whose memory goes where the operator wants it; then `recover`."""

import pytest

from tests.crash.harness import GUEST
from tests.crash.test_running import judge, running
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, DeleteRequest

MEMORY = "/images/second.save"


@pytest.mark.parametrize("memory", [MEMORY, "/images/", "/images"])
def test_create(memory: str) -> None:
    request = CreateRequest("second", memory=memory)
    assert judge(running("ie"), lambda engine: engine.create(GUEST, request)) > 100


def test_delete() -> None:
    host = running("ie")
    Engine(host).create(GUEST, CreateRequest("second", memory=MEMORY))
    assert judge(host, lambda engine: engine.delete(GUEST, DeleteRequest("second"))) > 100
    Engine(host).delete(GUEST, DeleteRequest("second"))
    assert host.world.fs.find(MEMORY) is None


def test_a_file_that_took_its_place_is_left_alone() -> None:
    host = running("i")
    engine = Engine(host)
    engine.create(GUEST, CreateRequest("second", memory=MEMORY))
    host.run(host.files.remove(MEMORY))
    host.run(host.files.create("/images/other", b"somebody's"))
    host.run(host.files.rename("/images/other", MEMORY))
    engine.delete(GUEST, DeleteRequest("second"))
    assert host.run(host.files.read(MEMORY)) == b"somebody's"
