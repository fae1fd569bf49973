"""QEMU's answers from an enemy: only our own error comes out of reading them, whatever they hold."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.readers import read_answers
from tests.fuzz.seeds import ANSWERS
from xensnap.backends.local import graph
from xensnap.errors import Effect, Failed, XensnapError

OURS = (None, ("qmp-answer", Effect.NONE))
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(told: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to everything in an answer."""
    inner = told.items() if isinstance(told, dict) else enumerate(told) if isinstance(told, list) else ()
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


def changed(path: tuple[Any, ...], how: Any) -> Any:
    """The answers of a sound QEMU, with something else in one place."""
    told = copy.deepcopy(ANSWERS)
    if not path:
        return how
    at: Any = told
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = how
    return told


def error_in(work: Callable[[], object]) -> tuple[str, Effect] | None:
    """The error of ours that reading ends in, if it does; any other comes through."""
    try:
        work()
    except XensnapError as error:
        return error.id, error.effect
    return None


def test_a_sound_qemu_is_understood() -> None:
    read_answers(ANSWERS)


@given(st.sampled_from(places(ANSWERS)), ANYTHING | st.sampled_from(["o", "b", "root", "backing", "qcow2", 1, 2, 3]))
def test_an_answer_that_is_something_else_is_an_error_of_ours(path: tuple[Any, ...], how: Any) -> None:
    assert error_in(lambda: read_answers(changed(path, how))) in OURS


@given(st.sampled_from([place for place in places(ANSWERS) if place]))
def test_an_answer_that_lacks_something_is_an_error_of_ours(path: tuple[Any, ...]) -> None:
    told = copy.deepcopy(ANSWERS)
    at: Any = told
    for key in path[:-1]:
        at = at[key]
    del at[path[-1]]
    assert error_in(lambda: read_answers(told)) in OURS


@pytest.mark.parametrize(
    ("edges", "words"),
    [
        ([(1, 2, "root"), (2, 2, "backing")], "'o' stands on itself"),
        ([(1, 2, "root"), (2, 3, "backing"), (3, 2, "backing")], "'o' stands on itself"),
        ([(1, 9, "root")], "1 or 9 is no node of it"),
    ],
)
def test_a_graph_that_cannot_be_is_refused(edges: list[tuple[int, int, str]], words: str) -> None:
    told = changed(
        ("x-debug-query-block-graph", "edges"),
        [{"parent": parent, "child": child, "name": name} for parent, child, name in edges],
    )
    with pytest.raises(Failed, match=words):
        read_answers(told)


@given(st.text() | st.text().map(lambda text: "json:" + text))
def test_a_file_name_of_qemus_is_a_path_or_an_error_of_ours(filename: str) -> None:
    assert error_in(lambda: graph.path_of(filename)) in OURS


def test_a_file_name_that_is_nested_without_end_is_an_error_of_ours() -> None:
    with pytest.raises(Failed, match="no JSON"):
        graph.path_of("json:" + '{"file":' * 100_000)
