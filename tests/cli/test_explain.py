"""Every error id that is raised anywhere is explained, offline, and no id is explained that is never raised."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from xensnap.cli.explanations import EXPLANATIONS
from xensnap.engine.risks import RISKS

PROJECT = Path(__file__).parents[2]
NEVER_WRITTEN_OUT = {"not-paused", "not-running"}
"""Ids that are put together when they are raised."""


def raised() -> Iterator[tuple[str, str]]:
    """Every id that stands in the code: of a Reason, of an error, or as the default of a class of errors."""
    for path in sorted([*(PROJECT / "xensnap").rglob("*.py"), *(PROJECT / "simulator").rglob("*.py")]):
        where = path.relative_to(PROJECT).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            yield from ((each, where) for each in ids_in(node))


def ids_in(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call):
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        told = [node.args[0]] if name == "Reason" and node.args else []
        # The simulator's checkers have findings, too, which only tests get to see: they have no severity.
        told += [node.args[0]] if name == "Finding" and len(node.args) > 3 else []
        if name[:1].isupper():
            told += [keyword.value for keyword in node.keywords if keyword.arg == "id"]
        yield from (str(each.value) for each in told if isinstance(each, ast.Constant) and each.value)
    if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "default_id":
        assert isinstance(node.value, ast.Constant)
        yield str(node.value.value)


@pytest.mark.parametrize(
    ("line", "ids"),
    [
        ("Reason('a', cause, remedy)", ["a"]),
        ("Finding('e', Severity.NOTE, subject, cause)", ["e"]),
        ("raise errors.Failed(cause, id='b')", ["b"]),
        ("default_id = 'c'", ["c"]),
        ("frozenset(id='d')", []),
    ],
)
def test_the_look_for_ids_sees_each_form(line: str, ids: list[str]) -> None:
    assert [found for node in ast.walk(ast.parse(line)) for found in ids_in(node)] == ids


def test_every_id_is_explained() -> None:
    missing = {each: where for each, where in raised() if each not in EXPLANATIONS}
    assert not missing, "add them to xensnap/cli/explanations.py: what it is, and what to do"


def test_nothing_is_explained_that_is_never_raised() -> None:
    assert set(EXPLANATIONS) - {each for each, _ in raised()} <= NEVER_WRITTEN_OUT


def test_every_risk_is_an_error_that_is_explained() -> None:
    assert set(RISKS) <= set(EXPLANATIONS)


def test_what_an_error_means_is_told_without_a_host(shell) -> None:
    lines = shell.ok("explain").splitlines()
    assert [line.split()[0] for line in lines] == sorted(EXPLANATIONS)
    assert all(line.endswith(EXPLANATIONS[line.split()[0]][0]) for line in lines)
    text = shell.ok("explain", "pinned")
    assert text.startswith("pinned\n  what it is   ")
    assert "--accept pinned" in text
    assert shell.json("explain", "busy")["errors"][0]["risk"] is None
    assert "Did you mean 'name-taken'?" in shell.run("explain", "name-takn").stderr
    assert shell.error("explain", "nothing-like-it-at-all")["exit_code"] == 3
