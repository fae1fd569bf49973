"""Two runs side by side: what was gained, what was lost, what is refused or fails in other words."""

import msgspec

from xensnap.conformance.events import State
from xensnap.conformance.reports.outcomes import RunOutcome


class Comparison(msgspec.Struct, frozen=True):
    """Cases by how they changed from one run to another, each with the change in words."""

    gained: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    appeared: tuple[str, ...] = ()
    vanished: tuple[str, ...] = ()

    @property
    def worse(self) -> bool:
        """Whether something that passed does not any more, or is not tried any more."""
        return bool(self.lost or self.vanished)


def compare(old: RunOutcome, new: RunOutcome) -> Comparison:
    """What changed from `old` to `new`."""
    before = {case.began.case: case.ended for case in old.cases}
    after = {case.began.case: case.ended for case in new.cases}
    gained: list[str] = []
    lost: list[str] = []
    changed: list[str] = []
    for case in sorted(before.keys() & after.keys()):
        was, now = before[case], after[case]
        if was.state is now.state:
            if was.words != now.words:
                changed.append(f"{case}: {now.state}: {was.words} → {now.words}")
        elif State.PASS in {was.state, now.state}:
            (gained if now.state is State.PASS else lost).append(
                f"{case}: {was.state} → {now.state} {now.words}".strip()
            )
        else:
            changed.append(f"{case}: {was.state} → {now.state} {now.words}".strip())
    return Comparison(
        tuple(gained),
        tuple(lost),
        tuple(changed),
        tuple(sorted(after.keys() - before.keys())),
        tuple(sorted(before.keys() - after.keys())),
    )


def told(comparison: Comparison) -> str:
    """The comparison in words, a heading for each kind of change that there is."""
    kinds = ("lost", "vanished", "gained", "appeared", "changed")
    found = [(kind, rows) for kind in kinds if (rows := getattr(comparison, kind))]
    return "\n".join("\n  ".join([f"{kind}: {len(rows)}", *rows]) for kind, rows in found) or "nothing changed"
