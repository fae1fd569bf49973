"""How far deep runs go: the profile `deep`, and for how long `XENSNAP_DEEP_S` lets what has no end of its own go on."""

import os

from tests.conftest import PROFILE

DEEP_S = float(os.environ.get("XENSNAP_DEEP_S", "0"))
"""So many seconds; 0 where nobody has said, as in ordinary runs."""

LONG_S = 600
EXHAUSTIVE = PROFILE == "deep" and not 0 < DEEP_S < LONG_S
"""Whether all is tried that comes to an end, however late: of that a deep run of less than `LONG_S` tries no more than
an ordinary one."""
