"""Chains of images: what is kept, what is merged, what is never touched."""

from xensnap.conformance.case import Profile, case
from xensnap.conformance.cases.external import EXTERNAL, with_snapshots
from xensnap.conformance.seen import instead_of
from xensnap.conformance.trial import Trial
from xensnap.engine.create import DEPTH_WARNING
from xensnap.engine.plan import Plan
from xensnap.engine.request import CreateRequest, RelocateRequest
from xensnap.hypervisor import Capability
from xensnap.model import Backing, Format, Kind, Layer


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
    frozen = first.record("s").disks[0].image
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


@case(Profile.CHAIN, "H2", needs=EXTERNAL)
def a_chain_that_grows_deep_is_warned_of(trial: Trial) -> None:
    """A plan that would put one more layer on a very deep chain says so; on a shallow one it says nothing."""
    guest = trial.guest(xvda="qcow2")
    request = CreateRequest("s", kind=Kind.EXTERNAL)
    layer, host = guest.disk().layer, guest.host
    size = host.run(host.images.inspect(layer)).virtual_size_bytes
    trial.require(not _about_layers(guest.plan(request)), "a chain of one layer is called deep")
    for depth in range(DEPTH_WARNING + 1):
        path = f"{guest.disk().path}.{depth}"
        host.run(host.files.create(path))
        host.run(
            host.images.create_overlay(path, backing=Backing(layer.path, layer.path, layer.format), size_bytes=size)
        )
        layer = Layer(path, Format.QCOW2)
    host.run(host.toolstack.set_layers(guest.domain().uuid, {"xvda": layer}))
    trial.did(f"{guest.name}: on a chain of {guest.depth()} layers now")
    trial.require(_about_layers(guest.plan(request)), f"a chain of {guest.depth()} layers is not warned of")


def _about_layers(plan: Plan) -> bool:
    return any("layers" in told for told in plan.warnings)


@case(Profile.CHAIN, "H3", "H1", needs=EXTERNAL)
def without_room_to_merge_nothing_is_lost_and_later_it_is_done(trial: Trial) -> None:
    """A snapshot can be deleted on a full host: what cannot be merged for want of room stays, until there is some."""
    guest = trial.guest(xvda="qcow2")
    held = with_snapshots(guest, "one", "two")
    now, depth = guest.shows(), guest.depth()

    async def no_room(_path: str) -> int:
        return 0

    full = guest.through(instead_of(trial.host, "files", free_bytes=no_room))
    full.delete("one")
    trial.equal(guest.snapshots(), ("two",), "the snapshots")
    trial.equal(guest.depth(), depth, "layers while there is no room")
    trial.same(guest.shows(), now, "after deleting without room")
    merged = guest.engine.compact(guest.name).merged
    trial.did(f"{guest.name}: compacted, with room", f"merged away: {len(merged)}")
    trial.equal(guest.depth(), depth - 1, "layers once there is room")
    trial.same(guest.shows(), now, "after merging")
    guest.revert("two")
    trial.same(guest.shows(), held["two"], "after reverting to two")


@case(Profile.CHAIN, "H4", "R2", needs=EXTERNAL)
def images_can_be_brought_elsewhere_with_all_snapshots(trial: Trial) -> None:
    """The whole chain of a disk goes to another directory: each snapshot reverts from there, and shows the same."""
    guest = trial.guest(xvda="qcow2", xvdb="raw")
    held = with_snapshots(guest, "one", "two")
    now = guest.shows()
    there = f"{guest.directory}/{guest.name}-elsewhere"
    guest.host.run(guest.host.files.mkdir(there))
    guest.perform(RelocateRequest("xvda", there))
    trial.require(guest.disk("xvda").path.startswith(f"{there}/"), f"xvda is {guest.disk('xvda').path}")
    trial.require(not guest.disk("xvdb").path.startswith(there), f"xvdb is {guest.disk('xvdb').path}")
    trial.same(guest.shows(), now, "after the images were brought elsewhere")
    for name in ("one", "two"):
        guest.revert(name)
        trial.same(guest.shows(), held[name], f"after reverting to {name}")
