"""What a merge was to copy, against what an image has: by whole stretches, held to the same said byte by byte."""

from hypothesis import given
from hypothesis import strategies as st

from xensnap.backends.local.copied import first_missing, own
from xensnap.model import ZEROS, Extent

SPAN = 40
KEPT = st.lists(st.sampled_from([None, ZEROS, 0, 0, 100, 100, 200]), min_size=SPAN, max_size=SPAN)
"""Of each byte of a small disk, from where in the file its stretch is kept; None where the image has nothing."""


def extents(kept: list[int | None]) -> tuple[Extent, ...]:
    """The same as stretches, neighbours joined."""
    found: list[Extent] = []
    for at, shift in enumerate(kept):
        if shift is None:
            continue
        place = ZEROS if shift == ZEROS else shift + at
        if found and at and kept[at - 1] == shift:
            found[-1] = found[-1]._replace(length_bytes=found[-1].length_bytes + 1)
        else:
            found.append(Extent(at, 1, place))
    return tuple(found)


def bytewise(stretches: tuple[Extent, ...]) -> dict[int, int]:
    """Where each byte is kept that is there."""
    return {
        extent.start_bytes + at: ZEROS if extent.place == ZEROS else extent.place + at
        for extent in stretches
        for at in range(extent.length_bytes)
    }


@given(KEPT, KEPT, st.integers(0, SPAN + 1))
def test_the_first_byte_that_is_missing_is_told(had, has, size):
    missing = sorted(at for at in bytewise(extents(had)).keys() - bytewise(extents(has)).keys() if at < size)
    assert first_missing(extents(had), extents(has), size_bytes=size) == (missing[0] if missing else None)


@given(KEPT, st.lists(KEPT, max_size=3))
def test_an_image_has_of_its_own_what_no_snapshot_keeps_at_the_same_place(active, snapshots):
    states = {"": extents(active)} | {str(number): extents(kept) for number, kept in enumerate(snapshots)}
    shared = {place for state in states if state for place in bytewise(states[state]).values()} - {ZEROS}
    found = tuple(own(states))
    assert bytewise(found) == {at: place for at, place in bytewise(states[""]).items() if place not in shared}
    assert sum(extent.length_bytes for extent in found) == len(bytewise(found))
    assert [*found] == sorted(found, key=lambda extent: extent.start_bytes)
