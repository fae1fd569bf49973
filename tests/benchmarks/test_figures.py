"""The page of figures: what it makes of a run."""

import pytest

from tests.benchmarks.figures import goal_rows, groups_of, is_met, measured, reasons
from tests.benchmarks.race import Goal, Replay
from tests.benchmarks.reasons import REASONS, UNKNOWN, reason_for

MEDIANS = {"fast": 0.001, "slow": 0.1}


@pytest.mark.parametrize(
    ("goal", "found", "met"),
    [
        (Goal("G1", "", "slow", "fast", at_least=50), 100, True),
        (Goal("G1", "", "slow", "fast", at_least=150), 100, False),
        (Goal("G2", "", "slow", "fast", at_most=1.05, scale=100), 1, True),
        (Goal("G10", "", "fast", at_least=1500), 1000, False),
        (Goal("G7", "", "slow", "absent", at_most=1), None, False),
    ],
)
def test_a_goal_is_a_ratio_an_exponent_or_a_rate(goal: Goal, found: float | None, met: bool) -> None:
    got = measured(goal, MEDIANS)
    assert got == (None if found is None else pytest.approx(found))
    assert got is None or is_met(goal, got) is met


def test_goals_are_listed_by_number_and_a_missed_one_is_seen() -> None:
    def entry(group: str, side: str, median: float, *goals: dict[str, object]) -> dict[str, object]:
        return {
            "group": group,
            "extra_info": {"side": side, "goals": goals},
            "stats": {"median": median, "min": median, "rounds": 3},
        }

    late = {"id": "G10", "says": "late", "top": "a", "at_least": 5}
    early = {"id": "G2", "says": "early", "top": "b", "bottom": "a", "at_most": 2}
    run = {"benchmarks": [entry(group, side, time, goal) for group, goal in (("x", late), ("y", early))
                          for side, time in (("a", 1.0), ("b", 2.0))]}  # fmt: skip
    groups = groups_of(run)
    rows = list(goal_rows(groups))
    assert [row.split("|")[2].strip() for row in rows] == ["early", "late"]
    assert rows[0].endswith("| yes |")
    assert rows[1].endswith("| **no** |")
    assert list(reasons(groups)) == [f"- G10, late. {UNKNOWN}"]


def test_a_replayed_clock_tells_the_times_that_it_was_given() -> None:
    clock = Replay()
    clock.load([3.0, 5.0])
    told = [clock() for _ in range(4)]
    assert [told[1] - told[0], told[3] - told[2]] == [3.0, 5.0]


def test_a_reason_is_found_by_how_a_goal_begins_and_none_hides_another() -> None:
    for (name, begins), why in REASONS.items():
        assert reason_for(Goal(name, f"{begins} and so on", "a")) == " ".join(why.split())
    assert reason_for(Goal("G0", "nothing like it", "a")) == UNKNOWN
