"""Laws of crashes and of keeping a world: nothing durable is lost, nothing is made up, nothing is forgotten."""

from hypothesis import given
from hypothesis import strategies as st

from simulator import SimulatedHost, Unsynced, World, after_engine_crash, after_host_crash, crash_points, persist
from simulator.checkers.leaks import files, unclean
from simulator.faults.crash import Orphans
from tests.laws.worlds import hosts
from xensnap.errors import XensnapError

DIR = "/var/lib/xen/snapshots"
NAMES = st.sampled_from(["journal", "snapshotdata-d.a", "x.save", "sub/record"])

ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("create"), NAMES, st.binary(max_size=6)),
        st.tuples(st.just("append"), NAMES, st.binary(max_size=6)),
        st.tuples(st.just("replace"), NAMES, st.binary(max_size=6)),
        st.tuples(st.just("remove"), NAMES),
        st.tuples(st.just("rename"), NAMES, NAMES),
        st.tuples(st.just("sync"), NAMES),
        st.tuples(st.just("sync_dir"), st.sampled_from([DIR, f"{DIR}/sub"])),
        st.tuples(st.just("mkdir"), st.just("sub")),
    ),
    max_size=14,
)


def act(host: SimulatedHost, what: str, *arguments: object) -> None:
    paths = [f"{DIR}/{each}" if isinstance(each, str) and each[0] != "/" else each for each in arguments]
    try:
        host.run(getattr(host.files, what)(*paths))
    except XensnapError:
        return


def seen(world: World) -> dict[str, bytes]:
    return {path: inode.stored for path, inode in files(world.fs) if isinstance(inode.stored, bytes)}


@given(ACTS, st.integers(0, 1000))
def test_a_crash_keeps_or_loses_each_change_and_makes_up_nothing(acts, seed):
    host = SimulatedHost.fresh()
    written = {b""}
    for each in acts:
        act(host, *each)
        written |= set(seen(host.world).values())
    kept = after_host_crash(host.world, Unsynced.KEPT)
    assert seen(kept) == seen(host.world)
    lost = after_host_crash(host.world, Unsynced.LOST)
    for world in (kept, lost, after_host_crash(host.world, Unsynced.MIXED, seed)):
        for path, content in seen(world).items():
            # An append may be torn anywhere; nothing else may be.
            assert any(each.startswith(content) for each in written), path
        assert all(inode.durable is None for _, inode in files(world.fs))
        assert not world.fs.changes
        # A second crash loses nothing more.
        assert seen(after_host_crash(world, Unsynced.LOST)) == seen(world)


@given(ACTS, st.sampled_from(list(Unsynced)), st.integers(0, 1000))
def test_what_is_synced_survives_every_crash(acts, unsynced, seed):
    host = SimulatedHost.fresh()
    for each in acts:
        act(host, *each)
    for path in [*seen(host.world)]:
        host.run(host.files.sync(path))
    for path in [*host.world.fs.dirs]:
        host.run(host.files.sync_dir(path))
    assert seen(after_host_crash(host.world, unsynced, seed)) == seen(host.world)


@given(ACTS)
def test_space_is_counted_right(acts):
    host = SimulatedHost.fresh()
    for each in acts:
        act(host, *each)
    used = host.world.fs.used_bytes
    assert after_host_crash(host.world, Unsynced.KEPT).fs.used_bytes == used


@given(hosts())
def test_a_world_is_the_same_after_a_file(lived):
    host, _ = lived
    world = persist.decode(persist.encode(host.world))
    assert world == host.world
    assert persist.encode(world) == persist.encode(host.world)


@given(hosts(), st.sampled_from(["create", "apply", "delete", "commit", "rebase"]), st.sampled_from(list(Orphans)))
def test_a_tool_that_dies_anywhere_loses_no_snapshot_and_leaves_leaks_at_most(lived, what, orphans):
    host, layers = lived
    top = layers[2]
    entry = host.run(host.images.snapshot_create(top, tag="kept"))
    victim = host.run(host.images.snapshot_create(top, tag="victim"))
    wanted = host.visible_snapshot(top, entry.id)
    now = host.visible_layer(top)
    work = {
        "create": lambda h: h.images.snapshot_create(top, tag="new"),
        "apply": lambda h: h.images.snapshot_apply(top, snapshot_id=entry.id),
        "delete": lambda h: h.images.snapshot_delete(top, tag="victim", snapshot_id=victim.id),
        "commit": lambda h: h.images.commit(top, into=layers[1]),
        "rebase": lambda h: h.images.rebase(top, backing=None, copy=True),
    }[what]
    running = host.fork()
    with running.recording():
        running.run(work(running))
    done = running.visible_layer(top)
    for point in crash_points(running):
        world = after_engine_crash(point.world, orphans)
        if orphans is Orphans.RUNNING:
            world = world.slept(10**9)
        assert not world.agenda
        died = SimulatedHost(world)
        assert died.visible_layer(top) in (now, done)
        if what in {"create", "delete"}:
            assert died.visible_snapshot(top, entry.id) == wanted
        again = died.run(died.images.check(top, repair_leaks=True))
        assert again.clean
        assert not list(unclean(died.world.fs))
        assert persist.decode(persist.encode(point.world)) == point.world
