"""What somebody has put under a name of ours stays his: a file with the same inode number, a tag before ours."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import pytest

from simulator import SimulatedHost, after_engine_crash
from simulator.disk.files import Inode
from simulator.faults.damage import Remake, damaged
from simulator.tools.qemu_img import SnapshotCreate
from tests.crash.harness import GUEST, every_crash, every_effect, guest
from tests.crash.running import running
from tests.crash.test_every_effect import OPERATIONS, with_history
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest
from xensnap.errors import XensnapError
from xensnap.hypervisor import TakeInternal, drive
from xensnap.model import Format, Layer

IMAGE = Layer("/images/xvda.qcow2", Format.QCOW2)
STRANGE = b"what somebody keeps under that name"


def overlays(host: SimulatedHost) -> set[str]:
    return {entry.path for entry in Engine(host).view(GUEST).state.ours if entry.role == "overlay"}


def test_what_is_not_the_file_that_we_made_is_not_removed() -> None:
    host = with_history("e")
    ended = host.fork()
    OPERATIONS["revert"](Engine(ended))
    (going,) = overlays(host) - overlays(ended)
    tried = 0
    for point in every_crash(host, OPERATIONS["revert"]):
        died = SimulatedHost(after_engine_crash(point.world))
        if going in overlays(died) or died.world.fs.find(going) is None:
            continue
        tried += 1
        strange = SimulatedHost(damaged(died.world, Remake(going, STRANGE)))
        Engine(strange).recover(GUEST)
        found = strange.world.fs.inodes[strange.world.fs.number(going)]
        assert isinstance(found, Inode)
        assert found.stored == STRANGE, f"{point!r}"
        assert Engine(died).recover(GUEST)
        assert died.world.fs.find(going) is None, f"{point!r}"
    assert tried > 2


def by_qemu_img(host: SimulatedHost) -> str:
    """An operator tags the image of a domain that is off."""
    return host.operate(SnapshotCreate(IMAGE, "one"))


def by_monitor(host: SimulatedHost) -> str:
    """Another client of the guest's monitor does."""
    other = host.another()
    drive(other.blocks.transaction(drive(other.toolstack.inspect(GUEST)), [TakeInternal("xvda", "one")]))
    return ""


@pytest.mark.parametrize(
    ("before", "request_", "tags"),
    [
        (guest("ii"), CreateRequest("one"), by_qemu_img),
        (running("ii"), CreateRequest("one"), by_monitor),
        (running("ii"), CreateRequest("one", disk_only=True), by_monitor),
    ],
    ids=["off", "checkpoint", "disks"],
)
def test_a_tag_that_was_there_before_ours_is_not_removed(
    before: SimulatedHost, request_: CreateRequest, tags: Callable[[SimulatedHost], str]
) -> None:
    ended = Counter[str]()
    for number in every_effect(before, lambda engine: engine.create(GUEST, request_)):
        host = before.fork()
        told: list[str] = []

        def happens(host: SimulatedHost = host, told: list[str] = told) -> None:
            with suppress(XensnapError):
                if not tags(host):
                    told.append(tagged(host)[-1])

        host.meanwhile(number, happens)
        try:
            Engine(host).create(GUEST, request_)
            ended["done"] += 1
        except XensnapError as error:
            ended[error.id] += 1
        Engine(host).recover(GUEST)
        assert set(told) <= set(tagged(host)), f"the tag of somebody else is gone: {number}, {ended}"
    assert ended["tag-taken"], ended


def tagged(host: SimulatedHost) -> list[str]:
    """The ids of the snapshots in the image that are called `one`."""
    image = drive(host.images.inspect(IMAGE))
    return [entry.id for entry in image.tagged("one")]
