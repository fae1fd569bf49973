"""What a host has that a model seldom has: neighbours, strangers at a monitor, no room, processes that are killed."""

from collections.abc import Mapping

from xensnap.conformance.case import Profile, case
from xensnap.conformance.places.commands import commands, stranger_at
from xensnap.conformance.trial import Guest, Trial
from xensnap.conformance.workplace import monitors_of, room_of
from xensnap.errors import ExitCode, XensnapError
from xensnap.hypervisor import Capability, FileStat
from xensnap.model import Kind, RunState

INTERNAL = {Capability.INTERNAL}
ROOM = (0, 16 << 10, 200_000, 1 << 20, 4 << 20)


@case(Profile.REAL_HOST, "D10", "S8", needs=INTERNAL | {Capability.EXTERNAL})
def neighbours_are_not_touched(trial: Trial) -> None:
    """Another domain has the very same files after everything that is done to the first."""
    ours, theirs = trial.guest(xvda="qcow2"), trial.guest(xvda="qcow2", xvdb="qcow2")
    theirs.write()
    theirs.create("theirs", kind=Kind.EXTERNAL)
    shown, files = theirs.shows(), _files(theirs)
    for kind in (Kind.EXTERNAL, Kind.INTERNAL):
        for name in ("one", "two"):
            ours.write()
            ours.create(name, kind=kind)
        ours.revert("one")
        for name in ("two", "one"):
            ours.delete(name)
    trial.equal(_files(theirs), files, "the files of the other domain")
    trial.same(theirs.shows(), shown, "the disks of the other domain")
    theirs.revert("theirs")


def _files(guest: Guest) -> Mapping[str, FileStat | None]:
    """Every image of a domain, and what its name leads to."""
    run, host = guest.host.run, guest.host
    found = {}
    for disk in guest.domain().disks:
        for image in run(host.images.chain(disk.layer)).images:
            found[image.layer.path] = run(host.files.stat(image.layer.path))
    return found


@case(Profile.REAL_HOST, "S6", "S5", needs=INTERNAL)
def without_room_nothing_is_lost(trial: Trial) -> None:
    """However little room is left, a create is done or is undone; what there was is still there, and shows the same."""
    place = room_of(trial.place)
    with place.small():
        guest = trial.guest(xvda="qcow2")
        guest.write(blocks=200)
        shown = guest.shows()
        guest.create("one", kind=Kind.INTERNAL)
        guest.write(blocks=200)
        now = guest.shows()
        for free_bytes in ROOM:
            names = guest.snapshots()
            with place.leaving(free_bytes):
                try:
                    guest.create(f"with {free_bytes}", kind=Kind.INTERNAL)
                except XensnapError as error:
                    trial.require(error.cause, "the error has no words")
            guest.recover()
            trial.require({*guest.snapshots()} >= {*names}, f"with {free_bytes} bytes left a snapshot was lost")
            trial.same(guest.shows(), now, f"with {free_bytes} bytes left")
        guest.revert("one")
        trial.same(guest.shows(), shown, "after a revert")


@case(Profile.REAL_HOST, "S5", "T2", needs=INTERNAL)
def a_command_that_is_killed_is_undone_or_done(trial: Trial) -> None:
    """SIGKILL while a command works, at its first step and at its last: `recover` ends it, and all is whole."""
    guest = trial.guest(xvda="qcow2", xvdb="qcow2")
    guest.write()
    shown = guest.shows()
    with commands(trial) as xensnap:
        for steps in (1, 3):
            name = f"after {steps}"
            words = ("create", guest.name, "-n", name, "--events")
            process = xensnap.start(*words)
            heard = xensnap.heard(process, steps)
            xensnap.kill(process)
            xensnap.ended(process, words, heard=heard)
            xensnap.ok("recover", guest.name)
            there = [each["name"] for each in xensnap.ok("list", guest.name, "--json").document["snapshots"]]
            if name not in there:
                xensnap.ok("create", guest.name, "-n", name)
    trial.equal(guest.recover(), "", "what is left for recovery")
    trial.same(guest.shows(), shown, "after all")
    guest.revert("after 1")
    trial.same(guest.shows(), shown, "after a revert")


@case(Profile.REAL_HOST, "S4", "U2", needs=INTERNAL | {Capability.RUNNING})
def a_stranger_at_the_monitor_is_waited_for_or_told_of(trial: Trial) -> None:
    """While somebody else holds the monitor of a guest's QEMU, the guest is left alone; afterwards all goes on."""
    guest = trial.guest(runs=True, xvda="qcow2")
    with stranger_at(monitors_of(trial.place).monitor(guest.name)):
        error = trial.refused(lambda: guest.create("s", kind=Kind.INTERNAL, disk_only=True))
        trial.equal(int(error.exit_code), ExitCode.BUSY, f"the exit code of {error.id} ({error.cause})")
    guest.must_be(RunState.RUNNING, "after the refusal")
    guest.create("s", kind=Kind.INTERNAL, disk_only=True)
    guest.must_be_sound("after the snapshot")
