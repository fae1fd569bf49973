"""The manners of Xen and its QEMU that a snapshot tool meets. Each test names the measured fact that it holds to."""

import pytest

from simulator import Cut, SimulatedHost, after_engine_crash, crash_points
from simulator.checkers.guests import alone, torn, twins
from simulator.checkers.leaks import unclean
from simulator.tools.qemu_img import SnapshotCreate
from simulator.world import World
from xensnap.errors import Busy, Failed, Refused, Usage, XensnapError
from xensnap.formats import savefile
from xensnap.hypervisor import TakeInternal, TakeOverlay, Then
from xensnap.model import Backend, Backing, DescribedBy, Disk, Domain, DomainUuid, Format, Layer, RunState

UUID = DomainUuid("5c84adcc-bd59-488a-96d2-195f9b599cfe")
SAVED = "/var/lib/xen/snapshots/g.save"
K64 = 65536
BASE = Layer("/images/a.qcow2", Format.QCOW2)
OVERLAY = Layer("/images/o.qcow2", Format.QCOW2)


def with_guest(kind: str = "pv", **options) -> SimulatedHost:
    host = SimulatedHost.fresh()
    host.create_image(BASE.path)
    host.add_domain("guest", UUID, {"xvda": BASE.path}, kind=kind, **options)
    host.start("guest")
    return host


@pytest.fixture
def host() -> SimulatedHost:
    return with_guest()


def guest(host: SimulatedHost, ref: str = "guest") -> Domain:
    return host.run(host.toolstack.inspect(ref))


def save(host: SimulatedHost, *, then: Then = Then.RUNNING, held: bool = False, live: bool = False) -> None:
    async def saved() -> None:
        domain = await host.toolstack.inspect("guest")
        watcher = await host.toolstack.hold_watcher(domain) if held else None
        try:
            async with host.toolstack.saving(domain, to=SAVED, live=live) as saving:
                await saving.suspended()
                await saving.finish(then=then)
        finally:
            if watcher:
                await watcher.resume()

    host.run(saved())


def take(host: SimulatedHost, *actions: TakeInternal | TakeOverlay) -> None:
    host.run(host.blocks.transaction(guest(host), actions))


def external(host: SimulatedHost) -> None:
    async def made() -> None:
        await host.files.create(OVERLAY.path)
        await host.images.create_overlay(
            OVERLAY.path, backing=Backing("a.qcow2", BASE.path, Format.QCOW2), size_bytes=1 << 20
        )

    host.run(made())
    take(host, TakeOverlay("xvda", OVERLAY))


def restore(host: SimulatedHost, *, layer: Layer = BASE, paused: bool = False) -> Domain:
    return host.run(host.toolstack.restore(SAVED, uuid=guest(host).uuid, layers={"xvda": layer}, paused=paused))


def elapsed_s(host: SimulatedHost, before: SimulatedHost) -> float:
    return (host.world.clock.monotonic_ns - before.world.clock.monotonic_ns) / 1e9


def written_bytes(world: World) -> int:
    stored = world.fs.inode(SAVED).stored
    assert isinstance(stored, bytes)
    return len(stored)


# --- domains and xl --------------------------------------------------------------------------------------------------


def test_a_save_ends_the_watcher_unless_it_is_held(host):
    """xen.md 1, xen-live.md C1"""
    lost = host.fork()
    save(lost)
    assert [finding.rule for finding in alone(lost.world)] == ["watcher-lost"]
    poweroff = lost.fork()
    poweroff.guest_poweroff("guest")
    assert guest(poweroff).state is RunState.SHUTDOWN
    lost.guest_reboot("guest")
    assert guest(lost).state is RunState.SHUTDOWN
    save(host, held=True)
    assert not list(alone(host.world))
    host.guest_reboot("guest")
    assert (guest(host).state, guest(host).domid) == (RunState.RUNNING, 2)
    host.guest_poweroff("guest")
    assert guest(host).state is RunState.OFF


def test_who_stands_in_for_a_lost_watcher_outlives_a_save_and_is_one_of_xl_after_a_reboot(host):
    """xen-live.md C2"""
    save(host)
    host.run(host.toolstack.watch(guest(host)))
    save(host)
    assert not list(alone(host.world))
    host.guest_reboot("guest")
    assert (guest(host).state, guest(host).domid) == (RunState.RUNNING, 2)
    save(host)
    assert [finding.rule for finding in alone(host.world)] == ["watcher-lost"]


def test_what_has_happened_while_nobody_watched_is_acted_on_when_somebody_does(host):
    """xen-live.md C2"""
    save(host)
    host.guest_poweroff("guest")
    host.run(host.toolstack.watch(guest(host)))
    assert guest(host).state is RunState.OFF


def test_a_restore_starts_a_new_watcher(host):
    """xen.md 1"""
    save(host, then=Then.STOPPED)
    restore(host)
    assert not list(alone(host.world))


def test_a_shutdown_while_the_watcher_is_held_is_handled_when_it_goes_on(host):
    """xen-live.md C1"""
    watcher = host.run(host.toolstack.hold_watcher(guest(host)))
    host.guest_reboot("guest")
    assert guest(host).state is RunState.SHUTDOWN
    assert watcher is not None
    host.run(watcher.resume())
    assert (guest(host).state, guest(host).domid) == (RunState.RUNNING, 2)


def test_a_watcher_that_goes_on_while_its_domain_is_suspended_ends(host):
    """xen-live.md C1"""
    host.run(host.toolstack.hold_watcher(guest(host)))
    after = killed_in_the_middle(host)
    assert not list(alone(after.world))
    watcher = after.run(after.toolstack.hold_watcher(guest(after)))
    assert watcher is not None
    after.run(watcher.resume())
    assert list(alone(after.world))


def test_a_save_is_never_live_and_the_state_is_suspended_for_the_whole_write(host):
    """xen.md 2"""
    with host.recording():
        save(host)
    states = [
        guest(SimulatedHost(point.world)).state
        for point in host.recorded
        if point.effect == "xl.save" and point.cut is Cut.PARTLY
    ]
    assert states.count(RunState.SUSPENDED) == 4
    assert states[-1] is RunState.SUSPENDED
    after = [point for point in host.recorded if point.effect == "xl.save" and point.cut is Cut.AFTER]
    assert guest(SimulatedHost(after[0].world)).state is RunState.PAUSED


@pytest.mark.parametrize(("kind", "drivers"), [("pv", True), ("pvh", True), ("hvm", True), ("hvm", False)])
def test_a_paused_domain_cannot_be_saved_but_for_an_hvm_guest_without_drivers(kind, drivers):
    """xen.md 3, 4"""
    host = with_guest(kind, drivers=drivers)
    host.run(host.toolstack.pause(guest(host)))
    before = host.fork()
    if kind == "hvm" and not drivers:
        assert host.xl_save("guest", SAVED) == ""
        assert host.incarnation("guest").pauses == 2
        return
    assert "didn't acknowledge suspend" in host.xl_save("guest", SAVED)
    assert 60 <= elapsed_s(host, before) < 61
    assert guest(host).state is RunState.PAUSED
    with pytest.raises(Failed) as caught:
        save(before)
    assert caught.value.id == "guest-silent"
    assert before.incarnation("guest").pauses == 1


@pytest.mark.parametrize("end", ["guest_crash", "kill_qemu", "answers"])
def test_what_does_not_answer_is_not_saved_after_sixty_seconds(host, end):
    """xen.md 3, xen-live.md A6"""
    if end == "guest_crash":
        host.run(host.toolstack.hold_watcher(guest(host)))
    if end == "answers":
        host.guest_answers("guest", answers=False)
    else:
        getattr(host, end)("guest")
    before = host.fork()
    with pytest.raises(Failed, match="acknowledge"):
        save(host)
    assert elapsed_s(host, before) > 60


def test_pauses_are_counted(host):
    """xen.md 4"""
    domain = guest(host)
    host.run(host.toolstack.pause(domain))
    host.run(host.toolstack.pause(domain))
    with pytest.raises(Failed) as caught:
        host.run(host.toolstack.unpause(domain))
    assert caught.value.id == "not-running"
    host.run(host.toolstack.unpause(domain))
    assert guest(host).state is RunState.RUNNING


def test_a_failed_save_leaves_its_fragment_and_the_file_it_began_on_is_gone_at_once(host):
    """xen.md 6, 1"""
    assert host.xl_save("guest", SAVED, then="-c") == ""
    whole = host.run(host.files.read(SAVED))
    stat = host.run(host.files.stat(SAVED))
    assert stat is not None
    assert stat.mode == 0o644
    host.set_capacity(free_bytes=2 * 4096)
    assert "rc=-3" in host.xl_save("guest", SAVED + "2")
    fragment = host.run(host.files.read(SAVED + "2"))
    head = savefile.length(whole, path=SAVED)
    assert head <= len(fragment) < len(whole)
    assert guest(host).state is RunState.RUNNING
    assert list(alone(host.world))
    host.run(host.toolstack.pause(guest(host)))
    host.set_capacity(free_bytes=1 << 20)
    assert host.xl_save("guest", SAVED)
    assert len(host.run(host.files.read(SAVED))) == head


def test_a_save_through_the_port_leaves_no_fragment_and_keeps_the_mode(host):
    """xen.md 6"""
    host.run(host.files.create(SAVED))
    host.set_capacity(free_bytes=2 * 4096)
    with pytest.raises(Failed):
        save(host, held=True)
    stat = host.run(host.files.stat(SAVED))
    assert (stat.mode, stat.length_bytes) == (0o600, 0)
    assert guest(host).state is RunState.RUNNING


def killed_in_the_middle(host: SimulatedHost) -> SimulatedHost:
    """An engine and its `xl save` that were killed while the guest was suspended."""
    running = host.fork()
    with running.recording():
        save(running)
    worlds = [
        point.world
        for point in crash_points(running)
        if point.cut is Cut.PARTLY and guest(SimulatedHost(point.world)).state is RunState.SUSPENDED
    ]
    return SimulatedHost(after_engine_crash(worlds[1], "killed"))


def test_a_killed_save_leaves_the_guest_suspended_and_only_a_resume_brings_it_back(host):
    """xen.md 7, xen-live.md E2"""
    after = killed_in_the_middle(host)
    assert guest(after).state is RunState.SUSPENDED
    with pytest.raises(Failed):
        after.run(after.toolstack.unpause(guest(after)))
    assert guest(after).state is RunState.SUSPENDED
    plain = after.fork()
    assert plain.xl_save("guest", "/images/x.save", then="-c") == ""
    assert guest(plain).state is RunState.RUNNING
    assert elapsed_s(plain, after) >= 60
    before = after.fork()
    after.run(after.toolstack.resume(guest(after)))
    assert guest(after).state is RunState.RUNNING
    assert elapsed_s(after, before) < 1
    assert not list(torn(after.world))


def test_nobody_is_resumed_while_a_save_is_still_at_work_on_it(host):
    """xen-live.md E2"""
    with host.recording():
        save(host)
    point = next(each for each in crash_points(host) if guest(SimulatedHost(each.world)).state is RunState.SUSPENDED)
    after = SimulatedHost(after_engine_crash(point.world, "running"))
    with pytest.raises(Failed, match="still saving"):
        after.run(after.toolstack.resume(guest(after)))
    after.run(after.machine.sleep(1))
    assert guest(after).state is RunState.PAUSED


def test_after_a_death_behind_a_save_the_file_is_whole_and_an_unpause_suffices(host):
    """xen-live.md E1"""
    with host.recording():
        save(host)
    point = next(each for each in host.recorded if each.effect == "xl.save" and each.cut is Cut.AFTER)
    after = SimulatedHost(after_engine_crash(point.world, "killed"))
    assert guest(after).state is RunState.PAUSED
    after.run(after.toolstack.unpause(guest(after)))
    after.run(after.toolstack.destroy(guest(after)))
    restore(after)
    assert not list(torn(after.world))


def test_a_restore_does_not_look_whether_its_disk_opened_but_the_port_does(host):
    """xen.md 8"""
    save(host, then=Then.STOPPED)
    host.run(host.files.remove(BASE.path))
    missing = host.fork()
    host.run(host.files.create(BASE.path, b"not a qcow2 image"))
    believed = host.fork()
    assert believed.xl_restore("guest", SAVED) == ""
    assert guest(believed).state is RunState.RUNNING
    assert believed.guest_sees("guest") == {}
    assert [finding.rule for finding in torn(believed.world)] == ["disk-missing"]
    with pytest.raises(Failed) as caught:
        restore(host)
    assert caught.value.id == "disk-not-opened"
    assert guest(host).state is RunState.OFF
    assert "failed to stat" in missing.xl_restore("guest", SAVED)


def test_every_start_has_a_new_domid_and_a_failed_restore_burns_one(host):
    """xen.md 9"""
    save(host, then=Then.STOPPED)
    whole = host.run(host.files.read(SAVED))
    host.run(host.files.replace(SAVED, whole[:-100]))
    with pytest.raises(Failed, match="truncated"):
        restore(host)
    assert guest(host).state is RunState.OFF
    host.run(host.files.replace(SAVED, whole))
    assert restore(host).domid == 3
    assert guest(host).uuid == UUID


def test_the_name_must_be_free_when_the_domain_is_made(host):
    """xen.md 9"""
    save(host)
    assert "already exists" in host.xl_restore("guest", SAVED)
    assert host.world.xen.next_domid == 2


def test_a_domain_restored_paused_that_never_ran_cannot_be_saved(host):
    """xen.md 10"""
    save(host, then=Then.STOPPED)
    domain = restore(host, paused=True)
    assert "Bad mfn" in host.xl_save("guest", SAVED + "2")
    host.run(host.toolstack.unpause(domain))
    assert host.xl_save("guest", SAVED + "2") == ""


def test_a_name_may_be_a_number(host):
    """xen.md 12"""
    host.run(host.toolstack.rename(guest(host), "5"))
    host.add_domain("other")
    for number in range(2, 6):
        host.start("other")
        if number < 5:
            host.run(host.toolstack.destroy(guest(host, "other")))
    assert guest(host, "other").domid == 5
    assert guest(host, "5").uuid == UUID
    assert guest(host, "1").uuid == UUID


def test_two_restores_of_one_file_at_once_both_succeed(host):
    """xen.md 12"""
    save(host, then=Then.STOPPED)
    layers = {"xvda": BASE}

    def once(one: SimulatedHost):
        return one.toolstack.restore(SAVED, uuid=guest(host).uuid, layers=layers, paused=True)

    for seed in range(20):
        both = host.fork()
        again = both.another()
        both.interleaving(seed)
        try:
            first, second = both.run(both.gather(once(both), once(again)))
        except XensnapError:
            continue
        assert first.domid != second.domid
        assert [finding.rule for finding in twins(both.world)] == ["domain-twice"]
        with pytest.raises(Refused) as caught:
            guest(both)
        assert caught.value.id == "ambiguous-domain"
        both.run(both.toolstack.destroy(second))
        assert guest(both) == first
        break
    else:
        raise AssertionError("never")


def test_during_a_restore_the_domain_is_listed_by_its_name_and_has_no_memory_yet(host):
    """xen.md 13: xl shows it as paused, with Mem 0; what is left so can only be destroyed"""
    save(host, then=Then.STOPPED)
    with host.recording():
        restore(host)
    found = {guest(SimulatedHost(p.world)).state for p in host.recorded if p.effect == "xl.restore"}
    assert found == {RunState.OFF, RunState.DYING, RunState.PAUSED, RunState.RUNNING}


def test_a_restore_can_name_other_disks(host):
    """xen.md 14, xen-live.md B5"""
    save(host, then=Then.STOPPED)
    host.create_image("/images/copy.qcow2")
    domain = restore(host, layer=Layer("/images/copy.qcow2", Format.QCOW2))
    assert domain.disks[0].path == "/images/copy.qcow2"
    assert guest(host).disks[0].path == "/images/copy.qcow2"


def test_a_start_without_a_pinned_uuid_has_a_new_one_each_time():
    """design 5.8"""
    host = with_guest(pinned=False)
    first = guest(host)
    assert first.uuid != UUID
    host.run(host.toolstack.destroy(first))
    host.start("guest")
    assert guest(host).uuid not in {UUID, first.uuid}
    assert (guest(host).name, guest(host).disks) == (first.name, first.disks)


# --- disks and QMP ---------------------------------------------------------------------------------------------------


def test_qdisks_have_nodes_named_after_vdev_and_format_which_a_restore_keeps(host):
    """xen.md 15"""
    names = [node.node_name for node in host.run(host.blocks.nodes(guest(host)))]
    assert names == ["xvda-qcow2"]
    save(host, then=Then.STOPPED)
    assert [node.node_name for node in host.run(host.blocks.nodes(restore(host)))] == names


def test_an_hvm_guest_has_each_image_open_twice_until_it_unplugs():
    """xen.md 16"""
    host = with_guest("hvm", drivers=False)
    nodes = host.run(host.blocks.nodes(guest(host)))
    assert [node.layer for node in nodes] == [BASE, BASE]
    assert nodes[0].node_name.startswith("#block")
    assert nodes[1].node_name == "xvda-qcow2"
    host.guest_writes("guest", "xvda", flush=True)
    take(host, TakeInternal("xvda", "s"))
    host.guest_writes("guest", "xvda", K64, flush=True)
    host.run(host.toolstack.destroy(guest(host)))
    assert host.run(host.images.inspect(BASE)).snapshots == ()
    assert {finding.rule for finding in unclean(host.world.fs)} >= {"leaked-clusters"}
    unplugged = with_guest("hvm")
    assert len(unplugged.run(unplugged.blocks.nodes(guest(unplugged)))) == 1


def test_what_is_no_qdisk_is_unknown_to_qemu():
    """xen.md 17"""
    host = SimulatedHost.fresh()
    host.create_image("/images/raw.img", "raw")
    host.add_domain("guest", UUID, [Disk("xvda", "/images/raw.img", Format.RAW, backend=Backend.PHY)])
    host.start("guest")
    assert host.run(host.blocks.nodes(guest(host))) == ()
    with pytest.raises(Failed, match="Cannot find device"):
        take(host, TakeInternal("xvda", "s"))


def test_qemu_img_on_a_running_disk_just_works_and_is_overwritten(host):
    """xen.md 18"""
    assert host.operate(SnapshotCreate(BASE, "outside")) == ""
    take(host, TakeInternal("xvda", "inside"))
    table = host.run(host.images.inspect(BASE)).snapshots
    assert [(entry.id, entry.tag) for entry in table] == [("1", "inside")]
    host.run(host.toolstack.destroy(guest(host)))
    assert [finding.rule for finding in unclean(host.world.fs)] == ["leaked-clusters"]


def test_a_second_monitor_client_hears_nothing(host):
    """xen.md 19"""
    host.hold_monitor("guest", "libxenstat")
    with pytest.raises(Busy):
        host.run(host.blocks.nodes(guest(host)))
    host.hold_monitor("guest", "libxl")
    assert host.run(host.blocks.nodes(guest(host)))
    save(host)
    host.hold_monitor("guest", "")


def test_a_held_monitor_harms_the_save_of_an_hvm_guest():
    """xen.md 19"""
    host = with_guest("hvm")
    host.hold_monitor("guest", "libxl")
    before = host.fork()
    with pytest.raises(Failed, match="unable to retrieve domain configuration"):
        save(host)
    assert 11 <= elapsed_s(host, before) < 12
    host.hold_monitor("guest", "")
    save(host)


def test_a_transaction_is_all_or_nothing():
    """xen.md 21, 22"""
    host = SimulatedHost.fresh()
    paths = {"xvda": host.create_image(BASE.path).path, "xvdb": host.create_image("/images/b.img", "raw").path}
    paths["xvdc"] = host.create_image("/images/c.qcow2").path
    host.add_domain("guest", UUID, paths)
    host.start("guest")
    with pytest.raises(Failed, match="Block format 'raw' used by device 'xvdb-raw' does not support internal"):
        take(host, TakeInternal("xvda", "s"), TakeInternal("xvdb", "s"))
    take(host, TakeInternal("xvdc", "s"))
    with pytest.raises(Failed, match="Snapshot with name 's' already exists on device 'xvdc-qcow2'"):
        take(host, TakeInternal("xvda", "s"), TakeInternal("xvdc", "s"))
    with pytest.raises(Failed, match="Name is empty"):
        take(host, TakeInternal("xvda", ""))
    with pytest.raises(Failed, match="No such file or directory"):
        take(host, TakeInternal("xvda", "s"), TakeOverlay("xvdc", OVERLAY))
    with pytest.raises(Refused):
        take(host, TakeInternal("xvda", "s"), TakeInternal("xvda", "t"))
    host.set_capacity(free_bytes=0)
    with pytest.raises(Failed, match="No space left"):
        take(host, TakeInternal("xvda", "full"))
    assert host.run(host.images.inspect(BASE)).snapshots == ()
    assert not list(unclean(host.world.fs))
    take(host)


def test_a_guest_that_writes_into_a_full_file_system_gets_errors_that_only_it_knows_of(host):
    """xen.md 21"""
    host.set_capacity(free_bytes=0)
    host.guest_writes("guest", "xvda", flush=True)
    assert host.memory("guest").io_errors == 1
    assert guest(host).state is RunState.RUNNING
    assert not list(torn(host.world))


def test_the_immutable_flag_stops_writes_on_open_descriptors(host):
    """design 5.9"""
    host.run(host.files.set_immutable(BASE.path, on=True))
    host.guest_writes("guest", "xvda", flush=True)
    assert host.memory("guest").io_errors == 1


@pytest.mark.parametrize("switched", [False, True])
def test_after_an_external_snapshot_save_and_restore_attach_the_base_unless_layers_were_set(host, switched):
    """xen.md 23, xen-live.md B"""
    external(host)
    assert guest(host).disks[0].layer == BASE
    if switched:
        host.run(host.toolstack.set_layers(UUID, {"xvda": OVERLAY}))
    host.guest_writes("guest", "xvda", flush=True)
    assert host.xl_save("guest", SAVED, then="") == ""
    assert host.xl_restore("guest", SAVED) == ""
    assert host.run(host.blocks.nodes(guest(host)))[0].layer == (OVERLAY if switched else BASE)
    assert bool(list(torn(host.world))) == (not switched)


@pytest.mark.parametrize("switched", [False, True])
def test_a_save_file_keeps_the_disks_of_its_moment_until_the_restore_names_others(host, switched):
    """xen-live.md B5: only what is read of the header at the restore counts, and that can be another"""
    save(host, then=Then.PAUSED)
    host.run(host.toolstack.unpause(guest(host)))
    external(host)
    host.run(host.toolstack.set_layers(UUID, {"xvda": OVERLAY}))
    host.run(host.toolstack.destroy(guest(host)))
    if switched:
        restore(host, layer=OVERLAY)
    else:
        assert host.xl_restore("guest", SAVED) == ""
    assert host.run(host.blocks.nodes(guest(host)))[0].layer == (OVERLAY if switched else BASE)


def test_a_base_that_was_renamed_away_is_all_that_a_start_ever_refuses():
    """xen-live.md B6"""
    host = with_guest(described_by=DescribedBy.OPERATOR)
    host.guest_poweroff("guest")
    host.run(host.files.rename(BASE.path, "/images/away.qcow2"))
    with pytest.raises(Usage, match=r"failed to stat /images/a\.qcow2"):
        host.start("guest")
    assert guest(host).state is RunState.OFF


def test_an_internal_snapshot_goes_into_the_overlay(host):
    """xen.md 23, qemu.md 115"""
    external(host)
    take(host, TakeInternal("xvda", "s"))
    assert host.run(host.images.inspect(BASE)).snapshots == ()
    assert len(host.run(host.images.inspect(OVERLAY)).snapshots) == 1


def test_the_three_next_starts_after_an_external_snapshot():
    """xen-live.md B1, B3, design 5.9: the watcher's, the stored one, the operator's own file"""
    host = with_guest(described_by=DescribedBy.OPERATOR)
    external(host)
    untouched = host.fork()
    untouched.guest_reboot("guest")
    assert untouched.run(untouched.blocks.nodes(guest(untouched)))[0].layer == BASE
    updated = host.fork()
    updated.config_update("guest", {"xvda": OVERLAY})
    assert guest(updated).disks[0].layer == BASE
    updated.guest_reboot("guest")
    assert updated.run(updated.blocks.nodes(guest(updated)))[0].layer == OVERLAY
    host.run(host.toolstack.set_layers(UUID, {"xvda": OVERLAY}))
    assert guest(host).disks[0].layer == OVERLAY
    host.guest_reboot("guest")
    assert host.run(host.blocks.nodes(guest(host)))[0].layer == OVERLAY
    host.guest_poweroff("guest")
    host.start("guest")
    assert host.run(host.blocks.nodes(guest(host)))[0].layer == BASE


def test_a_death_between_the_two_sources_leaves_one_switched(host):
    """design 5.9"""
    external(host)
    with host.recording():
        host.run(host.toolstack.set_layers(UUID, {"xvda": OVERLAY}))
    half = SimulatedHost(next(point.world for point in host.recorded if point.cut is Cut.PARTLY))
    assert guest(half).disks[0].layer == OVERLAY
    half.guest_reboot("guest")
    assert half.run(half.blocks.nodes(guest(half)))[0].layer == BASE


def test_with_an_immutable_base_a_wrong_start_comes_up_without_its_disk():
    """xen-live.md B6"""
    host = with_guest(described_by=DescribedBy.OPERATOR)
    host.guest_poweroff("guest")
    host.run(host.files.set_immutable(BASE.path, on=True))
    host.start("guest")
    assert host.guest_sees("guest") == {}
    host.run(host.toolstack.destroy(guest(host)))
    with pytest.raises(Failed, match="Operation not permitted"):
        host.run(host.toolstack.create(guest(host).uuid))


def test_a_dead_qemu_is_not_noticed_by_xl(host):
    """xen.md 25"""
    host.kill_qemu("guest")
    assert guest(host).state is RunState.RUNNING
    with pytest.raises(Failed) as caught:
        host.run(host.blocks.nodes(guest(host)))
    assert caught.value.id == "monitor-gone"


# --- the live stream -------------------------------------------------------------------------------------------------


def test_a_pv_guest_cannot_be_saved_live(host):
    """xen-live.md A1"""
    with pytest.raises(Failed, match="Failed to enable logdirty"):
        save(host, live=True)
    assert guest(host).state is RunState.RUNNING
    assert not list(alone(host.world))


def test_an_hvm_guests_images_are_given_up_at_the_suspend_point_of_a_live_save_until_cont():
    """xen-live.md A4"""
    host = with_guest("hvm")
    with host.recording():
        save(host, live=True)
    before = next(point for point in host.recorded if point.effect == "qmp.cont" and point.cut is Cut.BEFORE)
    after = next(point for point in host.recorded if point.effect == "qmp.cont" and point.cut is Cut.AFTER)
    with pytest.raises(Failed, match="does not support internal snapshots"):
        take(SimulatedHost(before.world), TakeInternal("xvda", "s"))
    take(SimulatedHost(after.world), TakeInternal("xvda", "s"))


def test_a_live_save_whose_disk_is_full_lets_the_guest_go_on():
    """xen-live.md A6"""
    host = with_guest("pvh")
    host.set_capacity(free_bytes=2 * 4096)
    with pytest.raises(Failed, match="rc=-3"):
        save(host, live=True, held=True)
    assert guest(host).state is RunState.RUNNING
    assert not list(alone(host.world))


def test_a_live_stream_is_an_ordinary_save_file_and_a_refused_migration_its_good_end():
    """xen-live.md A2: the receiver has the file and refuses, xl fails and lets its guest go on"""
    host = with_guest("pvh")
    with host.recording():
        save(host, live=True, held=True)
    assert [point.cut for point in host.recorded if point.effect == "xl.migrate-end"][-1] is Cut.AFTER
    assert guest(host).state is RunState.RUNNING
    domid = guest(host).domid
    assert host.xl_restore("guest", SAVED) != "", "the name is taken while the source runs on"
    host.run(host.toolstack.destroy(guest(host)))
    assert host.xl_restore("guest", SAVED) == ""
    assert (guest(host).state, domid) == (RunState.RUNNING, 1)


@pytest.mark.parametrize("kind", ["pvh", "hvm"])
def test_a_live_stream_sends_the_memory_while_the_guest_runs_and_a_save_while_it_stands(kind):
    """xen-live.md A3, A5: the passes before the last one run beside the guest, which makes the file longer"""
    saved_bytes = {}
    for live in (False, True):
        host = with_guest(kind)
        with host.recording():
            save(host, live=live, held=True)
        running = [
            written_bytes(point.world)
            for point in host.recorded
            if point.effect in {"xl.save", "xl.migrate"}
            and point.cut is Cut.PARTLY
            and point.world.fs.find(SAVED)
            and guest(SimulatedHost(point.world)).state is RunState.RUNNING
        ]
        saved_bytes[live] = written_bytes(host.world)
        assert (max(running) > saved_bytes[live] / 2) == live
    assert saved_bytes[True] > saved_bytes[False]


@pytest.mark.parametrize("switched", [False, True])
def test_who_holds_an_image_is_asked_of_the_kernel_since_qemu_under_xen_locks_nothing(host, switched):
    """xen-live.md D: a lease is refused for the overlay and for the base that is only read; xenstore knows only one"""
    if switched:
        external(host)
    held = [BASE, OVERLAY] if switched else [BASE]
    for layer in held:
        with pytest.raises(Busy, match="qemu-system"):
            host.run(host.images.require_unused(layer))
        host.run(host.images.inspect(layer))
    assert [disk.layer for disk in guest(host).disks] == [BASE]
    host.run(host.toolstack.destroy(guest(host)))
    for layer in held:
        host.run(host.images.require_unused(layer))
