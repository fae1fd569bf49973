"""Which snapshots `list` and `tree` show, and in which order: the filters of virsh, as one value. Pure."""

from collections.abc import Callable, Iterable, Mapping

import msgspec

from xensnap.engine import tree
from xensnap.model import Kind, RunState, Snapshot

Test = Callable[[Snapshot], bool]

ACTIVE = (RunState.RUNNING, RunState.PAUSED)


class Filters(msgspec.Struct, frozen=True):
    """What is wanted. Those of one kind (where in the tree, how kept, with or without memory) add up; kinds cut down.

    `above` is a snapshot whose children are wanted, with `descendants` all below it. Times are epoch seconds.
    """

    roots: bool = False
    leaves: bool = False
    no_leaves: bool = False
    above: str | None = None
    descendants: bool = False
    current: bool = False
    internal: bool = False
    external: bool = False
    disk_only: bool = False
    with_memory: bool = False
    active: bool = False
    inactive: bool = False
    pinned: bool = False
    since_s: int | None = None
    until_s: int | None = None


def wanted(records: Mapping[str, Snapshot], filters: Filters, *, current: str | None) -> tuple[str, ...]:
    """The names that pass, in the order of the records."""
    below = tree.children(records)
    tests: list[Test] = [
        _any_of({"roots": lambda s: tree.parent(records, s.name) is None}, filters),
        _any_of({"leaves": lambda s: s.name not in below, "no_leaves": lambda s: s.name in below}, filters),
        _any_of({"current": lambda s: s.name == current, "pinned": lambda s: s.pin is not None}, filters),
        _any_of(
            {"internal": lambda s: Kind.INTERNAL in s.kinds, "external": lambda s: Kind.EXTERNAL in s.kinds}, filters
        ),
        _any_of({"with_memory": lambda s: bool(s.memory), "disk_only": lambda s: not s.memory}, filters),
        _any_of({"active": lambda s: s.state in ACTIVE, "inactive": lambda s: s.state not in ACTIVE}, filters),
        lambda s: filters.since_s is None or s.creation_time_s >= filters.since_s,
        lambda s: filters.until_s is None or s.creation_time_s <= filters.until_s,
    ]
    inside = _below(records, filters)
    return tuple(
        snapshot.name for snapshot in records.values() if snapshot.name in inside and all(t(snapshot) for t in tests)
    )


def _any_of(tests: Mapping[str, Test], filters: Filters) -> Test:
    """Passes what one of the filters that are set lets pass; everything where none is set."""
    chosen = [test for name, test in tests.items() if getattr(filters, name)]
    return lambda snapshot: not chosen or any(test(snapshot) for test in chosen)


def _below(records: Mapping[str, Snapshot], filters: Filters) -> frozenset[str]:
    if filters.above is None:
        return frozenset(records)
    if filters.descendants:
        return frozenset(tree.descendants(records, filters.above))
    return frozenset(tree.children(records).get(filters.above, ()))


def _in_order(order: Iterable[str], names: Iterable[str]) -> tuple[str, ...]:
    wanted = frozenset(names)
    return tuple(name for name in order if name in wanted)


ORDERS: dict[str, Callable[[Mapping[str, Snapshot], Iterable[str]], tuple[str, ...]]] = {
    "time": _in_order,
    "name": lambda _records, names: tuple(sorted(names)),
    "tree": lambda records, names: _in_order((name for _, name in tree.walk(records)), names),
}
"""Ways to sort, of those that need no look at the images. In `tree` every snapshot comes after its parent."""
