"""`undo` takes back what was done last, or nothing: never what came before that, whatever has become of the journal."""

import pytest

from simulator import SimulatedHost
from simulator.disk.files import Inode
from simulator.faults.damage import Plant, Vanish, damaged
from tests.crash.harness import GUEST, guest
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, DeleteRequest
from xensnap.errors import Refused

JOURNAL = "/var/lib/xen/snapshots/5c84adcc-bd59-488a-96d2-195f9b599cfe/journal"
LOST = "nobody knows what was done last"


def two_taken() -> SimulatedHost:
    host = guest("i")
    for name in ("first", "second"):
        Engine(host).create(GUEST, CreateRequest(name))
    return host


def lines_of(host: SimulatedHost) -> list[bytes]:
    inode = host.world.fs.inode(JOURNAL)
    assert isinstance(inode, Inode)
    assert isinstance(inode.stored, bytes)
    return inode.stored.splitlines(keepends=True)


def with_lines(host: SimulatedHost, lines: list[bytes], path: str = JOURNAL) -> SimulatedHost:
    world = host.world if host.world.fs.find(path) is None else damaged(host.world, Vanish(path))
    return SimulatedHost(damaged(world, Plant(path, b"".join(lines))))


def begins(lines: list[bytes]) -> list[int]:
    return [place for place, line in enumerate(lines) if b'"type":"begin"' in line]


def test_whatever_line_cannot_be_read_nothing_older_is_taken_back() -> None:
    host = two_taken()
    lines = lines_of(host)
    ends: list[object] = []
    for place, line in enumerate(lines):
        broken = with_lines(host, [*lines[:place], b"\xde" * (len(line) - 1) + b"\n", *lines[place + 1 :]])
        try:
            ends.append(Engine(broken).undoing(GUEST))
        except Refused as error:
            ends.append(error.cause.rpartition("and ")[2])
    lost = [place for place, end in enumerate(ends) if end == LOST]
    assert lost == begins(lines)[1:]
    assert {repr(end) for place, end in enumerate(ends) if place not in lost} == {repr(DeleteRequest("second"))}


@pytest.mark.parametrize("where", ["the last operation", "all but the generation before"])
def test_what_the_state_knows_of_and_the_journal_does_not_is_not_passed_over(where: str) -> None:
    host = two_taken()
    lines = lines_of(host)
    first, second = lines[: begins(lines)[1]], lines[begins(lines)[1] :]
    if where == "the last operation":
        broken = with_lines(host, first)
    else:
        broken = SimulatedHost(damaged(with_lines(host, first, f"{JOURNAL}.1").world, Vanish(JOURNAL)))
    assert second
    engine = Engine(broken)
    with pytest.raises(Refused, match=LOST):
        engine.undo(GUEST)
    assert [each.id for each in engine.diagnose(GUEST).found] == ["journal-incomplete"]
    assert [each.id for each in engine.repair(GUEST).repaired] == ["journal-incomplete"]
    assert engine.diagnose(GUEST).found == ()
    with pytest.raises(Refused, match=LOST):
        engine.undo(GUEST)
    assert set(engine.list(GUEST).contents.snapshots) == {"first", "second"}
    engine.create(GUEST, CreateRequest("third"))
    engine.undo(GUEST)
    assert set(engine.list(GUEST).contents.snapshots) == {"first", "second"}
