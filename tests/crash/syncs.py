"""Every place of the engine that makes something durable, found in its source, and engines in which one of them lies.

A place that lies is passed through as ever, and takes as long; only nothing is durable by it. So what is done is the
same with it and without it, effect by effect, until the power goes.
"""

import ast
import dataclasses
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

import xensnap.engine
from simulator import Cut, SimulatedHost, World, crash_points
from simulator.checkers.leaks import files
from simulator.disk.files import Inode
from simulator.disk.image import Qcow2
from simulator.faults import damage
from simulator.ports import roles
from simulator.ports.blocks import _FLUSH, SimulatedBlocks
from simulator.ports.files import SimulatedFiles
from simulator.tools import qemu_img
from tests.crash import running, table
from tests.crash.harness import DEATHS, GUEST, HOST_DEATHS, TRIED, guest, scribble, there
from tests.crash.harness import Place as Effect
from tests.crash.table import ROWS, Judge, Row
from tests.crash.trials import Ready, ready
from tests.doctor import damages
from xensnap.engine.engine import Engine
from xensnap.engine.journal import ROTATE_BYTES, End, Note, encode
from xensnap.engine.records import Store
from xensnap.engine.repair_steps import ASIDE
from xensnap.model import Backing, Format

ENGINE = Path(xensnap.engine.__file__).parent
POWER_CUTS = tuple(DEATHS.index(each) for each in HOST_DEATHS if "kept" not in each[0])
"""The numbers of the deaths in which something is lost that was not durable."""

LET_LIE: Counter[str] = Counter()
"""How many places were let lie, and whether that was noticed."""

PASSED: Counter["Place"] = Counter()
"""How often each was passed, since some were last let lie."""


class Place(NamedTuple):
    """One call in the source of the engine: in which module and function, of what, and which of those in there."""

    module: str
    function: str
    call: str
    nth: int

    def __str__(self) -> str:
        return f"{self.module}:{self.function}:{self.call}{self.nth if self.nth > 1 else ''}"


async def _file(files: SimulatedFiles, path: str) -> None:
    await files._seat.alter(roles.effect(path, "fsync"), path, lambda fs: fs)


async def _directory(files: SimulatedFiles, path: str) -> None:
    await files._seat.alter(roles.DIR_FSYNC, path, lambda fs: fs)


async def _flush(blocks: SimulatedBlocks, domain: Any) -> None:
    await blocks.told(_FLUSH, domain, lambda fs, qemu: (fs, qemu))


LIES: dict[str, tuple[type, Callable[..., Any]]] = {
    "sync": (SimulatedFiles, _file),
    "sync_dir": (SimulatedFiles, _directory),
    "flush": (SimulatedBlocks, _flush),
}
"""The methods of the ports that make something durable; whose they are, and what does the same but for that."""


@cache
def places() -> dict[tuple[str, int], Place]:
    """All of them, by file and line."""
    found: dict[tuple[str, int], Place] = {}
    for path in sorted(ENGINE.rglob("*.py")):
        module = ".".join(path.relative_to(ENGINE).with_suffix("").parts)
        calls: Counter[tuple[str, str]] = Counter()
        for function, node in _attributes(ast.parse(path.read_text(encoding="utf-8")), ""):
            calls[function, node.attr] += 1
            assert node.end_lineno is not None
            found[str(path), node.end_lineno] = Place(module, function, node.attr, calls[function, node.attr])
    return found


def _attributes(node: ast.AST, inside: str) -> Iterator[tuple[str, ast.Attribute]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Attribute) and child.attr in LIES:
            yield inside, child
        named = isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        name = getattr(child, "name", "") if named else ""
        yield from _attributes(child, ".".join(filter(None, (inside, name))))


@contextmanager
def lying(*liars: Place) -> Iterator[None]:
    """Meanwhile nothing is durable by these; what is passed is counted."""

    def listened(right: Callable[..., Any], wrong: Callable[..., Any]) -> Callable[..., Any]:
        def called(self: Any, what: Any) -> Any:
            caller = sys._getframe(1)
            place = places().get((caller.f_code.co_filename, caller.f_lineno))
            if place is not None:
                PASSED[place] += 1
            return wrong(self, what) if place in liars else right(self, what)

        return called

    PASSED.clear()
    with pytest.MonkeyPatch.context() as patched:
        for name, (port, wrong) in LIES.items():
            patched.setattr(port, name, listened(getattr(port, name), wrong))
        yield


@contextmanager
def tools_do_not_sync() -> Iterator[None]:
    """Meanwhile qemu-img leaves all that it has written to whoever syncs it: the port does not promise more."""
    right = qemu_img._put

    def lazy(fs: Any, path: str, image: Any, trouble: str, *, synced: bool = True) -> Any:
        del synced
        return right(fs, path, image, trouble, synced=False)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(qemu_img, "_put", lazy)
        yield


# Worlds that no row of the table has ----------------------------------------------------------------------------------


def _just_prepared(host_kind: type[SimulatedHost]) -> SimulatedHost:
    """A guest for whose next snapshot the operator has made the overlay, and nobody has synced that."""
    host = guest("e", host_kind=host_kind)
    scribble(host, 0)
    host.run(host.files.create(table.PREPARED))
    backing = Backing("xvda.raw", "/images/xvda.raw", Format.RAW)
    host.run(host.images.create_overlay(table.PREPARED, backing=backing, size_bytes=4 * table.CLUSTER))
    return host


def _long_journal(host_kind: type[SimulatedHost]) -> SimulatedHost:
    """A guest whose journal is put aside when the next operation begins."""
    host = table.history("e")(host_kind)
    journal = Store.of(host, Engine(host).view(GUEST).domain.uuid).journal
    last = Engine(host).audit(GUEST)[1][-1]
    assert isinstance(last, End)
    long = encode(Note(last.operation, "-" * ROTATE_BYTES))
    return host_kind(damage.damaged(host.world, damage.Grow(journal, long)))


def _only_the_header(host_kind: type[SimulatedHost]) -> SimulatedHost:
    """A merge below a guest, cut short by the power: the header above is durable, and what the base was given is not.

    QEMU 7.2.22 writes that header before it syncs the base.
    """
    row = ROWS["delete below a guest"]
    host = row.world(host_kind)
    above = Engine(host).view(GUEST).domain.disks[1].path
    with host.recording():
        row.does(Engine(host))
    worlds = [point.world for point in crash_points(host)]
    number = worlds[0].fs.number(above)
    written = next(at for at, world in enumerate(worlds) if _backing(world, above) != _backing(worlds[0], above))
    left = DEATHS[POWER_CUTS[0]][1](worlds[written - 1])
    header = worlds[written].fs.inodes[number]
    assert isinstance(header, Inode)
    fs = replace(left.fs, inodes=left.fs.inodes.set(number, header.synced()))
    return host_kind(left.with_fs(fs))


def _backing(world: World, path: str) -> str | None:
    image = world.fs.inode(path).stored
    return image.backing_name if isinstance(image, Qcow2) else None


def _left_there(host: SimulatedHost) -> object:
    """What `table.REPAIR` looks at, and what is kept under the former UUID."""
    place = f"{SimulatedHost.root}/{damages.UUID}"
    return table.REPAIR.look(host), set(host.world.fs.names(place)) - {"lock", "reserve"}


def _aside(host: SimulatedHost) -> object:
    """What `table.REPAIR` looks at, and what is in the files that were put aside."""
    fs = host.world.fs
    there = [fs.inode(path).stored for path, _ in files(fs) if ASIDE in path]
    return table.REPAIR.look(host), there


def _recover(engine: Engine) -> object:
    return engine.recover(GUEST)


def _anything(host: SimulatedHost, where: str, strange: object) -> None:
    """Whatever lies about."""


_TAKEN = Judge(running.seen, table.DISKS.end, _anything)
_FINISHED = dataclasses.replace(table.DISKS, both=False)

OWN: dict[str, Row] = {
    "create on what is not durable": Row("create", _just_prepared, ROWS["create on what is prepared"].does, _TAKEN),
    "rename, and put the journal aside": Row("rename", _long_journal, ROWS["rename"].does, table.DISKS),
    "recover a merge of which the header is durable": Row("recover", _only_the_header, _recover, _FINISHED),
    "have the snapshots of another uuid": dataclasses.replace(
        ROWS["repair: another-uuid"], judge=dataclasses.replace(table.REPAIR, look=_left_there)
    ),
    "put a record aside": dataclasses.replace(
        ROWS["repair: record-garbled-with-copy"], judge=dataclasses.replace(table.REPAIR, look=_aside)
    ),
    "put a record aside, or not": dataclasses.replace(
        ROWS["repair: record-garbled-with-copy"],
        judge=Judge(_aside, table.DISKS.end, _anything),
    ),
}
"""Operations in worlds, or looked at in ways, that nothing but a lost sync needs."""


# Where it is noticed --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """Where it is noticed that a place lies.

    Attributes:
        row: the operation that passes through it, of the table or of `OWN`.
        after: the death of the engine, at its last moment there, whose recovery passes through it instead.
        beside: places that make the same durable, so that it is noticed only where these lie, too.
        tools_sync: whether it is noticed although qemu-img makes durable by itself what it has written.
    """

    row: str
    after: Effect | None = None
    beside: tuple[str, ...] = ()
    tools_sync: bool = True


@dataclass(frozen=True)
class Noticed:
    """By which death a lie came out, after how many, and what was said of it."""

    where: str
    tried: int
    error: Exception


def noticed(case: Case, *liars: Place) -> Noticed | None:
    """Cut the power at every moment of the operation, from its end backwards, until what is left is not as it must be.

    What is not as it must be without a lie either is no proof, and fails.
    """
    with nullcontext() if case.tools_sync else tools_do_not_sync():
        it = _ready(case.row, tools_sync=case.tools_sync)
        true, lied = _run(it, case.after), _run(it, case.after, *liars)
        assert len(true.worlds) == len(lied.worlds), "not the same, effect by effect"
        tried = 0
        for how in POWER_CUTS:
            for at in reversed(range(len(true.worlds))):
                if true.worlds[at].fs == lied.worlds[at].fs:
                    continue  # all is durable by then, or nothing has been a lie yet
                tried += 1
                TRIED["where a sync lies"] += 1
                if (error := lied.cut(at, how, true)) is not None:
                    assert true.cut(at, how, true) is None, "so it is with the engine as it is"
                    return Noticed(f"{at} of {len(true.worlds)}, {DEATHS[how][0]}", tried, error)
    return None


@dataclass(frozen=True)
class _Run:
    """An operation, or the recovery from its death, with a world for each moment; the last is when it was told done."""

    it: Ready
    worlds: tuple[World, ...]

    def cut(self, at: int, how: int, true: "_Run") -> Exception | None:
        """What is wrong after this power cut. What was told done must be as it is without a lie."""
        try:
            died = self._died(at, how)
            if at == len(self.worlds) - 1:
                assert not _is_pending(died), "it was told done, and is not"
                ends = [true.look(at), true.look(at, how)]
                assert self.it.judge.look(died) in ends, "it was told done, and has come undone"
            self.it.over(died, self.it.after_death(how), "the power was cut")
        except Exception as error:  # noqa: BLE001 - whatever a judge meets in what is left
            return error
        return None

    def look(self, at: int, how: int | None = None) -> object:
        """What is seen there, or after this power cut there."""
        return self.it.judge.look(type(self.it.host)(self.worlds[at]) if how is None else self._died(at, how))

    def _died(self, at: int, how: int) -> SimulatedHost:
        return type(self.it.host)(DEATHS[how][1](self.worlds[at]))


def _run(it: Ready, after: Effect | None, *liars: Place) -> _Run:
    host = it.host.fork()
    if after is not None:
        host = type(it.host)(DEATHS[0][1](there(it.points, after)[-1].world))
    with lying(*liars), host.recording():
        if after is None:
            it.row.does(Engine(host))
        else:
            it.judge.end(host)
    assert not liars or any(PASSED[liar] for liar in liars), f"{it.name} passes through none of them"
    return _Run(it, (*(point.world for point in crash_points(host)), host.world))


def passed(row: str) -> set[str]:
    """The places that an operation passes through; not those that only its recovery does."""
    it = _ready(row, tools_sync=True)
    with lying():
        it.row.does(Engine(it.host.fork()))
    return {str(place) for place in PASSED}


@cache
def _ready(row: str, *, tools_sync: bool) -> Ready:
    """Made ready with the tools as they are meanwhile, which is what `tools_sync` tells."""
    return ready(row) if tools_sync and row in ROWS else Ready(row, OWN.get(row) or ROWS[row], SimulatedHost)


def _is_pending(host: SimulatedHost) -> bool:
    engine = Engine(host)
    return bool(engine.unborn()) or any(engine.list(domain.uuid).pending for domain in engine.domains())


# All of them ----------------------------------------------------------------------------------------------------------

CASES: dict[str, Case] = {
    "archive_steps:WriteArchive.do:sync": Case("export"),
    "archive_steps:WriteArchive.do:sync_dir": Case("export"),
    "archive_steps:WriteArchive.undo:sync_dir": Case("export of a guest", after=("file.create", 1, Cut.UNACKNOWLEDGED)),
    "archive_steps:Receive.do:sync": Case("graft"),
    "archive_steps:Receive.do:sync_dir": Case("graft"),
    "archive_steps:AcceptImage.do:sync_dir": Case("import"),
    "birth_steps:CopyDisk.do:sync": Case("clone"),
    "birth_steps:CopyDisk.do:sync_dir": Case("clone"),
    "context:Context.remove:sync_dir": Case("revert"),
    "execute:Execution._write_state:sync_dir": Case("create"),
    "execute:Execution._finish:sync_dir": Case("create", after=("domain.replace", 1, Cut.UNACKNOWLEDGED)),
    "execute:Execution._remove_half_written:sync_dir": Case("rename", after=("domain.replace", 1, Cut.PARTLY)),
    "journal:Journal.begin:sync": Case("create"),
    "journal:Journal.remember:sync": Case("relocate"),
    "journal:Journal.end:sync": Case("create"),
    "journal:Journal._make_ready:sync_dir": Case("create first"),
    "journal:Journal._make_ready:sync_dir2": Case("rename, and put the journal aside"),
    "live_steps:Checkpoint.do:sync": Case("checkpoint"),
    "live_steps:Checkpoint.do:sync_dir": Case("checkpoint in place of another"),
    "live_steps:SaveAway.do:sync": Case("revert to memory"),
    "locks:remove:sync_dir": Case("repair of nobody's"),
    "overlay_steps:MakeOverlay.do:sync": Case("create", tools_sync=False),
    "overlay_steps:MakeOverlay.do:sync_dir": Case("revert"),
    "overlay_steps:ReuseOverlay.do:sync": Case("create on what is not durable", tools_sync=False),
    "overlay_steps:ReuseOverlay.do:sync_dir": Case(
        "create on what is not durable", beside=("store_steps:WriteSidecar.do:sync_dir",)
    ),
    "overlay_steps:CommitDown.do:sync": Case("delete all", tools_sync=False),
    "overlay_steps:PullUp._stream:flush": Case("delete a checkpoint"),
    "overlay_steps:_set_backing:sync": Case("delete with children", tools_sync=False),
    "pivot_steps:CopyDown.do:sync": Case("recover a merge of which the header is durable", tools_sync=False),
    "pivot_steps:CopyDown.do:sync2": Case("delete below a guest", beside=("overlay_steps:_set_backing:sync",)),
    "point_steps:TakePoint.do:sync": Case("create", tools_sync=False),
    "point_steps:ApplyPoint.do:sync": Case("revert", tools_sync=False),
    "point_steps:_delete:sync": Case("revert", tools_sync=False),
    "rebind_steps:MoveHere._move:sync_dir": Case(
        "have the snapshots of another uuid", beside=("rebind_steps:MoveHere._move:sync_dir2",)
    ),
    "rebind_steps:MoveHere._move:sync_dir2": Case(
        "have the snapshots of another uuid", beside=("rebind_steps:MoveHere._move:sync_dir",)
    ),
    "rebind_steps:LeaveStore.do:sync_dir": Case(
        "have the snapshots of another uuid", beside=("rebind_steps:MoveHere._move:sync_dir2",)
    ),
    "relocate_steps:CopyImage.do:sync": Case("relocate"),
    "relocate_steps:CopyImage.do:sync_dir2": Case("relocate"),
    "relocate_steps:Park.do:sync_dir": Case("relocate"),
    "repair_steps:SetAside.do:sync_dir": Case("put a record aside"),
    "repair_steps:SetAside.undo:sync_dir": Case(
        "put a record aside, or not", after=("record.rename", 1, Cut.UNACKNOWLEDGED)
    ),
    "repair_steps:PutBack._move:sync_dir": Case(
        "repair: image-moved", beside=("repair_steps:PutBack._move:sync_dir2",)
    ),
    "repair_steps:PutBack._move:sync_dir2": Case(
        "repair: image-moved", beside=("repair_steps:PutBack._move:sync_dir",)
    ),
    "repair_steps:GiveBackLeaks.do:sync": Case("repair: leaking", tools_sync=False),
    "store_steps:RewriteRecord.do:sync_dir": Case("unpin"),
    "store_steps:WriteSidecar.do:sync_dir": Case("create"),
    "trash_steps:ThrowAway.do:sync_dir": Case("revert"),
}
"""For each place where it is noticed that it lies."""


class Spare(NamedTuple):
    """Where a place is passed through that lies unnoticed, and why nothing comes of it."""

    case: Case
    why: str


SPARE: dict[str, Spare] = {
    "live_steps:SaveAway._make_disks_durable:flush": Spare(
        Case("revert to memory"),
        "what a simulated guest writes it makes durable at once, and keeps the rest in its memory; that a QEMU may hold"
        " back what the guest was told is written no simulated power cut tells",
    ),
    "live_steps:SaveAway.do:sync_dir": Spare(
        Case("revert to memory"),
        "a power cut ends the guest in any case, and without its memory it starts from its disks, as after any other",
    ),
    "point_steps:ApplyPoint.undo:sync": Spare(
        Case("revert", after=("qemu-img.snapshot-apply", 1, Cut.UNACKNOWLEDGED), tools_sync=False),
        "the tag that this comes from is deleted in the same image next, which is synced; what a disk that keeps a part"
        " of one file makes of that no simulated power cut tells",
    ),
    "relocate_steps:CopyImage.do:sync_dir": Spare(
        Case("relocate"),
        "a copy that is gone with its name is as good as one that was never made; only its inode number, which has been"
        " written down, might then be that of a stranger's file under the same name",
    ),
}
"""Places whose lie no power cut brings to light."""
