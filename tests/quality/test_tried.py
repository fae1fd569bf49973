"""The page of what was tried says what was counted, and nothing else."""

import json
from pathlib import Path
from typing import Any

from tests import tried

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "tried.md"
KNOWN: dict[str, dict[str, Any]] = {
    "deep run": {
        "day": "2026-01-01",
        "seconds": 30,
        "counts": {
            "compared with QEMU": {"query-block": 1500, "stop": 100},
            "sequences": {"pairs tried": 10, "pairs refused": 10, "pairs there are": 80},
            "steps": {},
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


def test_a_run_replaces_what_its_name_had_left(tmp_path: Path) -> None:
    page = tmp_path / "tried.md"
    for executions in (1, 2):
        tried.noted(page, "fuzz", {"day": "2026-01-02", "executions": executions, "seconds": 60, "findings": 0})
    assert "2 inputs" in page.read_text(encoding="utf-8")
    assert "1 inputs" not in page.read_text(encoding="utf-8")
