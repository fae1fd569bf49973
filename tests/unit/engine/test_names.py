"""Names of snapshots: what is allowed leads nowhere else, fits everywhere, and comes back from a file name."""

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xensnap.engine import names

TEXT = st.text(max_size=250)


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "-x", "a/b", "../x", "a\0b", "a\nb", "\x7f", "x" * 201, "\ud800", "%" * 101]
)
def test_a_name_that_leads_out_or_does_not_fit_is_refused(name: str) -> None:
    reason = names.problem(name)
    assert reason is not None
    assert reason.id == "bad-name"
    assert reason.remedy


@pytest.mark.parametrize("name", ["a", "before update", "ünïcode", "1", "x" * 200, "%", "a.b", "a~2", "'", "*", "\\"])
def test_any_other_text_is_a_name(name: str) -> None:
    assert names.problem(name) is None


@given(TEXT)
def test_the_record_of_a_name_stays_in_its_directory(name: str) -> None:
    if names.problem(name) is None:
        file_name = names.record_file(name)
        assert len(file_name.encode()) <= 255
        assert posixpath.basename(f"/store/{file_name}") == file_name
        assert names.is_record(file_name)


@given(TEXT, TEXT)
def test_two_names_never_share_a_record(one: str, other: str) -> None:
    assert (names.record_file(one) == names.record_file(other)) == (one == other)


@given(st.sets(st.sampled_from(["s", "s~2", "s~3", "s~4"])))
def test_a_tag_that_is_taken_gets_the_first_free_suffix(taken: set[str]) -> None:
    tag = names.free_tag("s", frozenset(taken))
    assert tag not in taken
    assert tag.startswith("s")


def test_two_snapshots_in_one_second_have_two_names() -> None:
    taken: set[str] = set()
    for _ in range(3):
        taken.add(names.default_name(1700000000, frozenset(taken)))
    assert taken == {"1700000000", "1700000000-1", "1700000000-2"}


def test_the_name_of_an_overlay_does_not_grow_with_its_chain() -> None:
    path = "/images/disk.raw"
    for number in range(5):
        operation = f"00000000-0000-0000-0000-{number:012x}"
        path = names.overlay_file(path, vdev="xvda", operation=operation, directory="/images")
        assert path == f"/images/disk.xvda.{number:012x}.qcow2"
