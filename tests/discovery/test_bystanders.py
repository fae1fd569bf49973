"""A guest with a will of its own and an operator who asks nobody, at every effect of an operation on the domain.

Whoever came between: the host ends as if one had gone after the other, or the operation was given up, and every
snapshot holds what it held. A snapshot that was told to be taken has all of its points.
"""

import pytest

from tests.crash.running import OPERATIONS, guest_for
from tests.discovery.bystanders import DEEDS, NEW, judge

UNANSWERED = [("quiet disks", "xl pause")]
"""An agent in a guest that was paused answers nothing: the thaw has to wait until the operator lets it run again."""

ENDING = [("checkpoint and stop", "xl block-attach")]
"""A guest that only waits for its end never sees a disk that it is given then."""

CASES = [(verb, deed) for verb in OPERATIONS for deed in DEEDS if (verb, deed) not in UNANSWERED + ENDING]


@pytest.mark.parametrize(("verb", "deed"), CASES)
def test_somebody_comes_between(verb: str, deed: str) -> None:
    host = guest_for(verb, "ie")
    host.create_image(NEW)
    assert judge(host, OPERATIONS[verb], deed) >= (0 if deed == "xl create" else 5)
