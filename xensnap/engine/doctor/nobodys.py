"""What waits in the store of a domain that the host does not know: one that is being made, or one that is gone."""

from collections.abc import Iterator

from xensnap.engine.doctor import locked
from xensnap.engine.doctor.finding import Finding, Repair, Severity
from xensnap.engine.locks import LockSeen
from xensnap.engine.unborn import Interrupted, waits


def interrupted(left: Interrupted, lock: LockSeen) -> Iterator[Finding]:
    """No operation waits for its end there. What makes a domain can be ended; what has lost its domain cannot.

    Args:
        left: the operation, or why nobody can tell which.
        lock: of its domain. Whoever holds it and lives is at work, and nothing is interrupted.
    """
    if lock.openers:
        yield from locked.of_lock(lock, used=True)
    if lock.at_work:
        return
    reason, subject = waits(left), left.store.directory
    if left.making:
        repair = Repair("bring it to its end, as `xensnap recover` does")
        yield Finding("interrupted", Severity.ERROR, left.making.domain_name, reason.cause, reason.remedy, repair)
    else:
        yield Finding(reason.id, Severity.ERROR, subject, reason.cause, reason.remedy)
