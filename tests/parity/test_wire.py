"""Bytes, broken in every way, to the simulated monitor and to a real QEMU: the same complaints in the same order."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.qemu import wire
from simulator.qemu.wire import Stream, WireError
from tests.parity.monitors import RealQemu, SimulatedQemu, normal

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("qemu_system")]

_PLAIN = rb"""{ } [ ] : , " ' a null true nul 0 00 12 - -1 1. .5 1e 1e3 "execute" "id" \\ \u12 "\u1234" "\ud800"
    "\ud83d\ude00" "\q" 'x' % %d A {"a":1} {"execute":1} [1,2] {"a":1,"a":2} / "\u0000" {"arguments":1}
    {"execute":"nope","id":[1,null,"x"]} {"execute":"query-name","exec-oob":"x"}"""
_ODD = [b" ", b"\n", b"\t", b"\x00", b"\x01", b"\x7f", b"\xfe", b"\xff", b'"\xc3"', b'"\x80"', b'"\xc3\xbc"']
PIECES = st.sampled_from([*_PLAIN.split(), *_ODD])
# Whatever was left open is closed by bytes that are never part of a token, as clients are advised to do.
RESET = b"\xff\n\xff\n"


@pytest.fixture(scope="module")
def qemu(tmp_path_factory: pytest.TempPathFactory):
    found = RealQemu(Path(tmp_path_factory.mktemp("wire")), [])
    found.answers(b'{"execute":"qmp_capabilities"}')
    yield found
    found.close()


@given(st.lists(PIECES, min_size=1, max_size=10).map(b"".join))
@settings(max_examples=400, deadline=None)
def test_both_understand_the_same_of_broken_bytes(qemu: RealQemu, data: bytes):
    simulated = SimulatedQemu([])
    simulated.answers(b'{"execute":"qmp_capabilities"}')
    assert normal(simulated.answers(data + RESET)) == normal(qemu.answers(data + RESET))


@given(st.lists(PIECES, max_size=12).map(b"".join), st.lists(st.integers(0, 60), max_size=4))
@settings(max_examples=300, deadline=None)
def test_it_does_not_matter_where_the_stream_is_cut(data: bytes, cuts: list[int]):
    data += RESET
    stream, whole = Stream().fed(data)
    parts: list[object] = []
    cut_stream = Stream()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for low, high in pairwise(edges):
        cut_stream, heard = cut_stream.fed(data[low:high])
        parts += heard
    assert [_told(each) for each in parts] == [_told(each) for each in whole]
    assert cut_stream == stream


def _told(heard: object) -> str:
    return f"error {heard}" if isinstance(heard, WireError) else json.dumps(heard)


def test_nesting_has_its_limit(qemu: RealQemu):
    deep = b"[" * 1100 + RESET
    simulated = SimulatedQemu([])
    simulated.answers(b'{"execute":"qmp_capabilities"}')
    assert normal(simulated.answers(deep)) == normal(qemu.answers(deep))


def test_a_token_that_grows_too_long_is_given_up_before_it_ends(monkeypatch: pytest.MonkeyPatch):
    """What comes then is taken for something new; so nobody has it hold more and more."""
    monkeypatch.setattr(wire, "TOKEN_BYTES_MAX", 100)
    stream, heard = Stream().fed(b"'")
    for _ in range(30):
        stream, more = stream.fed(b"xxxxx")
        heard += more
    assert list(map(str, heard)) == ["JSON token size limit exceeded"]
    assert stream.rest == b"x" * (1 + 150 - 101)
