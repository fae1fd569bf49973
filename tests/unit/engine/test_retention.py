"""What a retention policy keeps: the newest of each period, all that are pinned, and the one that the domain is at."""

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from xensnap.engine import retention, tree
from xensnap.engine.retention import Retention
from xensnap.model import Consistency, DomainUuid, Pin, RunState, Snapshot

NOW_S = 1_800_000_000
COUNTS = st.integers(0, 5)
POLICIES = st.builds(Retention, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, st.integers(0, 10**8))
TIMES = st.lists(st.integers(NOW_S - 10**8, NOW_S), max_size=30, unique=True)


def taken(times: list[int], pins: dict[int, Pin] | None = None) -> dict[str, Snapshot]:
    uuid = DomainUuid("0" * 36)
    return tree.by_name(
        Snapshot(str(at), uuid, "guest", at, RunState.OFF, Consistency.CLEAN, (), pin=(pins or {}).get(at))
        for at in times
    )


@given(st.integers(0, 10**11))
def test_the_calendar_is_the_usual_one(second: int) -> None:
    right = dt.datetime(1970, 1, 1) + dt.timedelta(seconds=second)  # noqa: DTZ001 -- UTC, beyond time_t
    assert retention.year_and_month(second) == (right.year, right.month)


@given(TIMES, POLICIES)
def test_each_rule_keeps_the_newest_of_its_newest_periods(times: list[int], policy: Retention) -> None:
    kept = retention.kept(taken(times), policy, now_s=NOW_S, current=None)
    newest_first = sorted(times, reverse=True)
    expected = set(newest_first[: policy.last]) | {at for at in times if policy.within_s > NOW_S - at}
    for form, count in (
        ("%Y-%m-%d %H", policy.hourly),
        ("%Y-%m-%d", policy.daily),
        ("%G-%V", policy.weekly),
        ("%Y-%m", policy.monthly),
        ("%Y", policy.yearly),
    ):
        periods: dict[str, int] = {}
        for at in newest_first:
            periods.setdefault(dt.datetime.fromtimestamp(at, dt.UTC).strftime(form), at)
        expected |= set(list(periods.values())[:count])
    assert set(kept) == {str(at) for at in expected}


@given(TIMES, POLICIES)
def test_the_newest_stays_under_every_rule(times: list[int], policy: Retention) -> None:
    kept = retention.kept(taken(times), policy, now_s=NOW_S, current=None)
    counts = (policy.last, policy.hourly, policy.daily, policy.weekly, policy.monthly, policy.yearly)
    if times and any(counts):
        assert str(max(times)) in kept


@given(TIMES.filter(bool), st.data())
def test_what_is_pinned_and_where_the_domain_is_stays(times: list[int], data: st.DataObject) -> None:
    pinned, current = data.draw(st.sampled_from(times)), data.draw(st.sampled_from(times))
    until = data.draw(st.sampled_from([0, NOW_S - 1, NOW_S + 1]))
    snapshots = taken(times, {pinned: Pin("me", 0, until)})
    kept = retention.kept(snapshots, Retention(), now_s=NOW_S, current=str(current))
    expected = {str(current)} | ({str(pinned)} if until != NOW_S - 1 else set())
    assert set(kept) == expected
