"""What a run would make on a host, told before anything is touched: the cases are carried out on a simulated one first.

That one declares just what the real one does. A host on which an operation has more steps is died at more often, and
so gets a few domains more in the cases about deaths; their names begin with the same prefix.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from xensnap.conformance.case import Case
from xensnap.conformance.places.simulated import SimulatedPlace
from xensnap.conformance.run import Options, carry_out
from xensnap.conformance.workplace import BLOCK_BYTES, Wish
from xensnap.hypervisor import Capability

Objects = Callable[[str, Sequence[Wish]], Iterable[str]]
"""Everything that a domain of this name with these disks has on a host: paths."""


class Planned(msgspec.Struct, frozen=True):
    """What one case would make: its domains, and all paths, which may be patterns; or why it would not be tried."""

    case: str
    domains: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    not_tried: str = ""


def planned(
    cases: Iterable[Case], declared: frozenset[Capability], options: Options, *, objects: Objects = lambda *_: ()
) -> Iterator[Planned]:
    """What these cases would make on a host that declares this.

    Args:
        cases: in their order.
        declared: by the host that is to be tried.
        options: of the run, its prefix with them.
        objects: what a place of that host has for a domain, if it can tell.
    """
    for case in cases:
        if missing := sorted(need.value for need in case.needs - declared):
            yield Planned(case.id, not_tried=f"the host does not declare {', '.join(missing)}")
        elif there := sorted(lack.value for lack in case.lacks & declared):
            yield Planned(case.id, not_tried=f"needs a host without {', '.join(there)}")
        else:
            made: dict[str, Sequence[Wish]] = {}

            def open_place(seed: int, made: dict[str, Sequence[Wish]] = made) -> SimulatedPlace:
                return _Noting(seed, declared, made)

            carry_out(case, open_place, clock=float, options=options, tell=lambda _: None)
            paths = dict.fromkeys(path for name, disks in made.items() for path in objects(name, disks))
            yield Planned(case.id, tuple(_told(name, disks) for name, disks in made.items()), tuple(paths))


class _Noting(SimulatedPlace):
    def __init__(self, seed: int, declared: frozenset[Capability], made: dict[str, Sequence[Wish]]) -> None:
        super().__init__(seed)
        self.host.capabilities = declared
        self._made = made

    def add_domain(self, name: str, disks: Sequence[Wish], *, guest: bool = False) -> None:
        super().add_domain(name, disks, guest=guest)
        self._made[name] = tuple(disks)


def _told(name: str, disks: Sequence[Wish]) -> str:
    return f"{name}: {', '.join(f'{wish.vdev} ({_size(wish)})' for wish in disks)}"


def _size(wish: Wish) -> str:
    return "empty" if wish.empty else f"{wish.format}, {wish.blocks * BLOCK_BYTES >> 10} KiB"
