"""Domains that run: their guests, their disks while they run, memory saved and brought back."""

import pytest

from simulator import Cut, SimulatedHost, after_engine_crash, after_host_crash, crash_points, persist
from simulator.checkers.guests import alone, standing, torn, twins
from simulator.xen.incarnations import Xen
from xensnap.errors import Busy, Failed, NotFound, Refused, Unknown, Usage
from xensnap.hypervisor import Capability, TakeInternal, TakeOverlay, Then
from xensnap.model import Backing, Domain, Format, Layer, RunState

UUID = "5c84adcc-bd59-488a-96d2-195f9b599cfe"
SAVED = "/var/lib/xen/snapshots/g.save"
K64 = 65536


def with_guest(kind: str = "pv", disks: str = "ab", **options) -> SimulatedHost:
    host = SimulatedHost.fresh()
    paths = {f"xvd{letter}": host.create_image(f"/images/{letter}.qcow2").path for letter in disks}
    host.add_domain("guest", UUID, paths, kind=kind, **options)
    host.start("guest")
    return host


@pytest.fixture
def host() -> SimulatedHost:
    return with_guest()


def guest(host: SimulatedHost) -> Domain:
    return host.run(host.toolstack.inspect("guest"))


async def overlay(host: SimulatedHost, path: str, below: str) -> Layer:
    await host.files.create(path)
    await host.images.create_overlay(path, backing=Backing(below, below, Format.QCOW2), size_bytes=1 << 20)
    return Layer(path, Format.QCOW2)


async def checkpoint(host: SimulatedHost, *, tag: str = "s", then: Then = Then.RUNNING, live: bool = False) -> None:
    domain = await host.toolstack.inspect("guest")
    watcher = await host.toolstack.hold_watcher(domain)
    await host.files.create(SAVED)
    try:
        async with host.toolstack.saving(domain, to=SAVED, live=live) as save:
            await save.suspended()
            await host.blocks.transaction(domain, [TakeInternal(disk.vdev, tag) for disk in domain.disks])
            await save.finish(then=then)
    finally:
        if watcher:
            await watcher.resume()


async def back(host: SimulatedHost, *, tag: str = "s", paused: bool = False) -> Domain:
    domain = await host.toolstack.inspect("guest")
    await host.toolstack.destroy(domain)
    for disk in domain.disks:
        found = (await host.images.inspect(disk.layer)).tagged(tag)[0]
        await host.images.snapshot_apply(disk.layer, snapshot_id=found.id)
    layers = {disk.vdev: disk.layer for disk in domain.disks}
    return await host.toolstack.restore(SAVED, uuid=domain.uuid, layers=layers, paused=paused)


def test_the_host_can_do_what_running_domains_need():
    assert {Capability.RUNNING, Capability.MEMORY, Capability.LIVE_SAVE} <= SimulatedHost.capabilities


def test_a_guest_counts_while_it_runs_and_stands_still_while_it_is_paused(host):
    domain = guest(host)
    assert (domain.state, domain.domid) == (RunState.RUNNING, 1)
    first = host.memory("guest").counter
    host.run(host.machine.sleep(1))
    second = host.memory("guest").counter
    assert second > first
    host.run(host.toolstack.pause(domain))
    still = host.memory("guest").counter
    host.run(host.machine.sleep(1))
    assert host.memory("guest").counter == still
    assert guest(host).state is RunState.PAUSED
    with pytest.raises(Usage):
        host.guest_writes("guest", "xvda")
    host.run(host.toolstack.unpause(domain))
    assert host.memory("guest").counter >= still


def test_a_write_is_on_the_disk_only_when_it_was_flushed(host):
    before = host.running_disks("guest")
    host.guest_writes("guest", "xvda", 0, K64)
    assert host.running_disks("guest") == before
    assert host.guest_sees("guest")["xvda"][1] == ((0, 128, 1),)
    host.guest_flush("guest")
    assert host.running_disks("guest") == host.guest_sees("guest") == host.visible("guest")


def test_what_was_not_flushed_is_lost_in_a_crash_and_kept_in_a_checkpoint(host):
    host.guest_writes("guest", "xvda", 0, K64, flush=True)
    host.guest_writes("guest", "xvdb", 0, K64)
    seen, counted = host.guest_sees("guest"), host.memory("guest").counter
    host.run(checkpoint(host))
    crashed = SimulatedHost(after_host_crash(host.world, "lost"))
    crashed.start("guest")
    assert crashed.guest_sees("guest")["xvda"] == seen["xvda"]
    assert crashed.guest_sees("guest")["xvdb"] != seen["xvdb"]
    host.guest_writes("guest", "xvda", 0, K64, flush=True)
    host.run(back(host))
    assert host.guest_sees("guest") == seen
    assert host.memory("guest").counter >= counted
    assert not list(torn(host.world))


def test_old_memory_over_a_newer_disk_is_seen(host):
    host.guest_writes("guest", "xvda", 0, K64, flush=True)
    host.run(checkpoint(host))
    host.guest_writes("guest", "xvda", 0, K64, flush=True)
    domain = guest(host)
    host.run(host.toolstack.destroy(domain))
    layers = {disk.vdev: disk.layer for disk in domain.disks}
    host.run(host.toolstack.restore(SAVED, uuid=domain.uuid, layers=layers, paused=False))
    assert [finding.rule for finding in torn(host.world)] == ["memory-and-disk-disagree"]


@pytest.mark.parametrize("kind", ["pv", "pvh", "hvm"])
def test_memory_and_disks_of_a_checkpoint_are_of_one_moment_though_the_guest_never_rests(kind):
    host = with_guest(kind)
    host.guest_never_rests("guest", "xvda")
    host.guest_never_rests("guest", "xvdb", length_bytes=512)
    host.run(host.machine.sleep(0.1))
    host.run(checkpoint(host, live=kind != "pv"))
    host.run(host.machine.sleep(0.1))
    assert guest(host).state is RunState.RUNNING
    domain = host.run(back(host, paused=True))
    assert domain.state is RunState.PAUSED
    assert not list(torn(host.world))
    writes = host.world.writes
    host.run(host.machine.sleep(0.1))
    assert host.world.writes == writes
    host.run(host.toolstack.unpause(domain))
    host.run(host.machine.sleep(0.1))
    assert host.world.writes > writes
    assert not list(torn(host.world))
    assert not list(standing(host.world))


def test_whoever_lets_the_guest_run_before_the_transaction_is_found_out(host):
    host.guest_never_rests("guest", "xvda")
    host.run(host.files.create(SAVED))

    async def wrong() -> None:
        domain = await host.toolstack.inspect("guest")
        async with host.toolstack.saving(domain, to=SAVED) as save:
            await save.suspended()
            await save.finish(then=Then.RUNNING)
            await host.blocks.transaction(domain, [TakeInternal(disk.vdev, "s") for disk in domain.disks])

    host.run(wrong())
    host.run(back(host))
    assert {finding.rule for finding in torn(host.world)} == {"memory-and-disk-disagree"}


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize(
    ("then", "state"),
    [(Then.RUNNING, RunState.RUNNING), (Then.SAME, RunState.RUNNING), (Then.PAUSED, RunState.PAUSED),
     (Then.STOPPED, RunState.OFF)],
)  # fmt: skip
def test_after_a_save_the_guest_is_as_asked(then, state, live):
    host = with_guest("pvh")
    host.run(checkpoint(host, then=then, live=live))
    assert guest(host).state is state
    if state is not RunState.OFF:
        assert not list(alone(host.world))


def test_a_save_that_is_left_early_is_undone(host):
    host.run(host.files.create(SAVED))

    async def left() -> None:
        async with host.toolstack.saving(await host.toolstack.inspect("guest"), to=SAVED) as save:
            await save.suspended()
            raise Busy("something else")

    with pytest.raises(Busy):
        host.run(left())
    assert guest(host).state is RunState.RUNNING
    assert host.run(host.files.read(SAVED)) == b""


def test_the_running_chain_is_told_top_first_with_xens_names(host):
    tops = host.run(host.blocks.nodes(guest(host)))
    assert [(node.node_name, node.vdev, node.readonly) for node in tops] == [
        ("xvda-qcow2", "xvda", False),
        ("xvdb-qcow2", "xvdb", False),
    ]

    async def external() -> None:
        domain = await host.toolstack.inspect("guest")
        layer = await overlay(host, "/images/o1", "/images/a.qcow2")
        await host.blocks.transaction(domain, [TakeOverlay("xvda", layer), TakeInternal("xvdb", "s")])

    host.guest_writes("guest", "xvda", flush=True)
    base = host.visible_layer(Layer("/images/a.qcow2", Format.QCOW2))
    host.run(external())
    top = host.run(host.blocks.nodes(guest(host)))[0]
    assert top.layer.path == "/images/o1"
    assert top.backing is not None
    assert (top.backing.node_name, top.backing.readonly) == ("xvda-qcow2", True)
    host.guest_writes("guest", "xvda", flush=True)
    assert host.visible_layer(Layer("/images/a.qcow2", Format.QCOW2)) == base
    assert host.visible_layer(top.layer) == host.guest_sees("guest")["xvda"]


def test_images_of_a_running_domain_are_in_use(host):
    layer = Layer("/images/a.qcow2", Format.QCOW2)
    with pytest.raises(Busy, match="qemu-system"):
        host.run(host.images.require_unused(layer))
    host.run(host.toolstack.destroy(guest(host)))
    host.run(host.images.require_unused(layer))
    assert guest(host).state is RunState.OFF


def test_an_internal_snapshot_is_deleted_by_tag_and_id(host):
    domain, layer = guest(host), Layer("/images/a.qcow2", Format.QCOW2)
    host.run(host.blocks.transaction(domain, [TakeInternal("xvda", "s")]))
    entry = host.run(host.images.inspect(layer)).snapshots[0]
    with pytest.raises(NotFound, match="does not exist on device 'xvda-qcow2'"):
        host.run(host.blocks.delete_internal(domain, "xvda", tag="other", snapshot_id=entry.id))
    host.run(host.blocks.delete_internal(domain, "xvda", tag="s", snapshot_id=entry.id))
    assert not host.run(host.images.inspect(layer)).snapshots


def test_a_name_is_given_once(host):
    host.add_domain("other")
    with pytest.raises(Refused) as caught:
        host.run(host.toolstack.rename(guest(host), "other"))
    assert caught.value.id == "name-taken"
    host.run(host.toolstack.rename(guest(host), "5"))
    assert host.run(host.toolstack.inspect("5")).uuid == UUID


def test_a_guest_is_asked_to_power_off(host):
    host.guest_writes("guest", "xvda")
    host.run(host.toolstack.shutdown(guest(host), timeout_s=10))
    assert guest(host).state is RunState.OFF
    assert host.visible("guest")["xvda"][1]
    host.start("guest")
    host.guest_answers("guest", answers=False)
    with pytest.raises(Failed) as caught:
        host.run(host.toolstack.shutdown(guest(host), timeout_s=10))
    assert caught.value.id == "shutdown-timeout"


def test_what_needs_a_running_domain_says_that_it_is_off(host):
    host.run(host.toolstack.destroy(guest(host)))
    off = guest(host)
    for work in (host.toolstack.pause(off), host.toolstack.unpause(off), host.blocks.nodes(off)):
        with pytest.raises(Failed) as caught:
            host.run(work)
        assert caught.value.id == "not-running"
    host.run(host.toolstack.destroy(off))
    assert host.run(host.toolstack.hold_watcher(off)) is None


def test_a_world_with_running_guests_can_be_kept(host):
    host.guest_writes("guest", "xvda")
    host.run(checkpoint(host))
    kept = persist.decode(persist.encode(host.world))
    assert kept == host.world
    again = SimulatedHost(kept, pid=host.pid)
    again.run(back(again))
    assert not list(torn(again.world))


@pytest.mark.parametrize("orphans", ["finish", "running", "killed"])
@pytest.mark.parametrize("live", [False, True])
def test_at_every_death_in_a_checkpoint_the_guest_can_be_had_back(live, orphans):
    host = with_guest("pvh")
    host.guest_never_rests("guest", "xvda")
    with host.recording():
        host.run(checkpoint(host, live=live))
    states = set()
    for point in crash_points(host):
        after = SimulatedHost(after_engine_crash(point.world, orphans))
        after.run(after.machine.sleep(5))
        domain = guest(after)
        states.add(domain.state)
        if domain.state is RunState.SUSPENDED:
            after.run(after.toolstack.resume(domain))
        elif domain.state is RunState.PAUSED:
            after.run(after.toolstack.unpause(domain))
        if watcher := after.run(after.toolstack.hold_watcher(domain)):
            after.run(watcher.resume())
        assert not list(standing(after.world)), point
        assert not list(torn(after.world)), point
        assert not list(alone(after.world)), point
        tags = [after.run(after.images.inspect(disk.layer)).snapshots for disk in domain.disks]
        assert len({len(each) for each in tags}) == 1, point
    assert (RunState.SUSPENDED in states) == (orphans == "killed")
    assert RunState.RUNNING in states


@pytest.mark.parametrize("kind", ["pv", "hvm"])
def test_at_every_death_in_a_start_or_restore_the_domain_can_be_ended(kind):
    host = with_guest(kind)
    host.run(checkpoint(host))
    with host.recording():
        host.run(back(host))
    for orphans in ("finish", "running", "killed"):
        for point in crash_points(host):
            after = SimulatedHost(after_engine_crash(point.world, orphans))
            after.run(after.machine.sleep(5))
            after.run(after.toolstack.destroy(guest(after)))
            assert guest(after).state is RunState.OFF
            for disk in guest(after).disks:
                after.run(after.images.require_unused(disk.layer))
            assert not list(twins(after.world))


@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.PARTLY, Cut.UNACKNOWLEDGED])
@pytest.mark.parametrize("effect", ["xl.save", "xl.migrate"])
def test_a_save_that_fails_anywhere_leaves_the_guest_as_it_was(effect, cut):
    host = with_guest("pvh")
    host.fail_at(effect, cut)
    with pytest.raises(Failed):
        host.run(checkpoint(host, live=effect == "xl.migrate"))
    assert guest(host).state is RunState.RUNNING
    assert host.run(host.files.read(SAVED)) == b""
    assert not list(alone(host.world))
    assert not host.unmet_faults


@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.PARTLY, Cut.UNACKNOWLEDGED])
def test_a_transaction_whose_answer_is_lost_was_done(cut, host):
    host.fail_at("qmp.transaction", cut)
    with pytest.raises(Failed if cut is Cut.BEFORE else Unknown):
        host.run(host.blocks.transaction(guest(host), [TakeInternal("xvda", "s"), TakeInternal("xvdb", "s")]))
    counts = [len(host.run(host.images.inspect(disk.layer)).snapshots) for disk in guest(host).disks]
    assert counts == ([0, 0] if cut is Cut.BEFORE else [1, 1])


@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.PARTLY, Cut.UNACKNOWLEDGED])
@pytest.mark.parametrize("effect", ["xl.restore", "xl.create"])
def test_a_start_that_fails_leaves_no_domain(effect, cut, host):
    host.run(checkpoint(host))
    host.fail_at(effect, cut)

    async def created() -> None:
        await host.toolstack.destroy(await host.toolstack.inspect("guest"))
        await host.toolstack.create(UUID)

    with pytest.raises(Failed) as caught:
        host.run(back(host) if effect == "xl.restore" else created())
    assert caught.value.id == "not-started"
    assert guest(host).state is RunState.OFF
    assert not host.world.qemus


def test_ten_old_logs_are_kept_and_the_latest_is_the_first():
    xen = Xen()
    for number in range(13):
        xen = xen.logged("xl-a.log", f"{number}\n", anew=True)
    xen = xen.logged("xl-a.log", "more\n").logged("xl-b.log", "other\n", anew=True)
    old = {f"xl-a.log.{age}": f"{12 - age}\n" for age in range(1, 11)}
    assert dict(xen.logs) == {"xl-a.log": "12\nmore\n", "xl-b.log": "other\n", **old}
