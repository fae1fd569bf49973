"""Another file has the name of one that an operation has made or takes away, and its inode number: it stays."""

from collections.abc import Callable
from contextlib import suppress

import pytest

from simulator import SimulatedHost, after_engine_crash
from simulator.disk.files import Inode
from simulator.faults.damage import Plant, Remake, damaged
from tests.crash.harness import GUEST, Operation, every_crash
from tests.crash.running import OPERATIONS, UUID, guest_for
from tests.crash.test_every_effect import with_history
from tests.crash.test_relocate import MOVE, TO
from xensnap.engine.engine import Engine
from xensnap.engine.request import EmptyRequest
from xensnap.errors import Busy, XensnapError

STRANGE = b"what somebody keeps under that name"
STORE = f"/var/lib/xen/snapshots/{UUID}"


def stranger_at(host: SimulatedHost, path: str) -> SimulatedHost:
    """A fork on which another file has the name and the inode number of one of ours."""
    return SimulatedHost(damaged(host.world, Remake(path, STRANGE)))


def has_one_name(host: SimulatedHost, path: str) -> bool:
    """Whether it is there, and its number would be free without that name."""
    number = host.world.fs.find(path)
    found = host.world.fs.inodes[number] if number is not None else None
    return isinstance(found, Inode) and found.links == 1


def is_strangers(host: SimulatedHost, path: str) -> bool:
    found = host.world.fs.inodes[host.world.fs.find(path) or 0] if host.world.fs.find(path) else None
    return isinstance(found, Inode) and found.stored == STRANGE


def moving() -> SimulatedHost:
    host = with_history("e")
    host.make_directory(TO)
    return host


MADE: dict[str, tuple[Callable[[], SimulatedHost], Operation, str]] = {
    "copy": (moving, lambda engine: engine.perform(GUEST, MOVE), f"{TO}/xvda.raw"),
    "original": (moving, lambda engine: engine.perform(GUEST, MOVE), "/images/xvda.raw"),
    "memory": (lambda: guest_for("checkpoint", "i"), OPERATIONS["checkpoint"], f"{STORE}/second.save"),
}
"""What an operation makes, or takes away, and knows again by what it noted or planned: the world, and the path."""


@pytest.mark.parametrize("what", MADE)
def test_what_has_the_name_and_the_number_of_a_file_of_ours_is_left_where_it_is(what: str) -> None:
    world, operation, path = MADE[what]
    tried = 0
    for point in every_crash(world(), operation):
        died = SimulatedHost(after_engine_crash(point.world))
        if has_one_name(died, path) and Engine(died).list(GUEST).pending:
            tried += 1
            strange = stranger_at(died, path)
            with suppress(XensnapError):
                Engine(strange).recover(GUEST)
            assert is_strangers(strange, path), f"{point!r}"
    assert tried > 2


def parked() -> tuple[SimulatedHost, str]:
    """A host on which the images of a disk were brought elsewhere, and an old one of them."""
    host = moving()
    Engine(host).perform(GUEST, MOVE)
    return host, Engine(host).view(GUEST).state.parked[0].path


def test_what_has_the_name_of_a_parked_image_is_not_removed_with_the_trash() -> None:
    host, path = parked()
    strange = stranger_at(host, path)
    for each in (host, strange):
        Engine(each).perform(GUEST, EmptyRequest((path,)))
        assert Engine(each).recover(GUEST) is None
    assert is_strangers(strange, path)
    assert host.world.fs.find(path) is None


def test_a_parked_image_that_somebody_has_open_stays_in_the_trash() -> None:
    host, path = parked()
    host.open_image(path)
    with pytest.raises(Busy):
        Engine(host).perform(GUEST, EmptyRequest((path,)))
    assert host.world.fs.find(path) is not None
    assert path in {each.path for each in Engine(host).view(GUEST).state.parked}


def test_what_takes_the_place_of_a_file_right_before_that_is_removed_stays() -> None:
    """Between the last look and the unlinking there is nothing: a stranger comes before both, or after."""
    left = f"{STORE}/left.save"
    host = SimulatedHost(damaged(with_history("e").world, Plant(left, b"half of a memory")))

    def replaced() -> None:
        host.cell.world = damaged(host.world, Remake(left, STRANGE))

    host.meanwhile("memory.remove", replaced)
    Engine(host).repair(GUEST)
    assert is_strangers(host, left)
