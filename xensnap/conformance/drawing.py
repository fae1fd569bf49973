"""Cases whose deeds are drawn by Hypothesis: many courses of one guest, and the shortest that goes wrong."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import msgspec

from xensnap.conformance.trial import Guest, Trial
from xensnap.conformance.workplace import Content, Missing
from xensnap.model import Kind

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

Drawn = TypeVar("Drawn")


def try_examples(trial: Trial, strategy: "Callable[[], SearchStrategy[Drawn]]", body: Callable[[Drawn], None]) -> None:
    """Try what Hypothesis draws, `Trial.max_examples` times. Only the last example that was tried is told in full.

    Args:
        trial: of the case.
        strategy: makes what is drawn from; called where Hypothesis is there.
        body: tries one example.

    Raises:
        Missing: Hypothesis is not installed.
    """
    try:
        import hypothesis  # noqa: PLC0415 -- a dom0 need not have it
    except ImportError as error:
        raise Missing("Hypothesis is not installed: pip install 'xensnap[testing]'") from error
    tried = 0

    @hypothesis.seed(trial.seed)
    @hypothesis.settings(
        max_examples=trial.max_examples,
        database=None,
        deadline=None,
        derandomize=False,
        report_multiple_bugs=False,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
    )
    @hypothesis.given(strategy())
    def one(example: Drawn) -> None:
        nonlocal tried
        tried += 1
        trial.begin_again()
        body(example)

    with trial.retelling():
        one()
    trial.did(f"{tried} examples were drawn")


class Deed(msgspec.Struct, frozen=True):
    """One deed of a course: `create`, `revert` or `delete` with a name, or `write` from a block on."""

    verb: str
    name: str = ""
    block: int = 0


NAMES = ("a", "b", "c")


def courses() -> "SearchStrategy[list[Deed]]":
    """What can be done to a guest that is off, in any order; some of it must be refused."""
    from hypothesis import strategies as st  # noqa: PLC0415 -- as above

    operation = st.builds(Deed, st.sampled_from(["create", "create", "revert", "delete"]), st.sampled_from(NAMES))
    return st.lists(operation | st.builds(Deed, st.just("write"), block=st.integers(0, 60)), min_size=3, max_size=9)


def follow(guest: Guest, deeds: list[Deed], kind: Kind) -> None:
    """Do all of it, held to what must be: a dictionary of what each snapshot holds, and what the disks show now."""
    held: dict[str, dict[str, Content]] = {}
    now = guest.shows()
    for deed in deeds:
        match deed.verb:
            case "write":
                guest.write(block=deed.block, blocks=4)
                now = guest.shows()
            case "create" if deed.name in held:
                guest.trial.refused(partial(guest.create, deed.name, kind=kind), "name-taken")
            case "create":
                guest.create(deed.name, kind=kind)
                held[deed.name] = now
            case verb if deed.name not in held:
                guest.trial.refused(partial(getattr(guest, verb), deed.name), "no-such-snapshot")
            case "revert":
                guest.revert(deed.name)
                now = held[deed.name]
            case "delete":
                guest.delete(deed.name)
                del held[deed.name]
        guest.trial.same(guest.shows(), now, f"after {deed.verb} {deed.name or deed.block}")
        guest.trial.equal({*guest.snapshots()}, {*held}, "the snapshots")
    for name, content in held.items():
        guest.revert(name)
        guest.trial.same(guest.shows(), content, f"in the end, after reverting to {name}")
