"""What happens in a run, as values: every report is made of these and of nothing else."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec


class State(StrEnum):
    """How a case ended."""

    PASS = "pass"  # noqa: S105 -- no password
    FAIL = "fail"
    """The host did not do what it must."""
    ERROR = "error"
    """The case itself, or the place it works in, broke down: nothing is known of the host."""
    UNSUPPORTED = "unsupported"
    """The host declares that it cannot do what the case is about; that it then refuses is another case."""
    NOT_APPLICABLE = "not applicable"
    """The case is about a host that cannot do something, and this one declares that it can."""
    NOT_RUN = "not run"
    """It could be tried on this host, but something was missing here: time, a package, a guest to start."""
    KNOWN_BROKEN = "known broken"
    """It failed, as the list of known failures says, with a reference."""
    UNEXPECTED_PASS = "unexpected pass"  # noqa: S105 -- as above
    """It passed, although the list of known failures has it."""


BAD = frozenset({State.FAIL, State.ERROR, State.UNEXPECTED_PASS})
"""What makes a run fail."""

UNTRIED = frozenset({State.UNSUPPORTED, State.NOT_APPLICABLE, State.NOT_RUN})
"""The case was not carried out; its words say why."""


class RunBegan(msgspec.Struct, frozen=True, tag="run-began", tag_field="event"):
    """First of all: what is tried, with what, and how to do it again."""

    host: str
    seed: int
    cases: tuple[str, ...]
    capabilities: tuple[str, ...]
    versions: Mapping[str, str]
    shard: str = "1/1"
    prefix: str = ""


class CaseBegan(msgspec.Struct, frozen=True, tag="case-began", tag_field="event"):
    """A case is about to be carried out."""

    case: str
    profile: str
    level: str
    requirements: tuple[str, ...]
    story: str


class Did(msgspec.Struct, frozen=True, tag="did", tag_field="event"):
    """Something was done in a case: an operation with its plan, or a deed of the guest.

    `told` is how it ended: `done`, or the ids of the reasons for a refusal, or an error in words. `journal` is what the
    domain's journal has of it, with the time since the operation began; `before` and `tree` are how the snapshots stand
    before it and afterwards.
    """

    case: str
    deed: str
    told: str
    plan: tuple[str, ...] = ()
    journal: tuple[str, ...] = ()
    tree: tuple[str, ...] = ()
    before: tuple[str, ...] = ()


class CaseEnded(msgspec.Struct, frozen=True, tag="case-ended", tag_field="event"):
    """How a case ended; with `words` and, where contents differ, what each differing block holds and who wrote it."""

    case: str
    state: State
    seconds: float
    words: str = ""
    blocks: tuple[str, ...] = ()


class RunEnded(msgspec.Struct, frozen=True, tag="run-ended", tag_field="event"):
    """Last of all: how many cases ended how."""

    counts: Mapping[str, int]
    seconds: float
    bad: int


Event = RunBegan | CaseBegan | Did | CaseEnded | RunEnded


_DECODER: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


def encode(event: Event) -> bytes:
    """One line of JSON."""
    return msgspec.json.encode(event) + b"\n"


def decode(line: bytes) -> Event:
    """The event of such a line.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return _DECODER.decode(line)
