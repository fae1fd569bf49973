"""The backup on a simulated host: what it holds, what the guest notices, and what is left when a night goes wrong."""

from errno import ENOSPC

import pytest
from nightly_backup import Nightly

from simulator import SimulatedHost
from xensnap.errors import XensnapError
from xensnap.model import Format, Layer, RunState
from xensnap.testing.checks import require_sound

DAY_S = 86400
INTO = "/backup"


@pytest.fixture
def guest(sim_host: SimulatedHost) -> SimulatedHost:
    disks = {vdev: sim_host.create_image(f"/images/{vdev}", size_bytes=1 << 20).path for vdev in ("xvda", "xvdb")}
    sim_host.add_domain("guest", disks=disks, kind="pvh")
    sim_host.start("guest")
    sim_host.write("guest", "xvda", 0, 65536)
    sim_host.write("guest", "xvdb", 4096, 65536)
    return sim_host


def night(host: SimulatedHost, keep: int = 7):
    return Nightly(host, "guest", INTO).run(keep)


def shown(host: SimulatedHost, path: str):
    return host.visible_layer(Layer(path, Format.QCOW2))


def is_whole(host: SimulatedHost, backup) -> None:
    """Every image of the backup is there, needs no other, and has no error."""
    for path in backup.images.values():
        layer = Layer(path, Format.QCOW2)
        assert host.run(host.images.inspect(layer)).backing is None
        assert host.run(host.images.check(layer)).clean


def test_a_backup_holds_the_moment_and_the_guest_runs_on(guest):
    then = guest.visible("guest")
    counter = guest.memory("guest").counter
    backup = night(guest)
    guest.write("guest", "xvda", 0, 131072)
    assert {vdev: shown(guest, path) for vdev, path in backup.images.items()} == then
    assert guest.run(guest.toolstack.inspect("guest")).state is RunState.RUNNING
    assert guest.memory("guest").counter >= counter
    require_sound(guest)


def test_a_second_run_in_one_night_does_nothing(guest):
    assert night(guest) == night(guest)
    assert len(Nightly(guest, "guest", INTO).backups()) == 1


def test_so_many_are_kept_and_chains_stay_short(guest):
    for _ in range(5):
        night(guest, keep=2)
        guest.write("guest", "xvda", 0, 65536)
        guest.run(guest.machine.sleep(DAY_S))
    kept = Nightly(guest, "guest", INTO).backups()
    assert len(kept) == 2
    assert len(guest.run(guest.files.names(INTO))) == 2 * 3
    for backup in kept:
        is_whole(guest, backup)
    disk = guest.run(guest.toolstack.inspect("guest")).disk("xvda")
    assert len(guest.run(guest.images.chain(disk.layer)).images) <= 3
    require_sound(guest)


def test_killed_anywhere_no_half_backup_is_taken_for_a_whole_one(guest, crash_everywhere):
    """The process may die and the power may fail, at every effect; the night after, all is well."""

    def mended(host: SimulatedHost) -> None:
        for backup in Nightly(host, "guest", INTO).backups():
            is_whole(host, backup)
        is_whole(host, night(host))
        require_sound(host)

    assert crash_everywhere(guest, night, mended) > 200


@pytest.mark.parametrize("effect", ["image.create", "image.fsync", "qemu-img.create-overlay", "qemu-img.rebase"])
def test_a_full_disk_costs_one_night(guest, effect):
    then = guest.visible("guest")
    guest.fail_at(effect, "before", ENOSPC)
    with pytest.raises(XensnapError):
        night(guest)
    assert Nightly(guest, "guest", INTO).backups() == []
    assert guest.visible("guest") == then
    is_whole(guest, night(guest))
