"""Names for everything that a port does to the host, so that each can be seen, failed and cut.

An effect has four cut points. What is not yet declared here cannot happen: the ports look their names up.
"""

from enum import StrEnum

import msgspec


class Cut(StrEnum):
    """Where, in the course of one effect, something can come between."""

    BEFORE = "before"
    PARTLY = "partly"
    UNACKNOWLEDGED = "after-unacknowledged"
    AFTER = "after"

    def __repr__(self) -> str:
        """As Python, so that what is made of it can be pasted."""
        return f"{type(self).__name__}.{self.name}"


class Effect(msgspec.Struct, frozen=True):
    """One kind of effect: its stable name, whether it changes the host, and what it is."""

    name: str
    writes: bool
    summary: str


_declared: dict[str, Effect] = {}


def declare(name: str, summary: str, *, writes: bool) -> Effect:
    """Make a name known. Each stands once, beside the code that performs it."""
    assert name not in _declared, f"the effect {name} is declared twice"
    effect = Effect(name, writes, summary)
    _declared[name] = effect
    return effect


def declared() -> tuple[Effect, ...]:
    """Every effect that exists, by name."""
    return tuple(_declared[name] for name in sorted(_declared))
