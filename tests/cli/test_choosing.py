"""The filters of `list`: each cuts down to what it says, and the orders are orders of the same snapshots."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from xensnap.cli.choosing import ORDERS, Filters, wanted
from xensnap.engine import tree
from xensnap.model import Consistency, DiskSnapshot, DomainUuid, Format, Kind, Layer, Pin, RunState, Snapshot

NAMES = "abcdef"


@st.composite
def forests(draw: st.DrawFn) -> dict[str, Snapshot]:
    """Snapshots whose parents are older, or gone."""
    made = []
    for number, name in enumerate(NAMES[: draw(st.integers(0, len(NAMES)))]):
        kinds = draw(st.sets(st.sampled_from(Kind)))
        made.append(
            Snapshot(
                name,
                DomainUuid("u"),
                "guest",
                draw(st.integers(0, 3)) + number,
                draw(st.sampled_from([RunState.OFF, RunState.RUNNING])),
                Consistency.CLEAN,
                tuple(DiskSnapshot(kind, kind, Layer("/x", Format.QCOW2), 1) for kind in sorted(kinds)),
                parent=draw(st.sampled_from([None, "gone", *NAMES[:number]])),
                memory=draw(st.sampled_from(["", "/m"])),
                pin=draw(st.sampled_from([None, Pin("me", 0)])),
            )
        )
    return tree.by_name(made)


FLAGS = sorted(set(Filters.__struct_fields__) - {"above", "since_s", "until_s", "descendants"})


@given(forests(), st.sampled_from([*NAMES, None]))
def test_each_pair_of_opposites_parts_the_snapshots(records, current) -> None:
    def chosen(**filters) -> set[str]:
        return set(wanted(records, Filters(**filters), current=current))

    everything = set(records)
    assert chosen() == everything
    for one, other in (("leaves", "no_leaves"), ("disk_only", "with_memory"), ("active", "inactive")):
        assert chosen(**{one: True}) | chosen(**{other: True}) == everything
        assert not chosen(**{one: True}) & chosen(**{other: True})
        assert chosen(**{one: True, other: True}) == everything
    assert chosen(current=True) == {current} & everything
    assert chosen(pinned=True) == {name for name in records if records[name].pin}
    assert chosen(roots=True) == set(tree.children(records).get(None, ()))
    for time_s in range(10):
        assert chosen(since_s=time_s) | chosen(until_s=time_s - 1) == everything
        assert not chosen(since_s=time_s) & chosen(until_s=time_s - 1)


@given(forests(), st.sets(st.sampled_from(FLAGS)), st.data())
def test_one_filter_more_of_another_kind_only_cuts_down(records, flags, data) -> None:
    late = data.draw(st.integers(0, 9))
    filters = msgspec.convert(dict.fromkeys(flags, True), Filters)
    before = set(wanted(records, filters, current="a"))
    after = set(wanted(records, msgspec.structs.replace(filters, until_s=late), current="a"))
    assert after == {name for name in before if records[name].creation_time_s <= late}


@given(forests(), st.sampled_from(NAMES))
def test_below_a_snapshot_are_its_children_and_theirs(records, above) -> None:
    if above not in records:
        return
    direct = set(wanted(records, Filters(above=above), current=None))
    assert direct == {name for name in records if records[name].parent == above}
    assert set(wanted(records, Filters(above=above, descendants=True), current=None)) == direct.union(
        *(wanted(records, Filters(above=child, descendants=True), current=None) for child in direct)
    )


@given(forests(), st.sets(st.sampled_from(NAMES)))
def test_each_order_keeps_all_and_invents_none(records, some) -> None:
    names = tuple(name for name in records if name in some)
    for order in ORDERS.values():
        assert sorted(order(records, names)) == sorted(names)
    positions = {name: place for place, name in enumerate(ORDERS["tree"](records, tuple(records)))}
    for name, place in positions.items():
        above = tree.parent(records, name)
        assert above is None or positions[above] < place
