"""Cases: functions with a story, the requirements they show, and what a host must be able to do for them."""

from collections.abc import Callable, Iterable
from enum import StrEnum
from importlib import import_module

import msgspec

from xensnap.conformance.requirements import REQUIREMENTS, Level
from xensnap.conformance.trial import Trial
from xensnap.hypervisor import Capability

Body = Callable[[Trial], None]


class Profile(StrEnum):
    """Groups of cases that are run together."""

    CORE = "core"
    EXTERNAL = "external"
    MEMORY = "memory"
    LIVE = "live"
    CHAIN = "chain"
    METADATA = "metadata"
    SAFETY = "safety"
    CRASH = "crash"
    CONCURRENCY = "concurrency"
    CLI = "cli"
    REAL_HOST = "real-host"


class Case(msgspec.Struct, frozen=True):
    """One case.

    Attributes:
        id: `profile/name`; stays the same for ever, since reports are compared by it.
        requirements: ids of what it shows.
        needs: what the host must declare. A host that does not is not tried with it, and the report says so.
        lacks: the case is for hosts that do not declare this: they must refuse it cleanly.
    """

    id: str
    profile: Profile
    requirements: tuple[str, ...]
    needs: frozenset[Capability]
    lacks: frozenset[Capability]
    story: str
    body: Body

    @property
    def level(self) -> Level:
        """As binding as the most binding of its requirements."""
        levels = {REQUIREMENTS[id].level for id in self.requirements}
        return next(level for level in Level if level in levels)


_CASES: dict[str, Case] = {}


def case(
    profile: Profile, *requirements: str, needs: Iterable[Capability] = (), lacks: Iterable[Capability] = ()
) -> Callable[[Body], Body]:
    """Make a case of a function. Its name is the case's, its docstring the story."""

    def keep(body: Body) -> Body:
        id = f"{profile}/{body.__name__.replace('_', '-')}"
        assert id not in _CASES, f"there are two cases {id}"
        assert requirements, f"{id} shows no requirement"
        assert REQUIREMENTS.keys() >= {*requirements}, f"{id} names a requirement that is not there"
        assert body.__doc__, f"{id} tells no story"
        story = " ".join(body.__doc__.split())
        _CASES[id] = Case(id, profile, requirements, frozenset(needs), frozenset(lacks), story, body)
        return body

    return keep


def every_case() -> tuple[Case, ...]:
    """All cases of ours, in the order of the profiles and then as they are written."""
    for profile in Profile:
        import_module(f"xensnap.conformance.cases.{profile.replace('-', '_')}")
    order = list(Profile)
    return tuple(sorted(_CASES.values(), key=lambda each: order.index(each.profile)))
