"""The journal: what is torn or damaged is told from what was acknowledged, wherever it is cut."""

from hypothesis import given
from hypothesis import strategies as st

from simulator import SimulatedHost
from xensnap.engine import CreateRequest, Engine
from xensnap.engine.journal import TORN, Begin, End, Entry, Note, decode, encode, pending
from xensnap.engine.plan import Plan


def a_plan() -> Plan:
    host = SimulatedHost.fresh()
    image = host.create_image("/images/a.qcow2")
    host.add_domain("guest", disks={"xvda": image.path})
    return Engine(host).plan("guest", CreateRequest("s"))


PLAN = a_plan()
BEGIN = Begin(PLAN.operation, PLAN, 1, 2, "boot", "root")
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
