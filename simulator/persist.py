"""A world as bytes and back: JSON, never pickle. Exact, and what is not a world is told as `Damaged`.

Maps that several snapshots share are written once and shared again afterwards.
"""

import json
from typing import Any, get_args

import msgspec
from immutables import Map

from simulator.world import World
from xensnap.errors import Damaged

FORMAT = "xensnap simulated world"
SCHEMA = 1
_REMEDY = "Take a file that `encode` made, or make a new world."


class _File(msgspec.Struct, frozen=True):
    """What stands in the file: the world with each map as an index into `maps`, inner ones first."""

    format: str
    schema: int
    maps: list[Any]
    world: Any


def encode(world: World) -> bytes:
    """The world as bytes."""
    writer = _Writer()
    told = msgspec.to_builtins(world, enc_hook=writer.hook)
    file = _File(FORMAT, SCHEMA, writer.maps, told)
    try:
        return msgspec.json.encode(file)
    except OverflowError:
        # A sector that no simulated write has filled has a number beyond what msgspec writes; it reads any.
        return json.dumps(msgspec.to_builtins(file), separators=(",", ":")).encode()


def decode(data: bytes, *, path: str = "") -> World:
    """The world that these bytes tell. `Damaged` names the path, if one is given, and the place in the JSON."""
    try:
        file = msgspec.json.decode(data, type=_File)
        if file.format != FORMAT or file.schema != SCHEMA:
            raise Damaged(f"{path}: no simulated world of schema {SCHEMA}", path=path, remedy=_REMEDY)
        return msgspec.convert(file.world, World, dec_hook=_Reader(file.maps).hook)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{path}: no simulated world: {error}", path=path, remedy=_REMEDY) from error


class _Writer:
    def __init__(self) -> None:
        self.maps: list[Any] = []
        self._known: dict[int, tuple[int, Map[Any, Any]]] = {}

    def hook(self, value: Any) -> Any:
        """The index of a map, which is written the first time it is met. It is held, so that its id stays its own."""
        if not isinstance(value, Map):
            raise NotImplementedError(f"a {type(value).__name__} in a world")
        known = self._known.get(id(value))
        if known is None:
            pairs = msgspec.to_builtins(sorted(value.items()), enc_hook=self.hook)
            known = (len(self.maps), value)
            self._known[id(value)] = known
            self.maps.append(pairs)
        return known[0]


class _Reader:
    def __init__(self, maps: list[Any]) -> None:
        self._maps = maps
        self._known: dict[tuple[int, Any], Map[Any, Any]] = {}

    def hook(self, kind: Any, index: Any) -> Any:
        """The map with this index. Inner maps stand before outer ones, so a map that holds itself cannot be told."""
        key, value = get_args(kind)
        if not isinstance(index, int) or not 0 <= index < len(self._maps):
            raise ValueError(f"no map {index!r}")
        if (index, kind) not in self._known:
            pairs = msgspec.convert(self._maps[index], list[tuple[key, value]], dec_hook=self.hook)  # type: ignore[valid-type]
            self._known[index, kind] = Map(pairs)
        return self._known[index, kind]
