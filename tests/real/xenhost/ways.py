"""The kinds of guests and of snapshots, by which the cases are multiplied."""

from dataclasses import dataclass

import pytest

from tests.real.xenhost.guests import HVM, PV, PVH


@dataclass(frozen=True, slots=True)
class Way:
    """How a snapshot is taken: options of `create`, and what of the guest comes back with it."""

    name: str
    options: tuple[str, ...]
    memory: bool = True
    external: bool = False


INTERNAL = Way("internal", ("--type", "internal"))
EXTERNAL = Way("external", ("--type", "external"), external=True)
DISK_ONLY = Way("disk-only", ("--type", "internal", "--disk-only"), memory=False)
DISK_ONLY_EXTERNAL = Way("disk-only-external", ("--type", "external", "--disk-only"), memory=False, external=True)
LIVE = Way("live", ("--type", "internal", "--live"))
LIVE_EXTERNAL = Way("live-external", ("--type", "external", "--live"), external=True)

PLAIN = (INTERNAL, EXTERNAL, DISK_ONLY, DISK_ONLY_EXTERNAL)
LIVELY = (LIVE, LIVE_EXTERNAL)
"""What PV guests cannot where Xen has no shadow paging, as Debian's."""

EACH_GUEST = pytest.mark.parametrize("guest", [pytest.param(each, id=each.type) for each in (PV, PVH, HVM)])
EACH_PLAIN_WAY = pytest.mark.parametrize("way", [pytest.param(way, id=way.name) for way in PLAIN])
EVERYTHING = pytest.mark.parametrize(
    ("guest", "way"),
    [
        pytest.param(guest, way, id=f"{guest.type}-{way.name}")
        for guest in (PV, PVH, HVM)
        for way in (PLAIN if guest is PV else (*PLAIN, *LIVELY))
    ],
)
