"""Death at every effect of export, import and clone. What is made is there whole, or nothing of it.

What else can go wrong with them is tried from the table (`table.py`).
"""

import errno
import re
from collections.abc import Callable
from typing import Any

import pytest

from simulator import SimulatedHost, World, after_engine_crash
from simulator.checkers.leaks import files, unclean
from simulator.host import crash_points
from tests.crash.harness import DEATHS, ENGINE_DEATHS, GUEST, HOST_DEATHS, TRIED, Death, guest, scribble
from xensnap.engine.engine import Engine
from xensnap.engine.request import (
    CloneRequest,
    CreateRequest,
    DeleteRequest,
    ExportRequest,
    GraftRequest,
    ImportRequest,
    RevertRequest,
)
from xensnap.errors import Busy, ExitCode, Failed, FileFailed, NotFound, Refused
from xensnap.model import Kind

ARCHIVE = "/images/s.xensnap"
STORE_FILES = {"lock", "reserve", "journal", "journal.1"}
NOTES = re.compile(r"domain\.libxl-json|domain-userdata-lock")
"""What an operation notes for itself, and the lock of libxl, whose name a power cut may bring back."""

NEW = "new"


def source(kinds: str, *, memory: bool = False, host_kind: type[SimulatedHost] = SimulatedHost) -> SimulatedHost:
    """A guest with a snapshot `s`, and its disks have changed since."""
    host = guest(kinds, host_kind=host_kind)
    scribble(host, 0)
    if memory:
        host.start(GUEST)
    Engine(host).create(GUEST, CreateRequest("s"))
    if memory:
        host.run(host.toolstack.destroy(host.run(host.toolstack.inspect(GUEST))))
    scribble(host, 1)
    return host


def target(kinds: str, *, memory: bool = False, host_kind: type[SimulatedHost] = SimulatedHost) -> SimulatedHost:
    """Another host, which has the archive of that snapshot and nothing else."""
    made = source(kinds, memory=memory, host_kind=host_kind)
    Engine(made).perform(GUEST, ExportRequest("s", ARCHIVE))
    host = host_kind.fresh(seed=1)
    host.make_directory("/images")
    host.run(host.files.create(ARCHIVE, made.run(made.files.read(ARCHIVE))))
    host.run(host.files.sync(ARCHIVE))
    host.run(host.files.sync_dir("/images"))
    return host


def bereft(kinds: str, *, memory: bool = False, host_kind: type[SimulatedHost] = SimulatedHost) -> SimulatedHost:
    """A guest whose snapshot `s` is in an archive only, and that has another one since."""
    host = source(kinds, memory=memory, host_kind=host_kind)
    engine = Engine(host)
    engine.perform(GUEST, ExportRequest("s", ARCHIVE))
    engine.delete(GUEST, DeleteRequest("s"))
    engine.create(GUEST, CreateRequest("since", kind=Kind.EXTERNAL))
    return host


def graft(engine: Engine) -> object:
    return engine.perform(GUEST, GraftRequest(ARCHIVE, "/images"))


def everything(host: SimulatedHost) -> object:
    """What each domain shows, what each of its snapshots gives back, the archive, and every file but the stores' notes.

    The state of the store names the operation, and a new disk bears its name, so neither is looked at closer.
    """
    engine = Engine(host)
    domains = {}
    for domain in engine.domains():
        listing = engine.list(domain.name)
        for name in listing.contents.snapshots:
            fork = host.fork()
            Engine(fork).revert(domain.name, RevertRequest(name))
            domains[domain.name, name] = _shown(fork, domain.name)
        domains[domain.name, ""] = _shown(host, domain.name)
    there = {path for path, _ in files(host.world.fs) if path.rpartition("/")[2] not in STORE_FILES}
    archive = host.run(host.files.read(ARCHIVE)) if ARCHIVE in there else None
    return domains, archive and _whenever(archive), {path for path in there if not NOTES.search(path)}


def _shown(host: SimulatedHost, name: str) -> object:
    """What each disk of a domain shows, also of one that a real host remembers by nothing but its store."""
    disks = Engine(host).view(name).domain.disks
    return {disk.vdev: host.visible_layer(disk.layer) for disk in disks if disk.path}


def _whenever(archive: bytes) -> bytes:
    """What is in an archive but for when it was made, and for the sum over the list of what is in it."""
    return re.sub(rb'"created_s": [0-9]+|"blake2b": "[0-9a-f]{64}"\n}', b"", archive)


def judge(host: SimulatedHost, operation: Callable[[Engine], object], deaths: tuple[Death, ...] = DEATHS) -> int:
    before = everything(host)
    running = host.fork()
    with running.recording():
        operation(Engine(running))
    after = everything(running)
    assert before != after
    tried = 0
    for point in crash_points(running):
        for name, death in deaths:
            tried += 1
            TRIED[name.partition(",")[0]] += 1
            found = recovered(death(point.world))
            assert found in (before, after), f"between before and after: {point!r}, {name}"
    for name, death in deaths:
        tried += 1
        TRIED[name.partition(",")[0]] += 1
        assert recovered(death(running.world)) == after, f"it was acknowledged; {name}"
    return tried


def recovered(world: World) -> object:
    host = SimulatedHost(world)
    recover(Engine(host))
    assert not list(unclean(host.world.fs))
    return everything(host)


def recover(engine: Engine) -> None:
    """As `xensnap recover` does it: all domains, also those that nobody knows yet."""
    for domain in (*engine.domains(), *engine.unborn()):
        engine.recover(domain.uuid)
    assert not engine.unborn()
    assert not any(engine.list(domain.uuid).pending for domain in engine.domains())


@pytest.mark.parametrize(("kinds", "memory"), [("i", False), ("e", False), ("ie", True)])
def test_export(kinds: str, memory: bool) -> None:
    host = source(kinds, memory=memory)
    assert judge(host, lambda engine: engine.perform(GUEST, ExportRequest("s", ARCHIVE))) > 100


def test_an_archive_that_cannot_be_read_is_not_taken_for_a_strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    host = source("i", memory=False)
    running = host.fork()
    with running.recording():
        Engine(running).perform(GUEST, ExportRequest("s", ARCHIVE))
    worlds = [after_engine_crash(point.world) for point in crash_points(running)]
    left = [SimulatedHost(world) for world in worlds if world.fs.find(ARCHIVE) is not None]
    died = next(each for each in left if Engine(each).list(GUEST).pending)
    read_part = died.files.read_part

    async def broken(path: str, **part: Any) -> bytes:
        if path == ARCHIVE:
            raise FileFailed(f"{path}: Input/output error", path=path, errno=errno.EIO)
        return await read_part(path, **part)

    with monkeypatch.context() as patched:
        patched.setattr(died.files, "read_part", broken)
        with pytest.raises(Failed, match="Input/output error") as told:
            Engine(died).recover(GUEST)
        assert told.value.exit_code is ExitCode.SOMETHING_LEFT
    assert Engine(died).list(GUEST).pending
    Engine(died).recover(GUEST)
    assert died.world.fs.find(ARCHIVE) is None


@pytest.mark.one_door("what stands only in a record is in no simulated world before it is started")
def test_a_snapshot_inside_an_image_leaves_it_while_the_guest_writes_to_it() -> None:
    host = guest("ii")
    scribble(host, 0)
    host.start(GUEST)
    engine = Engine(host)
    engine.create(GUEST, CreateRequest("s"))
    then = host.visible(GUEST)
    scribble(host, 0)
    assert host.visible(GUEST) != then
    engine.perform(GUEST, ExportRequest("s", ARCHIVE))
    scribble(host, 0)
    engine.make(CloneRequest(GUEST, "s", NEW))
    engine.make(ImportRequest(ARCHIVE, "/images", "imported", new_uuid=True))
    assert host.visible(NEW) == host.visible("imported") == then


def test_a_snapshot_inside_an_image_that_was_resized_needs_the_guest_to_be_off() -> None:
    host = source("i")
    (disk,) = host.run(host.toolstack.inspect(GUEST)).disks
    host.run(host.images.resize(disk.layer, size_bytes=1 << 21))
    Engine(host).plan(GUEST, ExportRequest("s", ARCHIVE))
    host.start(GUEST)
    with pytest.raises(Refused) as caught:
        Engine(host).plan(GUEST, ExportRequest("s", ARCHIVE))
    assert [reason.id for reason in caught.value.reasons] == ["image-resized"]


@pytest.mark.parametrize(("kinds", "memory"), [("i", False), ("ee", True)])
def test_import(kinds: str, memory: bool) -> None:
    request = ImportRequest(ARCHIVE, "/images")
    assert judge(target(kinds, memory=memory), lambda engine: engine.make(request)) > 100


@pytest.mark.parametrize(("kinds", "memory"), [("i", False), ("ee", True)])
def test_import_into_a_domain_that_is_there(kinds: str, memory: bool) -> None:
    assert judge(bereft(kinds, memory=memory), graft) > 100


def test_what_comes_back_from_an_archive_is_what_was_exported() -> None:
    host = source("ie")
    then = host.fork()
    Engine(then).revert(GUEST, RevertRequest("s"))
    engine = Engine(host)
    engine.perform(GUEST, ExportRequest("s", ARCHIVE))
    engine.delete(GUEST, DeleteRequest("s"))
    graft(engine)
    engine.create(GUEST, CreateRequest("kept", kind=Kind.EXTERNAL))
    kept = host.visible(GUEST)
    engine.revert(GUEST, RevertRequest("s"))
    assert host.visible(GUEST) == then.visible(GUEST)
    scribble(host, 2)
    for name, wanted in (("s", then.visible(GUEST)), ("kept", kept)):
        engine.revert(GUEST, RevertRequest(name))
        assert host.visible(GUEST) == wanted
    engine.delete(GUEST, DeleteRequest("s"))
    assert host.visible(GUEST) == kept
    assert {path for path, _ in files(host.world.fs) if "-xvda-" in path or "-xvdb-" in path} == set()
    assert engine.diagnose(GUEST).found == ()


@pytest.mark.parametrize(("kinds", "linked"), [("i", False), ("ie", False), ("e", True), ("ee", True)])
def test_clone(kinds: str, linked: bool) -> None:
    request = CloneRequest(GUEST, "s", NEW, linked=linked)
    assert judge(source(kinds), lambda engine: engine.make(request)) > 100


@pytest.mark.parametrize("verb", ["import", "clone"])
def test_die_again_while_recovering(verb: str) -> None:
    host, operation = (
        (target("i"), lambda engine: engine.make(ImportRequest(ARCHIVE, "/images")))
        if verb == "import"
        else (source("e"), lambda engine: engine.make(CloneRequest(GUEST, "s", NEW, linked=True)))
    )
    before = everything(host)
    running = host.fork()
    with running.recording():
        operation(Engine(running))
    after = everything(running)
    deaths = (ENGINE_DEATHS[2], HOST_DEATHS[0])
    for point in crash_points(running):
        for _, death in deaths:
            recovering = SimulatedHost(death(point.world))
            with recovering.recording():
                recover(Engine(recovering))
            for second in crash_points(recovering):
                TRIED["again while recovering"] += 1
                assert recovered(death(second.world)) in (before, after), f"{point!r}; then {second!r}"


def test_nothing_goes_that_a_clone_stands_on_whose_making_was_interrupted() -> None:
    """Between the decision and the definition no domain has the overlay yet, and yet its base is needed."""
    host = source("e")
    running = host.fork()
    with running.recording():
        Engine(running).make(CloneRequest(GUEST, "s", NEW, linked=True))
    clone = running.visible(NEW)
    finished, told = 0, set[str]()
    for point in crash_points(running):
        dead = SimulatedHost(ENGINE_DEATHS[2][1](point.world))
        engine = Engine(dead)
        engine.recover(GUEST)
        told.add(busy(engine))
        recover(engine)
        try:
            assert dead.visible(NEW) == clone, f"{point!r}"
            finished += 1
        except NotFound:
            continue
    assert finished
    assert told == {"", "recovery-due"}


def busy(engine: Engine) -> str:
    """Why the snapshot of the source cannot be deleted now; empty if it has been."""
    try:
        engine.delete(GUEST, DeleteRequest("s"))
    except Busy as error:
        return error.id
    return ""


def test_snapshots_of_the_source_are_external_where_a_linked_clone_is_made() -> None:
    host = source("e")
    kinds = {disk.kind for disk in Engine(host).list(GUEST).contents.snapshots["s"].disks}
    assert kinds == {Kind.EXTERNAL}
