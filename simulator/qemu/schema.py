"""Arguments of QMP commands, checked as QEMU 7.2.22 checks them: in the order of its schema, in its words.

A kind is a function `(value, name, path) -> value` that raises `QmpError`. `path` is how messages call the place; some
of QEMU's messages leave out where in a list or object it stands, and those use `name` (qemu.md 104).
"""

from collections.abc import Callable, Mapping
from typing import Any

from simulator.core.unmodelled import NotModelled
from simulator.qemu.points import QmpError

Kind = Callable[[Any, str, str], Any]
Arguments = dict[str, Any]


def _wrong(path: str, expected: str) -> QmpError:
    return QmpError(f"Invalid parameter type for '{path}', expected: {expected}")


def text(value: Any, _name: str, path: str) -> str:
    """A string."""
    if not isinstance(value, str):
        raise _wrong(path, "string")
    return value


def truth(value: Any, _name: str, path: str) -> bool:
    """A boolean."""
    if not isinstance(value, bool):
        raise _wrong(path, "boolean")
    return value


def whole(value: Any, _name: str, path: str) -> int:
    """A signed number of 64 bits. A float is taken where it is whole."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(path, "integer")
    if not isinstance(value, int) or not -(1 << 63) <= value < 1 << 63:
        raise _wrong(path, "integer")
    return value


def uint32(value: Any, name: str, path: str) -> int:
    """A number without a sign of 32 bits, of which the second message forgets where it stands."""
    if isinstance(value, bool) or not isinstance(value, int) or not -(1 << 63) <= value < 1 << 64:
        raise QmpError(f"Parameter '{path}' expects uint64")
    if not 0 <= value < 1 << 32:
        raise QmpError(f"Parameter '{name}' expects uint32_t")
    return value


def enum(*values: str) -> Kind:
    """One of these words."""

    def read(value: Any, name: str, path: str) -> str:
        word = text(value, name, path)
        if word not in values:
            raise QmpError(f"Parameter '{name or 'null'}' does not accept value '{word}'")
        return word

    return read


def many(kind: Kind) -> Kind:
    """A list of these."""

    def read(value: Any, _name: str, path: str) -> list[Any]:
        if not isinstance(value, list):
            raise _wrong(path, "array")
        return [kind(each, "", f"{path}[{place}]") for place, each in enumerate(value)]

    return read


def anything(value: Any, _name: str, _path: str) -> Any:
    """What the command itself looks at."""
    return value


def record(members: Mapping[str, Kind]) -> Kind:
    """An object with exactly these members; a name that ends with `?` may be absent."""

    def read(value: Any, _name: str, path: str) -> Arguments:
        if not isinstance(value, dict):
            raise _wrong(path, "object")
        return checked(members, value, path)

    return read


def checked(members: Mapping[str, Kind], given: Arguments, path: str = "") -> Arguments:
    """The members in order, then whatever is there beside them."""
    found = taken(members, given, path)
    for name in given:
        if name not in found:
            raise QmpError(f"Parameter '{_at(path, name)}' is unexpected")
    return found


def taken(members: Mapping[str, Kind], given: Arguments, path: str = "") -> Arguments:
    """The members in order; what is there beside them is not looked at yet."""
    found: Arguments = {}
    for spelled, kind in members.items():
        name = spelled.removesuffix("?")
        if name in given:
            found[name] = kind(given[name], name, _at(path, name))
        elif name == spelled:
            raise QmpError(f"Parameter '{_at(path, name)}' is missing")
    return found


def tagged(tag: str, common: Mapping[str, Kind], variants: Mapping[str, Mapping[str, Kind]], known: Kind) -> Kind:
    """An object whose member `tag` says what else is in it. `known` are all of QEMU's values for it."""

    def read(value: Any, _name: str, path: str) -> Arguments:
        if not isinstance(value, dict):
            raise _wrong(path, "object")
        found = taken({tag: known, **common}, value, path)
        variant = variants.get(found[tag])
        if variant is None:
            raise NotModelled(f"QMP: {tag} {found[tag]!r}")
        return checked({tag: known, **common, **variant}, value, path)

    return read


def _at(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
