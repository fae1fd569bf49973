"""Guests that tell of themselves, `n=00000004 bad=00000000` a line: how far they have counted, and what is wrong."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from xensnap.conformance.places.boot_guest import REPORTS_UNTIL_NOTICED

PATIENCE_S = 60.0
"""How long a guest is waited for. It tells something many times a second; machines may be busy."""
_POLL_S = 0.005

Listen = Callable[[], list[tuple[int, int]]]
"""All (n, bad) that one guest has told so far."""


class TellingGuests(ABC):
    """What a `Workplace` says of guests, where they tell it themselves.

    Args:
        patience_s: how long a guest is waited for, in seconds.
    """

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s

    @abstractmethod
    def listen(self, name: str) -> Listen:
        """Find the guest, once, and listen: what comes back tells all that it has told since it was brought up."""

    def counter(self, name: str) -> int:
        """See Workplace."""
        return self._wait(name, more=1)[-1][0]

    def first_counter(self, name: str) -> int:
        """See Workplace."""
        return self._wait(name)[0][0]

    def sound(self, name: str) -> str:
        """See Workplace."""
        told = self._wait(name, more=REPORTS_UNTIL_NOTICED)
        bad = [number for _, number in told if number]
        return f"{bad[-1]} of its looks found something else on a disk or in memory" if bad else ""

    def _wait(self, name: str, *, more: int = 0) -> list[tuple[int, int]]:
        """Wait until it has told at all, or so many times more than it has by now."""
        told = self.listen(name)
        deadline, wanted = time.monotonic() + self._patience_s, max(1, len(told()) + more)
        while len(heard := told()) < wanted:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} told {len(heard)} times, not {wanted}, within {self._patience_s} s")
            time.sleep(_POLL_S)
        return heard
