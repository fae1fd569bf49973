"""Which clusters each state of an image has: what a reader of the cluster tables would find."""

from collections.abc import Hashable, Mapping

from simulator.disk.content import SECTOR
from simulator.disk.image import Image, Raw
from xensnap.model import ZEROS, Extent


def by_state(image: Image) -> dict[str, tuple[Extent, ...]]:
    """The active state under "", each internal snapshot under its id.

    A place is a number for a write at an index, the same in all states: equal numbers are the same host cluster, since
    write numbers are unique in a world.
    """
    if isinstance(image, Raw):
        return {"": _extents(image.content, image.sectors * SECTOR, {}, limit=image.size_bytes, raw=True)}
    layers = {"": image.content, **{str(entry.number): entry.content for entry in image.table}}
    states = {state: image.clusters(content) for state, content in layers.items()}
    known = sorted({item for content in states.values() for item in content.items()}, key=repr)
    places = {item: number * image.cluster_bytes for number, item in enumerate(known, 1)}
    sizes = {"": image.size_bytes, **{str(entry.number): entry.size_bytes for entry in image.table}}
    return {
        state: _extents(content, image.cluster_bytes, places, limit=sizes[state]) for state, content in states.items()
    }


def _extents(
    content: Mapping[int, Hashable],
    cluster_bytes: int,
    places: dict[tuple[int, Hashable], int],
    *,
    limit: int,
    raw: bool = False,
) -> tuple[Extent, ...]:
    joined: list[Extent] = []
    for index in sorted(content):
        start = index * cluster_bytes
        if start >= limit:
            break
        place = start if raw else ZEROS if content[index] == 0 else places[index, content[index]]
        last = joined[-1] if joined else None
        if (
            last
            and last.start_bytes + last.length_bytes == start
            and (place == (ZEROS if last.place == ZEROS else last.place + last.length_bytes))
        ):
            joined[-1] = Extent(last.start_bytes, last.length_bytes + cluster_bytes, last.place)
        else:
            joined.append(Extent(start, cluster_bytes, place))
    return tuple(joined)
