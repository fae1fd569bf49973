"""Guests that are off, inside their images: create, list, revert, delete."""

from contextlib import suppress
from functools import partial

from msgspec.structs import replace

from xensnap.conformance.case import Profile, case
from xensnap.conformance.drawing import courses, follow, try_examples
from xensnap.conformance.trial import Guest, Trial
from xensnap.conformance.workplace import BLOCK_BYTES, DISK_BLOCKS, Content, Wish
from xensnap.engine.request import CloneRequest, CreateRequest, ExportRequest, ImportRequest
from xensnap.errors import Refused, XensnapError
from xensnap.hypervisor import Capability
from xensnap.model import Consistency, Format, Kind

INTERNAL = {Capability.INTERNAL}


@case(Profile.CORE, "C4", "C6", "C9", "R1", "T3", needs=INTERNAL)
def disks_come_back(trial: Trial) -> None:
    """A revert gives back every block of every disk as it was, whatever was written since."""
    guest = trial.guest(xvda="qcow2", xvdb="qcow2")
    guest.write(block=0, blocks=9)
    then = guest.shows()
    guest.create("s", kind=Kind.INTERNAL)
    guest.write(block=4, blocks=20)
    guest.revert("s")
    trial.same(guest.shows(), then, "after the revert")


@case(Profile.CORE, "C4", "R1", needs=INTERNAL)
def other_snapshots_are_left_alone(trial: Trial) -> None:
    """Reverting and deleting change nothing of what any other snapshot would give back."""
    guest = trial.guest(xvda="qcow2")
    held: dict[str, dict[str, Content]] = {}
    for name in ("one", "two", "three"):
        guest.write(block=len(held) * 5, blocks=9)
        held[name] = guest.shows()
        guest.create(name, kind=Kind.INTERNAL)
    guest.revert("one")
    guest.write(block=30)
    guest.delete("two")
    for name in ("three", "one", "three"):
        guest.revert(name)
        trial.same(guest.shows(), held[name], f"after reverting to {name}")


@case(Profile.CORE, "R5", "L1", "L2", needs=INTERNAL)
def a_revert_to_the_middle_makes_a_branch(trial: Trial) -> None:
    """What is taken after a revert hangs below the snapshot that was reverted to; the newer ones stay."""
    guest = trial.guest(xvda="qcow2")
    guest.create("root", kind=Kind.INTERNAL)
    guest.create("old", kind=Kind.INTERNAL)
    guest.revert("root")
    guest.create("new", kind=Kind.INTERNAL)
    trial.equal({*guest.tree()}, {"root", "  old", "  new *"}, "the tree")


@case(Profile.CORE, "D1", "D6", needs=INTERNAL)
def a_deleted_snapshot_is_gone(trial: Trial) -> None:
    """After a delete the record is gone, the tag is gone, the disk shows what it showed, and the name is free again."""
    guest = trial.guest(xvda="qcow2")
    guest.write()
    guest.create("s", kind=Kind.INTERNAL)
    guest.write(block=7)
    then = guest.shows()
    guest.delete("s")
    trial.same(guest.shows(), then, "after the delete")
    trial.equal(guest.snapshots(), (), "the snapshots")
    image = guest.host.run(guest.host.images.inspect(guest.disk().layer))
    trial.equal(image.snapshots, (), "the image's own table")
    guest.create("s", kind=Kind.INTERNAL)


@case(Profile.CORE, "C16", "U2", needs=INTERNAL)
def names_are_used_once(trial: Trial) -> None:
    """A name that is taken is refused, and the snapshot that has it is none the worse."""
    guest = trial.guest(xvda="qcow2")
    guest.write()
    then = guest.shows()
    guest.create("s", kind=Kind.INTERNAL)
    guest.write()
    trial.refused(lambda: guest.create("s", kind=Kind.INTERNAL), "name-taken")
    guest.revert("s")
    trial.same(guest.shows(), then, "after the revert")


@case(Profile.CORE, "C16", needs=INTERNAL)
def odd_names_work(trial: Trial) -> None:
    """Blanks, other scripts, percent signs and numbers are names like others, and none is taken for an id."""
    guest = trial.guest(xvda="qcow2")
    held: dict[str, dict[str, Content]] = {}
    for name in ("with blank", "ünïcode", "100%", "2", "1"):
        guest.write(block=len(held) * 3)
        held[name] = guest.shows()
        guest.create(name, kind=Kind.INTERNAL)
    for name, content in held.items():
        guest.revert(name)
        trial.same(guest.shows(), content, f"after reverting to {name!r}")


@case(Profile.CORE, "C16", "U2", "S8", needs=INTERNAL)
def names_cannot_leave_the_store(trial: Trial) -> None:
    """A name that could be a path, an option or a control character is refused before anything is touched."""
    guest = trial.guest(xvda="qcow2")
    for name in ("../outside", "a/b", "", ".hidden", "-x", "line\nbreak", "zero\0", "n" * 201):
        trial.refused(partial(guest.create, name, kind=Kind.INTERNAL))
    trial.equal(guest.snapshots(), (), "the snapshots")


@case(Profile.CORE, "C16", needs=INTERNAL)
def a_name_is_found_where_none_is_given(trial: Trial) -> None:
    """Without a name each snapshot gets one of its own, also twice in one second."""
    guest = trial.guest(xvda="qcow2")
    for _ in range(3):
        guest.engine.create(guest.name, CreateRequest(None))
    trial.equal(len({*guest.snapshots()}), 3, "the number of different names")


@case(Profile.CORE, "K2", "C10", needs=INTERNAL)
def drives_that_hold_nothing_are_left_out(trial: Trial) -> None:
    """A cdrom, an empty drive and a read-only disk keep no domain from being snapshotted; reasons are recorded."""
    guest = trial.guest(
        Wish("xvda"),
        Wish("xvdb", Format.RAW, readonly=True),
        Wish("hdc", Format.RAW, cdrom=True, readonly=True),
        Wish("hdd", Format.RAW, empty=True),
    )
    guest.write()
    then = guest.shows()
    guest.create("s", kind=Kind.INTERNAL)
    guest.write(block=9)
    guest.revert("s")
    trial.same(guest.shows(), then, "after the revert")
    record = guest.record("s")
    trial.equal({left.vdev for left in record.excluded}, {"xvdb", "hdc", "hdd"}, "what was left out")
    trial.require(all(left.reason for left in record.excluded), "a disk was left out without a reason")


@case(Profile.CORE, "C6", "U2", needs=INTERNAL)
def a_raw_disk_cannot_be_internal(trial: Trial) -> None:
    """An internal snapshot of a raw disk is refused for all disks at once; the others get no tag."""
    guest = trial.guest(xvda="qcow2", xvdb="raw")
    trial.refused(lambda: guest.create("s", kind=Kind.INTERNAL), "not-qcow2")
    trial.equal(guest.host.run(guest.host.images.inspect(guest.disk().layer)).snapshots, (), "the table of xvda")


@case(Profile.CORE, "C4", needs=INTERNAL)
def a_guest_that_is_off_is_clean(trial: Trial) -> None:
    """What is promised to the software in the guest is recorded: its power was off, so its disks are clean."""
    guest = trial.guest(xvda="qcow2")
    guest.create("s", kind=Kind.INTERNAL)
    record = guest.record("s")
    trial.equal(record.consistency, Consistency.CLEAN, "the grade")


@case(Profile.CORE, "U1", "A1", needs=INTERNAL)
def a_plan_is_carried_out_as_shown_or_not_at_all(trial: Trial) -> None:
    """A plan is made without touching anything, is refused once the domain is another, and else does what it says."""
    guest = trial.guest(xvda="qcow2")
    plan = guest.plan(CreateRequest("s", kind=Kind.INTERNAL))
    trial.equal(guest.snapshots(), (), "the snapshots after planning")
    guest.create("between", kind=Kind.INTERNAL)
    trial.refused(lambda: guest.apply(plan), "plan-is-stale")
    guest.apply(guest.plan(CreateRequest("s", kind=Kind.INTERNAL)))
    trial.equal({*guest.snapshots()}, {"between", "s"}, "the snapshots")


@case(Profile.CORE, "D4", needs=INTERNAL)
def a_delete_can_take_all_below(trial: Trial) -> None:
    """With its children a snapshot goes with all that came from it; with its children only, it stays itself."""
    guest = trial.guest(xvda="qcow2")
    for name in ("root", "a", "b"):
        guest.create(name, kind=Kind.INTERNAL)
    guest.delete("a", children_only=True)
    trial.equal({*guest.snapshots()}, {"root", "a"}, "the snapshots")
    guest.create("c", kind=Kind.INTERNAL)
    guest.delete("root", children=True)
    trial.equal(guest.snapshots(), (), "the snapshots")


@case(Profile.CORE, "C20", needs=INTERNAL)
def a_snapshot_can_take_the_place_of_one(trial: Trial) -> None:
    """A snapshot of a name that is taken replaces the old one, of which nothing is left, and no other."""
    guest = trial.guest(xvda="qcow2")
    guest.write()
    before = guest.shows()
    guest.create("other", kind=Kind.INTERNAL)
    guest.write(block=4)
    guest.create("last good", kind=Kind.INTERNAL, replace=True)
    guest.write(block=8)
    now = guest.shows()
    guest.create("last good", kind=Kind.INTERNAL, replace=True)
    guest.write(block=20)
    trial.equal(guest.snapshots(), ("other", "last good"), "the snapshots")
    tags = guest.host.run(guest.host.images.inspect(guest.disk().layer)).snapshots
    trial.equal(len(tags), 2, "the tags in the image")
    for name, content in (("last good", now), ("other", before)):
        guest.revert(name)
        trial.same(guest.shows(), content, f"after reverting to {name}")


@case(Profile.CORE, "R13", "U2", needs=INTERNAL)
def one_disk_can_go_back_alone(trial: Trial) -> None:
    """One disk reverted leaves the other as it is, and the domain where it was; one that is not covered is refused."""
    guest = trial.guest(xvda="qcow2", xvdb="qcow2")
    guest.write()
    then = guest.shows()
    for name in ("one", "two"):
        guest.create(name, kind=Kind.INTERNAL)
    guest.write(block=6, blocks=9)
    now = guest.shows()
    guest.revert("one", only=("xvda",))
    trial.same(guest.shows(), {"xvda": then["xvda"], "xvdb": now["xvdb"]}, "after reverting xvda")
    trial.equal(guest.engine.list(guest.name).current, "two", "where the domain is")
    trial.refused(lambda: guest.revert("one", only=("xvdz",)), "disk-not-in-snapshot")


@case(Profile.CORE, "K6", needs=INTERNAL)
def a_disk_that_has_grown_is_small_again_after_a_revert(trial: Trial) -> None:
    """Its size belongs to a snapshot like its content: it goes back, and forth again to that of a later one."""
    guest = trial.guest(xvda="qcow2")
    guest.write()
    held = {"small": guest.shows()}
    guest.create("small", kind=Kind.INTERNAL)
    layer = guest.disk().layer
    guest.host.run(guest.host.images.resize(layer, size_bytes=2 * DISK_BLOCKS * BLOCK_BYTES))
    guest.write(block=DISK_BLOCKS + 5)
    held["large"] = guest.shows()
    guest.create("large", kind=Kind.INTERNAL)
    for name in ("small", "large", "small"):
        guest.revert(name)
        trial.same(guest.shows(), held[name], f"after reverting to {name}")


@case(Profile.CORE, "R12", needs=INTERNAL)
def a_clone_is_a_domain_of_its_own(trial: Trial) -> None:
    """A clone of a snapshot shows what that holds under another UUID, and neither of the two notices the other."""
    guest = trial.guest(xvda="qcow2", xvdb="qcow2")
    guest.write()
    then = guest.shows()
    guest.create("s", kind=Kind.INTERNAL)
    guest.write(block=8, blocks=20)
    now = guest.shows()
    name = f"{guest.name}-clone"
    clone = guest.make(CloneRequest(guest.name, "s", name), name)
    trial.same(clone.shows(), then, "the clone")
    trial.require(clone.domain().uuid != guest.domain().uuid, "both have one UUID")
    clone.create("mine", kind=Kind.INTERNAL)
    clone.write(block=2)
    trial.same(guest.shows(), now, "the first, after the clone was written to")
    guest.delete("s")
    clone.revert("mine")
    trial.same(clone.shows(), then, "the clone, after the snapshot was deleted that it is from")


@case(Profile.CORE, "R12", needs=INTERNAL)
def an_archive_holds_all_of_a_snapshot(trial: Trial) -> None:
    """What is exported comes back as another domain with that snapshot; an archive that was tampered with does not."""
    guest = trial.guest(xvda="qcow2", xvdb="qcow2")
    guest.write()
    then = guest.shows()
    guest.create("s", kind=Kind.INTERNAL)
    guest.write(block=8, blocks=20)
    now, place, files = guest.shows(), guest.directory, guest.host.files
    guest.perform(ExportRequest("s", f"{place}/s.tar"))
    trial.same(guest.shows(), now, "the domain, after the export")
    again = _imported(guest, f"{place}/s.tar", f"{guest.name}-again")
    again.write(block=30)
    again.revert("s")
    trial.same(again.shows(), then, "the other domain, after a revert")
    archive = guest.read(f"{place}/s.tar")
    at = len(archive) // 3
    torn = archive[:at] + bytes([archive[at] ^ 0xFF]) + archive[at + 1 :]
    guest.host.run(files.create(f"{place}/torn.tar", torn))
    with suppress(XensnapError):
        _imported(guest, f"{place}/torn.tar", f"{guest.name}-torn")
    known = {domain.name for domain in guest.host.run(guest.host.toolstack.domains())}
    trial.require(f"{guest.name}-torn" not in known, "a domain was made of an archive that is not what was written")


def _imported(guest: Guest, archive: str, name: str) -> Guest:
    """A domain of an archive. What a guest boots from may be named in it, and is on this very host."""
    request = ImportRequest(archive, guest.directory, new_name=name, new_uuid=True)
    try:
        guest.engine.plan_making(request)
    except Refused as error:
        named = tuple(reason.id for reason in error.reasons if reason.id == "not-portable")
        request = replace(request, accept=named)
    return guest.make(request, name)


@case(Profile.CORE, "C4", "C6", "R1", "R5", "D1", "T3", needs=INTERNAL)
def any_course_keeps_every_snapshot(trial: Trial) -> None:
    """Writes, creates, reverts and deletes as Hypothesis draws them: each snapshot keeps what it held."""
    try_examples(trial, courses, lambda deeds: follow(trial.guest(xvda="qcow2"), deeds, Kind.INTERNAL))


@case(Profile.CORE, "C6", "U2", lacks=INTERNAL)
def internal_snapshots_are_refused(trial: Trial) -> None:
    """A host that cannot put snapshots into images says so, and leaves everything as it is."""
    guest = trial.guest(xvda="qcow2")
    trial.refused(lambda: guest.create("s", kind=Kind.INTERNAL))
    trial.equal(guest.snapshots(), (), "the snapshots")
