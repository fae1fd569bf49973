"""Death at every effect of a checkpoint whose memory goes where the operator wants it; then `recover`."""

from collections.abc import Callable
from contextlib import suppress

import pytest

from simulator import SimulatedHost, after_engine_crash
from tests.crash.harness import GUEST, TRIED, every_effect
from tests.crash.running import seen, sound
from tests.crash.test_running import judge, running
from xensnap.engine.engine import Engine
from xensnap.engine.request import (
    CreateRequest,
    DeleteRequest,
    ExportRequest,
    ForgetRequest,
    GraftRequest,
    RenameRequest,
    RestoreRequest,
    RevertRequest,
)
from xensnap.errors import FileFailed, XensnapError
from xensnap.hypervisor import drive

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


@pytest.mark.parametrize("kinds", ["i", "e"])
def test_a_file_that_somebody_puts_there_meanwhile_is_neither_taken_for_ours_nor_touched(kinds: str) -> None:
    host = running(kinds)
    request = CreateRequest("second", memory=MEMORY)
    before, ended = seen(host), host.fork()
    Engine(ended).create(GUEST, request)
    after, refused = seen(ended), 0
    for number in every_effect(host, lambda engine: engine.create(GUEST, request)):
        TRIED["running: a stranger's file meanwhile"] += 1
        busy, put = host.fork(), list[bool]()

        def happens(busy: SimulatedHost = busy, put: list[bool] = put) -> None:
            with suppress(FileFailed):  # ours is there already
                drive(busy.another().files.create(MEMORY, b"somebody's"))
                put.append(True)

        busy.meanwhile(number, happens)
        with suppress(XensnapError):
            Engine(busy).create(GUEST, request)
        died = SimulatedHost(after_engine_crash(busy.world))
        Engine(died).recover(GUEST)
        refused += bool(put)
        if put:
            assert died.run(died.files.read(MEMORY)) == b"somebody's", f"effect {number}"
        assert seen(died) == (before if put else after), f"effect {number}"
        died.run(died.files.remove(MEMORY)) if put else None
        sound(died, f"effect {number}")
    assert refused > 10


def renamed(engine: Engine) -> str:
    engine.perform(GUEST, RenameRequest("first", "other"))
    return "other"


def thrown_away(engine: Engine) -> str:
    renamed(engine)
    engine.perform(GUEST, ForgetRequest("other"))
    return "other"


def let_go(engine: Engine) -> str:
    engine.delete(GUEST, DeleteRequest("first", metadata_only=True))
    return ""


def left_over(engine: Engine) -> str:
    uuid = engine.list(GUEST).domain.uuid
    engine.host.run(engine.host.files.create(f"{engine.host.root}/{uuid}/second.save", b"left over"))
    return ""


@pytest.mark.parametrize("past", [renamed, thrown_away, let_go, left_over])
@pytest.mark.parametrize("again", ["create", "graft"])
def test_no_memory_in_the_store_is_taken_for_that_of_a_new_snapshot(past: Callable[[Engine], str], again: str) -> None:
    host = running("e")
    engine = Engine(host)
    name = "second" if past is left_over else "first"
    engine.perform(GUEST, ExportRequest("first", "/images/archive"))
    kept = past(engine)
    store = {each: host.run(host.files.read(each)) for each in memories(host)}
    if again == "create":
        engine.create(GUEST, CreateRequest(name))
    else:
        engine.stop(GUEST)
        engine.perform(GUEST, GraftRequest("/images/archive", "/images", name))
    (new,) = set(memories(host)) - set(store)
    assert engine.list(GUEST).contents.snapshots[name].memory == new
    engine.revert(GUEST, RevertRequest(name))
    engine.delete(GUEST, DeleteRequest(name))
    assert {each: host.run(host.files.read(each)) for each in memories(host)} == store
    if past is thrown_away:
        engine.perform(GUEST, RestoreRequest(kept))
    if kept:
        engine.revert(GUEST, RevertRequest(kept))


def memories(host: SimulatedHost) -> list[str]:
    place = f"{host.root}/{Engine(host).list(GUEST).domain.uuid}"
    return [f"{place}/{name}" for name in host.run(host.files.names(place)) if name.endswith(".save")]
