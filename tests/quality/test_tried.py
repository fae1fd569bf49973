"""The page of what was tried says what was counted, and nothing else."""

import json
from pathlib import Path
from typing import Any

from tests import tried
from tests.crash.trials import WAYS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "tried.md"
KNOWN: dict[str, dict[str, Any]] = {
    "deep run": {
        "day": "2026-01-01",
        "seconds": 30,
        "counts": {
            "compared with QEMU": {"query-block": 1500, "stop": 100},
            "sequences": {"pairs tried": 10, "pairs refused": 10, "pairs there are": 80},
            "steps": {},
            "deaths and faults": {"host": 4000, "table: fails": 1500, "running: crash meanwhile": 500},
            "time spent on what went wrong": {"ms": 2000},
            "damages": {"found and mended": 30, "found and told": 12},
            "syncs": {"noticed": 9, "not noticed, since nothing can come of it": 1},
        },
    },
    "fuzz": {"day": "2026-01-02", "executions": 12345, "seconds": 60, "findings": 0},
}


def test_the_page_is_made_from_the_counts_beside_it() -> None:
    known = json.loads(PAGE.with_suffix(".json").read_text(encoding="utf-8"))
    remedy = "run what the page names, or: from tests import tried; PAGE.write_text(tried.text(known))"
    assert PAGE.read_text(encoding="utf-8") == tried.text(known), remedy


def test_shares_and_sums_are_told() -> None:
    page = tried.text(KNOWN)
    assert "| pairs: share of 80 | 25.0 % |" in page
    assert "12,345 inputs in 60 s, 0 findings" in page
    assert "1,600 times, 3,200 in a minute" in page
    assert "| pairs tried | 10 |" in page
    assert "Steps of state machines" not in page, "nothing was counted"


def test_in_short_all_runs_are_told_of_together_against_what_was_wanted() -> None:
    page = tried.text({**KNOWN, "deep run of something else": {**KNOWN["deep run"]}})
    assert "| all that went wrong (goals: 100,000 and 1,000,000) |  | 12,000 |" in page
    assert "| deaths |  | 8,000 |" in page
    assert "| tried in a second on one core |  | 3,000 |" in page
    assert "| that against the floor of G10, 6,000 |  | 0.50x |" in page
    assert "| ways of damage that were found |  | 84 |" in page
    assert "whose lie was noticed, of all |  | 18 of 20 |" in page
    assert "| inputs of a fuzzer for all parsers | | 12,345 |" in page


def test_what_went_wrong_is_told_by_what_it_was() -> None:
    page = tried.text(KNOWN)
    for title, counted in (
        ("Deaths", "host | 4,000"),
        ("Effects that failed, were late or never answered", "table: fails | 1,500"),
        ("Who was at work meanwhile, or did not play along", "running: crash meanwhile | 500"),
    ):
        _, _, table = page.partition(f"### {title}\n")
        assert f"| {counted} |" in table.partition("###")[0]


def test_nothing_that_is_counted_is_in_no_group() -> None:
    known = json.loads(PAGE.with_suffix(".json").read_text(encoding="utf-8"))
    names = {name for facts in known.values() for name in facts.get("counts", {}).get(tried.WRONG, {})}
    names |= {f"table{through}: {way}" for through in ("", ", through the door") for way in WAYS}
    assert names
    assert not [name for name in names if tried.group(name) == tried.OTHERS]


def test_a_run_replaces_what_its_name_had_left(tmp_path: Path) -> None:
    page = tmp_path / "tried.md"
    for executions in (1, 2):
        tried.noted(page, "fuzz", {"day": "2026-01-02", "executions": executions, "seconds": 60, "findings": 0})
    assert "2 inputs" in page.read_text(encoding="utf-8")
    assert "1 inputs" not in page.read_text(encoding="utf-8")
