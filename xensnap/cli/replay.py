"""`replay`: what a capsule holds, carried out again and compared with what was seen then."""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from xensnap.cli import conformance_files as files
from xensnap.cli.command import command_with
from xensnap.cli.documents.simulated import ReplayDocument
from xensnap.cli.output import clean
from xensnap.cli.session import Session, verb
from xensnap.errors import ExitCode, NotFound, Reason, Refused, Usage

if TYPE_CHECKING:
    from xensnap.conformance.capsule import Capsule
    from xensnap.conformance.case import Case
    from xensnap.conformance.events import CaseEnded, Did, Event
    from xensnap.conformance.reports.outcomes import CaseOutcome
    from xensnap.testing.capsules import MachineCapsule

    Again = Callable[[Callable[["Event"], None]], CaseOutcome]
    """Carries it out once more, telling each deed."""

MARGIN = " " * 6


@command_with(
    "replay",
    "Show a failure again, step by step.",
    ("xensnap replay xensnap-capsules/core-disks-come-back-0.json", "all of it"),
    ("xensnap replay FILE --step", "wait for Enter after each deed"),
    ("xensnap replay FILE --html failure.html", "as a page to step through"),
    ("xensnap replay FILE --host qemu", "whether another host fails, too"),
)
@click.argument("capsule", metavar="FILE")
@click.option("--step", is_flag=True, help="Wait for Enter after each deed; q ends it there.")
@click.option("--html", metavar="FILE", help="Write one self-contained page of what was seen now.")
@click.option("--tool", "tools", multiple=True, metavar="MODULE:FACTORY", help="The tool that a machine tried.")
@verb
def command(session: Session, capsule: str, step: bool, html: str | None, tools: tuple[str, ...]) -> int:
    """Carry out again what FILE holds, on a place of its own, and compare it with what was seen then.

    FILE is what a failure of `xensnap conformance run`, or of a machine of the testing kit, left. Exit code 0 if all is
    exactly as it was, and 1 if not. On a host that draws ids and paths anew, plans and journals are not compared.
    """
    if step and session.json:
        raise Usage("--step and --json contradict each other", id="contradiction", remedy="Give one of them.")
    from xensnap.conformance import capsule as capsules
    from xensnap.testing.capsules import MachineCapsule

    held = files.read_capsule(capsule)
    if isinstance(held, MachineCapsule):
        where, seed, exactly, again = "sim", 0, True, _machine(session, held, tools)
    else:
        where, seed = session.host_spec or _trusted(held), held.seed
        exactly, again = where == held.host and held.exact, _case(held, where, tools)
    _tell_versions(session, held)
    then = held.outcome
    if not session.json:
        session.print(clean(f"{then.began.case} on {where}, seed {seed}: {then.began.story}") + "\n\n")
    now = _shown(session, again, step=step)
    differs = tuple(map(clean, capsules.differences(then, now, exactly=exactly)))
    if html is not None:
        from xensnap.conformance.reports.html import replayed

        files.write_text(html, replayed(now, host=where, seed=seed, versions=held.versions))
    document = ReplayDocument(then.began.case, where, seed, len(now.deeds), now.ended.state.value, not differs, differs)
    session.show(document, lambda: _verdict(document))
    return ExitCode.NOTHING_CHANGED if differs else ExitCode.DONE


# --- What is done again ----------------------------------------------------------------------------------------------


def _trusted(held: "Capsule") -> str:
    from xensnap.conformance.capsule import OURS

    if held.host.partition(":")[0] in OURS:
        return held.host
    cause = f"the capsule is of the host {held.host}, which a file does not get to choose"
    remedy = f"If you want that host worked on, say --host {held.host}; or try another host: --host sim."
    raise Refused([Reason("foreign-host", clean(cause), clean(remedy))])


def _case(held: "Capsule", spec: str, tools: tuple[str, ...]) -> "Again":
    from xensnap.conformance.places.choosing import opener
    from xensnap.conformance.reports.outcomes import CaseOutcome
    from xensnap.conformance.run import began, carry_out

    if tools:
        raise Usage("--tool is for a machine's capsule", id="contradiction", remedy="Say --host for another host.")
    case, open_place = _known(held), opener(spec)

    def again(tell: "Callable[[Event], None]") -> "CaseOutcome":
        deeds: list[Event] = []

        def kept(event: "Event") -> None:
            deeds.append(event)
            tell(event)

        ended = carry_out(case, open_place, clock=time.monotonic, options=held.options, tell=kept)
        return CaseOutcome(began(case), _deeds(deeds), ended)

    return again


def _deeds(events: "list[Event]") -> "tuple[Did, ...]":
    from xensnap.conformance.events import Did

    return tuple(event for event in events if isinstance(event, Did))


def _known(held: "Capsule") -> "Case":
    from xensnap.conformance.case import every_case

    found = next((each for each in every_case() if each.id == held.case), None)
    if found is None:
        made_with = ", ".join(f"{name} {version}" for name, version in held.versions.items())
        remedy = f"Replay it with the version that made it: {made_with}."
        raise NotFound(f"there is no case {held.case} here", id="no-such-case", remedy=remedy)
    return found


def _machine(session: Session, held: "MachineCapsule", tools: tuple[str, ...]) -> "Again":
    from xensnap.testing import capsules
    from xensnap.testing.course import Course
    from xensnap.testing.tools import found

    if session.host_spec not in {None, "sim"}:
        raise Usage("a machine's capsule is of simulated hosts", id="contradiction", remedy="Leave --host out.")
    wanted = tools or held.tools
    if not tools and held.foreign:
        cause = f"the capsule is of the tool {', '.join(wanted)}, which is code of somebody's own"
        remedy = "If you trust that code, say " + " ".join(f"--tool {name}" for name in wanted) + "."
        raise Refused([Reason("foreign-host", clean(cause), clean(remedy))])
    makes, world = [found(name) for name in wanted], capsules.world_of(held)

    def again(tell: "Callable[[Event], None]") -> "CaseOutcome":
        words = ""
        course = Course(world, held.domain, makes, case=held.machine)
        for deed in held.deeds:
            try:
                course.do(deed)
            except Exception as error:  # noqa: BLE001 -- that is what is shown again
                words = capsules.words_of(error)
            tell(course.told[-1])
            if words:
                break
        return capsules.outcome_of(held, tuple(course.told), words)

    return again


def _tell_versions(session: Session, held: "Capsule | MachineCapsule") -> None:
    here = files.versions()
    others = [
        f"{name} {then}, not {here[name]}" for name, then in held.versions.items() if here.get(name, then) != then
    ]
    if others:
        session.warn(clean(f"the capsule was made with {'; '.join(others)}"))


# --- How it is shown -------------------------------------------------------------------------------------------------


def _shown(session: Session, again: "Again", *, step: bool) -> "CaseOutcome":
    from xensnap.conformance.events import Did

    told = 0

    def tell(event: "Event") -> None:
        nonlocal told
        assert isinstance(event, Did), "a case tells deeds only"
        told += 1
        if not session.json:
            session.print(clean("\n".join(_deed(told, event, full=step or session.verbose))) + "\n")
        if step:
            _wait()

    now = again(tell)
    if not session.json:
        session.print("\n" + clean("\n".join(_ending(now.ended))) + "\n")
    return now


def _wait() -> None:
    """Until Enter is pressed. The host stands as the deed has left it meanwhile, and can be looked at."""
    try:
        word = input()
    except EOFError:
        return
    if word.strip().lower() == "q":
        raise KeyboardInterrupt


def _deed(number: int, deed: "Did", *, full: bool) -> Iterator[str]:
    yield f"{number:>4}. {deed.deed}: {deed.told}" if deed.told != "done" else f"{number:>4}. {deed.deed}"
    if full:
        yield from _listed("plan", [f"{at}. {line}" for at, line in enumerate(deed.plan, 1)])
        yield from _listed("journal", deed.journal)
        yield from _listed("snapshots before", deed.before)
        yield from _listed("snapshots afterwards", deed.tree)


def _listed(title: str, lines: "list[str] | tuple[str, ...]") -> Iterator[str]:
    if lines:
        yield f"{MARGIN}{title}"
        yield from (f"{MARGIN}  {line}" for line in lines)


def _ending(ended: "CaseEnded") -> Iterator[str]:
    yield f"{ended.state}: {ended.words}" if ended.words else str(ended.state)
    yield from (f"    {block}" for block in ended.blocks)


def _verdict(document: ReplayDocument) -> str:
    if document.same:
        return f"The same as then, in each of {document.deeds} deeds."
    return "\n".join(["Not as it was then:", *(f"  {line}" for line in document.differs)])
