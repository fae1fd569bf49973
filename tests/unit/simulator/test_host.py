"""The simulated host as a test or an operator uses it."""

import msgspec
import pytest

from simulator import SimulatedHost, World, after_engine_crash, persist
from simulator.checkers.content import changed, would_give
from simulator.checkers.leaks import broken, orphaned, reached
from simulator.checkers.two_writers import base_changed, open_twice
from xensnap.errors import Busy, Damaged, FileFailed, NotFound, Refused, Usage
from xensnap.hypervisor import Hypervisor
from xensnap.model import Backing, DiskSnapshot, Fingerprint, Format, Kind, Layer

ROOT = SimulatedHost.root
UUID = "5c84adcc-bd59-488a-96d2-195f9b599cfe"


@pytest.fixture
def host() -> SimulatedHost:
    host = SimulatedHost.fresh()
    host.create_image("/images/a")
    host.add_domain("guest", UUID, {"xvda": "/images/a"})
    return host


def test_it_is_a_hypervisor(host):
    typed: Hypervisor = host
    assert typed.name == "sim"


def test_the_same_seed_gives_the_same_host_and_another_seed_another():
    one, two, other = (SimulatedHost.fresh(seed) for seed in (1, 1, 2))
    assert one.world == two.world
    assert one.run(one.machine.fresh_id()) == two.run(two.machine.fresh_id()) != other.run(other.machine.fresh_id())


def test_a_domain_is_found_by_uuid_and_by_name(host):
    assert host.run(host.toolstack.inspect(UUID)) == host.run(host.toolstack.inspect("guest"))
    with pytest.raises(NotFound, match="no domain 'other'") as caught:
        host.run(host.toolstack.inspect("other"))
    assert caught.value.remedy == "There are: 'guest'. `xensnap sim domain add` makes one."
    with pytest.raises(Usage):
        host.add_domain("guest")


def test_switching_layers_is_all_or_nothing(host):
    new = Layer("/images/b", Format.QCOW2)
    with pytest.raises(NotFound):
        host.run(host.toolstack.set_layers(UUID, {"xvda": new, "xvdz": new}))
    assert host.run(host.toolstack.inspect(UUID)).disks[0].path == "/images/a"
    host.run(host.toolstack.set_layers(UUID, {"xvda": new}))
    assert host.run(host.toolstack.inspect(UUID)).disks[0].layer == new
    assert '"/images/b"' in host.run(host.toolstack.configuration(UUID))


def test_two_engines_on_one_host_share_its_lock(host):
    other = host.another()
    lock = host.run(host.files.lock(f"{ROOT}/lock", note=b"the first"))
    with pytest.raises(Busy, match="the first"):
        other.run(other.files.lock(f"{ROOT}/lock", note=b"the second", wait_s=1))
    host.run(lock.release())
    other.run(other.files.lock(f"{ROOT}/lock", note=b"the second"))


def test_a_child_that_outlives_its_parent_holds_the_lock(host):
    layer = Layer("/images/a", Format.QCOW2)
    host.run(host.files.lock(f"{ROOT}/lock", note=b"the first"))
    work = host.images.snapshot_create(layer, tag="s")
    while not host.world.agenda:
        work.send(None)
    other = SimulatedHost(after_engine_crash(host.world, "running"))
    work.close()
    with pytest.raises(Busy):
        other.run(other.files.lock(f"{ROOT}/lock", note=b"x"))
    other.run(other.files.lock(f"{ROOT}/lock", note=b"x", wait_s=1))
    assert host.run(host.images.inspect(layer)).snapshots == ()
    assert [entry.tag for entry in other.run(other.images.inspect(layer)).snapshots] == ["s"]


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_gather_gives_results_in_order_and_lets_all_end_before_it_fails(host, seed):
    host.interleaving(seed)

    async def one(number: int) -> int:
        for _ in range(number):
            await host.machine.now_ns()
        if number == 2:
            raise FileFailed("no", path="", errno=5)
        await host.files.append(f"{ROOT}/x{number}", b"x")
        return number

    assert host.run(host.gather(one(3), one(1))) == [3, 1]
    with pytest.raises(FileFailed):
        host.run(host.gather(one(2), one(5), one(4)))
    assert host.run(host.files.names(ROOT)) == ("x1", "x3", "x4", "x5")


def test_links_are_never_followed(host):
    host._cell.world = host.world.with_fs(host.world.fs.symlink("/images/link", "/images/a"))
    stat = host.run(host.files.stat("/images/link"))
    assert stat is not None
    assert not stat.is_regular
    with pytest.raises(FileFailed):
        host.run(host.files.read("/images/link"))
    with pytest.raises(FileFailed):
        host.run(host.files.create("/images/link"))


def test_a_removed_file_lives_while_it_is_open(host):
    used = host.world.fs.used_bytes
    pid = host.open_image("/images/a")
    host.run(host.files.remove("/images/a"))
    assert host.world.fs.used_bytes == used
    host.end_process(pid)
    assert host.world.fs.used_bytes < used


def test_a_full_disk_says_so_and_changes_nothing(host):
    host.set_capacity(free_bytes=4096)
    with pytest.raises(FileFailed) as caught:
        host.run(host.files.create(f"{ROOT}/big", bytes(5000)))
    assert caught.value.errno == 28
    assert host.run(host.files.names(ROOT)) == ()
    assert host.run(host.files.free_bytes(ROOT)) == 4096


def test_a_file_system_without_flags_refuses_them(host):
    host._cell.world = host.world.with_fs(msgspec.structs.replace(host.world.fs, has_flags=False))
    assert not host.run(host.files.is_immutable("/images/a"))
    with pytest.raises(Refused) as caught:
        host.run(host.files.set_immutable("/images/a", on=True))
    assert caught.value.id == "no-immutable-flag"


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b"\xff\x00", b'{"format":"x","schema":1,"maps":[],"world":0}'])
def test_what_is_no_world_is_damaged(data):
    with pytest.raises(Damaged, match="/a/world"):
        persist.decode(data, path="/a/world")


def test_a_damaged_world_is_damaged_wherever_it_is_cut_or_changed(host):
    whole = persist.encode(host.world)
    assert isinstance(persist.decode(whole), World)
    for end in range(0, len(whole), 97):
        with pytest.raises(Damaged):
            persist.decode(whole[:end])
    with pytest.raises(Damaged):
        persist.decode(whole.replace(b'"maps":[', b'"maps":[[[1,0]],', 1))


def test_checkers_find_what_is_wrong(host):
    layer = Layer("/images/a", Format.QCOW2)
    host.write("guest", "xvda")
    before = host.visible("guest")["xvda"]
    entry = host.run(host.images.snapshot_create(layer, tag="s"))
    held = DiskSnapshot("xvda", Kind.INTERNAL, layer, 1 << 20, "s", fingerprint=Fingerprint(snapshot_id=entry.id))
    host.write("guest", "xvda")
    remembered = {"one": {"xvda": before}}
    assert would_give(host.world.fs, held) == before
    assert not list(changed(host.world.fs, remembered, [("one", [held])]))
    host.run(host.images.snapshot_delete(layer, tag="s", snapshot_id=entry.id))
    assert [each.rule for each in changed(host.world.fs, remembered, [("one", [held])])] == ["snapshot-lost"]

    async def overlay() -> None:
        await host.files.create("/images/o")
        await host.images.create_overlay(
            "/images/o", backing=Backing("a", "/images/a", Format.QCOW2), size_bytes=1 << 20
        )

    host.run(overlay())
    top = Layer("/images/o", Format.QCOW2)
    assert reached(host.world.fs, [top]) == {"/images/a", "/images/o"}
    assert [each.subject for each in orphaned(host.world.fs, ["/images"], {"/images/a"})] == ["/images/o"]
    kept = host.world
    host.write("guest", "xvda")
    assert [each.subject for each in base_changed(kept.fs, host.world.fs)] == ["/images/a"]
    host.open_image("/images/o")
    assert not list(open_twice(host.world))
    host.open_image("/images/o", writing=False)
    assert [each.subject for each in open_twice(host.world)] == ["/images/o"]
    host.run(host.files.remove("/images/a"))
    assert [each.rule for each in broken(host.world.fs, [top])] == ["broken-chain"]
    assert "No such file" in host.show()
