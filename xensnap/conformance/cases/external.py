"""Guests that are off, images frozen below overlays: create, revert, delete in every place of a chain."""

from functools import partial

from xensnap.conformance.case import Profile, case
from xensnap.conformance.drawing import courses, follow, try_examples
from xensnap.conformance.trial import Guest, Trial
from xensnap.conformance.workplace import BLOCK_BYTES, Content
from xensnap.engine.request import CloneRequest, CreateRequest, DiskChoice
from xensnap.hypervisor import Capability
from xensnap.model import Backing, Format, Kind

EXTERNAL = {Capability.EXTERNAL}


def with_snapshots(guest: Guest, *names: str) -> dict[str, dict[str, Content]]:
    """What the disks show at each snapshot, each taken after a write of its own."""
    held: dict[str, dict[str, Content]] = {}
    for name in names:
        guest.write(block=len(held) * 5, blocks=9)
        held[name] = guest.shows()
        guest.create(name, kind=Kind.EXTERNAL)
    guest.write(block=40)
    return held


@case(Profile.EXTERNAL, "C7", "K1", "R2", "T3", needs=EXTERNAL)
def disks_come_back_from_frozen_images(trial: Trial) -> None:
    """A revert to an external snapshot gives back every block, over qcow2 and raw bases."""
    guest = trial.guest(xvda="qcow2", xvdb="raw")
    held = with_snapshots(guest, "s")
    guest.revert("s")
    trial.same(guest.shows(), held["s"], "after the revert")


@case(Profile.EXTERNAL, "R2", needs=EXTERNAL)
def reverting_does_not_deepen_the_chain(trial: Trial) -> None:
    """A revert goes on with a new overlay on the frozen image, so a thousand reverts leave the chain as it was."""
    guest = trial.guest(xvda="qcow2")
    with_snapshots(guest, "s")
    depth = guest.depth()
    for _ in range(5):
        guest.revert("s")
        guest.write(block=3)
    trial.equal(guest.depth(), depth, "layers after five reverts")


@case(Profile.EXTERNAL, "D2", "D6", "R2", needs=EXTERNAL)
def a_snapshot_can_go_from_anywhere_in_the_chain(trial: Trial) -> None:
    """First, middle or last: a delete loses nothing of the present or of any other snapshot."""
    for victim in ("one", "two", "three"):
        guest = trial.guest(xvda="qcow2")
        held = with_snapshots(guest, "one", "two", "three")
        now = guest.shows()
        guest.delete(victim)
        trial.same(guest.shows(), now, f"after deleting {victim}")
        for name, content in held.items():
            if name != victim:
                guest.revert(name)
                trial.same(guest.shows(), content, f"{name}, after deleting {victim}")


@case(Profile.EXTERNAL, "D2", "D3", needs=EXTERNAL)
def a_branching_point_can_be_deleted(trial: Trial) -> None:
    """Two branches stand on one snapshot. Deleting it harms neither; what they stand on goes when nobody does."""
    guest = trial.guest(xvda="qcow2")
    held = with_snapshots(guest, "root", "left")
    guest.revert("root")
    guest.write(block=50)
    held["right"] = guest.shows()
    guest.create("right", kind=Kind.EXTERNAL)
    guest.delete("root")
    for name in ("left", "right", "left"):
        guest.revert(name)
        trial.same(guest.shows(), held[name], f"after reverting to {name}")


@case(Profile.EXTERNAL, "C7", "S8", needs=EXTERNAL)
def overlays_are_private_and_name_their_format(trial: Trial) -> None:
    """A new overlay can be read by its owner only, and says of which format its backing file is."""
    guest = trial.guest(xvda="raw")
    guest.create("s", kind=Kind.EXTERNAL)
    layer = guest.disk().layer
    stat = guest.host.run(guest.host.files.stat(layer.path))
    assert stat is not None, layer.path
    trial.equal(oct(stat.mode & 0o777), oct(0o600), f"the mode of {layer.path}")
    backing = guest.host.run(guest.host.images.inspect(layer)).backing
    trial.equal(backing.format if backing else None, Format.RAW, "the format of the backing file in the header")


@case(Profile.EXTERNAL, "C7", "D10", needs=EXTERNAL)
def an_overlay_never_takes_the_place_of_a_file(trial: Trial) -> None:
    """A name for an overlay that exists already is refused, and the file keeps what is in it."""
    guest = trial.guest(xvda="qcow2")
    taken = f"{guest.disk().path}.mine"
    guest.host.run(guest.host.files.create(taken, b"precious"))
    choice = {"xvda": DiskChoice(Kind.EXTERNAL, taken)}
    request = CreateRequest("s", disks=choice)
    trial.refused(lambda: guest.engine.create(guest.name, request), "overlay-exists")
    trial.equal(guest.host.run(guest.host.files.read(taken)), b"precious", "the file")
    guest.host.run(guest.host.files.remove(taken))


@case(Profile.EXTERNAL, "C14", "U2", needs=EXTERNAL)
def an_overlay_that_was_prepared_is_used_if_it_fits(trial: Trial) -> None:
    """An empty overlay of the operator's is gone on in; one on another image, or of another size, is not."""
    guest = trial.guest(xvda="qcow2", xvdb="qcow2")
    guest.write()
    then, images = guest.shows(), guest.host.images
    layer, other = guest.disk("xvda").layer, guest.disk("xvdb").layer
    size = guest.host.run(images.inspect(layer)).virtual_size_bytes
    wishes = {"fits": (layer, size), "elsewhere": (other, size), "short": (layer, size - BLOCK_BYTES)}
    paths = {name: f"{layer.path}.{name}" for name in wishes}
    for name, (below, size_bytes) in wishes.items():
        guest.host.run(guest.host.files.create(paths[name]))
        backing = Backing(below.path, below.path, below.format)
        guest.host.run(images.create_overlay(paths[name], backing=backing, size_bytes=size_bytes))

    def go_on_in(name: str) -> None:
        choice = {"xvda": DiskChoice(Kind.EXTERNAL, paths[name])}
        guest.perform(CreateRequest("s", kind=Kind.EXTERNAL, disks=choice, reuse_external=True))

    for name in ("elsewhere", "short"):
        trial.refused(partial(go_on_in, name), "overlay-not-usable")
    go_on_in("fits")
    trial.equal(guest.disk("xvda").path, paths["fits"], "what the domain starts from")
    trial.same(guest.shows(), then, "after the snapshot")
    guest.write(block=9)
    guest.revert("s")
    trial.same(guest.shows(), then, "after the revert")


@case(Profile.EXTERNAL, "R12", needs=EXTERNAL)
def a_linked_clone_keeps_what_it_stands_on(trial: Trial) -> None:
    """A clone that stands on a frozen image shows it still after the snapshot of that was deleted."""
    guest = trial.guest(xvda="qcow2")
    held = with_snapshots(guest, "s")
    name = f"{guest.name}-clone"
    clone = guest.make(CloneRequest(guest.name, "s", name, linked=True), name)
    trial.same(clone.shows(), held["s"], "the clone")
    now = guest.shows()
    guest.delete("s")
    trial.same(clone.shows(), held["s"], "the clone, after the snapshot was deleted")
    trial.same(guest.shows(), now, "the domain itself")
    clone.write(block=3)
    trial.same(guest.shows(), now, "the domain, after the clone was written to")


@case(Profile.EXTERNAL, "C8", needs=EXTERNAL | {Capability.INTERNAL})
def kinds_can_be_mixed_across_disks(trial: Trial) -> None:
    """One snapshot keeps one disk inside its image and freezes another; both come back."""
    guest = trial.guest(xvda="qcow2", xvdb="raw")
    guest.write()
    then = guest.shows()
    guest.create("s")
    guest.write(block=9)
    guest.revert("s")
    trial.same(guest.shows(), then, "after the revert")
    kinds = {disk.vdev: disk.kind for disk in guest.record("s").disks}
    trial.equal(kinds, {"xvda": Kind.INTERNAL, "xvdb": Kind.EXTERNAL}, "the kinds")


@case(Profile.EXTERNAL, "C7", "R2", "D2", "D3", "T3", needs=EXTERNAL)
def any_course_keeps_every_frozen_image(trial: Trial) -> None:
    """Writes, creates, reverts and deletes as Hypothesis draws them, over frozen images, raw and qcow2."""
    try_examples(trial, courses, lambda deeds: follow(trial.guest(xvda="qcow2", xvdb="raw"), deeds, Kind.EXTERNAL))


@case(Profile.EXTERNAL, "C7", "U2", lacks=EXTERNAL)
def external_snapshots_are_refused(trial: Trial) -> None:
    """A host that cannot freeze images says so, and leaves everything as it is."""
    guest = trial.guest(xvda="qcow2")
    trial.refused(lambda: guest.create("s", kind=Kind.EXTERNAL))
    trial.equal(guest.snapshots(), (), "the snapshots")
