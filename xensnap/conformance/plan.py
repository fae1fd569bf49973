"""What a run would make on a host, told before anything is touched: the cases are carried out on a simulated one first.

That one declares just what the real one does. A host on which an operation has more steps is died at more often, and
so gets a few domains more in the cases about deaths; their names begin with the same prefix.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from xensnap.conformance.case import Case
from xensnap.conformance.places.simulated import SimulatedPlace
from xensnap.conformance.run import Options, carry_out
from xensnap.conformance.workplace import BLOCK_BYTES, Wish
from xensnap.hypervisor import Capability


class Planned(msgspec.Struct, frozen=True):
    """What one case would make: a line for each domain with its disks; or why it would not be tried."""

    case: str
    domains: tuple[str, ...] = ()
    not_tried: str = ""


def planned(cases: Iterable[Case], declared: frozenset[Capability], options: Options) -> Iterator[Planned]:
    """What these cases would make on a host that declares this.

    Args:
        cases: in their order.
        declared: by the host that is to be tried.
        options: of the run, its prefix with them.
    """
    for case in cases:
        if missing := sorted(need.value for need in case.needs - declared):
            yield Planned(case.id, not_tried=f"the host does not declare {', '.join(missing)}")
        elif there := sorted(lack.value for lack in case.lacks & declared):
            yield Planned(case.id, not_tried=f"needs a host without {', '.join(there)}")
        else:
            made: list[str] = []

            def open_place(seed: int, made: list[str] = made) -> SimulatedPlace:
                return _Noting(seed, declared, made)

            carry_out(case, open_place, clock=float, options=options, tell=lambda _: None)
            yield Planned(case.id, tuple(made))


class _Noting(SimulatedPlace):
    def __init__(self, seed: int, declared: frozenset[Capability], made: list[str]) -> None:
        super().__init__(seed)
        self.host.capabilities = declared
        self._made = made

    def add_domain(self, name: str, disks: Sequence[Wish], *, guest: bool = False) -> None:
        super().add_domain(name, disks, guest=guest)
        told = ", ".join(f"{wish.vdev} ({_size(wish)})" for wish in disks)
        self._made.append(f"{name}: {told}{', with a guest' if guest else ''}")


def _size(wish: Wish) -> str:
    return "empty" if wish.empty else f"{wish.format}, {wish.blocks * BLOCK_BYTES >> 10} KiB"
