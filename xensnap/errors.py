"""One tree of errors, cut by what is known of the effect.

    XensnapError
      Refused     nothing happened: a reason, and what to do instead       exit 6 (Usage 2, NotFound 3, Busy 4)
      Failed      it was tried; `effect` says what is true now             exit 1 (nothing changed), 5 (something left)
      Unknown     nobody can tell yet whether it took effect: ask the host exit 7

Every error has a stable id, which `explain` and the documentation know, a cause in words and a remedy.
"""

from collections.abc import Iterable, Sequence
from enum import IntEnum, StrEnum
from typing import NamedTuple

NAMES_MAX = 20
"""So many names are shown of those that there are."""


class Effect(StrEnum):
    """What is known of an effect after an error: the house signature of every port method."""

    NONE = "none"
    DONE = "done"
    UNKNOWN = "unknown"


class ExitCode(IntEnum):
    """How the command line ends, by kind of outcome."""

    DONE = 0
    NOTHING_CHANGED = 1
    USAGE = 2
    NOT_FOUND = 3
    BUSY = 4
    SOMETHING_LEFT = 5
    REFUSED = 6
    UNKNOWN = 7
    INTERRUPTED = 130


class Reason(NamedTuple):
    """One reason to refuse: a stable id, what is in the way, and what to do about it."""

    id: str
    cause: str
    remedy: str
    exit_code: ExitCode = ExitCode.REFUSED


class XensnapError(Exception):
    """Root of everything that xensnap raises on purpose.

    Args:
        cause: what was wrong, and where.
        id: stable word for this kind of error.
        remedy: what the reader can do now.
        effect: what is known of the effect of what was tried.
    """

    exit_code: ExitCode = ExitCode.NOTHING_CHANGED
    default_id = "error"

    def __init__(self, cause: str, *, id: str = "", remedy: str = "", effect: Effect = Effect.NONE) -> None:
        super().__init__(cause)
        self.cause = cause
        self.id = id or self.default_id
        self.remedy = remedy
        self.effect = effect


class Refused(XensnapError):
    """Nothing was touched. Carries all reasons at once, never only the first."""

    default_id = "refused"

    def __init__(self, reasons: Iterable[Reason]) -> None:
        self.reasons = tuple(reasons)
        first = self.reasons[0]
        super().__init__("; ".join(reason.cause for reason in self.reasons), id=first.id, remedy=first.remedy)
        self.exit_code = first.exit_code


class Usage(Refused):
    """The request or a file given with it makes no sense as it stands."""

    default_id = "usage"

    def __init__(self, cause: str, *, id: str = "usage", remedy: str = "") -> None:
        super().__init__([Reason(id, cause, remedy, ExitCode.USAGE)])


class NotFound(Refused):
    """The domain, snapshot, disk or file that was named is not there."""

    default_id = "not-found"

    def __init__(self, cause: str, *, id: str = "not-found", remedy: str = "") -> None:
        super().__init__([Reason(id, cause, remedy, ExitCode.NOT_FOUND)])


class Busy(Refused):
    """Somebody else is at work there; the cause names who, as far as can be seen."""

    default_id = "busy"

    def __init__(self, cause: str, *, id: str = "busy", remedy: str = "Wait until it has ended, try again.") -> None:
        super().__init__([Reason(id, cause, remedy, ExitCode.BUSY)])


class Failed(XensnapError):
    """Something was tried and did not work; `effect` and the cause say what is true now."""

    default_id = "failed"

    def __init__(self, cause: str, *, id: str = "", remedy: str = "", effect: Effect = Effect.NONE) -> None:
        super().__init__(cause, id=id, remedy=remedy, effect=effect)
        self.exit_code = ExitCode.NOTHING_CHANGED if effect is Effect.NONE else ExitCode.SOMETHING_LEFT


class FileFailed(Failed):
    """A file operation failed. `errno` is the operating system's number (28 is a full file system)."""

    default_id = "file-failed"

    def __init__(self, cause: str, *, path: str, errno: int, effect: Effect = Effect.NONE) -> None:
        super().__init__(cause, effect=effect)
        self.path = path
        self.errno = errno


class ToolFailed(Failed):
    """A tool ended with an error. Its own words are kept, because they are what the operator will search for."""

    default_id = "tool-failed"

    def __init__(
        self, cause: str, *, argv: tuple[str, ...], returncode: int, stderr: str, effect: Effect = Effect.UNKNOWN
    ) -> None:
        super().__init__(cause, effect=effect)
        self.argv = argv
        self.returncode = returncode
        self.stderr = stderr


class Damaged(Failed):
    """A file that we read is not what it should be. The cause says where: a JSON path, an offset, a line."""

    default_id = "damaged"

    def __init__(self, cause: str, *, path: str, remedy: str = "") -> None:
        super().__init__(cause, remedy=remedy)
        self.path = path


class Unknown(XensnapError):
    """It was asked for, and no answer says whether it happened. Resolved by looking at the host, never by guessing."""

    exit_code = ExitCode.UNKNOWN
    default_id = "unknown-outcome"

    def __init__(self, cause: str, *, id: str = "", remedy: str = "") -> None:
        super().__init__(cause, id=id, remedy=remedy, effect=Effect.UNKNOWN)


def no_domain(ref: str, there: Iterable[str], *, otherwise: str) -> NotFound:
    """That a host has no domain of this name, UUID or domid.

    Args:
        ref: what was asked for.
        there: names of the domains that it has.
        otherwise: how it would come to know one more.
    """
    named = sorted(set(there))
    known = which_of(ref, named) if named else "There is none yet."
    return NotFound(f"no domain {ref!r}", id="domain-not-found", remedy=f"{known} {otherwise}")


def which_of(word: str, there: Sequence[str], *, told: str = "There are") -> str:
    """What to say to somebody whose word is none of these names: the one that is nearest, and the first of all."""
    import difflib  # noqa: PLC0415 -- most commands need it not

    near = difflib.get_close_matches(word, there, n=1)
    meant = f"Did you mean {near[0]!r}? " if near else ""
    more = f" and {len(there) - NAMES_MAX} more" if len(there) > NAMES_MAX else ""
    return f"{meant}{told}: {', '.join(map(repr, there[:NAMES_MAX]))}{more}."
