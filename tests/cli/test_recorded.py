"""The recording in the docs is what the page beside it shows, and what any player of asciicasts can play."""

import json
import os
from pathlib import Path

import pytest

from tests.cli.recorded import cast

DOCS = Path(__file__).parents[2] / "docs"
RECORDED = {"before-an-update": "xensnap: before an update, and back"}


@pytest.mark.parametrize("name", RECORDED)
def test_a_recording_is_of_the_page_as_it_is(name: str) -> None:
    page, kept = DOCS / "how-to" / f"{name}.md", DOCS / "images" / f"{name}.cast"
    made = cast(page.read_text(encoding="utf-8"), title=RECORDED[name])
    if os.environ.get("XENSNAP_GOLDEN") == "write":
        kept.write_text(made, encoding="utf-8")
    assert kept.read_text(encoding="utf-8") == made, "made by XENSNAP_GOLDEN=write pytest tests/cli/test_recorded.py"
    assert f"images/{name}.cast" in page.read_text(encoding="utf-8")


def test_a_recording_is_an_asciicast_whose_time_only_goes_on() -> None:
    page = "words\n```console\n$ xensnap list\nguest1  off\n```\nwords\n```console\n$ true\n```\n"
    header, *events = map(json.loads, cast(page, title="a title").splitlines())
    assert (header["version"], header["title"]) == (2, "a title")
    assert [kind for _, kind, _ in events] == ["o"] * len(events)
    times = [time_s for time_s, _, _ in events]
    assert times == sorted(times)
    assert "".join(text for _, _, text in events) == "$ xensnap list\r\nguest1  off\r\n$ true\r\n"
