"""Guests that run: memory and disks of one moment."""

from xensnap.conformance.case import Profile, case
from xensnap.conformance.trial import Trial
from xensnap.engine.request import Quiesce
from xensnap.errors import Effect, Refused, XensnapError
from xensnap.hypervisor import Capability, Then
from xensnap.model import Consistency, Kind, RunState

MEMORY = {Capability.RUNNING, Capability.MEMORY, Capability.INTERNAL}
OVERLAYS = {Capability.RUNNING, Capability.MEMORY, Capability.EXTERNAL}
DISKS = {Capability.RUNNING, Capability.INTERNAL}

QUIET_S = 2.0
"""How long the guest is waited for to be quiet: ours has no agent, so that this is waited for in vain."""


def _comes_back(trial: Trial, kind: Kind) -> None:
    guest = trial.guest(runs=True, xvda="qcow2", xvdb="qcow2")
    before = guest.works_on()
    guest.create("s", kind=kind)
    guest.must_be(RunState.RUNNING, "after the snapshot")
    after = guest.works_on()
    for turn in ("first", "second"):
        guest.revert("s")
        now = trial.place.first_counter(guest.name)
        trial.require(before <= now < after, f"{turn} time: it counts {now}, not between {before} and {after}")
        guest.must_be_sound(f"after reverting for the {turn} time")


@case(Profile.MEMORY, "C2", "C9", "R1", "M5", needs=MEMORY)
def memory_and_disks_are_of_one_moment(trial: Trial) -> None:
    """A guest comes back as it was: it goes on counting from there, and its disks are those that it remembers."""
    _comes_back(trial, Kind.INTERNAL)


@case(Profile.MEMORY, "C2", "C7", "R2", "M5", needs=OVERLAYS)
def memory_comes_back_over_frozen_images(trial: Trial) -> None:
    """The same with the images frozen below overlays."""
    _comes_back(trial, Kind.EXTERNAL)


@case(Profile.MEMORY, "C1", "R3", needs=DISKS)
def a_disk_snapshot_leaves_the_guest_alone(trial: Trial) -> None:
    """A disk snapshot of a running guest never stops it for good, is graded as crash-consistent, and comes back off."""
    guest = trial.guest(runs=True, xvda="qcow2")
    guest.works_on()
    guest.create("s", kind=Kind.INTERNAL, disk_only=True)
    guest.must_be_sound("after the snapshot")
    record = guest.record("s")
    trial.equal(record.consistency, Consistency.CRASH, "the grade")
    trial.equal(record.memory, "", "the memory file")
    guest.revert("s", then=Then.STOPPED)
    guest.must_be(RunState.OFF, "after the revert")


@case(Profile.MEMORY, "C15", "R4", needs=MEMORY)
def what_the_guest_does_afterwards_is_as_asked(trial: Trial) -> None:
    """Running, paused or stopped, after a snapshot and after a revert."""
    guest = trial.guest(runs=True, xvda="qcow2")
    guest.create("s", kind=Kind.INTERNAL, then=Then.PAUSED)
    guest.must_be(RunState.PAUSED, "after a snapshot that pauses")
    guest.revert("s", then=Then.PAUSED)
    guest.must_be(RunState.PAUSED, "after a revert that pauses")
    guest.unpause()
    guest.must_be_sound("after that")
    guest.create("t", kind=Kind.INTERNAL, then=Then.STOPPED)
    guest.must_be(RunState.OFF, "after a snapshot that stops")
    guest.revert("s", then=Then.RUNNING)
    guest.must_be_sound("after a revert that lets it run")


@case(Profile.MEMORY, "C5", "U2", needs=MEMORY)
def a_paused_guest_stays_paused(trial: Trial) -> None:
    """A guest that stands still gives its memory, or that is refused before anything is tried; either way it stands."""
    guest = trial.guest(runs=True, xvda="qcow2")
    guest.pause()
    try:
        guest.create("s", kind=Kind.INTERNAL)
    except Refused as error:
        trial.equal({reason.id for reason in error.reasons}, {"paused-guest"}, "the reasons of the refusal")
    guest.must_be(RunState.PAUSED, "afterwards")
    guest.unpause()
    guest.must_be_sound("after that")


@case(Profile.MEMORY, "C2", "C10", "U2", needs=MEMORY)
def a_checkpoint_covers_every_disk(trial: Trial) -> None:
    """Leaving a writable disk out of a snapshot with memory is refused: old memory over a newer disk destroys it."""
    guest = trial.guest(runs=True, xvda="qcow2", xvdb="qcow2")
    trial.refused(lambda: guest.create("s", kind=Kind.INTERNAL, skip=["xvdb"]))
    guest.must_be_sound("after the refusal")


@case(Profile.MEMORY, "D1", "D8", "M1", needs=MEMORY)
def the_memory_file_goes_with_its_snapshot(trial: Trial) -> None:
    """A deleted checkpoint leaves no memory behind, and the guest that runs does not notice."""
    guest = trial.guest(runs=True, xvda="qcow2")
    guest.create("s", kind=Kind.INTERNAL)
    memory = guest.record("s").memory
    stat = guest.host.run(guest.host.files.stat(memory))
    trial.require(stat is not None and stat.length_bytes > 0, f"{memory} holds no memory")
    trial.require(stat is not None and stat.mode & 0o077 == 0, f"{memory} is missing or can be read by others")
    guest.delete("s")
    trial.require(guest.host.run(guest.host.files.stat(memory)) is None, f"{memory} is still there")
    guest.must_be_sound("after the delete")


@case(Profile.MEMORY, "D2", needs=OVERLAYS)
def frozen_images_are_merged_under_a_running_guest(trial: Trial) -> None:
    """External snapshots of a running guest can be deleted while it runs; it goes on and finds nothing amiss."""
    guest = trial.guest(runs=True, xvda="qcow2")
    for name in ("one", "two", "three"):
        guest.works_on()
        guest.create(name, kind=Kind.EXTERNAL, disk_only=True)
    for name in ("two", "one", "three"):
        guest.delete(name)
        guest.must_be_sound(f"after deleting {name}")
    trial.equal(guest.snapshots(), (), "the snapshots")


@case(Profile.MEMORY, "M2", "R6", "R7", needs=MEMORY)
def memory_that_is_gone_stops_a_revert_before_it_begins(trial: Trial) -> None:
    """Without its memory file a checkpoint is refused while the guest still runs, and nothing happens to that."""
    guest = trial.guest(runs=True, xvda="qcow2")
    guest.create("s", kind=Kind.INTERNAL)
    memory = guest.record("s").memory
    guest.host.run(guest.host.files.remove(memory))
    trial.refused(lambda: guest.revert("s"), "memory-missing")
    guest.must_be_sound("after the refusal")


@case(Profile.MEMORY, "M3", "M2", "R6", needs=MEMORY)
def memory_that_is_not_whole_stops_a_revert_before_it_begins(trial: Trial) -> None:
    """A memory file that has lost its end is noticed while the guest still runs; the disks alone can be had back."""
    guest = trial.guest(runs=True, xvda="qcow2")
    guest.create("s", kind=Kind.INTERNAL)
    files, memory = guest.host.files, guest.record("s").memory
    whole = guest.read(memory)
    guest.host.run(files.replace(memory, whole[: len(whole) // 2]))
    trial.did("half of the memory file is lost")
    trial.refused(lambda: guest.revert("s"), "memory-changed")
    guest.must_be_sound("after the refusal")
    found = {each.id for each in guest.engine.diagnose(guest.name).found}
    trial.require("memory-changed" in found, f"the doctor finds only {sorted(found)}")
    guest.host.run(files.replace(memory, whole))
    guest.revert("s")
    guest.must_be_sound("after the file was put back, and a revert")


@case(Profile.MEMORY, "C12", "C1", needs=DISKS)
def a_guest_is_quiet_or_that_is_not_said(trial: Trial) -> None:
    """Whoever asks that the guest be made quiet gets a snapshot that says it was, or none; the guest goes on."""
    guest = trial.guest(runs=True, xvda="qcow2")
    guest.create("if it can", kind=Kind.INTERNAL, disk_only=True, quiesce=Quiesce.TRY, quiesce_timeout_s=QUIET_S)
    guest.must_be_sound("after a snapshot for which it was asked to be quiet")
    quiet = guest.record("if it can").consistency
    trial.require(quiet in {Consistency.QUIESCED, Consistency.CRASH}, f"the grade is {quiet}")
    try:
        guest.create("must", kind=Kind.INTERNAL, disk_only=True, quiesce=Quiesce.REQUIRE, quiesce_timeout_s=QUIET_S)
    except XensnapError as error:
        trial.equal((error.effect, quiet), (Effect.NONE, Consistency.CRASH), f"of a guest that is not quiet ({error})")
        trial.equal(guest.snapshots(), ("if it can",), "the snapshots")
    else:
        trial.equal(guest.record("must").consistency, Consistency.QUIESCED, "the grade of one that had to be quiet")
    guest.must_be_sound("after a snapshot for which it had to be quiet")


@case(Profile.MEMORY, "C2", "U2", needs={Capability.RUNNING}, lacks={Capability.MEMORY})
def memory_is_refused(trial: Trial) -> None:
    """A host that cannot save memory says so, and the guest goes on."""
    guest = trial.guest(runs=True, xvda="qcow2")
    trial.refused(lambda: guest.create("s"), "no-memory")
    guest.must_be(RunState.RUNNING, "after the refusal")
