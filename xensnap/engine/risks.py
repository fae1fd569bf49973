"""Risks that an operator can take upon himself, one by one: `--accept RISK-ID`. There is no switch for all of them.

A planner collects every reason first. Those that are risks and were accepted stop nobody; all others refuse. What is
accepted is what a refusal has named: a risk that a plan has not is no risk that anybody could have weighed.
"""

from collections.abc import Iterable, Sequence

import msgspec

from xensnap.errors import Reason, Refused, Usage

RISKS: dict[str, str] = {
    "pinned": "a snapshot goes that somebody has pinned",
    "next-start-elsewhere": "a start from the old configuration file writes below the overlays and destroys them",
    "not-portable": "the domain lacks here what its description names there, and may not start or go on without it",
    "no-live-save": "the guest stands still for as long as its memory is written",
    "image-changed": "a snapshot gives back something else than was there when it was taken",
}
"""Each risk by the id of the reason that it lifts, with what may be lost."""


class Taken(msgspec.Struct, frozen=True):
    """The risks that were taken for a plan, and a warning for each of their causes."""

    ids: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def also(self, ids: Iterable[str]) -> "Taken":
        """These too, of which there is no telling yet what may come of them."""
        return Taken(tuple(dict.fromkeys((*self.ids, *ids))), self.warnings)


NOTHING = Taken()


def refuse(reasons: Sequence[Reason], accepted: Iterable[str]) -> Taken:
    """Raise `Refused` with the reasons that stand; else tell which risks were taken."""
    willing = frozenset(accepted)
    standing = [reason for reason in reasons if reason.id not in RISKS or reason.id not in willing]
    if standing:
        raise Refused([_with_risk(reason) for reason in standing])
    return Taken(
        tuple(dict.fromkeys(reason.id for reason in reasons)),
        tuple(dict.fromkeys(f"accepted: {reason.cause}" for reason in reasons)),
    )


def require_taken(accepted: Iterable[str], taken: Iterable[str]) -> None:
    """`Usage` naming the risks that a plan has, if one that was accepted is none of them."""
    there = frozenset(taken)
    for risk in accepted:
        if risk not in there:
            named = ", ".join(sorted(there))
            remedy = f"Accept what it has: {named}." if there else "It has none; leave --accept out."
            raise Usage(f"this has no risk {risk!r}", id="no-such-risk", remedy=remedy)


def _with_risk(reason: Reason) -> Reason:
    """The reason with the way to accept it, if it is one that can be accepted."""
    if reason.id not in RISKS:
        return reason
    remedy = f"{reason.remedy} Or take the risk that {RISKS[reason.id]}: --accept {reason.id}."
    return Reason(reason.id, reason.cause, remedy, reason.exit_code)
