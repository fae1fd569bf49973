"""Faults: an effect fails where it was told to, in the port's words, and a fault that was never met shows."""

import errno

import pytest

from simulator import Cut, SimulatedHost, after_host_crash, crash_points
from simulator.faults.points import effects, points
from xensnap.errors import Busy, Failed, FileFailed, ToolFailed, Unknown, Usage
from xensnap.errors import Effect as Known

ROOT = SimulatedHost.root
JOURNAL = f"{ROOT}/journal"


@pytest.fixture
def host() -> SimulatedHost:
    host = SimulatedHost.fresh()
    host.create_image("/images/a")
    return host


def test_the_names_of_effects_say_what_the_file_is_for():
    names = {effect.name for effect in effects()}
    assert {"journal.append", "journal.fsync", "record.create", "domain.replace", "sidecar.remove"} <= names
    assert {"dir.fsync", "image.create", "qemu-img.snapshot-create", "toolstack.set-layers", "lock.take"} <= names
    assert {cut for name, cut in points() if name == "journal.append"} == set(Cut)
    assert all(effect.summary for effect in effects())


def test_a_failure_before_leaves_nothing_and_one_halfway_a_torn_tail(host):
    fault = host.fail_at("journal.append", "before", errno.ENOSPC)
    with pytest.raises(FileFailed, match="No space left") as caught:
        host.run(host.files.append(JOURNAL, b"abcd"))
    assert (caught.value.errno, caught.value.effect) == (errno.ENOSPC, Known.NONE)
    assert host.run(host.files.stat(JOURNAL)) is None
    host.fail_at("journal.append", Cut.PARTLY, errno.EIO)
    assert host.unmet_faults
    with pytest.raises(FileFailed) as caught:
        host.run(host.files.append(JOURNAL, b"abcd"))
    assert caught.value.effect is Known.UNKNOWN
    assert host.run(host.files.read(JOURNAL)) == b"ab"
    assert not host.unmet_faults
    assert fault.cut is Cut.BEFORE


def test_a_reply_that_is_lost_is_unknown_although_it_was_done(host):
    host.fail_at("record.replace", Cut.UNACKNOWLEDGED, errno.EIO)
    path = f"{ROOT}/snapshotdata-d.a"
    with pytest.raises(Unknown):
        host.run(host.files.replace(path, b"x"))
    assert host.run(host.files.read(path)) == b"x"


@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.PARTLY, Cut.UNACKNOWLEDGED])
def test_a_tool_that_fails_is_gone_and_says_what_is_known(host, cut):
    layer = host.create_image("/images/b")
    host.write_layer(layer)
    host.fail_at("qemu-img.snapshot-create", cut, errno.EIO)
    with pytest.raises(ToolFailed, match="Input/output error") as caught:
        host.run(host.images.snapshot_create(layer, tag="s"))
    assert caught.value.effect is (Known.NONE if cut is Cut.BEFORE else Known.UNKNOWN)
    assert not host.world.agenda
    assert bool(host.run(host.images.check(layer)).leaks) == (cut is Cut.PARTLY)
    assert len(host.run(host.images.inspect(layer)).snapshots) == (cut is Cut.UNACKNOWLEDGED)


def test_the_third_effect_from_now_on_fails_with_the_very_error_that_was_given(host):
    host.fail_at(3, error=Busy("somebody is there"))
    for _ in range(2):
        host.run(host.files.append(JOURNAL, b"x"))
    with pytest.raises(Busy, match="somebody"):
        host.run(host.files.append(JOURNAL, b"x"))
    host.fail_at("journal.fsync", nth=2)
    host.run(host.files.sync(JOURNAL))
    with pytest.raises(Failed):
        host.run(host.files.sync(JOURNAL))


def test_a_fault_that_cannot_be_is_refused(host):
    with pytest.raises(Usage):
        host.fail_at("journal.burn")
    with pytest.raises(Usage):
        host.fail_at("journal.append", Cut.AFTER)


def test_a_recording_has_every_cut_and_no_world_twice(host):
    async def work() -> None:
        await host.files.append(JOURNAL, b"abcd")
        await host.files.sync(JOURNAL)
        await host.files.sync_dir(ROOT)

    with host.recording() as watch:
        host.run(work())
    assert [event.effect for event in watch.trace] == ["journal.append", "journal.fsync", "dir.fsync"]
    assert {(point.effect, point.cut) for point in host.recorded if point.effect == "journal.append"} == {
        ("journal.append", cut) for cut in Cut
    }
    told = [(point.effect, point.cut) for point in crash_points(host)]
    assert told == [
        ("journal.append", Cut.BEFORE),
        ("journal.append", Cut.PARTLY),
        ("journal.append", Cut.UNACKNOWLEDGED),
        ("journal.fsync", Cut.UNACKNOWLEDGED),
        ("dir.fsync", Cut.UNACKNOWLEDGED),
    ]
    contents = []
    for point in crash_points(host):
        after = SimulatedHost(after_host_crash(point.world, "lost"))
        there = after.run(after.files.stat(JOURNAL))
        contents.append(after.run(after.files.read(JOURNAL)) if there else None)
    # A synced file whose name was not synced is gone; both together survive.
    assert contents == [None, None, None, None, b"abcd"]


def test_a_crash_of_the_host_is_a_new_boot_without_processes_or_locks(host):
    host.run(host.files.lock(f"{ROOT}/lock", note=b"me"))
    host.open_image("/images/a")
    after = SimulatedHost(after_host_crash(host.world, "kept"))
    assert after.run(after.machine.whoami()).boot_id != host.run(host.machine.whoami()).boot_id
    assert after.run(after.machine.openers("/images/a")) == ()
    after.run(after.files.lock(f"{ROOT}/lock", note=b"again"))
