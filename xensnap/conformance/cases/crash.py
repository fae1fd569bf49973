"""The process dies: before every change that it makes, one death after the other, and the next one ends its work."""

from collections.abc import Callable

from xensnap.conformance.case import Profile, case
from xensnap.conformance.dying import Died, dying
from xensnap.conformance.trial import Guest, Trial
from xensnap.hypervisor import Capability
from xensnap.model import Kind

INTERNAL = {Capability.INTERNAL}
EXTERNAL = {Capability.EXTERNAL}


def _before_every_change(trial: Trial, prepare: Callable[[Guest], None], operate: Callable[[Guest], None]) -> None:
    """Let the operation die before its first change, its second, and so on; each time on a domain of its own.

    Where that takes long, only before every so many-th change (`Trial.stride`).

    After recovery the domain must be as before the operation or as after it, and work.
    """
    after = _after(trial, prepare, operate)
    deaths, last = 0, 1 - trial.stride
    while True:
        last += trial.stride
        guest = trial.guest(xvda="qcow2", xvdb="qcow2")
        prepare(guest)
        before = _seen(guest)
        try:
            operate(guest.through(dying(trial.host, last)))
        except Died:
            pass
        else:
            break
        deaths += 1
        trial.did(f"{guest.name}: the process died before its change {last}")
        guest.recover()
        found = _seen(guest)
        trial.require(found in (before, after), f"killed before change {last}: neither as before nor as after: {found}")
        trial.equal(guest.recover(), "", f"killed before change {last}: a second recovery")
        guest.create("again")
        guest.revert("again")
    trial.require(deaths * trial.stride >= 5, f"only {deaths} deaths were tried")


def _after(trial: Trial, prepare: Callable[[Guest], None], operate: Callable[[Guest], None]) -> object:
    guest = trial.guest(xvda="qcow2", xvdb="qcow2")
    prepare(guest)
    operate(guest)
    return _seen(guest)


def _seen(guest: Guest) -> object:
    """What must be before or after: the tree, what the disks show by content, and how deep they stand."""
    shown = {vdev: tuple(bool(block) for block in content) for vdev, content in guest.shows().items()}
    return guest.tree(), shown


def _prepared(kind: Kind) -> Callable[[Guest], None]:
    def prepare(guest: Guest) -> None:
        guest.write(block=0)
        guest.create("one", kind=kind)
        guest.write(block=8)
        guest.create("two", kind=kind)
        guest.write(block=16)

    return prepare


@case(Profile.CRASH, "S5", "T2", needs=INTERNAL)
def a_create_that_dies_is_undone_or_done(trial: Trial) -> None:
    """Internal snapshots: killed anywhere in a create, the domain is as before it or as after it."""
    _before_every_change(trial, _prepared(Kind.INTERNAL), lambda guest: guest.create("three"))


@case(Profile.CRASH, "S5", "R7", "T2", needs=INTERNAL)
def a_revert_that_dies_is_undone_or_done(trial: Trial) -> None:
    """Internal snapshots: killed anywhere in a revert, the domain is as before it or as after it."""
    _before_every_change(trial, _prepared(Kind.INTERNAL), lambda guest: guest.revert("one"))


@case(Profile.CRASH, "S5", "D7", "T2", needs=INTERNAL)
def a_delete_that_dies_is_undone_or_done(trial: Trial) -> None:
    """Internal snapshots: killed anywhere in a delete, the domain is as before it or as after it."""
    _before_every_change(trial, _prepared(Kind.INTERNAL), lambda guest: guest.delete("one"))


@case(Profile.CRASH, "S5", "C7", "T2", needs=EXTERNAL)
def a_freezing_that_dies_is_undone_or_done(trial: Trial) -> None:
    """External snapshots: killed anywhere in a create, the domain is as before it or as after it."""
    _before_every_change(trial, _prepared(Kind.EXTERNAL), lambda guest: guest.create("three"))


@case(Profile.CRASH, "S5", "R2", "T2", needs=EXTERNAL)
def a_return_to_a_frozen_image_that_dies_is_undone_or_done(trial: Trial) -> None:
    """External snapshots: killed anywhere in a revert, the domain is as before it or as after it."""
    _before_every_change(trial, _prepared(Kind.EXTERNAL), lambda guest: guest.revert("one"))


@case(Profile.CRASH, "S5", "D7", "T2", needs=EXTERNAL)
def a_merge_that_dies_is_undone_or_done(trial: Trial) -> None:
    """External snapshots: killed anywhere in a delete and its merges, the domain is as before it or as after it."""
    _before_every_change(trial, _prepared(Kind.EXTERNAL), lambda guest: guest.delete("two"))
