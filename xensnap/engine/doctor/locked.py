"""The lock of a domain: whoever holds it has said so in its file, and is still there."""

from collections.abc import Iterable, Iterator

from xensnap.engine.doctor.finding import Finding, Repair, Severity
from xensnap.engine.doctor.survey import Survey
from xensnap.engine.locks import Holder, LockSeen
from xensnap.hypervisor import Opener


def lock(seen: Survey) -> Iterator[Finding]:
    """See `of_lock`."""
    yield from of_lock(seen.lock, used="journal" in seen.stored)


def of_lock(lock: LockSeen, *, used: bool) -> Iterator[Finding]:
    """The lock's file is there where it was ever taken, and whoever has it open is the one that it tells of.

    What it says while nobody has it is no finding: nobody wipes that out, a power cut may leave a part of it, and the
    next one writes over it.
    """
    holder, who = Holder.of(lock.note), _named(lock.openers)
    if lock.at_work is not None:
        cause = f"process {lock.at_work.pid} of {lock.at_work.user} is at work on it: `{lock.at_work.doing}`"
        yield Finding(
            "at-work", Severity.NOTE, lock.path, cause, "What it has not finished is not looked at: ask later."
        )
    elif not lock.is_there:
        if used:
            cause = "it was removed: whoever holds a lock that has no file any more keeps nobody off"
            repair = Repair("take it, which makes the file anew")
            yield Finding("lock-gone", Severity.WARNING, lock.path, cause, repair=repair)
    elif lock.openers and holder is None:
        cause = f"it does not tell who holds it; {who} has it open"
        yield Finding("lock-damaged", Severity.WARNING, lock.path, cause, f"Wait for {who}, or look what it does.")
    elif lock.openers and holder is not None:
        gone = "on another boot" if holder.boot_id != lock.boot_id else "and is gone"
        cause = f"process {holder.pid} of {holder.user} took it for `{holder.doing}` {gone}, and {who} has it still"
        yield Finding("lock-left", Severity.WARNING, lock.path, cause, f"`xensnap recover` waits for it; or end {who}.")


def of_nobody(lock: LockSeen) -> Iterator[Finding]:
    """The lock in a store with nothing else in it, of a domain that the host does not know."""
    if lock.openers:
        yield from of_lock(lock, used=False)
    elif lock.is_there:
        cause = "the host knows no domain with this UUID, and nothing else is kept of one"
        yield Finding("lock-of-nobody", Severity.NOTE, lock.path, cause, repair=Repair("take it, and remove it"))


def _named(openers: Iterable[Opener]) -> str:
    return ", ".join(f"{opener.command[:80]!r} (pid {opener.pid})" for opener in openers)
