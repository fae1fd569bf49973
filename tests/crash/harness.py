"""What every crash test does: run an operation once, keep the world at every cut of every effect, and die in each.

A death is followed by `recover` in a fresh process, and then by the judgement: the host is as before the operation or
as after it, never between; nothing is orphaned, leaked or stuck (design 5.5).
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from posixpath import normpath

from msgspec.structs import replace

from simulator import SimulatedHost, World
from simulator.checkers.leaks import files, reached, unclean
from simulator.core.effects import Cut
from simulator.faults.crash import CrashPoint, after_engine_crash, after_host_crash
from simulator.host import crash_points
from simulator.xen import save_file
from xensnap.engine import settings
from xensnap.engine.engine import Engine, plan_for
from xensnap.engine.request import DeleteRequest, Fresh, RevertRequest
from xensnap.engine.view import View, digest
from xensnap.errors import Damaged
from xensnap.formats import libxl_json
from xensnap.model import DescribedBy, Disk, DiskSnapshot, Format, Kind, Layer, Snapshot

GUEST = "guest"
CLUSTER = 64 * 1024
IMAGES = ("/images", "/elsewhere")
"""Where images are; to the second they are only brought."""

TRIED: Counter[str] = Counter()
"""How many deaths of each kind were tried, over all tests of this process."""
MET: Counter[str] = Counter()
"""How often each effect was let fail by a plan of faults: what must happen sometimes."""

SOMETIMES: Counter[str] = Counter(
    dict.fromkeys(("nothing changed", "undone by recovery", "finished by recovery", "busy", "done all the same"), 0)
)
"""What must happen sometimes when something goes wrong: where one of these is never met, less is tried than is said."""

COVERED: Counter[str] = Counter()
"""How many sequences of two and of three operations were tried, and how many there are."""

Operation = Callable[[Engine], object]
Death = tuple[str, Callable[[World], World]]
Place = tuple[str, int, Cut]
"""The name of an effect, at its which time in an operation, and how far that has come; nowhere without a name."""
Tag = tuple[str, str]
"""Path of an image and id of an internal snapshot in it."""

ENGINE_DEATHS: tuple[Death, ...] = (
    ("engine, children finish", lambda world: after_engine_crash(world, "finish")),
    ("engine, children go on", lambda world: after_engine_crash(world, "running")),
    ("engine and its children", lambda world: after_engine_crash(world, "killed")),
)
HOST_DEATHS: tuple[Death, ...] = (
    ("host, unsynced lost", lambda world: after_host_crash(world, "lost")),
    ("host, unsynced kept", lambda world: after_host_crash(world, "kept")),
    ("host, unsynced mixed 1", lambda world: after_host_crash(world, "mixed", 1)),
    ("host, unsynced mixed 5", lambda world: after_host_crash(world, "mixed", 5)),
)
DEATHS = ENGINE_DEATHS + HOST_DEATHS


@dataclass(frozen=True)
class Truth:
    """Everything that a user of the snapshots can tell about a domain."""

    now: object
    held: dict[tuple[str, str], object]
    parents: object
    pins: object
    current: str | None
    configuration: object


def truth(host: SimulatedHost) -> Truth:
    """Look at a domain, through the simulator where contents matter."""
    listing = Engine(host).list(GUEST)
    snapshots = listing.contents.snapshots
    parents = {name: snapshot.parent for name, snapshot in snapshots.items()}
    pins = {name for name, snapshot in snapshots.items() if snapshot.pin}
    return Truth(host.visible(GUEST), held_by(host, snapshots), parents, pins, listing.current, configured(host))


def configured(host: SimulatedHost) -> object:
    """What is stored of the domain but for its disks and what libxl adds where the guest runs, such as its weight."""
    told = settings.read(host.run(host.toolstack.configuration(Engine(host).list(GUEST).domain.uuid)))
    return {key: value for key, value in told.items() if not libxl_json.is_filled_in(key)}


def held_by(host: SimulatedHost, snapshots: Mapping[str, Snapshot]) -> dict[tuple[str, str], object]:
    """What each snapshot holds of each disk, and of memory if it has any."""
    held: dict[tuple[str, str], object] = {}
    for name, snapshot in snapshots.items():
        for disk in snapshot.disks:
            if disk.kind is Kind.EXTERNAL:
                held[name, disk.vdev] = host.visible_layer(disk.image)
            else:
                held[name, disk.vdev] = host.visible_snapshot(disk.image, disk.fingerprint.snapshot_id)
        if snapshot.memory:
            held[name, "memory"] = remembered(memory_in(host, snapshot.memory))
    return held


def remembered(data: bytes) -> object:
    """What a memory file makes of a guest, but for how long it had run: that is another time whenever it had to wait.

    The very bytes where it makes nothing of it.
    """
    try:
        return save_file.read_header(data), replace(save_file.read_memory(data), counter=0)
    except (Damaged, save_file.SavedError):
        return data


def memory_in(host: SimulatedHost, path: str) -> bytes:
    """Every byte of a memory file; none where there is no such file."""
    stored = host.world.fs.inode(path).stored if host.world.fs.find(path) is not None else b""
    assert isinstance(stored, bytes), path
    return stored


def guest(
    kinds: str,
    *,
    size_bytes: int = 4 * CLUSTER,
    host_kind: type[SimulatedHost] = SimulatedHost,
    described_by: DescribedBy = DescribedBy.US,
) -> SimulatedHost:
    """A host with one domain that is off: a disk for each letter, `i` for qcow2 and `e` for raw."""
    host = host_kind.fresh()
    disks = []
    for number, kind in enumerate(kinds):
        vdev = f"xvd{'abcd'[number]}"
        layer_format = Format.QCOW2 if kind == "i" else Format.RAW
        layer = host.create_image(f"/images/{vdev}.{layer_format}", layer_format, size_bytes)
        disks.append(Disk(vdev, layer.path, layer.format))
    host.add_domain(GUEST, "5c84adcc-bd59-488a-96d2-195f9b599cfe", disks, described_by=described_by)
    return host


def scribble(host: SimulatedHost, place: int) -> None:
    """The guest has run: every disk holds something new at this cluster."""
    for disk in Engine(host).view(GUEST).domain.disks:
        host.write(GUEST, disk.vdev, place % 4 * CLUSTER, CLUSTER)


def every_crash(host: SimulatedHost, operation: Operation) -> Iterator[CrashPoint]:
    """Run the operation to its end on a fork, and give every different world on the way."""
    running = host.fork()
    with running.recording():
        operation(Engine(running))
    yield from crash_points(running)


def every_effect(host: SimulatedHost, operation: Operation) -> Iterator[int]:
    """The number of every effect of the operation that changes something and may fail: all but letting go of a lock."""
    yield from sorted({point.number for point in every_crash(host, operation) if point.effect != "lock.release"})


def judge(
    host: SimulatedHost,
    operation: Operation,
    deaths: tuple[Death, ...] = DEATHS,
    *,
    twice: bool = False,
    every: int = 1,
    at: Place | None = None,
) -> int:
    """Die everywhere, recover, and compare with before and after. How many deaths were tried.

    Args:
        host: the world to start from.
        operation: what is interrupted.
        deaths: how.
        twice: die again at every effect of the recovery.
        every: of all deaths every so many are tried.
        at: the one place where it dies, instead of everywhere.
    """
    before = truth(host)
    ended = host.fork()
    operation(Engine(ended))
    after = truth(ended)
    strange = strange_tags(Engine(host).view(GUEST))
    planned: set[str] = set()
    tried = 0
    for point, (name, death) in sampled(host, operation, deaths, every, at):
        where = f"{point!r}, {name}"
        world = death(point.world)
        tried += 1
        TRIED[name.partition(",")[0]] += 1
        if name == ENGINE_DEATHS[2][0]:
            _readable(type(host)(world), before, after, where)
        _recovered(type(host)(world), before, after, where, strange, planned)
        if twice:
            for second in every_crash(type(host)(world), lambda engine: engine.recover(GUEST)):
                tried += 1
                TRIED["again while recovering"] += 1
                again = f"{where}; then {second!r}"
                _recovered(type(host)(death(second.world)), before, after, again, strange, planned)
    for name, death in deaths:
        tried += 1
        TRIED[name.partition(",")[0]] += 1
        died, where = type(host)(death(ended.world)), f"it was acknowledged; {name}"
        assert Engine(died).recover(GUEST) is None, where
        _recovered(died, after, after, where, strange, planned)
    return tried


def sampled(
    host: SimulatedHost, operation: Operation, deaths: tuple[Death, ...], every: int, at: Place | None = None
) -> Iterator[tuple[CrashPoint, Death]]:
    """Every so many of the deaths at every effect; where they are not all, those of each kind at other effects."""
    points = there(list(every_crash(host, operation)), at)
    together = [
        (point, deaths[(place + turn) % len(deaths)])
        for turn in range(len(deaths))
        for place, point in enumerate(points)
    ]
    yield from together[::every]


def there(points: Sequence[CrashPoint], at: Place | None) -> Sequence[CrashPoint]:
    """All of them, or those at a place; where nothing has changed since the one before, that is the same death."""
    if at is None:
        return points
    effect, nth, cut = at
    numbers = numbered(points, effect)[nth - 1 : nth] if effect else [0]
    cuts = list(Cut)
    place = (numbers[0], cuts.index(cut)) if numbers else (points[-1].number, len(cuts))
    until = [point for point in points if (point.number, cuts.index(point.cut)) <= place]
    return [point for point in until if (point.number, cuts.index(point.cut)) == place] or until[-1:]


def numbered(points: Iterable[CrashPoint], effect: str) -> list[int]:
    """The numbers of all effects of this name."""
    return list(dict.fromkeys(point.number for point in points if point.effect == effect))


RUN_FIRST_DEATHS = (ENGINE_DEATHS[0], ENGINE_DEATHS[2], *HOST_DEATHS)


def judge_where_the_guest_runs_first(
    host: SimulatedHost,
    operation: Operation,
    deaths: tuple[Death, ...] = RUN_FIRST_DEATHS,
    *,
    at: Place | None = None,
) -> int:
    """Die everywhere, and let the guest run and write before anybody recovers: nothing of that may be lost.

    Not for what replaces the present on purpose. How many deaths were tried; `deaths` and `at` as for `judge`.
    """
    before = truth(host)
    ended = host.fork()
    operation(Engine(ended))
    held = before.held.items() | truth(ended).held.items()
    tried = 0
    for point, (name, death) in sampled(host, operation, deaths, 1, at):
        where = f"{point!r}, {name}, and the guest has run"
        ran = type(host)(death(point.world))
        for place in range(3):  # and leaves one cluster as it is
            scribble(ran, place)
        wrote = ran.visible(GUEST)
        TRIED["a guest runs before the recovery"] += 1
        tried += 1
        Engine(ran).recover(GUEST)
        found = truth(ran)
        assert found.now == wrote, f"what the guest has written is lost: {where}"
        assert found.held.items() <= held, f"a snapshot holds something else: {where}"
        view = Engine(ran).view(GUEST)
        assert not view.pending, where
        nothing_is_left(ran, view, where)
    return tried


def _readable(host: SimulatedHost, before: Truth, after: Truth, where: str) -> None:
    """Who only looks before anybody recovers is told of no snapshot whose points are not there."""
    there = before.held.items() | after.held.items()
    held = held_by(host, Engine(host).list(GUEST).contents.snapshots)
    assert held.items() <= there, f"a record without what it names, until recovery: {where}"


def _recovered(
    host: SimulatedHost, before: Truth, after: Truth, where: str, strange: set[Tag], planned: set[str]
) -> None:
    """`planned` has the digests of the views that plans were made of: each is made of a view alone, so once will do."""
    engine = Engine(host)
    engine.recover(GUEST)
    found = truth(host)
    assert found in (before, after), f"between before and after: {where}"
    assert engine.recover(GUEST) is None, f"recovery is not over: {where}"
    view = engine.view(GUEST)
    assert not view.pending, where
    nothing_is_left(host, view, where, strange=strange)
    if (seen := digest(view)) in planned:
        return
    planned.add(seen)
    for name, snapshot in view.snapshots.items():
        for request in (RevertRequest(name), DeleteRequest(name, accept=("pinned",) if snapshot.pin else ())):
            plan_for(view, request, Fresh("0" * 36, 0))


def nothing_is_left(
    host: SimulatedHost, view: View, where: str, *, also: Collection[str] = (), strange: Collection[Tag] = ()
) -> None:
    """No leak, no damage, no file and no tag that nobody needs, no ledger entry without its file.

    Args:
        host: where it is.
        view: what is known of the domain.
        where: what was tried.
        also: names of further files in the store.
        strange: tags that were there before and are none of ours.
    """
    assert not list(unclean(host.world.fs)), f"{list(unclean(host.world.fs))}: {where}"
    layers = [Layer(path, Format.RAW) for path, image in view.images.items() if image]
    known = {normpath(layer.path) for layer in layers}  # however an operator spells it
    ours = {normpath(path) for path in [*(x.path for x in view.state.ours), *(x.path for x in view.state.parked)]}
    store = {"lock", "reserve", "journal", "journal.1", "domain.libxl-json", "description.json"}
    records = {f"snapshotdata-d.{name.replace('%', '%25')}.libxl-json" for name in view.snapshots}
    there = {path for path, _ in files(host.world.fs)}
    for path in there:
        directory, _, name = path.rpartition("/")
        in_store = name in store | records | set(also) or name.startswith("trashed-d.")
        # What libxl keeps is its own: its lock file stays where a power cut has brought its name back.
        libxls = directory == "/var/lib/xen" and name.lstrip(".").startswith("userdata-")
        operators = directory == "/etc/xen"
        expected = path in known | ours if directory in IMAGES else in_store or libxls or operators
        assert expected, f"orphan {path}: {where}"
    assert ours <= there, f"{ours - there} of the ledger are gone: {where}"
    used = reached(host.world.fs, starts_from(view))
    overlays = {entry.path for entry in view.state.ours if entry.role == "overlay"}
    assert overlays <= used, f"{overlays - used} of the ledger are needed by nobody: {where}"
    assert recorded_tags(view) <= tags(view), f"records without their tags: {where}"
    assert strange_tags(view) <= set(strange), f"tags that no record knows: {where}"


def starts_from(view: View) -> list[Layer]:
    """What the domain starts from, what snapshots hold, and what waits to be merged: all else must be below these."""
    held = [disk.image for disk in points(view)]
    hidden = [Layer(base.path, base.format) for base in view.state.hidden]
    return [*(disk.layer for disk in view.domain.disks if disk.path), *held, *hidden]


def tags(view: View) -> set[Tag]:
    """Every internal snapshot that there is, by path and id."""
    return {(path, tag.id) for path, image in view.images.items() if image for tag in image.snapshots}


def strange_tags(view: View) -> set[Tag]:
    """Every internal snapshot that no record tells of."""
    return tags(view) - recorded_tags(view)


def recorded_tags(view: View) -> set[Tag]:
    """Every internal snapshot that a record tells of."""
    internal = [disk for disk in points(view) if disk.kind is Kind.INTERNAL]
    return {(disk.image.path, disk.fingerprint.snapshot_id) for disk in internal}


def points(view: View) -> list[DiskSnapshot]:
    """All that any snapshot holds: those that are listed, those in the trash, and those that were let go."""
    thrown = (each.snapshot for each in view.trashed.values())
    return [disk for each in (*view.snapshots.values(), *thrown, *view.state.let_go) for disk in each.disks]
