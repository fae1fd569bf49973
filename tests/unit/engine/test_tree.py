"""The tree of snapshots, also where records are damaged so that parents are gone or go round in a circle."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from xensnap.engine import tree
from xensnap.model import Consistency, DomainUuid, RunState, Snapshot

NAMES = "abcdef"


def snapshot(name: str, parent: str | None) -> Snapshot:
    second = NAMES.index(name)
    uuid = DomainUuid("0" * 36)
    return Snapshot(name, uuid, "guest", second, RunState.OFF, Consistency.CLEAN, (), parent=parent)


PARENTS = st.dictionaries(st.sampled_from(NAMES), st.sampled_from([None, *NAMES, "gone"]))


@given(PARENTS)
def test_every_snapshot_is_walked_once_each_after_its_parent_but_in_a_circle(parents: dict[str, str | None]) -> None:
    snapshots = tree.by_name(snapshot(name, parent) for name, parent in parents.items())
    walked = [name for _, name in tree.walk(snapshots)]
    assert sorted(walked) == sorted(parents)
    for depth, name in tree.walk(snapshots):
        above = tree.parent(snapshots, name)
        if depth:
            assert above is not None
            assert walked.index(above) < walked.index(name)


@given(PARENTS, st.frozensets(st.sampled_from(NAMES)))
def test_the_surviving_ancestor_is_there_and_stays(parents: dict[str, str | None], gone: frozenset[str]) -> None:
    snapshots = tree.by_name(snapshot(name, parent) for name, parent in parents.items())
    for name in snapshots:
        found = tree.surviving_ancestor(snapshots, name, gone)
        assert found is None or (found in snapshots and found not in gone)
        if name not in gone:
            assert found == name


@given(PARENTS)
def test_descendants_end_also_in_a_circle(parents: dict[str, str | None]) -> None:
    snapshots = tree.by_name(snapshot(name, parent) for name, parent in parents.items())
    for name in snapshots:
        below = tree.descendants(snapshots, name)
        assert len(set(below)) == len(below)
        for child in below:
            assert tree.parent(snapshots, child) in {name, *below}


def test_of_those_of_one_second_a_parent_is_older_than_its_children() -> None:
    parents = {"a": "b", "b": "c", "c": None, "d": None, "e": "f", "f": "e"}
    made = (msgspec.structs.replace(snapshot(name, above), creation_time_s=1) for name, above in parents.items())
    assert list(tree.by_name(made)) == ["c", "d", "b", "e", "f", "a"]


def age(snapshots: dict[str, Snapshot], name: str) -> tuple[int, int, str]:
    """What `by_name` sorts by, walked up for each of them anew."""
    line = [name]
    while (above := tree.parent(snapshots, line[-1])) and above not in line:
        if snapshots[above].creation_time_s != snapshots[name].creation_time_s:
            break
        line.append(above)
    return snapshots[name].creation_time_s, len(line), name


@given(PARENTS, st.data())
def test_the_oldest_is_first_and_of_one_second_whoever_has_fewer_ancestors_of_it(
    parents: dict[str, str | None], data: st.DataObject
) -> None:
    made = {
        name: msgspec.structs.replace(snapshot(name, above), creation_time_s=data.draw(st.integers(1, 2)))
        for name, above in data.draw(st.permutations(list(parents.items())))
    }
    assert list(tree.by_name(made.values())) == sorted(made, key=lambda name: age(made, name))
