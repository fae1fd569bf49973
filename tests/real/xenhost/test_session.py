"""The session in the documentation, typed again, is answered as written. `XENSNAP_RECORD=1` writes the answers anew."""

import os
from collections.abc import Iterator
from pathlib import Path

from tests.real.xenhost import filters
from tests.real.xenhost.lab import ENVIRONMENT, VERB_S, XenLab

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "xen-session.md"
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


def test_the_session_in_the_documentation_goes_as_written(lab: XenLab) -> None:
    page = PAGE.read_text(encoding="utf-8")
    found = answered(lab, page)
    if os.environ.get("XENSNAP_RECORD"):
        PAGE.write_text(found, encoding="utf-8")
        page = found
    assert filters.text(found) == filters.text(page)
