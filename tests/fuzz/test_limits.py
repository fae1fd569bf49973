"""Nothing that others have written is read deeper or further than it can be: our own errors, and no more bytes."""

from contextlib import suppress

import pytest

from simulator import SimulatedHost
from simulator.faults import damage as d
from tests.crash.harness import GUEST
from tests.doctor.damages import UUID, off
from tests.fuzz.readers import READERS
from xensnap.engine.engine import Engine
from xensnap.errors import XensnapError
from xensnap.hypervisor import WHOLE_BYTES_MAX

DEEP = 100_000
NESTED = {
    "lists": b"[" * DEEP,
    "closed lists": b"[" * DEEP + b"]" * DEEP,
    "objects": b'{"a":' * DEEP,
    "elements": b"<a>" * DEEP,
    "closed elements": b"<domainsnapshot>" + b"<a>" * DEEP + b"</a>" * DEEP + b"</domainsnapshot>",
    "lists of a key": b"disk = " + b"[" * DEEP + b"]" * DEEP,
    "tables": b"[" + b"a." * DEEP + b"a]\nb = 1\n",
    "inline tables": b"a = " + b"{b = " * DEEP + b"1" + b"}" * DEEP,
    "objects, as deep as the library goes": b'{"a":' * 900 + b"1" + b"}" * 900,
    "a configuration, as deep as the library goes": b'{"c_info": {"name": "a"}, "b":'
    + b'{"a":' * 900
    + b"1"
    + b"}" * 901,
    "lists in a known place": b'{"schema": 1, "c_info": ' + b"[" * DEEP + b"]" * DEEP + b"}",
}

HOST = off("ie")
STORE = f"{HOST.root}/{UUID}"
FILES = [name for name in HOST.world.fs.names(STORE) if not name.endswith("lock")]


@pytest.mark.parametrize("what", NESTED)
@pytest.mark.parametrize("name", READERS)
def test_what_is_nested_too_deep_is_an_error_of_ours(name: str, what: str) -> None:
    with suppress(XensnapError):
        READERS[name](NESTED[what])


@pytest.mark.parametrize("name", FILES)
def test_of_a_store_no_file_is_read_that_is_larger_than_any_of_ours(name: str) -> None:
    path = f"{STORE}/{name}"
    large = d.Plant(path, bytes(WHOLE_BYTES_MAX + 1))
    engine = Engine(SimulatedHost(d.damaged(d.damaged(HOST.world, d.Vanish(path)), large)))
    told = []
    for ask in (engine.list, engine.view, engine.diagnose):
        try:
            answer = ask(GUEST)
        except XensnapError as error:
            told.append(error.cause)
        else:
            told += [each.cause for each in getattr(answer, "found", ())]
    assert any(path in cause for cause in told) or name == "reserve", told
