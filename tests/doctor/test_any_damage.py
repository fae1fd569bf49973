"""Whatever life a domain has had, and whatever is damaged: harm is never overlooked, and a repair harms nothing."""

from collections.abc import Iterator

from hypothesis import given, note, settings
from hypothesis import strategies as st

from simulator import SimulatedHost
from simulator.disk.files import Inode
from simulator.disk.image import Qcow2, Raw
from simulator.faults import damage as d
from simulator.world import World
from tests.crash.harness import GUEST, TRIED, guest, scribble
from tests.doctor.test_damages import held
from xensnap.engine.doctor import Severity
from xensnap.engine.engine import Engine, plan_for
from xensnap.engine.request import CreateRequest, DeleteRequest, Fresh, RevertRequest
from xensnap.errors import XensnapError

NAMES = ("a", "b", "c", "d")
DEEDS = st.lists(
    st.tuples(st.sampled_from(["create", "create", "write", "revert", "delete"]), st.sampled_from(NAMES)), max_size=9
)
FATES = (
    d.Vanish,
    d.Garble,
    d.Cut,
    d.Grow,
    d.Chmod,
    d.Chown,
    d.Copy,
    d.Move,
    d.DropTag,
    d.AddTag,
    d.Back,
    d.Leak,
    d.Plant,
)


@st.composite
def worlds(draw: st.DrawFn) -> SimulatedHost:
    """A domain that is off, of one to three disks, with whatever snapshots came of these deeds."""
    host = guest(draw(st.sampled_from(["i", "e", "ie", "ee", "iie"])))
    engine = Engine(host)
    for place, (deed, name) in enumerate(draw(DEEDS)):
        try:
            if deed == "write":
                scribble(host, place)
            elif deed == "create":
                engine.create(GUEST, CreateRequest(name))
            elif deed == "revert":
                engine.revert(GUEST, RevertRequest(name))
            else:
                engine.delete(GUEST, DeleteRequest(name))
        except XensnapError:
            continue
    return host


@st.composite
def damages(draw: st.DrawFn, world: World) -> d.Damage:
    """Something that can be done to one of the files that are there."""
    paths = sorted(path for path, _ in all_files(world))
    path = draw(st.sampled_from(paths))
    stored = dict(all_files(world))[path].stored
    fate = draw(st.sampled_from(FATES))
    if fate is d.DropTag and isinstance(stored, Qcow2) and len(stored.table):
        return d.DropTag(path, draw(st.sampled_from([entry.told.tag for entry in stored.table])))
    if isinstance(stored, Qcow2) and fate in (d.AddTag, d.Leak):
        return d.AddTag(path, draw(st.sampled_from(NAMES))) if fate is d.AddTag else d.Leak(path)
    if isinstance(stored, Qcow2) and fate is d.Back and stored.backing_name:
        return d.Back(path, draw(st.sampled_from(paths)).rpartition("/")[2])
    if fate in (d.Copy, d.Move):
        # Only where an image meets an image: what a raw one reads in somebody's text is not simulated.
        alike = [each for each, inode in all_files(world) if type(inode.stored) is type(stored)]
        return fate(path, draw(st.sampled_from([*alike, path + ".old"])))
    if fate is d.Chmod:
        return d.Chmod(path, draw(st.sampled_from([0o644, 0o666, 0o600])))
    if fate is d.Chown:
        return d.Chown(draw(st.sampled_from([path, path.rpartition("/")[0]])))
    if fate is d.Plant:
        name = draw(st.sampled_from(["x.save", "x.save.part", ".x.new", "x", "snapshotdata-d.x.libxl-json"]))
        return d.Plant(f"{path.rpartition('/')[0]}/{name}", draw(st.sampled_from([b"", b"{}", b"\xff"])))
    return d.Vanish(path) if isinstance(stored, Raw) and fate is d.Garble else _plain(fate, path)


def _plain(fate: type, path: str) -> d.Damage:
    return fate(path) if fate in (d.Garble, d.Cut, d.Grow) else d.Vanish(path)


def all_files(world: World) -> Iterator[tuple[str, Inode]]:
    """Everything that may be damaged: locks hold nothing."""
    for place in sorted(world.fs.dirs):
        for name in world.fs.names(place):
            inode = world.fs.inodes.get(world.fs.find(f"{place}/{name}") or 0)
            if isinstance(inode, Inode) and not name.endswith("lock"):
                yield f"{place.rstrip('/')}/{name}", inode


@settings(max_examples=100)
@given(st.data())
def test_harm_is_found_and_repairs_do_none(data: st.DataObject) -> None:
    host = data.draw(worlds())
    before = contents(host)
    assert not [each for each in Engine(host).diagnose(GUEST, check=True).found if each.severity is not Severity.NOTE]
    world = host.world
    for _ in range(data.draw(st.integers(1, 3))):
        if not list(all_files(world)):
            break
        harm = data.draw(damages(world))
        note(repr(harm))
        try:
            world = d.damaged(world, harm)
        except OSError:
            continue
    broken = SimulatedHost(world)
    found = Engine(broken).diagnose(GUEST, check=True).found
    TRIED["damaged world"] += 1
    harmed = contents(broken) != before or dead_ends(broken)
    assert not harmed or any(each.severity is not Severity.NOTE for each in found), "harm was overlooked"
    kept = contents(broken)
    diagnosis = Engine(broken).repair(GUEST, check=True)
    failed = {(each.id, each.subject) for each, _ in diagnosis.failed}
    again = Engine(broken).repair(GUEST, check=True)
    assert {(each.id, each.subject) for each, _ in again.failed} <= failed
    assert not again.repaired, "a repair was not complete"
    after = contents(broken)
    for name, content in kept.items():
        assert content is None or after.get(name) == content, f"the repair has changed {name!r}"


def contents(host: SimulatedHost) -> dict[str, object]:
    """What each snapshot would give back; None where it gives nothing."""
    return {name: held(host, name) for name in Engine(host).list(GUEST).contents.snapshots}


def dead_ends(host: SimulatedHost) -> bool:
    """Whether a snapshot can no more be reverted to or deleted."""
    view = Engine(host).view(GUEST)
    try:
        for name in view.snapshots:
            for request in (RevertRequest(name), DeleteRequest(name)):
                plan_for(view, request, Fresh("0" * 36, 0))
    except XensnapError:
        return True
    return False
