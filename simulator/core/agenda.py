"""Everything that is pending, as data: activities with a program counter. No callable ever lives in a world.

A program is a frozen value. What its steps do is written down once, outside, as a tuple of named functions; a world
that was kept, stored or forked can therefore go on from where each of its activities stood.
"""

from typing import Generic, TypeVar

import msgspec

P = TypeVar("P")


class Activity(msgspec.Struct, Generic[P], frozen=True):
    """A process at work: which step of its program comes next."""

    pid: int
    program: P
    counter: int = 0

    def stepped(self) -> "Activity[P]":
        """The same activity with one step more behind it."""
        return Activity(self.pid, self.program, self.counter + 1)


def find(agenda: tuple[Activity[P], ...], pid: int) -> Activity[P] | None:
    """The activity of a process, if it has one."""
    for activity in agenda:  # not `next` of a generator: this is asked twice for each step of everything
        if activity.pid == pid:
            return activity
    return None


def put(agenda: tuple[Activity[P], ...], activity: Activity[P]) -> tuple[Activity[P], ...]:
    """The agenda with this activity in the place of its former self."""
    return tuple([activity if other.pid == activity.pid else other for other in agenda])


def drop(agenda: tuple[Activity[P], ...], pid: int) -> tuple[Activity[P], ...]:
    """The agenda without what this process did."""
    return tuple([activity for activity in agenda if activity.pid != pid])
