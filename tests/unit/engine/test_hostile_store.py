"""Whatever stands in the store: what reads it either understands it or says what is wrong, and never anything else."""

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from simulator import SimulatedHost
from simulator.faults import damage as d
from tests.crash.harness import GUEST
from tests.doctor.damages import UUID, off
from xensnap.engine import journal, plan, state
from xensnap.engine.engine import Engine
from xensnap.errors import Damaged, Usage, XensnapError
from xensnap.formats import snapshot_record, trashed

PARSERS = {
    "state": lambda data: state.decode(data, path="x"),
    "record": lambda data: snapshot_record.decode(data, path="x"),
    "trashed": lambda data: trashed.decode(data, path="x"),
    "plan": lambda data: plan.decode(data, path="x"),
    "journal": lambda data: (journal.decode(data), journal.due(data)),
}
HOST = off("ie")
FILES = sorted(name for name in HOST.world.fs.names(f"{HOST.root}/{UUID}") if not name.endswith("lock"))
TEXTS = [HOST.run(HOST.files.read(f"{HOST.root}/{UUID}/{name}")) for name in FILES]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """One of our own texts with a part of it taken out, doubled, or made something else."""
    text = draw(st.sampled_from(TEXTS))
    low = draw(st.integers(0, len(text)))
    high = draw(st.integers(low, min(len(text), low + 40)))
    return text[:low] + draw(st.binary(max_size=20) | st.just(text[low:high] * 2)) + text[high:]


@pytest.mark.parametrize("parser", PARSERS)
@given(data=st.binary(max_size=200) | mangled() | JSON.map(msgspec.json.encode))
@example(data=b"[" * 100_000)
@example(data=b'{"schema":' + b"9" * 5000 + b"}")
def test_a_parser_raises_nothing_but_our_own_errors(parser: str, data: bytes) -> None:
    try:
        PARSERS[parser](data)
    except (Damaged, Usage) as error:
        told = error.cause
        assert len(told) < 2000


@pytest.mark.every_effect
@given(name=st.sampled_from(FILES), data=mangled())
def test_a_store_with_anything_in_it_is_looked_at_without_an_accident(name: str, data: bytes) -> None:
    path = f"{HOST.root}/{UUID}/{name}"
    world = d.damaged(d.damaged(HOST.world, d.Vanish(path)), d.Plant(path, data))
    engine = Engine(SimulatedHost(world))
    engine.list(GUEST)
    engine.view(GUEST)
    engine.diagnose(GUEST)
    try:
        engine.repair(GUEST)
    except XensnapError as error:
        assert error.exit_code  # noqa: PT017 - whether it may be refused depends on what was drawn
