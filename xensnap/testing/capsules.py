"""Replay capsules of machines: the world, every deed, every fault, and how it ended, in one file of JSON."""

import base64
import zlib
from collections.abc import Mapping, Sequence

import msgspec

import xensnap
from simulator import World, persist
from xensnap.conformance.events import CaseBegan, CaseEnded, Did, State
from xensnap.conformance.reports.outcomes import CaseOutcome
from xensnap.errors import Damaged
from xensnap.testing.course import Course, Deed, Wrong
from xensnap.testing.tools import MakeTool, OurTool, name_of

_ATTRIBUTE = "xensnap_capsule"


class MachineCapsule(msgspec.Struct, frozen=True, tag="xensnap-machine/1", tag_field="schema"):
    """One failure of a machine of the kit.

    Attributes:
        machine: its name.
        tools: where each tool is found: MODULE:NAME.
        domain: which domain of the world it is about.
        world: what the hosts were to begin with: deflated, in base 64.
        deeds: what was done, with its faults.
        told: how each deed ended.
        words: what was wrong in the end.
        versions: of xensnap.
    """

    machine: str
    story: str
    tools: tuple[str, ...]
    domain: str
    world: str
    deeds: tuple[Deed, ...]
    told: tuple[Did, ...]
    words: str
    versions: Mapping[str, str]

    @property
    def foreign(self) -> bool:
        """Whether a tool is code of somebody's own, which a file must not get to run."""
        return {*self.tools} != {name_of(OurTool)}

    @property
    def outcome(self) -> CaseOutcome:
        """What was seen then, as reports have it."""
        return outcome_of(self, self.told, self.words)


def outcome_of(held: MachineCapsule, told: tuple[Did, ...], words: str) -> CaseOutcome:
    """A course of a machine as reports have it."""
    state = State.FAIL if words else State.PASS
    began = CaseBegan(held.machine, "machine", "", (), held.story)
    return CaseOutcome(began, told, CaseEnded(held.machine, state, 0.0, words))


def capsule_of(
    course: Course, world: World, domain: str, tools: Sequence[MakeTool], error: Exception, *, story: str
) -> MachineCapsule:
    """The capsule of a course that has gone wrong."""
    return MachineCapsule(
        machine=course.case,
        story=" ".join(story.split()),
        tools=tuple(map(name_of, tools)),
        domain=domain,
        world=base64.b64encode(zlib.compress(persist.encode(world))).decode(),
        deeds=tuple(course.deeds),
        told=tuple(course.told),
        words=words_of(error),
        versions={"xensnap": xensnap.__version__},
    )


def words_of(error: Exception) -> str:
    """An error as it is told and compared."""
    return str(error) if isinstance(error, Wrong) else f"{type(error).__name__}: {error}"


def encode(held: MachineCapsule) -> bytes:
    """The text of the file."""
    return msgspec.json.format(msgspec.json.encode(held), indent=1) + b"\n"


def world_of(held: MachineCapsule) -> World:
    """The world that it begins with.

    Raises:
        Damaged: it is none.
    """
    try:
        data = zlib.decompress(base64.b64decode(held.world, validate=True))
    except (ValueError, zlib.error) as error:
        raise Damaged(f"no replay capsule: its world cannot be read: {error}", path="world") from error
    return persist.decode(data, path="the world of the capsule")


def attach(error: BaseException, held: MachineCapsule) -> None:
    """Let a failure carry its capsule to whoever writes it to a file."""
    setattr(error, _ATTRIBUTE, held)


def attached(error: BaseException) -> MachineCapsule | None:
    """The capsule that a failure carries, itself or in a group."""
    held: MachineCapsule | None = getattr(error, _ATTRIBUTE, None)
    if held is None and isinstance(error, BaseExceptionGroup):
        return next((inner for each in error.exceptions if (inner := attached(each))), None)
    return held
