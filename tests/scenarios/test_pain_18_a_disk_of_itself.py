"""After reverts, disks pointed at images that were none of theirs: 260 at one that was gone, one at itself.

Who belongs to whom was written down by places in a list and by names that were given anew.
Source: xcp-ng/xcp#825, #837, #844; xapi-project/xen-api#1935, #2058.
"""

import pytest

from simulator import SimulatedHost
from simulator.faults.crash import after_engine_crash
from simulator.tools.qemu_img import Rebase
from tests.crash.harness import every_crash
from tests.scenarios.stage import CLUSTER, GUEST, Naive, fails, guest, held, scribble
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, RevertRequest
from xensnap.errors import Refused
from xensnap.model import Disk, Format, Layer


def test_a_script_makes_a_disk_stand_on_itself_and_nothing_objects() -> None:
    host = guest("i")
    image = Layer("/images/xvda.qcow2", Format.QCOW2)
    assert host.operate(Rebase(image, "xvda.qcow2", "qcow2", copy=False)) == ""
    assert fails(lambda: host.visible(GUEST))


def test_a_script_that_goes_by_places_reverts_the_wrong_disk() -> None:
    host, swapped = exchanged()
    before = swapped.visible(GUEST)
    assert Naive(swapped).apply(swapped_disks(host)[0].path, "1") == ""
    assert swapped.visible(GUEST)["xvdb"] != before["xvdb"], "it was to revert xvda"


def test_the_engine_knows_each_image_and_refuses_what_has_changed_places() -> None:
    _, swapped = exchanged()
    with pytest.raises(Refused) as refused:
        Engine(swapped).revert(GUEST, RevertRequest("clean"))
    assert {reason.id for reason in refused.value.reasons} == {"disk-changed"}


@pytest.mark.every_effect
def test_the_engine_keeps_each_disk_to_its_own_images_wherever_it_dies() -> None:
    host = guest("eee")
    scribble(host, 0)
    Engine(host).create(GUEST, CreateRequest("clean"))
    scribble(host, 1)
    kept = held(host)
    for point in every_crash(host, lambda engine: engine.revert(GUEST, RevertRequest("clean"))):
        after = SimulatedHost(after_engine_crash(point.world))
        Engine(after).recover(GUEST)
        Engine(after).revert(GUEST, RevertRequest("clean"))
        view = Engine(after).view(GUEST)
        chains = [[image.layer.path for image in disk.chain.images] for disk in view.disks if disk.chain]
        paths = [path for chain in chains for path in chain]
        assert len(paths) == len(set(paths)) == 6, f"{point!r}: {chains}"
        assert held(after) == kept, f"{point!r}"


def exchanged() -> tuple[SimulatedHost, SimulatedHost]:
    """A domain with a snapshot of two disks, and the same after the operator let them change places."""
    host = guest("ii")
    scribble(host, 0)
    Engine(host).create(GUEST, CreateRequest("clean"))
    scribble(host, 0)
    swapped = host.fork()
    first, second = (disk for disk in swapped_disks(host))
    for disk in (first, second):
        swapped.detach(GUEST, disk.vdev)
    swapped.attach(GUEST, Disk("xvda", second.path, second.format))
    swapped.attach(GUEST, Disk("xvdb", first.path, first.format))
    swapped.write(GUEST, "xvda", CLUSTER, CLUSTER)
    return host, swapped


def swapped_disks(host: SimulatedHost) -> tuple[Disk, ...]:
    return Engine(host).view(GUEST).domain.disks
