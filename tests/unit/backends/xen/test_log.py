"""The log of the xl that watches a guest, as it was written (Xen 4.17.7)."""

from hypothesis import given
from hypothesis import strategies as st

from xensnap.backends.xen.log import Watching, watching
from xensnap.model import DomId

REBOOTED = """\
Waiting for domain pvb (domid 37) to die [pid 3126]
Domain 37 has shut down, reason code 1 0x1
Action for shutdown reason code 1 is restart
Domain 37 needs to be cleaned up: destroying the domain
Done. Rebooting now
Waiting for domain pvb (domid 38) to die [pid 3126]
"""
LOST = """\
Waiting for domain pv1 (domid 1) to die [pid 361]
Domain 1 has shut down, reason code 2 0x2
Domain has suspended.
Done. Exiting now
"""


def test_a_reboot_goes_on_under_the_next_domid() -> None:
    assert watching(REBOOTED) == Watching(DomId(38), 3126)


def test_fact_1_a_save_ends_the_watcher_and_its_log_goes_on_telling_of_it() -> None:
    assert watching(LOST) == Watching(DomId(1), 361)
    assert watching(LOST + REBOOTED) == Watching(DomId(38), 3126)


def test_a_name_can_look_like_the_log_itself() -> None:
    text = "Waiting for domain x (domid 7) to die [pid 8] (domid 1) to die [pid 361]\n"
    assert watching(text) == Watching(DomId(1), 361)


@given(st.text())
def test_whatever_stands_in_a_log_is_read(text: str) -> None:
    assert watching(text) is None
