"""The page about requirements is made from the cases, and says how many are shown."""

import os

from tests.conformance.coverage_page import MADE_BY, PATH, page


def test_the_page_is_made_from_the_cases() -> None:
    if os.environ.get("XENSNAP_GOLDEN") == "write":
        PATH.write_text(page(), encoding="utf-8")
    assert PATH.read_text(encoding="utf-8") == page(), f"made by {MADE_BY}"
