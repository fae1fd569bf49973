"""`replay`: what a capsule holds, carried out again and compared with what was seen then."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from xensnap.cli import conformance_files as files
from xensnap.cli.command import command_with
from xensnap.cli.documents import ReplayDocument
from xensnap.cli.output import clean
from xensnap.cli.session import Session, verb
from xensnap.errors import ExitCode, NotFound, Reason, Refused, Usage

if TYPE_CHECKING:
    from xensnap.conformance.capsule import Capsule
    from xensnap.conformance.case import Case
    from xensnap.conformance.events import CaseEnded, Did, Event
    from xensnap.conformance.reports.outcomes import CaseOutcome

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
@verb
def command(session: Session, capsule: str, step: bool, html: str | None) -> int:
    """Carry out again what FILE holds, on a place of its own, and compare it with what was seen then.

    FILE is what a failure of `xensnap conformance run` left. Exit code 0 if all is exactly as it was, and 1 if not. On
    a host that draws ids and paths anew each time, plans and journals are not compared.
    """
    if step and session.json:
        raise Usage("--step and --json contradict each other", id="contradiction", remedy="Give one of them.")
    held = files.read_capsule(capsule)
    spec = session.host_spec or _trusted(held)
    case = _case(held)
    _tell_versions(session, held)
    if not session.json:
        session.print(clean(f"{held.case} on {spec}, seed {held.seed}: {held.began.story}") + "\n\n")
    now = _carried_out(session, held, case, spec, step=step)
    from xensnap.conformance import capsule as capsules

    exactly = spec == held.host and held.kind == "sim"
    differs = tuple(map(clean, capsules.differences(held.outcome, now, exactly=exactly)))
    if html is not None:
        from xensnap.conformance.reports.html import replayed

        files.write_text(html, replayed(held, now))
    document = ReplayDocument(held.case, spec, held.seed, len(now.deeds), now.ended.state.value, not differs, differs)
    session.show(document, lambda: _verdict(document))
    return ExitCode.NOTHING_CHANGED if differs else ExitCode.DONE


def _trusted(held: "Capsule") -> str:
    from xensnap.conformance.capsule import OURS

    if held.host.partition(":")[0] in OURS:
        return held.host
    cause = f"the capsule is of the host {held.host}, which is code of somebody's own"
    remedy = f"If you trust that code, say --host {held.host}; or try another host: --host sim."
    raise Refused([Reason("foreign-host", clean(cause), clean(remedy))])


def _case(held: "Capsule") -> "Case":
    from xensnap.conformance.case import every_case

    found = next((each for each in every_case() if each.id == held.case), None)
    if found is None:
        made_with = ", ".join(f"{name} {version}" for name, version in held.versions.items())
        remedy = f"Replay it with the version that made it: {made_with}."
        raise NotFound(f"there is no case {held.case} here", id="no-such-case", remedy=remedy)
    return found


def _tell_versions(session: Session, held: "Capsule") -> None:
    pairs = [(name, held.versions.get(name, "unknown"), here) for name, here in files.versions().items()]
    others = [f"{name} {then}, not {here}" for name, then, here in pairs if then != here]
    if others:
        session.warn(clean(f"the capsule was made with {'; '.join(others)}"))


def _carried_out(session: Session, held: "Capsule", case: "Case", spec: str, *, step: bool) -> "CaseOutcome":
    from xensnap.conformance.events import Did
    from xensnap.conformance.reports.outcomes import CaseOutcome
    from xensnap.conformance.run import began, carry_out

    deeds: list[Did] = []

    def tell(event: "Event") -> None:
        assert isinstance(event, Did), "a case tells deeds only"
        deeds.append(event)
        if not session.json:
            session.print(clean("\n".join(_deed(len(deeds), event, full=step or session.verbose))) + "\n")
        if step:
            _wait()

    ended = carry_out(case, files.opener(spec), clock=time.monotonic, options=held.options, tell=tell)
    if not session.json:
        session.print("\n" + clean("\n".join(_ending(ended))) + "\n")
    return CaseOutcome(began(case), tuple(deeds), ended)


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
