"""A delete was given up after its time-out while the merge went on, and the books named a file that was gone.

A time-out says that nobody waits any more. It does not say that nothing happens.
Source: apache/cloudstack#14030, #14019; oVirt/vdsm#352; oVirt/ovirt-engine#524, #403; lxc/incus#3188.
"""

import pytest

from simulator import SimulatedHost
from tests.crash.running import UUID, seen, sound
from tests.scenarios.stage import CLUSTER, GUEST, guest
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, DeleteRequest
from xensnap.errors import Unknown


def story() -> SimulatedHost:
    """A guest runs on the second overlay of two; the first is to be merged into what is below it."""
    host = guest("e")
    host.start(UUID)
    for name in ("old", "new"):
        host.guest_writes(GUEST, "xvda", 0, CLUSTER, flush=True)
        Engine(host).create(GUEST, CreateRequest(name, disk_only=True))
    host.guest_writes(GUEST, "xvda", CLUSTER, CLUSTER, flush=True)
    return host


def chain(host: SimulatedHost) -> list[str]:
    """What the guest's QEMU has open, top first."""
    node = host.run(host.blocks.nodes(Engine(host).view(GUEST).domain))[0]
    paths = [node.layer.path]
    while node.backing:
        node = node.backing
        paths.append(node.layer.path)
    return paths


@pytest.mark.one_door("a job of ours waits there at its end for whoever looks after it, as a script's own would not")
def test_a_script_that_gives_up_waiting_has_wrong_books() -> None:
    host = story()
    booked = chain(host)
    middle, base = Engine(host).list(GUEST).contents.snapshots["new"].disks[0].image, booked[-1]
    domain = Engine(host).view(GUEST).domain
    below = Engine(host).list(GUEST).contents.snapshots["old"].disks[0].image
    host.run(host.files.set_immutable(base, on=False))
    host.run(host.blocks.commit(domain, "xvda", top=middle, base=below, job_id="merge"))
    host.run(host.machine.sleep(60))  # the script went away long ago, with "failed" in its books
    assert middle.path in booked
    assert middle.path not in chain(host)


@pytest.mark.one_door("waiting for a job is no effect there, but many questions")
@pytest.mark.parametrize("cut", ["partly", "after-unacknowledged"])
def test_the_engine_looks_what_became_of_it(cut: str) -> None:
    host = story()
    Engine(host).delete(GUEST, DeleteRequest("old"))
    ended = host.fork()
    Engine(ended).delete(GUEST, DeleteRequest("new"))
    host.fail_at("qmp.job-wait", cut, Unknown("no answer in time"))
    (told, *_) = Engine(host).delete(GUEST, DeleteRequest("new")).warnings
    assert "stays as a hidden base" in told, "the snapshot is gone; what it stood on is not given up for lost"
    Engine(host).compact(GUEST)
    assert seen(host) == seen(ended)
    assert chain(host) == chain(ended)
    sound(host, cut)
