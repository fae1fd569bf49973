"""The sessions in the documentation, typed again, are answered as written. `XENSNAP_RECORD=1` writes answers anew."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.xenhost import filters
from tests.real.xenhost.lab import ENVIRONMENT, VERB_S, XenLab

HOW_TO = Path(__file__).parents[3] / "docs" / "how-to"
PAGE, STORIES = HOW_TO / "xen-session.md", HOW_TO / "xen-stories.md"
DOM0, GUEST = "dom0# ", "guest> "


def typed(page: str) -> Iterator[str]:
    """The page's lines without the answers."""
    inside = False
    for line in page.splitlines():
        if line.startswith("```"):
            inside = line == "```shell-session"
        if not inside or line.startswith((DOM0, GUEST, "```")):
            yield line


def answered(lab: XenLab, page: str) -> str:
    """The page with the answers of this host."""
    lines = []
    for line in typed(page):
        lines.append(line)
        if line.startswith(DOM0):
            words = ("/bin/bash", "-c", f"exec 2>&1; {line.removeprefix(DOM0)}")
            lines += lab.dom0.try_run(*words, timeout_s=VERB_S, env=ENVIRONMENT).out.splitlines()
        elif line.startswith(GUEST):
            lines.append(lab.face.ask(line.removeprefix(GUEST)))
    return "\n".join(lines) + "\n"


def require_as_written(lab: XenLab, page: Path, part: str) -> None:
    """This part of the page is what comes of typing it; where that is recorded, it becomes so."""
    found = answered(lab, part)
    if os.environ.get("XENSNAP_RECORD"):
        page.write_text(page.read_text(encoding="utf-8").replace(part, found), encoding="utf-8")
        part = found
    assert filters.text(found) == filters.text(part)


def stories() -> dict[str, str]:
    """The stories, each with its heading, by what the heading says."""
    parts = re.split(r"(?m)^(?=## )", STORIES.read_text(encoding="utf-8"))[1:]
    return {part.partition("\n")[0].removeprefix("## "): part for part in parts}


def test_the_session_in_the_documentation_goes_as_written(lab: XenLab) -> None:
    require_as_written(lab, PAGE, PAGE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("story", stories())
def test_the_stories_in_the_documentation_go_as_written(lab: XenLab, story: str) -> None:
    require_as_written(lab, STORIES, stories()[story])
