"""The journal: what is torn or damaged is told from what was acknowledged, wherever it is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from simulator import SimulatedHost
from xensnap.engine import CreateRequest, Engine
from xensnap.engine.journal import (
    TORN,
    Begin,
    Claim,
    End,
    Entry,
    Fact,
    Journal,
    Note,
    Overtaken,
    decode,
    encode,
    pending,
)
from xensnap.engine.plan import Plan
from xensnap.errors import Damaged
from xensnap.hypervisor import drive


def a_plan() -> Plan:
    host = SimulatedHost.fresh()
    image = host.create_image("/images/a.qcow2")
    host.add_domain("guest", disks={"xvda": image.path})
    return Engine(host).plan("guest", CreateRequest("s"))


PLAN = a_plan()
BEGIN = Begin(PLAN.operation, PLAN, 1, 2, "boot", "root")
CLAIM = Claim(PLAN.operation, 2, 3, "boot", "root")
PATH = "/store/journal"
ENTRIES: tuple[Entry, ...] = (BEGIN, Note(PLAN.operation, "done: something"), End(PLAN.operation, "done", 3))
WHOLE = b"".join(map(encode, ENTRIES))


def test_what_was_written_is_read_back() -> None:
    assert decode(WHOLE) == ENTRIES
    assert pending(WHOLE) is None
    assert pending(encode(BEGIN)) == BEGIN
    assert pending(b"") is None


@given(st.integers(0, len(WHOLE)))
def test_wherever_it_is_cut_only_whole_entries_count(cut: int) -> None:
    data = WHOLE[:cut]
    kept = decode(data)
    assert kept == ENTRIES[: len(kept)]
    ended = len(kept) == len(ENTRIES)
    assert pending(data) == (BEGIN if kept and not ended else None)


@given(st.integers(0, len(WHOLE)))
def test_what_comes_behind_a_torn_entry_is_read(cut: int) -> None:
    kept = decode(WHOLE[:cut])
    joined = WHOLE[:cut] + TORN + WHOLE
    assert decode(joined) == kept + ENTRIES
    assert pending(joined) is None
    assert pending(WHOLE[:cut] + TORN) == pending(WHOLE[:cut])
    assert pending(WHOLE[:cut] + TORN + encode(BEGIN)) == BEGIN


@given(st.integers(0, len(encode(ENTRIES[2])) - 2), st.integers(1, 255))
def test_a_last_entry_that_was_changed_was_never_acknowledged(at: int, flip: int) -> None:
    data = bytearray(WHOLE)
    data[len(WHOLE) - len(encode(ENTRIES[2])) + at] ^= flip
    assert pending(bytes(data)) == BEGIN


@given(st.binary(max_size=300))
def test_anything_can_be_read_as_a_journal(data: bytes) -> None:
    assert decode(data) == ()
    assert pending(data) is None


def test_whoever_recovers_is_no_end_of_it() -> None:
    assert pending(encode(BEGIN) + encode(CLAIM)) == BEGIN
    assert pending(WHOLE + encode(BEGIN) + encode(CLAIM)) == BEGIN
    with pytest.raises(Damaged):
        pending(encode(CLAIM))


def test_what_somebody_notes_who_was_overtaken_is_no_operation() -> None:
    late = encode(Note(PLAN.operation, "done: something")) + encode(Fact(PLAN.operation, "something"))
    assert pending(WHOLE + late) is None
    another = replace(BEGIN, operation="another")
    assert pending(WHOLE + late + encode(another)) == another
    assert pending(WHOLE + encode(another) + encode(End("another", "done", 4)) + late) is None
    with pytest.raises(Damaged):
        pending(WHOLE + encode(Note("lost", "done: something")))


class Held:
    """The journal of a domain whose lock is held, and a hand that writes to it besides."""

    def __init__(self, before: bytes = WHOLE) -> None:
        self.host = SimulatedHost.fresh()
        drive(self.host.files.mkdir("/store"))
        if before:
            drive(self.host.files.create(PATH, before))
        self.journal = drive(Journal.under_lock(self.host, PATH))

    def written(self, *entries: Entry) -> None:
        drive(self.host.files.append(PATH, b"".join(map(encode, entries))))


@pytest.mark.parametrize("before", [b"", WHOLE, WHOLE[:-5]], ids=["new", "whole", "torn"])
def test_it_is_ours_whatever_we_write_ourselves(before: bytes) -> None:
    held = Held(before)
    drive(held.journal.repair())
    for entry in (BEGIN, replace(BEGIN, time_ns=7)):
        drive(held.journal.begin(entry))
        drive(held.journal.note(PLAN.operation, "done: something"))
        drive(held.journal.remember(PLAN.operation, "something"))
        drive(held.journal.end(End(PLAN.operation, "done", 3)))
    drive(held.journal.claim(CLAIM))
    drive(held.journal.require_ours())
    assert decode(drive(held.host.files.read(PATH)))[-1] == CLAIM


@pytest.mark.parametrize("entry", [BEGIN, CLAIM, End(PLAN.operation, "undone", 3)], ids=["begun", "claimed", "ended"])
def test_it_is_not_ours_any_more_when_somebody_else_says_so(entry: Entry) -> None:
    held = Held()
    drive(held.journal.begin(replace(BEGIN, time_ns=7)))
    held.written(entry)
    before = drive(held.host.files.read(PATH))
    for late in (
        held.journal.require_ours(),
        held.journal.note(PLAN.operation, "done: something"),
        held.journal.remember(PLAN.operation, "something"),
        held.journal.end(End(PLAN.operation, "done", 3)),
    ):
        with pytest.raises(Overtaken):
            drive(late)
    assert drive(held.host.files.read(PATH)) == before


def test_it_is_not_ours_any_more_when_it_is_gone_or_another() -> None:
    held = Held()
    drive(held.host.files.rename(PATH, f"{PATH}.1"))
    with pytest.raises(Overtaken):
        drive(held.journal.require_ours())
    drive(held.host.files.create(PATH, WHOLE))
    with pytest.raises(Overtaken):
        drive(held.journal.require_ours())


@given(st.integers(0, len(encode(CLAIM))))
def test_a_torn_line_of_somebody_is_judged_when_it_is_whole(cut: int) -> None:
    held = Held()
    drive(held.host.files.append(PATH, encode(CLAIM)[:cut]))
    if cut < len(encode(CLAIM)):
        drive(held.journal.require_ours())
        drive(held.host.files.append(PATH, encode(CLAIM)[cut:]))
    with pytest.raises(Overtaken):
        drive(held.journal.require_ours())


def test_whoever_comes_just_before_our_beginning_makes_it_none() -> None:
    held = Held()
    beginning = held.journal.begin(replace(BEGIN, operation="ours"))
    for _ in range(4):  # up to the effect that writes it
        beginning.send(None)
    held.written(BEGIN, ENTRIES[2])
    with pytest.raises(Overtaken):
        drive(beginning)
    assert pending(drive(held.host.files.read(PATH))) is None
