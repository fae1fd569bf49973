"""Replay capsules: everything that is needed to see one failure again, in one file of JSON.

A capsule of a case names the case, the host, the seed and every option that has a say, and holds what was done and how
each deed ended, so that whoever replays it knows whether it is the very same failure. A capsule is text from somebody
else: reading it runs nothing.
"""

from collections.abc import Iterator, Mapping

import msgspec

from xensnap.conformance.events import CaseBegan, CaseEnded, Did
from xensnap.conformance.reports.outcomes import CaseOutcome, RunOutcome
from xensnap.conformance.run import Options

SCHEMA = "xensnap-capsule/1"
OURS = frozenset({"sim", "doors", "qemu"})
"""Hosts that a capsule may choose by itself. Others are a real Xen host, or somebody's code, which it must not run."""


class Capsule(msgspec.Struct, frozen=True, tag=SCHEMA, tag_field="schema"):
    """One failure of one case.

    Attributes:
        case: its id.
        host: as `--host` names it: sim, doors, qemu, or MODULE:FACTORY.
        kind: what that host calls itself.
        seed: of the run; that of the world is made from it and the id of the case.
        prefix: what the names of all domains begin with.
        stride: of many things of one kind, only every so many-th was tried. Deaths are told as deeds.
        max_examples: of what Hypothesis drew, so many were to be tried.
        versions: of xensnap, Python and all that the host is made of.
        capabilities: what the host declared.
        deeds: what was done, with plan, journal, and the snapshots before and after.
        ended: how it ended, with the blocks that differ.
    """

    case: str
    host: str
    kind: str
    seed: int
    prefix: str
    stride: int
    max_examples: int
    versions: Mapping[str, str]
    capabilities: tuple[str, ...]
    began: CaseBegan
    deeds: tuple[Did, ...]
    ended: CaseEnded

    @property
    def exact(self) -> bool:
        """Whether its host does the very same every time: ids, paths and times, too."""
        return self.kind in {"sim", "doors"}

    @property
    def options(self) -> Options:
        """How to run the case again."""
        return Options(seed=self.seed, prefix=self.prefix, stride=self.stride, max_examples=self.max_examples)

    @property
    def outcome(self) -> CaseOutcome:
        """What was seen then, as reports have it."""
        return CaseOutcome(self.began, self.deeds, self.ended)


def capsule_of(
    case: CaseOutcome, run: RunOutcome, *, host: str, options: Options, versions: Mapping[str, str]
) -> Capsule:
    """The capsule of one case of a run.

    Args:
        case: one that failed, usually.
        run: the run it was part of.
        host: as `--host` named it.
        options: of the run.
        versions: what is known besides what the host tells of itself.
    """
    return Capsule(
        case=case.began.case,
        host=host,
        kind=run.began.host,
        seed=options.seed,
        prefix=run.began.prefix,
        stride=options.stride,
        max_examples=options.max_examples,
        versions={**versions, **run.began.versions},
        capabilities=run.began.capabilities,
        began=case.began,
        deeds=case.deeds,
        ended=case.ended,
    )


def encode(capsule: Capsule) -> bytes:
    """The text of the file."""
    return msgspec.json.format(msgspec.json.encode(capsule), indent=1) + b"\n"


def differences(then: CaseOutcome, now: CaseOutcome, *, exactly: bool = True) -> Iterator[str]:
    """In what a replay is not what was recorded, a line each; none where it is the same.

    Args:
        then: what the capsule holds.
        now: what was seen today.
        exactly: also plans, journals and blocks. Real hosts draw ids, paths and times anew each time.
    """
    for number, (was, seen) in enumerate(zip(then.deeds, now.deeds, strict=False), 1):
        if (was.deed, was.told) != (seen.deed, seen.told):
            yield f"deed {number} was {was.deed}: {was.told}; now it is {seen.deed}: {seen.told}"
            return
        if (was.before, was.tree) != (seen.before, seen.tree):
            yield f"deed {number}, {was.deed}: the snapshots stand otherwise: {seen.tree}, not {was.tree}"
        if exactly and (was.plan, was.journal) != (seen.plan, seen.journal):
            yield f"deed {number}, {was.deed}: the plan or the journal is another"
    if len(then.deeds) != len(now.deeds):
        yield f"there were {len(then.deeds)} deeds, and now {len(now.deeds)}"
    if then.ended.state is not now.ended.state:
        yield f"it ended with {then.ended.state}, and now with {now.ended.state}"
    elif exactly and (then.ended.words, then.ended.blocks) != (now.ended.words, now.ended.blocks):
        yield f"it ended with other words: {now.ended.words}"
