"""Records: what they say, and that they are held against what is there."""

from xensnap.conformance.case import Profile, case
from xensnap.conformance.trial import Trial
from xensnap.engine.records import Store
from xensnap.hypervisor import Capability
from xensnap.model import Kind

INTERNAL = {Capability.INTERNAL}


@case(Profile.METADATA, "S1", "S8", needs=INTERNAL)
def records_are_private(trial: Trial) -> None:
    """The store is readable by its owner only, directory and files."""
    guest = trial.guest(xvda="qcow2")
    guest.create("s", kind=Kind.INTERNAL)
    host, store = guest.host, Store.of(guest.host, guest.domain().uuid)
    inside = [f"{store.directory}/{name}" for name in host.run(host.files.names(store.directory))]
    for path in (store.directory, *inside):
        stat = host.run(host.files.stat(path))
        trial.require(stat is not None and not stat.mode & 0o077, f"others have rights on {path}")


@case(Profile.METADATA, "S1", "L8", needs=INTERNAL)
def one_damaged_record_does_not_hide_the_others(trial: Trial) -> None:
    """A record that cannot be read is told of, and every other snapshot can still be listed and reverted to."""
    guest = trial.guest(xvda="qcow2")
    guest.write()
    then = guest.shows()
    guest.create("good", kind=Kind.INTERNAL)
    guest.create("bad", kind=Kind.INTERNAL)
    store = Store.of(guest.host, guest.domain().uuid)
    guest.host.run(guest.host.files.replace(store.record("bad"), b'{"name": 7'))
    listing = guest.engine.list(guest.name)
    trial.require("good" in listing.contents.snapshots, "the good snapshot is not listed")
    trial.equal(len(listing.contents.damaged), 1, "records told of as damaged")
    guest.write(block=9)
    guest.revert("good")
    trial.same(guest.shows(), then, "after the revert")


@case(Profile.METADATA, "S3", "M5", "R6", needs=INTERNAL)
def a_tag_that_a_stranger_took_away_is_noticed(trial: Trial) -> None:
    """A snapshot whose tag has gone from the image is refused, not reverted to something else of that name."""
    guest = trial.guest(xvda="qcow2")
    guest.create("s", kind=Kind.INTERNAL)
    layer = guest.disk().layer
    (entry,) = guest.host.run(guest.host.images.inspect(layer)).snapshots
    guest.host.run(guest.host.images.snapshot_delete(layer, tag=entry.tag, snapshot_id=entry.id))
    guest.write(block=5)
    now = guest.shows()
    guest.host.run(guest.host.images.snapshot_create(layer, tag=entry.tag))
    trial.refused(lambda: guest.revert("s"), "image-changed")
    trial.same(guest.shows(), now, "after the refusal")


@case(Profile.METADATA, "L7", needs=INTERNAL)
def the_configuration_of_the_moment_is_kept(trial: Trial) -> None:
    """A snapshot remembers how its domain was configured."""
    guest = trial.guest(xvda="qcow2")
    guest.create("s", kind=Kind.INTERNAL)
    record = guest.engine.list(guest.name).contents.snapshots["s"]
    trial.require(guest.name in record.domain_config, "the record does not hold the domain's configuration")
