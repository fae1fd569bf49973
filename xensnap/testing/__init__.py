"""For the tests of other people's tools: a Xen host in a fixture, deaths at every effect, worlds drawn by Hypothesis.

`plugin` is what pytest loads by itself; it brings nothing heavy before a fixture is used. What tests import has its
name here, and is loaded when it is asked for. `crashes` lets an operation die everywhere and looks what is left;
`faults` lets each of its effects fail instead;
`machines` has Hypothesis draw what happens to a domain under a tool, or under two that must agree; `strategies` draws
disks, chains, writes and whole operations; `checks` says of a host what must never be so, and can be used alone;
`doors` are for programs that know nothing of a simulation.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xensnap.testing.checks import host_findings, require_sound, store_findings
    from xensnap.testing.conformance import run_conformance
    from xensnap.testing.crashes import crash_everywhere
    from xensnap.testing.faults import fail_everywhere
    from xensnap.testing.machines import DualMachine, SnapshotMachine, snapshot_machine
    from xensnap.testing.tools import OurTool, SnapshotTool

_HOMES = {
    "DualMachine": "machines",
    "OurTool": "tools",
    "SnapshotMachine": "machines",
    "SnapshotTool": "tools",
    "crash_everywhere": "crashes",
    "fail_everywhere": "faults",
    "host_findings": "checks",
    "require_sound": "checks",
    "run_conformance": "conformance",
    "snapshot_machine": "machines",
    "store_findings": "checks",
}

__all__ = [
    "DualMachine",
    "OurTool",
    "SnapshotMachine",
    "SnapshotTool",
    "crash_everywhere",
    "fail_everywhere",
    "host_findings",
    "require_sound",
    "run_conformance",
    "snapshot_machine",
    "store_findings",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
