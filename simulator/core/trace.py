"""What happened, in order, as data: the story that a failing test prints."""

import msgspec

from simulator.core.effects import Cut


class Event(msgspec.Struct, frozen=True):
    """One effect that was begun: its number, its name, who did it, and on what."""

    number: int
    effect: str
    pid: int
    subject: str = ""

    def __str__(self) -> str:
        return f"{self.number:4} {self.pid:5} {self.effect} {self.subject}".rstrip()


class Moment(msgspec.Struct, frozen=True):
    """A place in a trace where something can come between."""

    number: int
    effect: str
    cut: Cut

    def __str__(self) -> str:
        return f"{self.effect}#{self.number} {self.cut}"
