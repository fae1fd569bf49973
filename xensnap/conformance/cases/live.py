"""Memory copied while the guest runs."""

from xensnap.conformance.case import Profile, case
from xensnap.conformance.trial import Trial
from xensnap.hypervisor import Capability
from xensnap.model import Kind, RunState

LIVE = {Capability.RUNNING, Capability.MEMORY, Capability.LIVE_SAVE, Capability.INTERNAL}


@case(Profile.LIVE, "C13", "C2", "M5", needs=LIVE)
def a_live_checkpoint_is_of_one_moment(trial: Trial) -> None:
    """The guest runs while its memory is copied, and yet memory and disks come back as of one moment."""
    guest = trial.guest(runs=True, xvda="qcow2", xvdb="qcow2")
    before = guest.works_on()
    guest.create("s", kind=Kind.INTERNAL, live=True)
    guest.must_be_sound("after the snapshot")
    after = guest.works_on()
    guest.revert("s")
    now = trial.place.first_counter(guest.name)
    trial.require(before <= now < after, f"it counts {now}, not between {before} and {after}")
    guest.must_be_sound("after the revert")


@case(Profile.LIVE, "C13", "U2", needs=LIVE)
def live_needs_memory(trial: Trial) -> None:
    """A disk snapshot copies no memory, so asking for it live makes no sense and is refused."""
    guest = trial.guest(runs=True, xvda="qcow2")
    trial.refused(lambda: guest.create("s", kind=Kind.INTERNAL, live=True, disk_only=True), "needs-memory")
    guest.must_be(RunState.RUNNING, "after the refusal")


@case(Profile.LIVE, "C13", "U2", needs=LIVE - {Capability.LIVE_SAVE}, lacks={Capability.LIVE_SAVE})
def live_is_refused(trial: Trial) -> None:
    """A host that must stop a guest to save it says so instead of stopping it unasked."""
    guest = trial.guest(runs=True, xvda="qcow2")
    trial.refused(lambda: guest.create("s", kind=Kind.INTERNAL, live=True), "no-live-save")
    guest.must_be_sound("after the refusal")


@case(Profile.LIVE, "C13", "C2", needs=LIVE - {Capability.LIVE_SAVE}, lacks={Capability.LIVE_SAVE})
def live_falls_back_where_that_is_accepted(trial: Trial) -> None:
    """Who accepts that the guest stands still gets a plain checkpoint, and it is a whole one."""
    guest = trial.guest(runs=True, xvda="qcow2")
    before = guest.works_on()
    guest.create("s", kind=Kind.INTERNAL, live=True, accept=("no-live-save",))
    guest.must_be_sound("after the snapshot")
    guest.works_on()
    guest.revert("s")
    now = trial.place.first_counter(guest.name)
    trial.require(now >= before, f"it counts {now}, and counted {before} before the snapshot")
    guest.must_be_sound("after the revert")
