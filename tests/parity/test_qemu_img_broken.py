"""Where a disk fails or the tool is killed half-way, the simulated qemu-img speaks and leaves what the real one does.

What it does not is in the ledgers, and each entry must still differ.
"""

import random
import time

import pytest

from tests.conftest import require_tool
from tests.deep import DEEP_S
from tests.parity.broken import CACHED, OPERATIONS, Kind, Lab
from tests.parity.tools import WITH_QEMU_IMG

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("qemu_img", "qemu_io")]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("broken"))


# --- a disk that fails once ------------------------------------------------------------------------------------------

EVENTS = (
    "l1_update",
    "l1_grow_alloc_table",
    "l1_grow_write_table",
    "l1_grow_activate_table",
    "l2_load",
    "l2_update",
    "l2_update_compressed",
    "l2_alloc_cow_read",
    "l2_alloc_write",
    "read_aio",
    "read_backing_aio",
    "read_compressed",
    "write_aio",
    "write_compressed",
    "vmstate_load",
    "vmstate_save",
    "cow_read",
    "cow_write",
    "reftable_load",
    "reftable_grow",
    "reftable_update",
    "refblock_load",
    "refblock_update",
    "refblock_update_part",
    "refblock_alloc",
    "refblock_alloc_hookup",
    "refblock_alloc_write",
    "refblock_alloc_write_blocks",
    "refblock_alloc_write_table",
    "refblock_alloc_switch_table",
    "cluster_alloc",
    "cluster_alloc_bytes",
    "cluster_free",
    "flush_to_os",
    "flush_to_disk",
    "pwritev_rmw_head",
    "pwritev_rmw_after_head",
    "pwritev_rmw_tail",
    "pwritev_rmw_after_tail",
    "pwritev",
    "pwritev_zero",
    "pwritev_done",
    "empty_image_prepare",
    "l1_shrink_write_table",
    "l1_shrink_free_l2_clusters",
    "cor_write",
    "cluster_alloc_space",
)
"""All that QEMU 7.2 knows."""

QUICK = (
    "l2_load",
    "l2_update",
    "refblock_load",
    "refblock_update_part",
    "cluster_alloc",
    "flush_to_os",
    "pwritev_done",
)
"""Those that ordinary runs try of every operation; the others take turns, so that each is tried of one or two."""

OPENING = "what a disk that fails while an image is opened makes it say is not modelled"
GIVING_BACK = "a cluster that cannot be given back is only told, and leaks; a step of ours fails as a whole"
LOOKING = "a rebase looks before it writes, and is told to have failed at reading"
SHRINKING = "a shrink is one step"

FAILS_OTHERWISE: dict[tuple[str, str], str] = {
    **{(operation, "reftable_load"): OPENING for operation in OPERATIONS},
    ("snapshot -d", "refblock_load"): GIVING_BACK,
    ("snapshot -d", "refblock_alloc"): GIVING_BACK,
    ("snapshot -d", "cluster_free"): GIVING_BACK,
    ("rebase", "l2_load"): LOOKING,
    (CACHED, "l2_load"): LOOKING,
    ("resize --shrink", "l2_load"): SHRINKING,
    ("resize --shrink", "l2_update"): SHRINKING,
    ("resize --shrink", "refblock_load"): SHRINKING,
    ("resize --shrink", "refblock_alloc"): SHRINKING,
    ("resize --shrink", "refblock_update_part"): SHRINKING,
    ("resize --shrink", "cluster_free"): SHRINKING,
    ("resize --shrink", "pwritev"): SHRINKING,
    ("resize --shrink", "pwritev_done"): SHRINKING,
}


def failures() -> list[tuple[str, str]]:
    tried = [
        (operation, event)
        for turn, operation in enumerate(OPERATIONS)
        for event in (EVENTS if DEEP_S else (*QUICK, *EVENTS[turn :: len(OPERATIONS)]))
    ]
    return list(dict.fromkeys([*tried, *FAILS_OTHERWISE]))


@pytest.mark.parametrize(("operation", "event"), failures())
def test_a_disk_that_fails_once_ends_the_tool_in_the_same_words_and_leaves_the_same(lab: Lab, operation, event):
    """The real one's exit code, words and remains are those of the simulated one failing at one of its steps."""
    rules = f"inject-error.0.event={event},inject-error.0.errno=5,inject-error.0.once=on"
    end = lab.real(operation, rules=rules)
    known = {(ours.code, ours.words, lab.kind(operation, ours.left)) for _, ours in lab.failing(operation)}
    # An event that the operation does not come to changes nothing.
    known.add((0, "", lab.kind(operation, lab.done(operation))))
    same = (end.code, end.words, lab.kind(operation, end.left)) in known
    assert same != ((operation, event) in FAILS_OTHERWISE), (end, known)
    WITH_QEMU_IMG[f"{operation} fails"] += same


# --- killed ----------------------------------------------------------------------------------------------------------

CALLS = ("pwrite64", "fdatasync")
MOMENTS = [(call, number) for call in CALLS for number in range(1, 7)]

TABLES_LATE = "clusters are counted before a table leads to them; ours are counted and there at once"
HEADER_FIRST = "the header names the new base before the tables lead to what was copied: data is lost"
LEFT_OTHERWISE: dict[str, dict[Kind, str]] = {
    "snapshot -c": {("leaks", ("s", "t"), "=="): "the old table of snapshots is given back when all is done"},
    "commit": {
        ("leaks", ("s",), "=?"): TABLES_LATE,
        ("leaks", ("s",), "=="): TABLES_LATE,
        ("leaks", ("s",), "=!"): TABLES_LATE,
    },
    "rebase": {("leaks", ("s",), "=="): TABLES_LATE},
    CACHED: {
        ("leaks", ("s",), "=="): TABLES_LATE,
        ("sound", ("s",), "?="): HEADER_FIRST,
        ("leaks", ("s",), "?="): HEADER_FIRST,
    },
    "resize --shrink": {("leaks", ("s",), "!="): SHRINKING, ("sound", ("s",), "?="): SHRINKING},
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_a_killed_tool_leaves_is_left_by_a_simulated_one_that_dies_at_a_step(lab: Lab, operation: str) -> None:
    require_tool("strace")
    reachable = {lab.kind(operation, left) for left in lab.dying(operation)}
    otherwise = LEFT_OTHERWISE.get(operation, {})
    assert not reachable.intersection(otherwise), "the ledger tells what the simulator can do by now"
    drawn = random.Random(operation)
    until = time.monotonic() + DEEP_S / len(OPERATIONS)
    moments = drawn.sample(MOMENTS, 4)
    while moments:
        end = lab.real(operation, killed_at=moments.pop())
        kind = lab.kind(operation, end.left)
        assert kind in reachable or kind in otherwise, kind
        WITH_QEMU_IMG[f"{operation} is killed"] += 1
        if not moments and time.monotonic() < until:
            moments = drawn.sample(MOMENTS, 4)
