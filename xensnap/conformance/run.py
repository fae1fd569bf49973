"""Carrying cases out: each on a place of its own, each ending in exactly one state, nothing skipped in silence."""

import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from zlib import crc32

import msgspec

from xensnap.conformance.case import Case
from xensnap.conformance.events import BAD, CaseBegan, CaseEnded, Event, RunBegan, RunEnded, State
from xensnap.conformance.trial import MAX_EXAMPLES, Broken, Trial
from xensnap.conformance.workplace import Missing, Workplace

OpenPlace = Callable[[int], Workplace]
"""Makes a place ready, from a seed."""


class Options(msgspec.Struct, frozen=True):
    """How to run.

    Attributes:
        seed: where all chance comes from; each case gets one of its own, made from this and its id.
        prefix: what the names of all domains begin with, so that they are told from everybody else's; where it is
            empty, one that no other run has on a host that lasts.
        known_broken: ids of cases that are known to fail, each with a reference.
        shard: this part of so many, counted from 1.
        stride: of many things of one kind, such as deaths, only every so many-th is tried.
        max_examples: of what Hypothesis draws, each case tries so many.
        time_box_s: after so long no further case is begun; the report says of each that it was not run.
    """

    seed: int = 0
    prefix: str = ""
    known_broken: Mapping[str, str] = {}
    shard: tuple[int, int] = (1, 1)
    stride: int = 1
    max_examples: int = MAX_EXAMPLES
    time_box_s: float | None = None


DEFAULTS = Options()


def run_cases(
    cases: Iterable[Case], open_place: OpenPlace, *, clock: Callable[[], float], options: Options = DEFAULTS
) -> Iterator[Event]:
    """Carry these cases out, yielding events as they happen.

    Args:
        cases: those of one shard are chosen from them here.
        open_place: makes a host ready; called once for each case that is run, and once before.
        clock: seconds that only grow.
        options: see there.
    """
    mine = [each for at, each in enumerate(cases) if at % options.shard[1] == options.shard[0] - 1]
    began_s = clock()
    first = open_place(options.seed)
    try:
        options = msgspec.structs.replace(options, prefix=prefix_for(first, options))
        yield RunBegan(
            host=first.host.name.partition(":")[0],
            seed=options.seed,
            cases=tuple(each.id for each in mine),
            capabilities=tuple(sorted(each.value for each in first.host.capabilities)),
            versions=dict(first.versions()),
            shard=f"{options.shard[0]}/{options.shard[1]}",
            prefix=options.prefix,
        )
        declared = first.host.capabilities
    finally:
        first.close()
    counts: Counter[str] = Counter()
    for each in mine:
        yield began(each)
        if missing := sorted(need.value for need in each.needs - declared):
            ended = CaseEnded(each.id, State.UNSUPPORTED, 0.0, f"the host does not declare {', '.join(missing)}")
        elif there := sorted(lack.value for lack in each.lacks & declared):
            ended = CaseEnded(each.id, State.NOT_APPLICABLE, 0.0, f"needs a host without {', '.join(there)}")
        elif options.time_box_s is not None and clock() - began_s >= options.time_box_s:
            ended = CaseEnded(each.id, State.NOT_RUN, 0.0, f"the time box of {options.time_box_s:g} s was over")
        else:
            told: list[Event] = []
            ended = carry_out(each, open_place, clock=clock, options=options, tell=told.append)
            yield from told
        counts[ended.state.value] += 1
        yield ended
    bad = sum(counts[state.value] for state in BAD)
    yield RunEnded(dict(sorted(counts.items())), clock() - began_s, bad)


def prefix_for(place: Workplace, options: Options) -> str:
    """What the names of all domains of a run begin with. Asking twice may give two of them on a host that lasts."""
    ours = f"xsct{options.seed:x}-"
    if options.prefix or place.host.name in {"sim", "doors"}:
        return options.prefix or ours
    return f"{ours}{place.host.run(place.host.machine.fresh_id())[:6]}-"


def began(case: Case) -> CaseBegan:
    """The first event of a case."""
    return CaseBegan(case.id, case.profile, case.level, case.requirements, case.story)


def carry_out(
    case: Case, open_place: OpenPlace, *, clock: Callable[[], float], options: Options, tell: Callable[[Event], None]
) -> CaseEnded:
    """Carry one case out on a place of its own, whatever the host declares. `tell` gets each deed as it is done."""
    began_s = clock()
    blocks: tuple[str, ...] = ()
    try:
        place = open_place(options.seed ^ crc32(case.id.encode()))
        before = place.inventory()
        try:
            state, words, blocks = _tried(case, place, options=options, tell=tell)
        finally:
            place.close()
        changed = sorted(place.inventory() ^ before)
        if changed and state is State.PASS:
            state, words = State.ERROR, f"left behind or taken away: {', '.join(changed)}"
    except Exception as error:  # noqa: BLE001 -- whatever breaks the place says nothing of the host
        state, words, blocks = State.ERROR, _last_words(error), ()
    return CaseEnded(case.id, *_known(case, state, words, options.known_broken, clock() - began_s), blocks)


def _known(case: Case, state: State, words: str, known: Mapping[str, str], seconds: float) -> tuple[State, float, str]:
    reference = known.get(case.id)
    if reference is None:
        return state, seconds, words
    if state is State.FAIL:
        return State.KNOWN_BROKEN, seconds, f"{reference}: {words}"
    if state is State.PASS:
        return State.UNEXPECTED_PASS, seconds, f"it is listed as broken: {reference}"
    return state, seconds, words


def _tried(
    case: Case, place: Workplace, *, options: Options, tell: Callable[[Event], None]
) -> tuple[State, str, tuple[str, ...]]:
    prefix = prefix_for(place, options)
    seed = options.seed ^ crc32(case.id.encode())
    trial = Trial(
        place,
        prefix=prefix,
        case=case.id,
        tell=tell,
        stride=options.stride,
        max_examples=options.max_examples,
        seed=seed,
    )
    try:
        case.body(trial)
    except Broken as broken:
        return State.FAIL, str(broken), broken.blocks
    except Missing as missing:
        return State.NOT_RUN, str(missing), ()
    except Exception as error:  # noqa: BLE001 -- an error that a case did not ask for is the host's failure
        return State.FAIL, _last_words(error), ()
    return State.PASS, "", ()


def _last_words(error: Exception) -> str:
    """An error with where it came from, in one line for those who read reports."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({frame.name}, line {frame.lineno})"
