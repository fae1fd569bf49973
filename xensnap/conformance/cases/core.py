"""Guests that are off, inside their images: create, list, revert, delete."""

from functools import partial

from xensnap.conformance.case import Profile, case
from xensnap.conformance.drawing import courses, follow, try_examples
from xensnap.conformance.trial import Trial
from xensnap.conformance.workplace import Content, Wish
from xensnap.engine.request import CreateRequest
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
    record = guest.engine.list(guest.name).contents.snapshots["s"]
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
    record = guest.engine.list(guest.name).contents.snapshots["s"]
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
