"""Records: what they say, that they are held against what is there, and what becomes of them."""

import msgspec

from xensnap.conformance.case import Profile, case
from xensnap.conformance.cases.external import EXTERNAL, with_snapshots
from xensnap.conformance.trial import Guest, Trial
from xensnap.conformance.workplace import BLOCK_BYTES, Content
from xensnap.engine.diff import difference
from xensnap.engine.journal import Begin, End
from xensnap.engine.records import Store
from xensnap.engine.request import (
    AdoptRequest,
    ForgetRequest,
    PinRequest,
    PruneRequest,
    RedefineRequest,
    RestoreRequest,
    Told,
    ToldDisk,
    UnpinRequest,
)
from xensnap.engine.retention import Retention
from xensnap.engine.seen import Stretch
from xensnap.engine.sizes import Space, usage
from xensnap.errors import Usage
from xensnap.hypervisor import Capability
from xensnap.model import Kind

INTERNAL = {Capability.INTERNAL}

CLUSTERS = 16
"""So many blocks are one cluster of 64 KiB, which is how an image counts unless its maker said otherwise."""


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
    record = guest.record("s")
    trial.require(guest.name in record.domain_config, "the record does not hold the domain's configuration")


@case(Profile.METADATA, "D9", "R8", "U2", needs=INTERNAL)
def a_pin_holds_until_the_risk_is_taken_by_its_name(trial: Trial) -> None:
    """A snapshot that somebody has pinned is not deleted, whatever other risk is accepted; only by this one's name."""
    guest = trial.guest(xvda="qcow2")
    guest.create("s", kind=Kind.INTERNAL)
    guest.perform(PinRequest("s", owner="auditor", why="the year is not closed"))
    error = trial.refused(lambda: guest.delete("s"), "pinned")
    trial.require("auditor" in error.cause, f"who has pinned it is not told: {error.cause}")
    trial.refused(lambda: guest.perform(UnpinRequest("s", owner="somebody else")), "pinned-by-another")
    trial.refused(lambda: guest.delete("s", accept=("image-changed",)), "pinned")
    trial.equal(guest.snapshots(), ("s",), "the snapshots")
    guest.delete("s", accept=("pinned",))
    trial.equal(guest.snapshots(), (), "the snapshots after the risk was taken")
    guest.create("t", kind=Kind.INTERNAL)
    said = ""
    try:
        guest.delete("t", accept=("pinned",))
    except Usage as wrong:
        said = wrong.id
    trial.equal((said, guest.snapshots()), ("no-such-risk", ("t",)), "what comes of a risk that is not there")


@case(Profile.METADATA, "D5", needs=INTERNAL)
def what_is_forgotten_can_be_had_back(trial: Trial) -> None:
    """A snapshot that is thrown away is listed no more, keeps what it holds, and comes back as it was."""
    guest = trial.guest(xvda="qcow2")
    guest.write()
    then = guest.shows()
    for name in ("one", "two"):
        guest.create(name, kind=Kind.INTERNAL)
    guest.perform(ForgetRequest("one"))
    trial.equal(guest.snapshots(), ("two",), "the snapshots")
    guest.write(block=8, blocks=20)
    guest.delete("two")
    guest.perform(RestoreRequest("one"))
    trial.equal(guest.snapshots(), ("one",), "the snapshots after it was had back")
    guest.revert("one")
    trial.same(guest.shows(), then, "after the revert")


@case(Profile.METADATA, "C18", "D5", needs=INTERNAL)
def a_record_alone_can_go_and_be_taken_back(trial: Trial) -> None:
    """Without its record a snapshot is nobody's, yet all of it stays: `adopt` takes it back while it is what it was."""
    guest = trial.guest(xvda="qcow2")
    guest.write()
    then = guest.shows()
    guest.create("s", kind=Kind.INTERNAL)
    guest.delete("s", metadata_only=True)
    trial.equal(guest.snapshots(), (), "the snapshots")
    tags = guest.host.run(guest.host.images.inspect(guest.disk().layer)).snapshots
    trial.equal(len(tags), 1, "the tags in the image")
    guest.write(block=8)
    guest.perform(AdoptRequest("s"))
    guest.revert("s")
    trial.same(guest.shows(), then, "after the revert")


@case(Profile.METADATA, "C17", "U2", needs=INTERNAL)
def tags_that_others_have_made_are_recorded_in_any_order(trial: Trial) -> None:
    """What another tool left in an image becomes snapshots, children told first; what is not there becomes none."""
    guest = trial.guest(xvda="qcow2")
    held: dict[str, dict[str, Content]] = {}
    layer = guest.disk().layer
    for name in ("old", "new"):
        guest.write(block=len(held) * 4, blocks=4)
        held[name] = guest.shows()
        guest.host.run(guest.host.images.snapshot_create(layer, tag=f"tag {name}"))
    told = [Told(name, (ToldDisk("xvda", Kind.INTERNAL, tag=f"tag {name}"),)) for name in ("new", "old", "none")]
    trial.refused(lambda: guest.perform(RedefineRequest((told[2],))), "no-such-tag")
    new = msgspec.structs.replace(told[0], parent="old")
    guest.perform(RedefineRequest((new, told[1])))
    trial.equal({name.strip(" *") for name in guest.tree()}, {"old", "new"}, "the snapshots")
    trial.equal(guest.record("new").parent, "old", "the parent")
    for name, content in held.items():
        guest.revert(name)
        trial.same(guest.shows(), content, f"after reverting to {name}")


@case(Profile.METADATA, "S2", needs=EXTERNAL)
def a_store_that_is_lost_is_rebuilt_from_the_copies(trial: Trial) -> None:
    """Records, journal and state are gone. The copies beside the images bring all snapshots back, and they revert."""
    guest = trial.guest(xvda="qcow2", xvdb="raw")
    held = with_snapshots(guest, "one", "two")
    files, store = guest.host.files, Store.of(guest.host, guest.domain().uuid)
    for path in (store.journal, store.state, *map(store.record, held)):
        guest.host.run(files.remove(path))
    trial.equal(guest.snapshots(), (), "the snapshots without a store")
    found = guest.engine.repair(guest.name)
    trial.did(f"{guest.name}: repair", ", ".join(each.id for each in found.repaired), tree=guest.tree())
    trial.equal({*guest.snapshots()}, {*held}, "the snapshots after the repair")
    for name, content in held.items():
        guest.revert(name)
        trial.same(guest.shows(), content, f"after reverting to {name}")


@case(Profile.METADATA, "L5", needs=INTERNAL)
def the_space_of_a_snapshot_is_told(trial: Trial) -> None:
    """What a snapshot shares with the present costs nothing by itself; what is written over since is its own."""
    guest = trial.guest(xvda="qcow2")
    guest.write(blocks=CLUSTERS)
    guest.create("s", kind=Kind.INTERNAL)
    shared = _space(guest)
    trial.require(shared.held_bytes >= CLUSTERS * BLOCK_BYTES, f"it holds {shared.held_bytes} bytes of what it has")
    trial.equal(shared.reclaimable_bytes, 0, "what would come back while all is shared")
    guest.write(blocks=CLUSTERS)
    alone = _space(guest)
    trial.require(
        alone.held_bytes >= alone.reclaimable_bytes >= CLUSTERS * BLOCK_BYTES,
        f"after all of it was written over {alone.reclaimable_bytes} of {alone.held_bytes} bytes would come back",
    )


def _space(guest: Guest) -> Space:
    view = guest.engine.view(guest.name)
    return usage(view, guest.engine.maps(view)).of("s")


@case(Profile.METADATA, "L6", needs=INTERNAL)
def what_differs_between_two_snapshots_is_told_block_by_block(trial: Trial) -> None:
    """All that was written between them is told, and nothing elsewhere; between one and itself nothing differs."""
    guest = trial.guest(xvda="qcow2", xvdb="qcow2")
    guest.write()
    guest.create("one", kind=Kind.INTERNAL)
    guest.write("xvda", block=5 * CLUSTERS, blocks=CLUSTERS)
    guest.create("two", kind=Kind.INTERNAL)
    guest.write(block=9 * CLUSTERS)
    view = guest.engine.view(guest.name)
    maps = guest.engine.maps(view)
    found = {disk.vdev: disk.stretches for disk in difference(view, maps, "one", "two").disks}
    written = Stretch(5 * CLUSTERS * BLOCK_BYTES, 6 * CLUSTERS * BLOCK_BYTES)
    trial.equal(found, {"xvda": (written,), "xvdb": ()}, "what differs")
    same = difference(view, maps, "two", "two")
    trial.require(not any(disk.stretches for disk in same.disks), "a snapshot differs from itself")


@case(Profile.METADATA, "O1", needs=INTERNAL)
def who_did_what_is_kept(trial: Trial) -> None:
    """Every operation is told afterwards: what, by whom, from when to when, and how it ended; a refusal is none."""
    guest = trial.guest(xvda="qcow2")
    guest.create("s", kind=Kind.INTERNAL)
    trial.refused(lambda: guest.create("s", kind=Kind.INTERNAL), "name-taken")
    guest.revert("s")
    guest.delete("s")
    _, entries = guest.engine.audit(guest.name)
    begun = [entry for entry in entries if isinstance(entry, Begin)]
    ends = {entry.operation: entry for entry in entries if isinstance(entry, End)}
    trial.equal([entry.plan.verb for entry in begun], ["create", "revert", "delete"], "the operations that are told")
    me = guest.host.run(guest.host.machine.whoami())
    for entry in begun:
        trial.equal(ends[entry.operation].outcome, "done", f"how {entry.plan.verb} ended")
        trial.require(entry.time_ns <= ends[entry.operation].time_ns, f"{entry.plan.verb} ended before it began")
        trial.equal((entry.pid, entry.user, entry.boot_id), (me.pid, me.user, me.boot_id), "who did it")


@case(Profile.METADATA, "U5", needs=INTERNAL)
def a_policy_keeps_what_it_names_and_shows_what_goes(trial: Trial) -> None:
    """Of many snapshots the last ones stay, what is pinned and where the domain is; a plan tells before what goes."""
    guest = trial.guest(xvda="qcow2")
    for name in "abcde":
        guest.create(name, kind=Kind.INTERNAL)
    guest.perform(PinRequest("a", owner="auditor"))
    guest.revert("b")
    policy = PruneRequest(Retention(last=1))
    plan = guest.plan(policy)
    told = {name for name in "abcde" if repr(name) in plan.summary}
    trial.equal(told, {"c", "d"}, f"what would go, as the plan tells it: {plan.summary}")
    trial.equal(len(guest.snapshots()), 5, "the snapshots after planning")
    guest.perform(policy)
    trial.equal({*guest.snapshots()}, {"a", "b", "e"}, "the snapshots that stay")
    trial.refused(lambda: guest.perform(policy), "nothing-to-prune")
