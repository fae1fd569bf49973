"""How many examples the differential tests try: a handful in ordinary runs, new ones for a time in deep runs."""

import os
import time
from collections.abc import Callable

from hypothesis import HealthCheck, settings

DEEP_S = float(os.environ.get("XENSNAP_DEEP_S", "0"))
"""How long a deep run goes on, in seconds; 0 in ordinary runs."""

DIFFERENTIAL_TESTS = 7
"""So many divide that time among themselves."""

EXAMPLES = 40
FEW = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
"""Settings of one round. What it draws is the same in every ordinary run, and new in each round of a deep one."""


def again(differential_test: Callable[[], None]) -> None:
    """One round; in a deep run further ones, until the share of this test in its time is over."""
    until = time.monotonic() + DEEP_S / DIFFERENTIAL_TESTS
    differential_test()
    while time.monotonic() < until:
        differential_test()
