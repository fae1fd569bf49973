"""What a state of a disk shows, composed from the clusters of its layers, and where two states differ. Pure.

Nothing is read from the clusters: two states are equal where they share the cluster itself, and differ where one of
them has been written since. So a difference is an upper bound, as a backup tool needs it.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from xensnap.engine.view import View
from xensnap.model import ZEROS, DiskSnapshot, Extent, Kind

Maps = Mapping[str, Mapping[str, tuple[Extent, ...]]]
"""By path of the image and by state in it ("" is the active one), as `ImageTool.extents` tells."""


class LayerState(NamedTuple):
    """One state of one image: its active one, or the internal snapshot with this id."""

    path: str
    snapshot_id: str = ""


class Piece(NamedTuple):
    """A stretch of a disk that all comes from one place in one file."""

    start: int
    end: int
    path: str
    place: int


class Stretch(NamedTuple):
    """Bytes of a disk, from `start` up to `end`."""

    start: int
    end: int


def layers_now(view: View, vdev: str) -> tuple[LayerState, ...]:
    """The layers of a disk as it is now, the active one first; none where its chain cannot be read."""
    chain = view.chain(vdev)
    return tuple(LayerState(image.layer.path) for image in chain) if chain else ()


def layers_then(view: View, disk: DiskSnapshot) -> tuple[LayerState, ...]:
    """The layers of a disk as it was at a snapshot; none where one of them is gone."""
    top = LayerState(disk.image.path, disk.fingerprint.snapshot_id if disk.kind is Kind.INTERNAL else "")
    layers = [top]
    image = view.images.get(disk.image.path)
    while image is not None and image.backing is not None and len(layers) <= len(view.images):
        layers.append(LayerState(image.backing.path))
        image = view.images.get(image.backing.path)
    return tuple(layers) if image is not None else ()


def composed(maps: Maps, layers: Sequence[LayerState]) -> list[Piece]:
    """What the layers show together, in order and without overlap."""
    shown: list[Piece] = []
    for layer in layers:
        pieces = [
            Piece(extent.start_bytes, extent.start_bytes + extent.length_bytes, layer.path, extent.place)
            for extent in maps.get(layer.path, {}).get(layer.snapshot_id, ())
        ]
        shown = sorted([*shown, *_uncovered(pieces, shown)])
    return shown


def differing(one: Sequence[Piece], other: Sequence[Piece], *, size_bytes: int) -> list[Stretch]:
    """Where two states of a disk are not the same cluster, within its first bytes."""
    borders = sorted({0, size_bytes, *_borders(one), *_borders(other)})
    found: list[Stretch] = []
    first, second = _Cursor(one), _Cursor(other)
    for start, end in itertools.pairwise(borders):
        if start >= size_bytes or first.at(start) == second.at(start):
            continue
        if found and found[-1].end == start:
            found[-1] = Stretch(found[-1].start, end)
        else:
            found.append(Stretch(start, end))
    return [Stretch(each.start, min(each.end, size_bytes)) for each in found]


def length(stretches: Iterable[Stretch | Piece]) -> int:
    """Bytes in all of them."""
    return sum(each.end - each.start for each in stretches)


class _Cursor:
    """Looks up growing positions in pieces that are in order."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._pieces = pieces
        self._next = 0

    def at(self, position: int) -> tuple[str, int] | None:
        """Where the byte at this position is kept; None for zeros, however they come about."""
        while self._next < len(self._pieces) and self._pieces[self._next].end <= position:
            self._next += 1
        if self._next == len(self._pieces):
            return None
        piece = self._pieces[self._next]
        if position < piece.start or piece.place == ZEROS:
            return None
        return piece.path, piece.place + position - piece.start


def _borders(pieces: Iterable[Piece]) -> Iterator[int]:
    for piece in pieces:
        yield piece.start
        yield piece.end


def _uncovered(pieces: Iterable[Piece], above: Sequence[Piece]) -> Iterator[Piece]:
    """The parts of these pieces that no piece above hides; both are in order."""
    cover = iter(above)
    hiding = next(cover, None)
    for piece in pieces:
        start = piece.start
        while start < piece.end:
            while hiding is not None and hiding.end <= start:
                hiding = next(cover, None)
            if hiding is None or hiding.start >= piece.end:
                yield _part(piece, start, piece.end)
                break
            if start < hiding.start:
                yield _part(piece, start, hiding.start)
            start = hiding.end


def _part(piece: Piece, start: int, end: int) -> Piece:
    place = piece.place if piece.place == ZEROS else piece.place + start - piece.start
    return Piece(start, end, piece.path, place)
