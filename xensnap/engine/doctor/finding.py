"""What the doctor finds: a stable id, how bad it is, what it is about, and what would mend it."""

from enum import StrEnum

import msgspec

from xensnap.engine.state import DomainState, HiddenBase, OurFile
from xensnap.engine.steps import Step


class Severity(StrEnum):
    """How bad it is."""

    ERROR = "error"
    """Something cannot be reverted to or started, or soon will not be."""
    WARNING = "warning"
    """Nothing is lost, but something is left or forgotten."""
    NOTE = "note"
    """Worth knowing, and may well be meant so."""


class Repair(msgspec.Struct, frozen=True):
    """What mends it: steps before and after the decision, and what changes in the domain's state with it.

    The state is written anew in any case, from all that is known; some findings need no more than that.

    Attributes:
        says: the repair in one line.
        prepare: steps that can be undone.
        finish: steps that can be repeated until they are done.
        forgets: paths that leave the ledger and the hidden bases.
        claims: files that enter the ledger.
        hides: images that become hidden bases.
        drops: snapshots that were let go, and of which nothing is kept from then on.
        current: the current snapshot from then on, where that changes; in a tuple, since None is one, too.
        state: what is changed by all this, where that is not what the store says now.
    """

    says: str
    prepare: tuple[Step, ...] = ()
    finish: tuple[Step, ...] = ()
    forgets: frozenset[str] = frozenset()
    claims: tuple[OurFile, ...] = ()
    hides: tuple[HiddenBase, ...] = ()
    drops: frozenset[str] = frozenset()
    current: tuple[str | None, ...] = ()
    state: DomainState | None = None


class Finding(msgspec.Struct, frozen=True):
    """Something that does not fit.

    Attributes:
        id: stable word for this kind of finding.
        severity: how bad it is.
        subject: the snapshot, file or domain that it is about.
        cause: what is wrong, in words.
        remedy: what a person can do where there is no repair.
        repair: what mends it without losing anything; None where only a person can decide.
    """

    id: str
    severity: Severity
    subject: str
    cause: str
    remedy: str = ""
    repair: Repair | None = None
