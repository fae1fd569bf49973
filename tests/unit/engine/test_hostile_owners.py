"""What others could have written is not obeyed: nothing is done by such a store, and nothing is changed in it."""

from collections.abc import Callable

import pytest

from simulator import SimulatedHost
from simulator.checkers.leaks import files
from simulator.faults import damage as d
from tests.crash.harness import GUEST
from tests.doctor.damages import UUID, on
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, DeleteRequest, RevertRequest
from xensnap.errors import Refused

STORE = f"/var/lib/xen/snapshots/{UUID}"
HARMS: dict[str, tuple[d.Damage, ...]] = {
    "store of another": (d.Chown(STORE),),
    "store open to a group": (d.Chmod(STORE, 0o770),),
    "store open to all": (d.Chmod(STORE, 0o1777),),
    "root of another": (d.Chown("/var/lib/xen/snapshots"),),
    "root open to all": (d.Chmod("/var/lib/xen/snapshots", 0o777),),
    "journal of another": (d.Chown(f"{STORE}/journal"),),
    "memory of another": (d.Chown(f"{STORE}/checkpoint.save"),),
    "record in reach": (d.Chmod(STORE, 0o711), d.Chmod(f"{STORE}/snapshotdata-d.root.libxl-json", 0o622)),
}
DEEDS: dict[str, Callable[[Engine], object]] = {
    "create": lambda engine: engine.create(GUEST, CreateRequest("new")),
    "revert": lambda engine: engine.revert(GUEST, RevertRequest("checkpoint")),
    "delete": lambda engine: engine.delete(GUEST, DeleteRequest("root")),
    "recover": lambda engine: engine.recover(GUEST),
    "compact": lambda engine: engine.compact(GUEST),
}


def harmed(harms: tuple[d.Damage, ...]) -> SimulatedHost:
    world = on().world
    for harm in harms:
        world = d.damaged(world, harm)
    return SimulatedHost(world)


@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("harm", HARMS)
def test_nothing_is_done_by_a_store_that_others_could_have_written(harm: str, deed: str) -> None:
    host = harmed(HARMS[harm])
    before = {path: host.world.fs.inode(path) for path, _ in files(host.world.fs)}
    with pytest.raises(Refused) as caught:
        DEEDS[deed](Engine(host))
    assert caught.value.id == "store-not-trusted"
    assert {path: host.world.fs.inode(path) for path, _ in files(host.world.fs)} == before
    assert Engine(host).list(GUEST).contents.snapshots.keys() == {"root", "checkpoint"}


def with_memory_elsewhere(*harms: d.Damage) -> Engine:
    host = on()
    Engine(host).create(GUEST, CreateRequest("elsewhere", memory="/images/elsewhere.save"))
    world = host.world
    for harm in harms:
        world = d.damaged(world, harm)
    return Engine(SimulatedHost(world))


@pytest.mark.parametrize(
    "harms",
    [
        (d.Chown("/images/elsewhere.save"),),
        (d.Chmod("/images", 0o755), d.Chmod("/images/elsewhere.save", 0o660)),
        (d.Chmod("/images", 0o777),),
    ],
)
def test_memory_that_others_could_have_written_is_not_restored(harms: tuple[d.Damage, ...]) -> None:
    engine = with_memory_elsewhere(*harms)
    with pytest.raises(Refused) as caught:
        engine.revert(GUEST, RevertRequest("elsewhere"))
    assert caught.value.id == "memory-not-trusted"
    assert "memory-not-trusted" in {finding.id for finding in engine.diagnose(GUEST).found}
    engine.revert(GUEST, RevertRequest("elsewhere", disks_only=True))


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o775, 0o1777])
def test_a_directory_to_which_others_can_only_add_is_as_good_as_any(mode: int) -> None:
    engine = with_memory_elsewhere(d.Chmod("/images", mode))
    assert engine.diagnose(GUEST).found == ()
    engine.revert(GUEST, RevertRequest("elsewhere"))
