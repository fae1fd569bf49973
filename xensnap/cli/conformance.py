"""`conformance`: try a host with the cases, and tell it in every form that somebody reads."""

import re
import time
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from xensnap.cli import conformance_files as files
from xensnap.cli.command import Group
from xensnap.cli.names import local_file
from xensnap.cli.output import clean
from xensnap.cli.session import Session, told, verb
from xensnap.errors import ExitCode, NotFound, Usage

if TYPE_CHECKING:
    from xensnap.conformance.case import Case
    from xensnap.conformance.events import CaseEnded, Event
    from xensnap.conformance.run import Options

Function = TypeVar("Function", bound=Callable[..., Any])

REPORTS = ("junit", "tap", "markdown", "html")
PROFILES = (
    *("core", "external", "memory", "live", "chain", "metadata", "safety", "crash", "concurrency"),
    *("cli", "real-host"),
)
EXAMPLES = (
    ("xensnap conformance run --host sim", "all cases on a simulated host"),
    ("xensnap conformance run --host qemu --profile core", "one profile on real images"),
    ("xensnap conformance run --host my.tests:make_place", "a host of your own"),
    ("xensnap conformance run --html report.html", "with a page to read"),
)
DONE_WELL, DONE_BADLY = int(ExitCode.DONE), int(ExitCode.NOTHING_CHANGED)


def _shard(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[int, int]:
    part, _, parts = value.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise Usage(f"--shard {value}: no such part", remedy="Say for example --shard 2/4.")
    return int(part), int(parts)


def _prefix(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if value and not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,30}", value):
        remedy = "Begin with a letter, and use letters, digits, dots, dashes and underscores."
        raise Usage(f"--prefix {value}: domains cannot be called so", remedy=remedy)
    return value


@click.group("conformance", cls=Group, short_help="Try a host with the conformance cases.")
def command() -> None:
    """Try what a host promises, and tell it in every form that somebody reads."""


def choosing(function: Function) -> Function:
    """Which cases are meant: by name, by profile, or all."""
    profile = click.option(
        "--profile", "profiles", multiple=True, type=click.Choice(PROFILES), help="Only of this one."
    )
    return click.argument("cases", nargs=-1, metavar="[CASE]...")(profile(function))


def reporting(function: Function) -> Function:
    """Where reports go. The command gets `reports`, by kind."""
    options = [
        click.option("--junit", metavar="FILE", help="Write JUnit XML."),
        click.option("--tap", metavar="FILE", help="Write TAP 14."),
        click.option("--markdown", metavar="FILE", help="Write a summary in Markdown."),
        click.option("--html", metavar="FILE", help="Write one self-contained page."),
    ]

    @wraps(function)
    def begun(*arguments: Any, **given: Any) -> Any:
        reports = {kind: path for kind in REPORTS if (path := given.pop(kind)) is not None}
        return function(*arguments, reports=reports, **given)

    for option in reversed(options):
        begun = option(begun)
    return begun  # type: ignore[return-value]


stride_option = click.option(
    "--stride", type=click.IntRange(1), default=1, help="Try only every so many-th death of a process."
)

capsules_option = click.option(
    "--capsules",
    metavar="DIR",
    default="xensnap-capsules",
    show_default=True,
    help="Where each failure leaves a file for `xensnap replay`.",
)


@command.command("run", examples=EXAMPLES, short_help="Try cases on a host.")
@choosing
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Where chance comes from."
)
@click.option("--shard", default="1/1", callback=_shard, metavar="I/N", help="Only this part of the cases.")
@stride_option
@click.option(
    "--max-examples",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    metavar="N",
    help="Of what is drawn at random, try so many.",
)
@click.option("--time-box", type=click.FloatRange(0), metavar="SECONDS", help="Begin no further case after so long.")
@click.option(
    "--prefix",
    default="",
    callback=_prefix,
    metavar="WORD",
    help="What all names begin with. [default: one that nobody has]",
)
@click.option("--plan", is_flag=True, help="Only tell what would be made on the host.")
@click.option("--known-broken", metavar="FILE", help="Cases known to fail: a line each, id and reference.")
@click.option("--jsonl", metavar="FILE", help="Write every event, as `compare` and `report` read it.")
@capsules_option
@reporting
@verb
def run(
    session: Session,
    cases: tuple[str, ...],
    profiles: tuple[str, ...],
    seed: int,
    shard: tuple[int, int],
    stride: int,
    max_examples: int,
    time_box: float | None,
    prefix: str,
    plan: bool,
    known_broken: str | None,
    jsonl: str | None,
    capsules: str,
    reports: dict[str, str],
) -> None:
    """Try each CASE (`profile/name`) on a place made for it: all cases, or those that are named.

    The host is sim, doors (the real Xen host's code over a simulated machine), qemu, qemu:DIR (temporary directories
    below DIR), xen, xen:DIR (the variable XENSNAP_XEN_GUEST says what guests are made of), or MODULE:FACTORY with a
    factory of your own that takes a seed and returns a `xensnap.conformance.Workplace`. Exit code 0 only if nothing
    failed.
    """
    from xensnap.conformance.places.choosing import opener
    from xensnap.conformance.reports.outcomes import gather
    from xensnap.conformance.run import Options, run_cases

    wanted = chosen(cases, profiles)
    options = Options(
        seed=seed,
        prefix=prefix,
        shard=shard,
        stride=stride,
        max_examples=max_examples,
        time_box_s=time_box,
        known_broken=_known(known_broken),
    )
    if plan:
        _tell_plan(session, wanted, options)
        return
    events: list[Event] = []
    with files.writing(jsonl) as write:
        for event in run_cases(wanted, opener(session.host_spec), clock=time.monotonic, options=options):
            events.append(event)
            write(event)
            show(session, event)
    outcome = gather(events)
    held = files.write_capsules(capsules, outcome, host=session.host_spec or "sim", options=options)
    if held:
        others = f"; {len(held) - 1} others are in {capsules}" if held[1:] else ""
        session.warn(f"to see it again: xensnap replay {held[0]}{others}")
    files.write_reports((outcome,), reports)
    click.get_current_context().exit(DONE_BADLY if outcome.ended.bad else DONE_WELL)


def _tell_plan(session: Session, wanted: "tuple[Case, ...]", options: "Options") -> None:
    import msgspec

    from xensnap.conformance.places.choosing import opener
    from xensnap.conformance.plan import planned
    from xensnap.conformance.run import prefix_for

    place = opener(session.host_spec)(options.seed)
    try:
        declared, prefix = place.host.capabilities, prefix_for(place, options)
        objects = getattr(place, "objects", lambda *_: ())
    finally:
        place.close()
    if not session.json:
        session.print(f"{len(wanted)} cases on {place.host.name}; to run just this, say --prefix {prefix}\n")
    for each in planned(wanted, declared, msgspec.structs.replace(options, prefix=prefix), objects=objects):
        if session.json:
            session.print(msgspec.json.encode(each).decode() + "\n")
        else:
            lines = [f"not tried: {each.not_tried}"] if each.not_tried else [*each.domains, *each.objects]
            session.print(clean("\n    ".join([each.case, *lines])) + "\n")


@command.command("list", short_help="Name the cases and what they show.")
@choosing
@told
def list_cases(session: Session, cases: tuple[str, ...], profiles: tuple[str, ...]) -> None:
    """Name the cases, with the requirements that each shows and its story."""
    wanted = chosen(cases, profiles)
    if session.json:
        import msgspec

        told = [{"case": each.id, "requirements": each.requirements, "story": each.story} for each in wanted]
        session.print(msgspec.json.encode(told).decode() + "\n")
    else:
        session.print("".join(f"{each.id}  [{' '.join(each.requirements)}]\n    {each.story}\n" for each in wanted))


@command.command("compare", short_help="Tell what is lost or gained between two runs.")
@click.argument("old", metavar="OLD.jsonl")
@click.argument("new", metavar="NEW.jsonl")
@told
def compare_runs(session: Session, old: str, new: str) -> None:
    """Tell what was lost, gained and changed from one run to another; exit code 1 if something was lost."""
    from xensnap.conformance.reports import compare

    comparison = compare.compare(files.read_run(old), files.read_run(new))
    if session.json:
        import msgspec

        session.print(msgspec.json.encode(comparison).decode() + "\n")
    else:
        session.print(clean(compare.told(comparison)) + "\n")
    click.get_current_context().exit(DONE_BADLY if comparison.worse else DONE_WELL)


@command.command("report", short_help="Write reports of earlier runs.")
@click.argument("runs", metavar="RUN.jsonl...", nargs=-1, required=True)
@reporting
@told
def report(_session: Session, runs: tuple[str, ...], reports: dict[str, str]) -> None:
    """Write reports of runs that were made before; --html shows several hosts side by side."""
    files.write_reports(tuple(files.read_run(path) for path in runs), reports)


def chosen(ids: tuple[str, ...], profiles: tuple[str, ...]) -> "tuple[Case, ...]":
    """The cases that are meant.

    Raises:
        NotFound: there is no case of this id.
    """
    from xensnap.conformance.case import every_case

    every = every_case()
    if unknown := sorted({*ids} - {each.id for each in every}):
        raise NotFound(
            f"there is no case {', '.join(unknown)}", id="no-such-case", remedy="See `xensnap conformance list`."
        )
    return tuple(
        each for each in every if (not ids or each.id in ids) and (not profiles or each.profile.value in profiles)
    )


def _known(path: str | None) -> dict[str, str]:
    if path is None:
        return {}
    lines = [
        line.split(maxsplit=1) for line in local_file(path).decode("utf-8", "replace").splitlines() if line.strip()
    ]
    if bad := [words[0] for words in lines if len(words) < 2]:
        raise Usage(f"{path}: {bad[0]} has no reference", remedy="Write an id and a reference in each line.")
    return {words[0]: words[1].strip() for words in lines}


def show(session: Session, event: "Event") -> None:
    """Tell an event as it happens."""
    from xensnap.conformance.events import CaseEnded, RunBegan, RunEnded, State

    if session.json:
        from xensnap.conformance.events import encode

        session.print(encode(event).decode())
    elif isinstance(event, RunBegan):
        session.print(f"{len(event.cases)} cases on {event.host}, seed {event.seed}, shard {event.shard}\n")
    elif isinstance(event, CaseEnded) and (session.verbose or event.state is not State.PASS):
        session.print(clean(_line(event)) + "\n")
    elif isinstance(event, RunEnded):
        counts = ", ".join(f"{number} {state}" for state, number in event.counts.items() if number)
        session.print(f"{counts} in {event.seconds:.1f} s\n")


def _line(ended: "CaseEnded") -> str:
    words = f": {ended.words}" if ended.words else ""
    return "\n".join([f"{ended.state}  {ended.case}{words}", *(f"    {block}" for block in ended.blocks)])
