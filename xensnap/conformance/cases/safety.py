"""Preconditions: everything that can fail is found before anything is touched."""

from xensnap.conformance.case import Profile, case
from xensnap.conformance.cases.external import EXTERNAL, with_snapshots
from xensnap.conformance.seen import instead_of
from xensnap.conformance.trial import Trial
from xensnap.engine.records import Store
from xensnap.errors import Busy
from xensnap.hypervisor import Capability
from xensnap.model import Kind

INTERNAL = {Capability.INTERNAL}


@case(Profile.SAFETY, "R6", "D10", needs=EXTERNAL)
def an_image_that_is_gone_stops_a_revert_before_it_begins(trial: Trial) -> None:
    """A revert whose frozen image is missing is refused by name of the file; the present is none the worse."""
    guest = trial.guest(xvda="qcow2")
    with_snapshots(guest, "one", "two")
    frozen = guest.engine.list(guest.name).contents.snapshots["one"].disks[0].image
    files = guest.host.files
    # Who moves an image away by hand knows chattr, too.
    flagged = Capability.IMMUTABLE in guest.host.capabilities and guest.host.run(files.is_immutable(frozen.path))
    if flagged:
        guest.host.run(files.set_immutable(frozen.path, on=False))
    guest.host.run(files.rename(frozen.path, f"{frozen.path}.away"))
    error = trial.refused(lambda: guest.revert("one"), "image-missing")
    trial.require(frozen.path in error.cause, f"the refusal does not name {frozen.path}")
    guest.host.run(files.rename(f"{frozen.path}.away", frozen.path))
    if flagged:
        guest.host.run(files.set_immutable(frozen.path, on=True))
    guest.revert("one")


@case(Profile.SAFETY, "S4", "U2", needs=INTERNAL)
def who_holds_a_domain_is_named(trial: Trial) -> None:
    """While somebody works on a domain others are told who and since when, and nothing is broken into."""
    guest = trial.guest(xvda="qcow2")
    guest.create("s", kind=Kind.INTERNAL)
    store = Store.of(guest.host, guest.domain().uuid)
    lock = guest.host.run(guest.host.files.lock(store.lock, note=b"process 4711 of somebody"))
    error = trial.refused(lambda: guest.delete("s"))
    trial.require(isinstance(error, Busy), f"the error is {type(error).__name__}, not Busy")
    trial.require("4711" in error.cause, f"the holder is not named: {error.cause}")
    guest.host.run(lock.release())
    guest.delete("s")


@case(Profile.SAFETY, "S6", "U2", needs=INTERNAL)
def room_is_looked_at_before(trial: Trial) -> None:
    """Where the host has no room left, a create is refused with the numbers, before anything is touched."""
    guest = trial.guest(xvda="qcow2")
    full = guest.through(instead_of(trial.host, "files", free_bytes=_no_room))
    error = trial.refused(lambda: full.create("s", kind=Kind.INTERNAL), "no-space")
    trial.require("0 bytes free" in error.cause, f"the room there is is not told: {error.cause}")
    trial.equal(guest.snapshots(), (), "the snapshots")
    guest.create("s", kind=Kind.INTERNAL)


async def _no_room(_path: str) -> int:
    return 0


@case(Profile.SAFETY, "K3", "U2", needs=INTERNAL)
def an_image_of_two_domains_is_refused(trial: Trial) -> None:
    """One image under two domains cannot be put back for one of them without harming the other."""
    first = trial.guest(xvda="qcow2")
    second = trial.guest(xvda="qcow2")
    layers = {"xvda": first.disk().layer}
    second.host.run(second.host.toolstack.set_layers(second.domain().uuid, layers))
    trial.refused(lambda: first.create("s", kind=Kind.INTERNAL), "image-shared")


@case(Profile.SAFETY, "L1", "U3", needs=INTERNAL)
def what_is_not_there_is_not_found(trial: Trial) -> None:
    """A domain or a snapshot that does not exist is an error of its own kind, which names those there are."""
    guest = trial.guest(xvda="qcow2")
    guest.create("there", kind=Kind.INTERNAL)
    error = trial.refused(lambda: guest.revert("elsewhere"), "no-such-snapshot")
    trial.equal(int(error.exit_code), 3, "the exit code")
    trial.require("there" in error.remedy, f"the snapshots that exist are not named: {error.remedy}")
    trial.refused(lambda: trial.host.run(trial.host.toolstack.inspect(f"{guest.name}-no")), "domain-not-found")
