"""Death while a journal is put aside whose tail an earlier death has torn: neither becomes unreadable."""

import pytest

from simulator import SimulatedHost
from simulator.faults.damage import Grow, damaged
from tests.crash.harness import DEATHS, GUEST, judge, sampled
from tests.crash.test_every_effect import OPERATIONS, with_history
from xensnap.engine import journal
from xensnap.engine.engine import Engine
from xensnap.engine.journal import Begin
from xensnap.engine.records import Store

TAILS = {"whole": b"", "torn": b'0badc0de {"type":"begin","oper', "damaged": b"0badc0de {}\n"}
"""What an append that was never acknowledged can have left."""


@pytest.fixture(autouse=True)
def _rotates_always(monkeypatch) -> None:
    monkeypatch.setattr(journal, "ROTATE_BYTES", 1)


def with_tail(tail: bytes) -> SimulatedHost:
    host = with_history("e")
    path = Store.of(host, Engine(host).list(GUEST).domain.uuid).journal
    return SimulatedHost(damaged(host.world, Grow(path, tail)))


@pytest.mark.parametrize("tail", TAILS)
def test_die_at_every_effect(tail: str) -> None:
    assert judge(with_tail(TAILS[tail]), OPERATIONS["rename"]) > 100


@pytest.mark.parametrize("tail", TAILS)
def test_doctor_and_the_audit_trail_know_what_has_begun(tail: str) -> None:
    host = with_tail(TAILS[tail])
    last = begun(host)[-1]
    for point, (name, death) in sampled(host, OPERATIONS["rename"], DEATHS, 1):
        where = f"{point!r}, {name}"
        died = SimulatedHost(death(point.world))
        pending = Engine(died).list(GUEST).pending
        found = {each.id for each in Engine(died).diagnose(GUEST).found}
        assert "journal-damaged" not in found, where
        assert ("interrupted" in found) == bool(pending), where
        assert last in begun(died), where


def begun(host: SimulatedHost) -> list[str]:
    return [entry.operation for entry in Engine(host).audit(GUEST)[1] if isinstance(entry, Begin)]
