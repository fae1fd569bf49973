"""Guests that tell of themselves, `n=00000004 bad=00000000` a line: how far they have counted, and what is wrong."""

import time
from abc import ABC, abstractmethod

from xensnap.conformance.places.boot_guest import REPORTS_UNTIL_NOTICED

PATIENCE_S = 60.0
"""How long a guest is waited for. It tells something many times a second; machines may be busy."""
_POLL_S = 0.005


class TellingGuests(ABC):
    """What a `Workplace` says of guests, where they tell it themselves.

    Args:
        patience_s: how long a guest is waited for, in seconds.
    """

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s

    @abstractmethod
    def told(self, name: str) -> list[tuple[int, int]]:
        """All that the guest has told since it was last brought up."""

    def counter(self, name: str) -> int:
        """See Workplace."""
        before = len(self.told(name))
        return self._wait(name, before + 1)[-1][0]

    def first_counter(self, name: str) -> int:
        """See Workplace."""
        return self._wait(name, 1)[0][0]

    def sound(self, name: str) -> str:
        """See Workplace."""
        before = len(self.told(name))
        told = self._wait(name, before + REPORTS_UNTIL_NOTICED)
        bad = [number for _, number in told if number]
        return f"{bad[-1]} of its looks found something else on a disk or in memory" if bad else ""

    def _wait(self, name: str, wanted: int) -> list[tuple[int, int]]:
        deadline = time.monotonic() + self._patience_s
        while len(told := self.told(name)) < wanted:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} told {len(told)} times, not {wanted}, within {self._patience_s} s")
            time.sleep(_POLL_S)
        return told
