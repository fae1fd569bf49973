"""Risks that an operator can take upon himself, one by one: `--accept RISK-ID`. There is no switch for all of them.

A planner collects every reason first. Those that are risks and were accepted stop nobody; all others refuse.
"""

from collections.abc import Iterable, Sequence

from xensnap.errors import Reason, Refused, Usage

RISKS: dict[str, str] = {
    "pinned": "a snapshot goes that somebody has pinned",
    "next-start-elsewhere": "a start from the old configuration file writes below the overlays and destroys them",
    "not-portable": "the domain lacks here what its description names there, and may not start or go on without it",
    "image-changed": "a snapshot gives back something else than was there when it was taken",
}
"""Each risk by the id of the reason that it lifts, with what may be lost."""


def require_known(accepted: Iterable[str]) -> None:
    """`Usage` naming the risks that there are, if one of these is none."""
    for risk in accepted:
        if risk not in RISKS:
            there = ", ".join(sorted(RISKS))
            raise Usage(f"there is no risk {risk!r}", id="no-such-risk", remedy=f"Risks that can be taken: {there}.")


def refuse(reasons: Sequence[Reason], accepted: Iterable[str]) -> tuple[str, ...]:
    """Raise `Refused` with the reasons that stand; else a warning for each risk that was taken."""
    require_known(accepted)
    taken = frozenset(accepted)
    standing = [reason for reason in reasons if reason.id not in taken]
    if standing:
        raise Refused([_with_risk(reason) for reason in standing])
    return tuple(dict.fromkeys(f"accepted: {reason.cause}" for reason in reasons))


def _with_risk(reason: Reason) -> Reason:
    """The reason with the way to accept it, if it is one that can be accepted."""
    if reason.id not in RISKS:
        return reason
    remedy = f"{reason.remedy} Or take the risk that {RISKS[reason.id]}: --accept {reason.id}."
    return Reason(reason.id, reason.cause, remedy, reason.exit_code)
