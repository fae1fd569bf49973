"""Which snapshots a retention policy keeps, and why. Pure; calendar periods are UTC's, weeks begin on Monday.

A rule like `daily=7` keeps the newest snapshot of each of the last seven days that have one. A snapshot stays when any
rule keeps it, when somebody has pinned it, or when the domain is at it.
"""

from collections.abc import Callable, Mapping

import msgspec

from xensnap.model import Snapshot

DAY_S = 86400


class Retention(msgspec.Struct, frozen=True):
    """How many to keep, by rule; 0 is no rule. `within_s` keeps all that are younger than this many seconds."""

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within_s: int = 0

    @property
    def empty(self) -> bool:
        """Whether there is no rule at all, so that nothing would be kept."""
        return self == Retention()


def kept(snapshots: Mapping[str, Snapshot], policy: Retention, *, now_s: int, current: str | None) -> dict[str, str]:
    """The snapshots that stay, oldest first, each with the first reason for it.

    Args:
        snapshots: all there are, oldest first.
        policy: the rules.
        now_s: the present, epoch seconds.
        current: the snapshot that the domain is at.
    """
    why: dict[str, str] = {}
    for snapshot in snapshots.values():
        if snapshot.pin and snapshot.pin.holds(now_s):
            why[snapshot.name] = f"pinned by {snapshot.pin.owner}"
        elif snapshot.name == current:
            why[snapshot.name] = "the domain is at it"
        elif policy.within_s and snapshot.creation_time_s > now_s - policy.within_s:
            why[snapshot.name] = "young enough"
    newest_first = list(snapshots.values())[::-1]
    for snapshot in newest_first[: policy.last]:
        why.setdefault(snapshot.name, f"one of the last {policy.last}")
    for rule, count, period in _periods(policy):
        for snapshot in _newest_of_each(newest_first, count, period):
            why.setdefault(snapshot.name, f"the last of its {rule}")
    return {name: why[name] for name in snapshots if name in why}


Period = Callable[[int], object]


def _periods(policy: Retention) -> tuple[tuple[str, int, Period], ...]:
    return (
        ("hour", policy.hourly, lambda second: second // 3600),
        ("day", policy.daily, lambda second: second // DAY_S),
        ("week", policy.weekly, lambda second: (second // DAY_S + 3) // 7),  # the epoch began on a Thursday
        ("month", policy.monthly, year_and_month),
        ("year", policy.yearly, lambda second: year_and_month(second)[0]),
    )


def _newest_of_each(newest_first: list[Snapshot], count: int, period: Period) -> list[Snapshot]:
    found: dict[object, Snapshot] = {}
    for snapshot in newest_first:
        if len(found) == count:
            break
        found.setdefault(period(snapshot.creation_time_s), snapshot)
    return list(found.values())


def year_and_month(second: int) -> tuple[int, int]:
    """The year and the month (1-12) of an epoch second, in UTC.

    Counted in years that begin on the first of March, so that the leap day comes last; 146097 days are 400 years.
    """
    era, day_of_era = divmod(second // DAY_S + 719468, 146097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * day_of_year + 2) // 153
    month = month_from_march + 3 if month_from_march < 10 else month_from_march - 9
    return era * 400 + year_of_era + (month <= 2), month
