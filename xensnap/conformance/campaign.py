"""Big campaigns: all cases with many seeds, cut into shards that any process can carry out, and merged into one report.

A shard is a value, and what it comes to is lines of JSON, so that both travel: to another process, or to another
machine. Who carries shards out may lose one, and carry it out again: the same shard comes to the same.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import msgspec

from xensnap.conformance.case import every_case
from xensnap.conformance.events import BAD, CaseEnded, Event, RunBegan, RunEnded, State, decode, encode
from xensnap.conformance.reports.outcomes import CaseOutcome, RunOutcome, gather
from xensnap.conformance.run import OpenPlace, Options, began, run_cases


class Shard(msgspec.Struct, frozen=True):
    """A part of a campaign: some cases with one seed."""

    seed: int
    cases: tuple[str, ...]
    stride: int = 1

    @property
    def options(self) -> Options:
        """How its cases are run."""
        return Options(seed=self.seed, stride=self.stride)


def shards_of(cases: Sequence[str], *, seeds: Iterable[int], parts: int, stride: int = 1) -> tuple[Shard, ...]:
    """The shards of a campaign, each with about as many cases.

    Args:
        cases: their ids.
        seeds: each case is carried out with each of them.
        parts: into so many the cases of one seed are cut, or into as many as there are cases.
        stride: see `Options`.
    """
    cuts = [tuple(cases[part::parts]) for part in range(parts)]
    return tuple(Shard(seed, cut, stride) for seed in seeds for cut in cuts if cut)


def carry_out(shard: Shard, open_place: OpenPlace, *, clock: Callable[[], float]) -> bytes:
    """What a shard comes to, as lines of events."""
    cases = [case for case in every_case() if case.id in shard.cases]
    return b"".join(map(encode, run_cases(cases, open_place, clock=clock, options=shard.options)))


def read(lines: bytes) -> RunOutcome:
    """What `carry_out` came to."""
    return gather(map(decode, lines.splitlines()))


def lost(shard: Shard, words: str) -> RunOutcome:
    """What is known of a shard that nobody could carry out: each of its cases broke down."""
    cases = [case for case in every_case() if case.id in shard.cases]
    first = RunBegan("unknown", shard.seed, tuple(case.id for case in cases), (), {})
    outcomes = tuple(CaseOutcome(began(case), (), CaseEnded(case.id, State.ERROR, 0.0, words)) for case in cases)
    return RunOutcome(first, outcomes, RunEnded({State.ERROR.value: len(cases)}, 0.0, len(cases)))


def merged(runs: Sequence[RunOutcome], *, seconds: float) -> RunOutcome:
    """One run of all of them: each case as bad as it was with any seed, its words naming that seed.

    Args:
        runs: those of all shards, in any order.
        seconds: how long the campaign took.
    """
    worst: dict[str, tuple[bool, int, CaseOutcome]] = {}
    for run in runs:
        for case in run.cases:
            found = (case.ended.state not in BAD, run.began.seed, case)
            known = worst.get(case.began.case)
            if known is None or found[:2] < known[:2]:
                worst[case.began.case] = found
    order = [case.id for case in every_case() if case.id in worst]
    outcomes = tuple(_named(*worst[id][1:]) for id in order)
    counts = Counter(each.ended.state.value for each in outcomes)
    known_host = next((run.began for run in runs if run.began.host != "unknown"), runs[0].began)
    first = msgspec.structs.replace(known_host, seed=min(run.began.seed for run in runs), cases=tuple(order))
    bad = sum(counts[state.value] for state in BAD)
    return RunOutcome(first, outcomes, RunEnded(dict(sorted(counts.items())), seconds, bad))


def events_of(run: RunOutcome) -> Iterable[Event]:
    """The events that such a run would have been made of."""
    yield run.began
    for case in run.cases:
        yield case.began
        yield from case.deeds
        yield case.ended
    yield run.ended


def _named(seed: int, case: CaseOutcome) -> CaseOutcome:
    if case.ended.state not in BAD:
        return case
    ended = msgspec.structs.replace(case.ended, words=f"seed {seed}: {case.ended.words}")
    return msgspec.structs.replace(case, ended=ended)
