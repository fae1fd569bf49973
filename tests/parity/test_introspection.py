"""QEMU's own description of its commands: the simulator gives the same, and its commands are as it says."""

from typing import Any

import pytest

from simulator.qemu import introspection, monitor
from simulator.qemu.introspection import Entry
from simulator.qemu.points import QmpError
from tests.parity import introspections
from tests.parity.monitors import SimulatedQemu

SCHEMA = {entry["name"]: entry for entry in introspection.recorded()}
EXPECTED = {"boolean": "boolean", "string": "string", "array": "array", "object": "object", "int": "integer"}


def told(*, daemon: bool) -> list[Entry]:
    simulated = SimulatedQemu([], daemon=daemon)
    simulated.answers(b'{"execute":"qmp_capabilities"}')
    (answer,) = simulated.answers(b'{"execute":"query-qmp-schema"}')
    assert isinstance(answer, dict)
    schema: list[Entry] = answer["return"]
    return schema


def named(entries: list[Entry]) -> list[str]:
    return [entry["name"] for entry in entries if entry["meta-type"] in introspections.NAMED]


@pytest.mark.real
@pytest.mark.usefixtures("qemu_system")
def test_qemu_describes_what_is_modelled_in_the_same_words() -> None:
    mine = told(daemon=False)
    assert mine == introspection.needed(introspections.asked("qemu-system-x86_64"), named(mine))


@pytest.mark.real
@pytest.mark.usefixtures("qemu_storage_daemon")
def test_the_storage_daemon_does_but_for_its_numbers() -> None:
    mine = told(daemon=True)
    real = introspection.needed(introspections.asked("qemu-storage-daemon"), named(mine))
    assert introspections.spelled(mine) == introspections.spelled(real)


@pytest.mark.parametrize("daemon", [False, True])
def test_every_command_is_described(*, daemon: bool) -> None:
    described = {entry["name"] for entry in told(daemon=daemon) if entry["meta-type"] == "command"}
    assert described == set(monitor.names(daemon=daemon))


@pytest.mark.parametrize("name", sorted(set(monitor.COMMANDS) - {"blockdev-add"}))
def test_a_command_takes_the_arguments_that_its_description_has(name: str) -> None:
    members = SCHEMA[SCHEMA[name]["arg-type"]]["members"]
    spelled = {member["name"] + ("?" if "default" in member else ""): member["type"] for member in members}
    assert set(monitor.COMMANDS[name].members) == set(spelled)
    for member, kind in monitor.COMMANDS[name].members.items():
        _like(kind, SCHEMA[spelled[member]], member.removesuffix("?"))


def _like(kind: Any, entry: Entry, member: str) -> None:
    """An argument takes nothing but what its type has."""
    if entry["meta-type"] == "enum":
        for value in entry["values"]:
            assert kind(value, member, member) == value
        with pytest.raises(QmpError, match="does not accept value"):
            kind("?", member, member)
        return
    expected: str = entry["json-type"] if entry["meta-type"] == "builtin" else entry["meta-type"]
    with pytest.raises(QmpError, match=f"expected: {EXPECTED[expected]}|expects uint64"):
        kind(None, member, member)
