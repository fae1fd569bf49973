"""Chains of images: what is kept, what is merged, what is never touched."""

from xensnap.conformance.case import Profile, case
from xensnap.conformance.cases.external import EXTERNAL, with_snapshots
from xensnap.conformance.trial import Trial
from xensnap.hypervisor import Capability
from xensnap.model import Backing, Kind


@case(Profile.CHAIN, "D2", "H1", needs=EXTERNAL)
def deleting_makes_the_chain_shorter(trial: Trial) -> None:
    """With all snapshots gone, a guest that is off stands on one image again, which shows what it showed."""
    guest = trial.guest(xvda="qcow2")
    with_snapshots(guest, *"abcd")
    now = guest.shows()
    trial.equal(guest.depth(), 5, "layers with four snapshots")
    for name in "bdac":
        guest.delete(name)
        trial.same(guest.shows(), now, f"after deleting {name}")
    trial.require(guest.depth() <= 2, f"{guest.depth()} layers are left of five without any snapshot")


@case(Profile.CHAIN, "D10", "K3", needs=EXTERNAL)
def what_others_stand_on_is_never_written(trial: Trial) -> None:
    """A second domain stands on an image that the first has frozen: deleting there changes nothing for the second."""
    first = trial.guest(xvda="qcow2")
    with_snapshots(first, "s")
    frozen = first.engine.list(first.name).contents.snapshots["s"].disks[0].image
    second = trial.guest(xvda="qcow2")
    layer = second.disk().layer
    files, images = second.host.files, second.host.images
    size = second.host.run(images.inspect(layer)).virtual_size_bytes
    second.host.run(files.remove(layer.path))
    second.host.run(files.create(layer.path))
    backing = Backing(frozen.path, frozen.path, frozen.format)
    second.host.run(images.create_overlay(layer.path, backing=backing, size_bytes=size))
    shown = second.shows()
    first.delete("s")
    trial.same(second.shows(), shown, "the second domain, after the first deleted the snapshot")


@case(Profile.CHAIN, "C8", "U2", needs=EXTERNAL | {Capability.INTERNAL})
def the_kind_is_sticky_along_a_chain(trial: Trial) -> None:
    """An image that holds internal snapshots is not frozen, since nothing could be merged into it then."""
    guest = trial.guest(xvda="qcow2")
    guest.write()
    then = guest.shows()
    guest.create("inside", kind=Kind.INTERNAL)
    trial.refused(lambda: guest.create("outside", kind=Kind.EXTERNAL), "kind-is-sticky")
    guest.write(block=8)
    guest.revert("inside")
    trial.same(guest.shows(), then, "after the revert")
