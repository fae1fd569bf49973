"""Preconditions: everything that can fail is found before anything is touched."""

from collections.abc import Mapping

from msgspec.structs import replace

from xensnap.conformance.case import Profile, case
from xensnap.conformance.cases.external import EXTERNAL, with_snapshots
from xensnap.conformance.seen import having, instead_of
from xensnap.conformance.trial import Trial
from xensnap.conformance.workplace import Wish, drives_of, strangers_of
from xensnap.engine.records import Store
from xensnap.engine.request import RevertRequest
from xensnap.errors import Busy, Failed
from xensnap.hypervisor import Capability
from xensnap.model import Backend, Domain, Kind

INTERNAL = {Capability.INTERNAL}


@case(Profile.SAFETY, "R6", "D10", needs=EXTERNAL)
def an_image_that_is_gone_stops_a_revert_before_it_begins(trial: Trial) -> None:
    """A revert whose frozen image is missing is refused by name of the file; the present is none the worse."""
    guest = trial.guest(xvda="qcow2")
    with_snapshots(guest, "one", "two")
    frozen = guest.record("one").disks[0].image
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


@case(Profile.SAFETY, "R9", "U2", needs=INTERNAL)
def a_disk_that_came_or_went_since_is_told_of(trial: Trial) -> None:
    """A disk that was attached since stays as it is; one that was detached is asked for, and nothing is touched."""
    guest = trial.guest(xvda="qcow2", xvdb="qcow2")
    operator = drives_of(trial.place)
    guest.write()
    then = guest.shows()
    guest.create("s", kind=Kind.INTERNAL)
    operator.detach(guest.name, "xvdb")
    trial.did(f"{guest.name}: xvdb detached by its operator")
    guest.write("xvda", block=9)
    now = guest.shows()
    error = trial.refused(lambda: guest.revert("s"), "disk-gone")
    trial.require("xvdb" in error.cause, f"the disk is not named: {error.cause}")
    trial.same(guest.shows(), now, "after the refusal")
    operator.attach(guest.name, Wish("xvdc"))
    trial.did(f"{guest.name}: xvdc attached by its operator")
    plan = guest.plan(RevertRequest("s", only=("xvda",)))
    trial.require(any("xvdc" in told for told in plan.warnings), f"xvdc is not told of: {plan.warnings}")
    guest.revert("s", only=("xvda",))
    shown = guest.shows()
    trial.same({"xvda": shown["xvda"]}, {"xvda": then["xvda"]}, "xvda after the revert")
    trial.require(not any(shown["xvdc"]), "the disk that was attached was written to")


@case(Profile.SAFETY, "A2", needs=INTERNAL)
def hooks_can_refuse_and_are_told_how_it_ended(trial: Trial) -> None:
    """What the operator runs before an operation can forbid it untouched; what he runs after is told of each end."""
    guest = trial.guest(xvda="qcow2")
    hooks = _Hooks()
    hooked = guest.through(having(trial.host, hooks=hooks))
    hooked.create("s", kind=Kind.INTERNAL)
    hooks.forbidden = "pre-delete"
    trial.refused(lambda: hooked.delete("s"), "hook-failed")
    trial.equal(guest.snapshots(), ("s",), "the snapshots after a hook has refused")
    wanted = [("pre-create", ""), ("post-create", "done"), ("pre-delete", ""), ("post-delete", "refused")]
    trial.equal(hooks.told, wanted, "what the hooks were told")


class _Hooks:
    """Hooks that keep what they are told, and refuse at one moment."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.forbidden = ""

    async def run(self, hook: str, facts: Mapping[str, str], *, timeout_s: float) -> tuple[str, ...]:
        """See `Hooks`."""
        del timeout_s
        self.told.append((hook, facts["XENSNAP_RESULT"]))
        if hook == self.forbidden:
            raise Failed("the operator does not want it", id="hook-failed", remedy="Ask the operator.")
        return ()


@case(Profile.SAFETY, "K4", "U2", needs=INTERNAL)
def a_disk_that_no_qemu_serves_is_refused(trial: Trial) -> None:
    """A disk that the kernel serves is named and refused, unless it is left out; the others come back."""
    guest = trial.guest(xvda="qcow2", xvdb="raw")
    toolstack = trial.host.toolstack

    def served(domain: Domain) -> Domain:
        disks = [replace(disk, backend=Backend.PHY) if disk.vdev == "xvdb" else disk for disk in domain.disks]
        return replace(domain, disks=tuple(disks))

    async def inspect(ref: str) -> Domain:
        return served(await toolstack.inspect(ref))

    async def domains() -> tuple[Domain, ...]:
        return tuple(map(served, await toolstack.domains()))

    other = guest.through(instead_of(trial.host, "toolstack", inspect=inspect, domains=domains))
    error = trial.refused(lambda: other.create("s"), "unsupported-backend")
    trial.require("xvdb" in error.cause, f"the disk is not named: {error.cause}")
    guest.write()
    then = guest.shows()
    other.create("s", kind=Kind.INTERNAL, skip=["xvdb"], disk_only=True)
    guest.write(block=9)
    now = guest.shows()
    other.revert("s")
    trial.same(guest.shows(), {"xvda": then["xvda"], "xvdb": now["xvdb"]}, "after the revert")


@case(Profile.SAFETY, "H5", "U2", needs=INTERNAL)
def a_backup_tools_bitmap_is_not_broken(trial: Trial) -> None:
    """An image with a dirty bitmap is not snapshotted inside, which could not be taken back: the bitmap stays whole."""
    guest = trial.guest(xvda="qcow2")
    stranger = strangers_of(trial.place)
    layer = guest.disk().layer
    stranger.qemu_img("bitmap", "--add", "-f", "qcow2", layer.path, "of-a-backup")
    trial.did("a backup tool has put a dirty bitmap into the image")
    trial.refused(lambda: guest.create("s", kind=Kind.INTERNAL), "has-bitmaps")
    image = guest.host.run(guest.host.images.inspect(layer))
    trial.equal((image.bitmaps, image.snapshots), (1, ()), "bitmaps and snapshots in the image")
    stranger.qemu_img("bitmap", "--remove", "-f", "qcow2", layer.path, "of-a-backup")
    guest.create("s", kind=Kind.INTERNAL)
