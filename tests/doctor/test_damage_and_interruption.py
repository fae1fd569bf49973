"""A store that is damaged while an operation is interrupted: the doctor ends the one and mends the other.

Whatever the state of the domain says no more, the journal knows how far the operation came: it ends as before or as
after. Where the journal itself is lost, nobody knows any more that there was an operation. What it has left is then
told and cleared away piece by piece: each fact about the domain is of before or of after, and no snapshot has changed.
"""

import pytest

from simulator import SimulatedHost, after_engine_crash
from simulator.faults import damage as d
from tests.crash.harness import GUEST, TRIED, Truth, every_crash, truth
from tests.crash.test_every_effect import OPERATIONS
from tests.doctor.damages import UUID, off
from xensnap.engine.doctor import Severity
from xensnap.engine.engine import Engine

STORE = f"{SimulatedHost.root}/{UUID}"
STATE, RECORD, JOURNAL = (
    f"{STORE}/{name}" for name in ("domain.libxl-json", "snapshotdata-d.leaf.libxl-json", "journal")
)

KNOWN: dict[str, d.Damage] = {
    "state garbled": d.Garble(STATE),
    "state gone": d.Vanish(STATE),
    "record garbled": d.Garble(RECORD),
    "record gone": d.Vanish(RECORD),
    "journal torn": d.Grow(JOURNAL, b"torn"),
}
FORGOTTEN: dict[str, d.Damage] = {"journal garbled": d.Garble(JOURNAL), "journal gone": d.Vanish(JOURNAL)}


@pytest.mark.parametrize("harm", KNOWN | FORGOTTEN)
@pytest.mark.parametrize("verb", ["create", "revert", "delete"])
@pytest.mark.parametrize("kinds", ["i", "e"])
def test_the_doctor_ends_what_was_interrupted_and_mends_what_was_damaged(kinds: str, verb: str, harm: str) -> None:
    host = off(kinds)
    before, ended = truth(host), host.fork()
    OPERATIONS[verb](Engine(ended))
    after = truth(ended)
    for point in every_crash(host, OPERATIONS[verb]):
        world = after_engine_crash(point.world)
        damages = KNOWN | FORGOTTEN
        if world.fs.find(getattr(damages[harm], "path", "")) is None:
            continue
        TRIED["damaged and interrupted"] += 1
        mended = SimulatedHost(d.damaged(world, damages[harm]))
        where = f"{harm}, {point!r}"
        diagnosis = Engine(mended).repair(GUEST)
        assert not diagnosis.failed, (diagnosis.failed, where)
        assert all(each.severity is Severity.NOTE for each in diagnosis.found), (diagnosis.found, where)
        assert not Engine(mended).list(GUEST).pending, where
        assert mixed(truth(mended), before, after, whole=harm in KNOWN), where


def mixed(found: Truth, before: Truth, after: Truth, *, whole: bool) -> bool:
    """Whether this is one of the two; or, unless it must be `whole`, each fact is of one of the two."""
    if found in (before, after):
        return True
    facts = ("now", "held", "pins", "current")
    return not whole and all(getattr(found, fact) in (getattr(before, fact), getattr(after, fact)) for fact in facts)
