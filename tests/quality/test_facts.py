"""What was measured of the real tools is on pages that the code names by number, and each fact of Xen has its test."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PAGES = PROJECT / "docs" / "reference" / "facts"
NAMED = re.compile(r"(qemu|xen|xen-live)\.md (([A-E]?\d+|[A-E])((,| and) ([A-E]?\d+|[A-E]))*)\b")
IN_A_NAME = re.compile(r"def test_(fact|live)_([a-e]?\d+(?:_and_[a-e]?\d+)*)_")
SIMULATOR = PROJECT / "tests" / "unit" / "simulator"
PROSE = {"xen-live.md": {"A", "B", "C", "D", "E"}}
"""Sections that may be named as a whole."""


def facts(page: str) -> frozenset[str]:
    """The numbers on a page: of rows of a table, of items of a list, with the letter of their section."""
    found, section = set[str](), ""
    for line in (PAGES / page).read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"## ([A-E])\. ", line):
            section = heading[1]
        elif number := re.match(r"(?:\| |- )?(\d+)(?:\. | \||(?= [`*a-z])|(?= \*))", line):
            found.add(f"{section}{number[1]}")
    return frozenset(found)


def sources(*below: str) -> Iterator[Path]:
    for place in below:
        yield from sorted((PROJECT / place).rglob("*.py"))


def named_in(path: Path) -> Iterator[tuple[str, str]]:
    """The page and the number of each fact that a source names in words, or in the name of a test."""
    text = path.read_text(encoding="utf-8")
    for match in NAMED.finditer(text):
        yield from ((f"{match[1]}.md", number) for number in re.split(r",? and |, ", match[2]))
    for kind, numbers in IN_A_NAME.findall(text):
        page = "xen.md" if kind == "fact" else "xen-live.md"
        yield from ((page, number.upper()) for number in numbers.split("_and_"))


@pytest.mark.parametrize("page", ["qemu.md", "xen.md", "xen-live.md"])
def test_every_fact_that_is_named_is_on_its_page(page: str) -> None:
    there = facts(page) | PROSE.get(page, set())
    named = {
        (number, str(path.relative_to(PROJECT)))
        for path in sources("xensnap", "simulator", "tests")
        for where, number in named_in(path)
        if where == page
    }
    assert named, f"nobody names anything on {page}"
    assert {(number, path) for number, path in named if number not in there} == set()


@pytest.mark.parametrize("page", ["xen.md", "xen-live.md"])
def test_every_fact_of_xen_is_met_by_a_test_of_what_runs_on_it(page: str) -> None:
    """tests of the simulated host alone do not count: they show that it behaves so, and not who can live with it"""
    met = {
        number
        for path in sources("tests")
        if SIMULATOR not in path.parents
        for where, number in named_in(path)
        if where == page
    }
    assert sorted(facts(page) - met) == []
