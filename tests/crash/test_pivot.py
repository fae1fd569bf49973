"""An image that is not ours is ended below a guest that runs: what is above is copied down, and the guest goes over."""

from collections.abc import Callable, Sequence

import pytest
from msgspec.structs import replace

from simulator import CrashPoint, SimulatedHost, crash_points
from simulator.checkers import guests, starts
from tests.crash.harness import (
    CLUSTER,
    DEATHS,
    ENGINE_DEATHS,
    GUEST,
    TRIED,
    Death,
    Place,
    every_crash,
    every_effect,
    held_by,
    there,
)
from tests.crash.running import UUID, judge, sound
from tests.deep import EXHAUSTIVE
from xensnap.doors import DoorHost
from xensnap.engine.collect import Compaction
from xensnap.engine.engine import Engine
from xensnap.engine.execute import Outcome
from xensnap.engine.request import CreateRequest, DeleteRequest
from xensnap.errors import Refused, XensnapError
from xensnap.model import DescribedBy, Disk, Format, Layer, RunState

SIZE = 16 * CLUSTER
DOOR_EVERY = 1 if EXHAUSTIVE else 11
"""That code is slower than the simulator's own ports: ordinary runs try every so many of the deaths."""
BASE = Layer("/images/xvda.raw", Format.RAW)


def compact(engine: Engine) -> Compaction:
    return engine.compact(GUEST)


def hidden(
    *, described_by: DescribedBy = DescribedBy.US, host_kind: type[SimulatedHost] = SimulatedHost
) -> SimulatedHost:
    """A guest that runs on an overlay of ours, which is all that still needs the operator's image below it."""
    host = host_kind.fresh()
    layer = host.create_image(BASE.path, BASE.format, SIZE)
    host.add_domain(GUEST, UUID, [Disk("xvda", layer.path, layer.format)], described_by=described_by)
    host.start(UUID)
    host.guest_writes(GUEST, "xvda", 0, CLUSTER, flush=True)
    Engine(host).create(GUEST, CreateRequest("one", disk_only=True))
    host.guest_writes(GUEST, "xvda", CLUSTER, CLUSTER, flush=True)
    host.hold_monitor(GUEST)
    Engine(host).delete(GUEST, DeleteRequest("one"))  # nothing is merged as long as QEMU cannot be asked
    host.hold_monitor(GUEST, "")
    host.guest_writes(GUEST, "xvda", 2 * CLUSTER, CLUSTER, flush=True)
    host.guest_writes(GUEST, "xvda", 3 * CLUSTER, CLUSTER)
    return host


def chain(host: SimulatedHost) -> list[str]:
    node = host.run(host.blocks.nodes(Engine(host).view(GUEST).domain))[0]
    paths = [node.layer.path]
    while node.backing:
        node = node.backing
        paths.append(node.layer.path)
    return paths


def merged(host: SimulatedHost) -> bool:
    """Whether the guest is on the operator's image alone; if not, everything is as if nobody had tried."""
    view = Engine(host).view(GUEST)
    on_base = view.domain.disks[0].path == BASE.path
    assert on_base == (not view.state.hidden) == (not view.state.ours)
    return on_base


def test_the_guest_goes_on_in_the_base_and_the_overlay_is_gone() -> None:
    host = hidden()
    assert len(chain(host)) == 2
    reads = host.guest_sees(GUEST)
    done = Engine(host).compact(GUEST)
    assert (done.merged, done.stays) == ((BASE.path,), ())
    assert chain(host) == [BASE.path]
    assert merged(host)
    assert host.guest_sees(GUEST) == reads
    sound(host, "merged")
    assert host.run(host.files.names("/images")) == ("xvda.raw",)
    host.guest_writes(GUEST, "xvda", 0, CLUSTER, flush=True)
    host.guest_reboot(GUEST)
    assert host.guest_sees(GUEST)["xvda"] == host.visible_layer(BASE)


def test_whoever_dies_it_is_as_before_or_as_after() -> None:
    assert judge(hidden(), compact, twice=5) > 300


def test_whoever_dies_while_the_code_of_a_real_xen_host_works_it_is_as_before_or_as_after() -> None:
    assert judge(hidden(host_kind=DoorHost), compact, every=DOOR_EVERY) > 10


def test_a_guest_that_stands_still_is_left_standing_still() -> None:
    host = hidden()
    Engine(host).pause(GUEST)
    for point in every_crash(host, compact):
        assert [one.pauses for one in point.world.xen] == [1], point
    Engine(host).compact(GUEST)
    assert merged(host)
    assert host.incarnation(GUEST).pauses == 1


def test_a_guest_that_never_rests_stands_still_only_to_go_over() -> None:
    points = judge_under_a_writer(hidden(), DEATHS)
    still = {point.effect for point in points if not all(one.executes for one in point.world.xen)}
    going_over = {"qmp.job-complete", "qmp.job-pivot", "qmp.job-dismiss", "toolstack.set-layers"}
    assert still == {"xl.pause", *going_over, "xl.unpause"}


def judge_under_a_writer(
    host: SimulatedHost, deaths: tuple[Death, ...], *, at: Place | None = None
) -> Sequence[CrashPoint]:
    """Its disks are never written back to something old, whoever dies, everywhere or `at` one place."""
    host.guest_never_rests(GUEST, "xvda", length_bytes=4096, end_bytes=SIZE)
    with host.recording():
        Engine(host).compact(GUEST)
    assert merged(host)
    points = there(crash_points(host), at)
    for point in points:
        assert not [*guests.torn(point.world), *starts.elsewhere(point.world)], point
        for name, death in deaths:
            where = f"{point!r}, {name}"
            after = SimulatedHost(death(point.world))
            Engine(after).recover(GUEST)
            TRIED[f"pivot: {name}"] += 1
            sound(after, where)
            if not merged(after):
                assert Engine(after).compact(GUEST).merged, where
                sound(after, where)
    return points


def test_a_guest_that_writes_faster_than_it_is_copied_stays_where_it_is() -> None:
    host = hidden()
    host.guest_never_rests(GUEST, "xvda", length_bytes=8 * CLUSTER, end_bytes=SIZE)
    before, began = chain(host), host.world.clock.monotonic_ns
    done = Engine(host).compact(GUEST)
    assert host.world.clock.monotonic_ns > began
    assert done.merged == ()
    assert [(each.base.path, each.id) for each in done.stays] == [(BASE.path, "job-stalled")]
    assert "writes faster" in done.told()[0]
    assert "xensnap explain job-stalled" in done.told()[0]
    assert chain(host) == before
    assert not host.world.qemus[1].jobs
    assert not merged(host)
    sound(host, "given up")
    host.guest_rests(GUEST)
    assert Engine(host).compact(GUEST).merged == (BASE.path,)
    sound(host, "merged at last")


def test_a_job_that_somebody_has_paused_is_given_up_too() -> None:
    host = hidden()
    number = next(n for n in every_effect(host, compact) if is_named(host, n, "qmp.job-wait"))
    host.meanwhile(number, lambda: pause_jobs(host))
    assert [each.id for each in Engine(host).compact(GUEST).stays] == ["job-stalled"]
    sound(host, "given up")


def is_named(host: SimulatedHost, number: int, effect: str) -> bool:
    return any(point.effect == effect for point in every_crash(host, compact) if point.number == number)


def pause_jobs(host: SimulatedHost) -> None:
    world = host.world
    for domid, qemu in world.qemus.items():
        jobs = tuple(replace(job, paused=True) for job in qemu.jobs)
        host.cell.world = replace(world, qemus=world.qemus.set(domid, replace(qemu, jobs=jobs)))


@pytest.mark.parametrize("abort", [True, False])
def test_one_that_died_is_finished_or_undone_as_is_asked_for(abort: bool) -> None:
    host = hidden()
    for point in every_crash(host, compact):
        for name, death in ENGINE_DEATHS:
            after = SimulatedHost(death(point.world))
            where = f"{point!r}, {name}"
            if abort and is_decided(after):
                with pytest.raises(Refused, match="cannot be undone"):
                    Engine(after).recover(GUEST, abort=True)
                continue
            recovered = Engine(after).recover(GUEST, abort=abort)
            if recovered is not None:
                assert recovered.outcome is (Outcome.DONE if merged(after) else Outcome.UNDONE)
                assert merged(after) == (runs_on_base(after.world) if abort else True), where
            sound(after, where)


def is_decided(host: SimulatedHost) -> bool:
    view = Engine(host).view(GUEST)
    return bool(view.pending) and not view.state.hidden


def runs_on_base(world) -> bool:
    return any(drive.root.layer.path == BASE.path for qemu in world.qemus.values() for drive in qemu.drives)


@pytest.mark.parametrize("end", ["kill_qemu", "stop"])
def test_its_qemu_dies_or_its_operator_ends_it_at_any_moment(end: str) -> None:
    host = hidden()
    held = host.running_disks(GUEST)
    for number in every_effect(host, compact):
        busy = host.fork()
        busy.meanwhile(number, happening(busy, end))
        try:
            Engine(busy).compact(GUEST)
        except XensnapError:
            Engine(busy).recover(GUEST)
        Engine(busy).recover(GUEST)
        TRIED[f"pivot: {end} meanwhile"] += 1
        assert all(one.pauses == 0 for one in busy.world.xen), number
        Engine(busy).stop(GUEST)
        assert busy.visible(GUEST) == held, number
        merged(busy)
        Engine(busy).compact(GUEST)
        assert merged(busy), number
        sound(busy, f"effect {number}")


def happening(host: SimulatedHost, end: str) -> Callable[[], None]:
    def happens() -> None:
        if end == "kill_qemu":
            host.kill_qemu(GUEST)
        elif Engine(host).view(GUEST).domain.state is not RunState.OFF:
            host.run(host.toolstack.destroy(Engine(host).view(GUEST).domain))

    return happens


def test_a_base_that_is_larger_than_the_disk_waits_until_the_domain_is_off() -> None:
    host = hidden()
    view = Engine(host).view(GUEST)
    Engine(host).stop(GUEST)
    host.resize(GUEST, "xvda", SIZE // 2)
    host.start(UUID)
    assert [each.why for each in Engine(host).compact(GUEST).stays] == [
        "it is larger than the disk is now, and is only cut while the domain is off"
    ]
    assert view.domain.disks == Engine(host).view(GUEST).domain.disks
    Engine(host).stop(GUEST)
    Engine(host).compact(GUEST)
    assert host.visible_layer(BASE)[0] == SIZE // 2


def test_nothing_is_copied_up_into_extended_l2_entries_while_the_guest_runs() -> None:
    host = SimulatedHost.fresh()
    host.add_domain(GUEST, UUID, [Disk("xvda", host.create_image(BASE.path, BASE.format, SIZE).path, BASE.format)])
    engine = Engine(host)
    engine.create(GUEST, CreateRequest("one", disk_only=True))
    host.write(GUEST, "xvda", CLUSTER, CLUSTER)
    frozen = engine.view(GUEST).domain.disks[0].layer
    engine.create(GUEST, CreateRequest("two", disk_only=True))
    path = engine.view(GUEST).domain.disks[0].path
    host.run(host.files.remove(path))  # which an operator makes anew, as he likes it better
    host.create_image(path, size_bytes=SIZE, backing=frozen, extended_l2=True)
    host.write(GUEST, "xvda", 2 * CLUSTER, CLUSTER // 2)
    held = host.visible(GUEST)
    host.start(UUID)
    engine.delete(GUEST, DeleteRequest("two"))
    assert [each.why for each in engine.compact(GUEST).stays] == [
        f"QEMU may die of copying into {path}, which has extended L2 entries, while the domain runs"
    ]
    engine.stop(GUEST)
    assert not engine.compact(GUEST).stays
    assert host.visible(GUEST) == held


def test_nothing_is_copied_up_over_the_end_of_a_smaller_image_while_the_guest_runs() -> None:
    host = SimulatedHost.fresh()
    host.add_domain(GUEST, UUID, [Disk("xvda", host.create_image(BASE.path, BASE.format, SIZE).path, BASE.format)])
    host.write(GUEST, "xvda", SIZE - CLUSTER, CLUSTER)
    engine = Engine(host)
    engine.create(GUEST, CreateRequest("one", disk_only=True))
    host.resize(GUEST, "xvda", SIZE // 2)
    engine.create(GUEST, CreateRequest("two", disk_only=True))
    host.resize(GUEST, "xvda", SIZE)
    held = host.visible(GUEST)
    host.start(UUID)
    engine.delete(GUEST, DeleteRequest("two"))
    assert host.visible(GUEST) == held
    assert [each.why for each in engine.compact(GUEST).stays] == [
        "it is smaller than the images above and below it, and is only merged while the domain is off"
    ]
    engine.stop(GUEST)
    assert not engine.compact(GUEST).stays
    assert host.visible(GUEST) == held


def test_of_a_domain_started_from_a_file_nobody_starts_what_is_left_behind() -> None:
    host = hidden(described_by=DescribedBy.OPERATOR)
    overlay = chain(host)[0]
    with host.recording():
        done = Engine(host).compact(GUEST)
    assert f"target={BASE.path}" in done.told()[0]
    assert flagged(host) == set()
    for point in crash_points(host):
        now = SimulatedHost(point.world)
        number = point.world.fs.find(overlay)
        goes_on = runs_on_base(point.world) and all(one.executes for one in point.world.xen)
        if goes_on and number is not None and overlay not in flagged(now):
            assert not point.world.fs.opens.get(number, ()), point
            assert point.effect in {"image.set-flag", "image.remove", "journal.append"}, point
    for point in every_crash(hidden(described_by=DescribedBy.OPERATOR), compact):
        for name, death in DEATHS:
            after = SimulatedHost(death(point.world))
            Engine(after).recover(GUEST)
            on_base = merged(after)
            assert flagged(after) == (set() if on_base else {BASE.path}), f"{point!r}, {name}"


def flagged(host: SimulatedHost) -> set[str]:
    names = host.run(host.files.names("/images"))
    return {f"/images/{name}" for name in names if host.run(host.files.is_immutable(f"/images/{name}"))}


# Below what other snapshots still hold --------------------------------------------------------------------------------


def four(described_by: DescribedBy = DescribedBy.US, host_kind: type[SimulatedHost] = SimulatedHost) -> SimulatedHost:
    """A guest that runs on a chain of four; the operator's own image is what the oldest of three snapshots holds."""
    host = host_kind.fresh()
    layer = host.create_image(BASE.path, BASE.format, SIZE)
    host.add_domain(GUEST, UUID, [Disk("xvda", layer.path, layer.format)], described_by=described_by)
    host.start(UUID)
    for number, name in enumerate(["one", "two", "three"]):
        host.guest_writes(GUEST, "xvda", number * CLUSTER, 2 * CLUSTER, flush=True)
        Engine(host).create(GUEST, CreateRequest(name, disk_only=True))
    host.guest_writes(GUEST, "xvda", 3 * CLUSTER, 2 * CLUSTER, flush=True)
    host.guest_writes(GUEST, "xvda", 5 * CLUSTER, CLUSTER)
    return host


def kept(host: SimulatedHost) -> dict[tuple[str, str], object]:
    return held_by(host, Engine(host).list(GUEST).contents.snapshots)


def delete_oldest(engine: Engine) -> object:
    return engine.delete(GUEST, DeleteRequest("one"))


def test_a_snapshot_is_held_by_the_image_that_its_own_was_copied_into() -> None:
    host = four()
    before = chain(host)
    held = kept(host)
    del held["one", "xvda"]
    with host.recording():
        Engine(host).delete(GUEST, DeleteRequest("one"))
    assert all(one.executes for point in crash_points(host) for one in point.world.xen)
    assert chain(host) == [before[0], before[1], BASE.path]
    assert Engine(host).list(GUEST).contents.snapshots["two"].disks[0].image == BASE
    assert kept(host) == held
    sound(host, "merged")
    for name in ("two", "three"):
        Engine(host).delete(GUEST, DeleteRequest(name))
    assert chain(host) == [BASE.path]
    sound(host, "all gone")


@pytest.mark.parametrize("host_kind", [SimulatedHost, DoorHost])
def test_whoever_dies_each_snapshot_holds_what_it_held(host_kind: type[SimulatedHost]) -> None:
    door = host_kind is DoorHost
    assert judge(four(host_kind=host_kind), delete_oldest, every=DOOR_EVERY if door else 1) > 10


@pytest.mark.parametrize("name", ["one", "two", "three"])
def test_what_is_frozen_is_flagged_through_merges_below_a_guest_that_runs(name: str) -> None:
    host = four(DescribedBy.OPERATOR)
    assert flagged(host) == set(frozen(host))
    for point in every_crash(host, lambda engine: engine.delete(GUEST, DeleteRequest(name))):
        for death_name, death in DEATHS:
            after = SimulatedHost(death(point.world))
            Engine(after).recover(GUEST)
            assert flagged(after) == set(frozen(after)), f"{point!r}, {death_name}"
    Engine(host).delete(GUEST, DeleteRequest(name))
    assert flagged(host) == set(frozen(host))
    assert len(frozen(host)) == 2


def frozen(host: SimulatedHost) -> list[str]:
    return list(Engine(host).view(GUEST).frozen("xvda"))
