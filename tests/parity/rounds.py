"""How many examples the differential tests try: a handful in ordinary runs, new ones for a time in deep runs."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hypothesis import HealthCheck, settings

from simulator import NotModelled
from tests.deep import DEEP_S

DIFFERENTIAL_TESTS = 9
"""So many divide that time among themselves."""

EXAMPLES = 40
FEW = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
"""Settings of one round. What it draws is the same in every ordinary run, and new in each round of a deep one."""


CUT_SHORT_MAX = 0.2
"""The share of a test's examples that may come upon what is not modelled: the rest of such a one is untried."""

_ENDED: Counter[str] = Counter()


@contextmanager
def up_to_not_modelled() -> Iterator[None]:
    """One drawn example: it ends without a word where it comes upon what is not modelled, and is counted."""
    try:
        yield
    except NotModelled as unmodelled:
        _ENDED[str(unmodelled)] += 1
    else:
        _ENDED[""] += 1


def again(differential_test: Callable[[], None]) -> None:
    """One round; in a deep run further ones, until the share of this test in its time is over."""
    _ENDED.clear()
    until = time.monotonic() + DEEP_S / DIFFERENTIAL_TESTS
    differential_test()
    while time.monotonic() < until:
        differential_test()
    cut_short = _ENDED.total() - _ENDED[""]
    assert cut_short <= CUT_SHORT_MAX * _ENDED.total(), _ENDED
