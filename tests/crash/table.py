"""Every operation of the engine, each in a world where it has something to do: on them all ways to go wrong are tried.

Whoever adds an operation adds a row: `test_table.py` compares the rows with what the engine can be asked for.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from simulator import SimulatedHost, after_engine_crash
from simulator.checkers.leaks import unclean
from simulator.faults import damage
from tests.crash import running, test_births, test_pivot, test_redefine, test_relocate
from tests.crash.harness import CLUSTER, GUEST, Operation, Tag, every_crash, guest, nothing_is_left, scribble
from tests.crash.test_births import ARCHIVE, NEW
from tests.crash.test_every_effect import with_history
from tests.doctor import damages
from xensnap.engine.engine import RECOVER_WAIT_S, Engine
from xensnap.engine.records import Store
from xensnap.engine.request import (
    AdoptRequest,
    CloneRequest,
    CreateRequest,
    DeleteRequest,
    DiskChoice,
    EditRequest,
    EmptyRequest,
    ExportRequest,
    ForgetRequest,
    GraftRequest,
    ImportRequest,
    PinRequest,
    PruneRequest,
    RedefineRequest,
    RenameRequest,
    Request,
    RestoreRequest,
    RevertRequest,
    Told,
    ToldDisk,
    UnpinRequest,
)
from xensnap.engine.retention import Retention
from xensnap.errors import NotFound, Refused
from xensnap.model import DescribedBy, DomainUuid, Format, Kind, Layer, RunState

PREPARED = "/images/prepared.qcow2"
NEW_CFG = "/etc/xen/new.cfg"
GONE = tuple(map(DomainUuid, (damages.OTHER, "0e1a4b6e-58f7-4d0e-9b53-7f1f0c9d8a26")))
World = Callable[[type[SimulatedHost]], SimulatedHost]


@dataclass(frozen=True)
class Judge:
    """How it is told what an operation has come to.

    Attributes:
        look: all that a user can tell, in values that are compared.
        end: what a user does to bring to its end what was interrupted.
        sound: fails where something is left that should not be, given the tags that were strange before.
        both: whether the world as it was before is an end, too.
    """

    look: Callable[[SimulatedHost], object]
    end: Callable[[SimulatedHost], object]
    sound: Callable[[SimulatedHost, str, set[Tag]], object]
    both: bool = True


@dataclass(frozen=True)
class Row:
    """One operation in one world.

    Attributes:
        verb: what the engine is asked for, as its requests and methods are called.
        world: makes the world.
        does: the operation.
        judge: tells what has come of it.
        door: whether it is also tried through the code of the real Xen host.
        parts: what it consists of, where it may end between two of them.
    """

    verb: str
    world: World
    does: Operation
    judge: Judge
    door: bool = True
    parts: tuple[Operation, ...] = ()


# How it is judged -----------------------------------------------------------------------------------------------------


def _sound(host: SimulatedHost, where: str, strange: set[Tag]) -> None:
    """What a merge that failed has left the next one takes, and then nothing is left."""
    Engine(host).compact(GUEST)
    running.sound(host, where, strange=strange)


def _nothing_unclean(host: SimulatedHost, where: str, strange: set[Tag]) -> None:
    del strange
    assert not list(unclean(host.world.fs)), where
    assert not Engine(host).unborn(), where


def _as_told(host: SimulatedHost) -> object:
    return running.seen(host), test_relocate.places(host), test_relocate.images(host)


def _and_archive(host: SimulatedHost) -> object:
    number = host.world.fs.find(ARCHIVE)  # what is in it tells the time, too
    return running.seen(host), number is not None


def _sound_but_for_the_archive(host: SimulatedHost, where: str, strange: set[Tag]) -> None:
    """An archive is nobody's any more."""
    with suppress(NotFound):
        host.run(host.files.remove(ARCHIVE))
    _sound(host, where, strange)


def _sound_once_unpaused(host: SimulatedHost, where: str, strange: set[Tag]) -> None:
    """Where the guest stood still before."""
    engine = Engine(host)
    engine.recover(GUEST)
    if host.run(host.toolstack.inspect(GUEST)).state is RunState.PAUSED:
        engine.unpause(GUEST)
    _sound(host, where, strange)


def _sound_elsewhere(host: SimulatedHost, where: str, strange: set[Tag]) -> None:
    """Also images in other directories are known to the doctor."""
    del strange
    Engine(host).compact(GUEST)
    assert not Engine(host).diagnose(GUEST, check=True).found, where
    assert not list(unclean(host.world.fs)), where


def _no_orphans(host: SimulatedHost, where: str, strange: set[Tag]) -> None:
    """Where not every snapshot can be had back, but nothing lies about."""
    nothing_is_left(host, Engine(host).view(GUEST), where, strange=strange)


def _nothing_torn(host: SimulatedHost, where: str, strange: set[Tag]) -> None:
    """The operator's own overlay stays where nothing came of its use."""
    del strange
    assert not list(unclean(host.world.fs)), where
    assert host.world.fs.find(PREPARED) is not None, where


def _mended(host: SimulatedHost) -> object:
    return running.seen(host), [(each.id, each.subject) for each in Engine(host).diagnose(GUEST, check=True).found]


def _mend(host: SimulatedHost) -> None:
    """A second one ends what the first has left, and mends the rest."""
    Engine(host, wait_s=RECOVER_WAIT_S).repair(GUEST, check=True)


def _of_nobody(host: SimulatedHost) -> object:
    left = [host.run(host.files.stat(Store.of(host, uuid).lock)) is not None for uuid in GONE]
    return running.seen(host), left, Engine(host).diagnose_stores_of_nobody()


def _repair_stores_of_nobody(engine: Engine) -> object:
    return engine.diagnose_stores_of_nobody(repair=True)


def _repair_all(host: SimulatedHost) -> None:
    """As `xensnap doctor --repair` does it: first what makes domains, then each domain that there is."""
    engine = Engine(host, wait_s=RECOVER_WAIT_S)
    _repair_stores_of_nobody(engine)
    for domain in engine.domains():
        engine.repair(domain.uuid)


DISKS = Judge(running.seen, lambda host: Engine(host).recover(GUEST), _sound)
BIRTH = Judge(test_births.everything, lambda host: test_births.recover(Engine(host)), _nothing_unclean)
STOOD_STILL = Judge(running.seen, lambda host: Engine(host).recover(GUEST), _sound_once_unpaused)
MOVE = Judge(_as_told, lambda host: Engine(host).recover(GUEST), _sound_elsewhere)
MOVED = Judge(running.seen, lambda host: Engine(host).recover(GUEST), _sound_elsewhere)
CHANGED = Judge(running.seen, lambda host: Engine(host).recover(GUEST), _no_orphans)
REPAIR = Judge(_mended, _mend, _nothing_unclean, both=False)
HALF_MADE = Judge(test_births.everything, _repair_all, _nothing_unclean, both=False)
NOBODYS = Judge(_of_nobody, lambda host: _repair_stores_of_nobody(Engine(host)), _nothing_unclean, both=False)
PREPARING = Judge(running.seen, lambda host: Engine(host).recover(GUEST), _nothing_torn)
ARCHIVED = Judge(_and_archive, lambda host: Engine(host).recover(GUEST), _sound_but_for_the_archive)


def _switch(does: Operation) -> Judge:
    """What has no journal is simply asked for again; what an `xl create` has left without memory is ended before."""

    def again(host: SimulatedHost) -> None:
        host.run(host.machine.sleep(60))  # an xl that outlived us has ended by then
        try:
            does(Engine(host))
        except Refused as error:
            if error.id == "still-dying":
                Engine(host).stop(GUEST)
                does(Engine(host))

    return Judge(running.seen, again, _nothing_unclean)


# Worlds ---------------------------------------------------------------------------------------------------------------


def history(kinds: str = "ie", *before: Operation) -> World:
    """A guest that is off, with four snapshots, to which this was done."""

    def made(host_kind: type[SimulatedHost]) -> SimulatedHost:
        host = with_history(kinds, host_kind=host_kind)
        for each in before:
            each(Engine(host))
            scribble(host, 2)
        return host

    return made


def runs(kinds: str = "ie", kind: str = "pv", *before: Operation) -> World:
    """A guest that runs, with a checkpoint and a snapshot of its disks, to which this was done."""

    def made(host_kind: type[SimulatedHost]) -> SimulatedHost:
        host = running.running(kinds, kind, host_kind=host_kind)
        for each in before:
            each(Engine(host))
        return host

    return made


def first(host_kind: type[SimulatedHost]) -> SimulatedHost:
    """A guest that is off and has no snapshot."""
    host = guest("ie", host_kind=host_kind)
    scribble(host, 0)
    return host


def hidden(host_kind: type[SimulatedHost]) -> SimulatedHost:
    """A guest that is off, one of whose images nobody needs but the one above."""
    host = with_history("ie", host_kind=host_kind)
    host.fail_at("qemu-img.commit")
    Engine(host).delete(GUEST, DeleteRequest("root"))
    assert not host.unmet_faults
    assert Engine(host).view(GUEST).state.hidden
    return type(host)(host.world.ended(host.pid))


def flagged(host_kind: type[SimulatedHost]) -> SimulatedHost:
    """A guest that its operator starts from a file, so that what is frozen is flagged."""
    host = guest("ee", host_kind=host_kind, described_by=DescribedBy.OPERATOR)
    for name in ("root", "leaf"):
        scribble(host, 0)
        Engine(host).create(GUEST, CreateRequest(name))
    scribble(host, 1)
    return host


def changed(host_kind: type[SimulatedHost]) -> SimulatedHost:
    """A guest one of whose frozen images was put back from a backup."""
    host = with_history("e", host_kind=host_kind)
    image = Engine(host).list(GUEST).contents.snapshots["leaf"].disks[0].image.path
    return host_kind(damage.damaged(host.world, damage.Copy(image, image)))


def prepared(host_kind: type[SimulatedHost]) -> SimulatedHost:
    """A guest that is off, for whose next snapshot the operator has made the overlay."""
    host = guest("e", host_kind=host_kind)
    scribble(host, 0)
    host.create_image(PREPARED, "qcow2", 4 * CLUSTER, backing=Layer("xvda.raw", Format.RAW))
    return host


def with_another_file(host_kind: type[SimulatedHost]) -> SimulatedHost:
    """A guest that is off, for which the operator has written another configuration."""
    host = with_history("ie", host_kind=host_kind)
    domain = Engine(host).view(GUEST).domain
    disks = [f"format={disk.format}, vdev={disk.vdev}, target={disk.path}" for disk in domain.disks]
    text = f'name = "{domain.name}"\nuuid = "{domain.uuid}"\ntype = "pv"\nvcpus = 2\ndisk = {json.dumps(disks)}\n'
    host.make_directory(NEW_CFG.rpartition("/")[0])
    host.run(host.files.create(NEW_CFG, text.encode()))
    host.run(host.files.sync(NEW_CFG))
    host.run(host.files.sync_dir(NEW_CFG.rpartition("/")[0]))
    return host


def moved(host_kind: type[SimulatedHost]) -> SimulatedHost:
    """A guest whose disk was brought elsewhere, with what is left of that."""
    host = test_relocate.ready("ie", host_kind=host_kind)
    Engine(host).perform(GUEST, test_relocate.MOVE)
    return host


def _with_tags(host_kind: type[SimulatedHost]) -> SimulatedHost:
    return test_redefine.with_tags_of_others("ii", host_kind=host_kind)


def _started(made: World) -> World:
    """The guest of this world runs."""

    def runs(host_kind: type[SimulatedHost]) -> SimulatedHost:
        host = made(host_kind)
        host.start(GUEST)
        return host

    return runs


def _damaged(name: str) -> World:
    return lambda host_kind: damages.damage(damages.CASES[name], host_kind=host_kind)


def _another_uuid(host_kind: type[SimulatedHost]) -> SimulatedHost:
    """A guest that was started from a file without a UUID, and that has a snapshot in the trash under the old one."""
    host = damages.off("e")
    Engine(host).perform(GUEST, ForgetRequest("leaf"))
    return host_kind(damage.damaged(host.world, damage.NewUuid(damages.UUID, damages.OTHER)))


def with_locks_of_nobody(host_kind: type[SimulatedHost]) -> SimulatedHost:
    """A guest that runs, beside locks that are left of domains which are gone."""
    host = running.running("ie", host_kind=host_kind)
    for store in (Store.of(host, uuid) for uuid in GONE):
        host.run(host.files.mkdir(store.directory))
        host.run(host.run(host.files.lock(store.lock, note=b"")).release())
        for place in (store.directory, store.directory.rpartition("/")[0]):
            host.run(host.files.sync_dir(place))
    return host


def _half_made(which: int) -> World:
    """A host on which a clone was being made, first or last of the deaths that leave something to be ended."""

    def made(host_kind: type[SimulatedHost]) -> SimulatedHost:
        host = test_births.source("e", host_kind=host_kind)
        deaths = (after_engine_crash(point.world) for point in every_crash(host, _clone))
        left = [world for world in deaths if Engine(host_kind(world)).unborn()]
        return host_kind(left[which])

    return made


def _destroy(engine: Engine) -> object:
    host = engine.host
    return host.run(host.toolstack.destroy(host.run(host.toolstack.inspect(GUEST))))


def _clone(engine: Engine) -> object:
    return engine.make(CloneRequest(GUEST, "s", NEW, linked=True))


def _repairing(engine: Engine) -> object:
    return engine.repair(GUEST, check=True)


def _ask(request: Request) -> Operation:
    return lambda engine: engine.perform(GUEST, request)


def _undo(engine: Engine) -> object:
    return engine.undo(GUEST)


def _empty_all(engine: Engine) -> object:
    view = engine.view(GUEST)
    return engine.perform(GUEST, EmptyRequest((*view.trashed, *(each.path for each in view.state.parked))))


def _reconfigure(engine: Engine) -> object:
    text = engine.host.run(engine.host.files.read(NEW_CFG)).decode()
    return engine.revert(GUEST, RevertRequest("root", use_config=text, config_file=NEW_CFG))


def _record_what_exists(engine: Engine) -> object:
    vdevs = [disk.vdev for disk in engine.view(GUEST).domain.disks]
    told = [
        Told(tag, tuple(ToldDisk(vdev, Kind.INTERNAL, tag) for vdev in vdevs), parent=parent)
        for tag, parent in (("also theirs", "theirs"), ("theirs", None))
    ]
    return engine.perform(GUEST, RedefineRequest(tuple(told)))


def _born(kind: str, kinds: str, *, memory: bool = False) -> World:
    make = {"source": test_births.source, "target": test_births.target, "bereft": test_births.bereft}[kind]
    return lambda host_kind: make(kinds, memory=memory, host_kind=host_kind)


# The rows -------------------------------------------------------------------------------------------------------------


def _off(verb: str, request: Request, *before: Operation, kinds: str = "ie") -> Row:
    return Row(verb, history(kinds, *before), _ask(request), DISKS)


def _on(verb: str, request: Request, *before: Operation, kind: str = "pv", kinds: str = "ie") -> Row:
    return Row(verb, runs(kinds, kind, *before), _ask(request), DISKS)


def _repair(name: str) -> Row:
    # Where a store is damaged by which a real host remembers a domain that is off, that one is not there.
    return Row("repair", _damaged(name), _repairing, REPAIR, door=name not in damages.REMEMBERED)


SAVE = RevertRequest("root", save_current="kept")
REUSE = CreateRequest("s", disk_only=True, disks={"xvda": DiskChoice(Kind.EXTERNAL, PREPARED)}, reuse_external=True)
FORGET = _ask(ForgetRequest("middle"))

ROWS: dict[str, Row] = {
    "create first": Row("create", first, _ask(CreateRequest("first")), DISKS),
    "create": _off("create", CreateRequest("more")),
    "create in place of another": _off("create", CreateRequest("middle", replace=True)),
    "create under flags": Row("create", flagged, _ask(CreateRequest("more")), DISKS),
    "revert": _off("revert", RevertRequest("root")),
    "revert for good": _off("revert", RevertRequest("root", no_undo=True)),
    "revert one disk": _off("revert", RevertRequest("root", only=("xvda",))),
    "revert and save": Row(
        "revert",
        history(),
        _ask(SAVE),
        DISKS,
        parts=(_ask(CreateRequest("kept", "what `revert root` would have given up")),),
    ),
    "create on what is prepared": Row("create", prepared, _ask(REUSE), PREPARING),
    "revert to another configuration": Row("revert", with_another_file, _reconfigure, DISKS),
    "revert under flags": Row("revert", flagged, _ask(RevertRequest("root")), DISKS),
    "undo a revert": Row("undo", history("ie", _ask(RevertRequest("middle"))), _undo, DISKS),
    "delete": _off("delete", DeleteRequest("middle")),
    "delete with children": _off("delete", DeleteRequest("middle", children=True)),
    "delete all": _off("delete", DeleteRequest(every=True)),
    "delete under flags": Row("delete", flagged, _ask(DeleteRequest("root")), DISKS),
    "let go": _off("delete", DeleteRequest("middle", metadata_only=True)),
    "prune": _off("prune", PruneRequest(Retention(last=2))),
    "rename": _off("rename", RenameRequest("middle", "centre")),
    "edit": _off("edit", EditRequest("middle", "described anew")),
    "pin": _off("pin", PinRequest("middle", "me")),
    "unpin": _off("unpin", UnpinRequest("middle"), _ask(PinRequest("middle", "me"))),
    "forget": _off("forget", ForgetRequest("middle")),
    "restore": _off("restore", RestoreRequest("middle"), FORGET),
    "empty": Row("empty", history("ie", FORGET), _empty_all, DISKS),
    "empty what was parked": Row("empty", moved, _empty_all, MOVED),
    "relocate": Row("relocate", lambda kind: test_relocate.ready("ie", host_kind=kind), _ask(test_relocate.MOVE), MOVE),
    "relocate a base": Row(
        "relocate", lambda kind: test_relocate.ready("ei", host_kind=kind), _ask(test_relocate.MOVE), MOVE
    ),
    "adopt a tag": Row("adopt", _with_tags, _ask(AdoptRequest("theirs")), DISKS),
    "adopt what was let go": _off("adopt", AdoptRequest("middle"), _ask(DeleteRequest("middle", metadata_only=True))),
    "adopt what was changed": Row("adopt", changed, _ask(AdoptRequest("leaf", accept=("image-changed",))), CHANGED),
    "redefine": Row("redefine", _with_tags, _record_what_exists, DISKS),
    "export": Row("export", _born("source", "ie", memory=True), _ask(ExportRequest("s", ARCHIVE)), BIRTH),
    "graft": Row("graft", _born("bereft", "ie", memory=True), _ask(GraftRequest(ARCHIVE, "/images")), BIRTH),
    "clone": Row("clone", _born("source", "ie"), lambda engine: engine.make(CloneRequest(GUEST, "s", NEW)), BIRTH),
    "clone, linked": Row(
        "clone", _born("source", "e"), lambda engine: engine.make(CloneRequest(GUEST, "s", NEW, linked=True)), BIRTH
    ),
    "import": Row(
        "import",
        _born("target", "ie", memory=True),
        lambda engine: engine.make(ImportRequest(ARCHIVE, "/images")),
        BIRTH,
    ),
    "compact": Row("compact", hidden, lambda engine: engine.compact(GUEST), DISKS),
    **{f"repair: {name}": _repair(name) for name, case in damages.CASES.items() if case.outcome == damages.REPAIRED},
    "repair: another uuid with a trash": Row("repair", _another_uuid, _repairing, REPAIR, door=False),  # as above
    # guests that run
    "checkpoint": _on("create", CreateRequest("second")),
    "checkpoint live": _on("create", CreateRequest("second", live=True), kind="pvh"),
    "checkpoint of a whole machine": _on("create", CreateRequest("second", live=True), kind="hvm"),
    "checkpoint and stop": Row("create", runs(), running.OPERATIONS["checkpoint and stop"], DISKS),
    "disks": _on("create", CreateRequest("second", disk_only=True)),
    "quiet disks": Row("create", runs(), running.OPERATIONS["quiet disks"], DISKS, door=False),  # Xen has no agent
    "checkpoint in place of another": _on("create", CreateRequest("first", replace=True)),
    "revert to memory": _on("revert", RevertRequest("first")),
    "revert to memory while off": _on("revert", RevertRequest("first"), lambda engine: engine.stop(GUEST)),
    "revert a guest whose memory cannot be kept": Row(
        "revert",
        runs("ie", "pv", lambda engine: engine.pause(GUEST)),
        _ask(RevertRequest("first")),
        STOOD_STILL,
        parts=(_destroy,),  # that comes before anything is decided
    ),
    "revert to disks": _on("revert", RevertRequest("disks")),
    "revert and stop": Row("revert", runs(), running.OPERATIONS["revert disks and stop"], DISKS),
    "undo a revert of a guest": Row("undo", runs("ie", "pv", _ask(RevertRequest("first"))), _undo, DISKS),
    "delete below a guest": _on("delete", DeleteRequest("disks")),
    "delete a checkpoint": _on("delete", DeleteRequest("first")),
    "delete all below a guest": _on("delete", DeleteRequest("disks", children=True)),
    "rename below a guest": _on("rename", RenameRequest("first", "one")),
    "forget below a guest": _on("forget", ForgetRequest("first")),
    "restore below a guest": _on("restore", RestoreRequest("first"), _ask(ForgetRequest("first"))),
    "edit below a guest": _on("edit", EditRequest("first", "described anew")),
    "pin below a guest": _on("pin", PinRequest("first", "me")),
    "unpin below a guest": _on("unpin", UnpinRequest("first"), _ask(PinRequest("first", "me"))),
    "prune below a guest": _on("prune", PruneRequest(Retention(last=1))),
    "empty below a guest": Row("empty", runs("ie", "pv", _ask(ForgetRequest("first"))), _empty_all, DISKS),
    "let go below a guest": _on("delete", DeleteRequest("disks", metadata_only=True)),
    "adopt below a guest": _on("adopt", AdoptRequest("disks"), _ask(DeleteRequest("disks", metadata_only=True))),
    "redefine below a guest": Row("redefine", _started(_with_tags), _record_what_exists, DISKS),
    "clone of a guest": Row(
        "clone", runs("e"), lambda engine: engine.make(CloneRequest(GUEST, "disks", NEW, linked=True)), BIRTH
    ),
    "graft into a guest": Row("graft", _started(_born("bereft", "ie")), _ask(GraftRequest(ARCHIVE, "/images")), BIRTH),
    "export of a guest": Row("export", runs(), _ask(ExportRequest("first", ARCHIVE)), ARCHIVED),
    "compact below a guest": Row(
        "compact", lambda kind: test_pivot.hidden(host_kind=kind), lambda engine: engine.compact(GUEST), DISKS
    ),
    "merge below a guest": Row("delete", lambda kind: test_pivot.four(host_kind=kind), test_pivot.delete_oldest, DISKS),
    # what has no journal
    "repair of what was begun": Row("diagnose_stores_of_nobody", _half_made(0), _repair_stores_of_nobody, HALF_MADE),
    "repair of what was decided": Row("diagnose_stores_of_nobody", _half_made(-1), _repair_stores_of_nobody, HALF_MADE),
    "repair of nobody's": Row("diagnose_stores_of_nobody", with_locks_of_nobody, _repair_stores_of_nobody, NOBODYS),
    # an `xl create` that is killed leaves the guest as it was built, standing still
    "start": Row(
        "start",
        history(),
        start := lambda engine: engine.start(GUEST),
        _switch(start),
        parts=(lambda engine: engine.start(GUEST, paused=True),),
    ),
    "stop": Row("stop", runs(), stop := lambda engine: engine.stop(GUEST), _switch(stop)),
    "pause": Row("pause", runs(), lambda engine: engine.pause(GUEST), _switch(lambda engine: None)),
    "unpause": Row(
        "unpause",
        runs("ie", "pv", lambda engine: engine.pause(GUEST)),
        lambda engine: engine.unpause(GUEST),
        _switch(lambda engine: None),
    ),
}
