"""Frozen values made by the thousand, at a third of the cost.

A frozen dataclass sets each field through `object.__setattr__`: 1.3 µs for a snapshot entry of seven fields, where
reading the entry takes less than one. `maker` gives a constructor that fills an unfrozen twin with the same slots and
then lets it be what it looks like; the value is the same, and as frozen, as one made by its own class.
"""

from collections.abc import Callable
from dataclasses import fields, make_dataclass
from typing import Any, TypeVar

T = TypeVar("T")


def maker(frozen: type[T]) -> Callable[..., T]:
    """A faster constructor of a frozen dataclass with slots, with the same positional arguments and defaults."""
    described = [(one.name, one.type, one) for one in fields(frozen)]  # type: ignore[arg-type]
    twin: Callable[..., Any] = make_dataclass(f"Thawed{frozen.__name__}", described, slots=True, eq=False)

    def make(*values: object) -> T:
        value = twin(*values)
        value.__class__ = frozen
        return value  # type: ignore[no-any-return]

    return make
