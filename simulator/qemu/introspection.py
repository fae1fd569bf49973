"""What `query-qmp-schema` answers: of all that QEMU 7.2.22 has, what is modelled, and the types that it needs.

Recorded from the real one and kept beside this file, so that clients which look before they ask find a member, a
value or a feature where they find it there (`nox -s record` writes it anew).
"""

import json
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any

Entry = dict[str, Any]

JOB_EVENTS = (
    "BLOCK_JOB_CANCELLED",
    "BLOCK_JOB_COMPLETED",
    "BLOCK_JOB_ERROR",
    "BLOCK_JOB_PENDING",
    "BLOCK_JOB_READY",
    "JOB_STATUS_CHANGE",
)
MACHINE_EVENTS = ("POWERDOWN", "RESUME", "SHUTDOWN", "STOP")
"""What a client may be told without having asked; a storage daemon has no machine."""

FILE = "introspection.json"


@cache
def recorded() -> tuple[Entry, ...]:
    """Every modelled command and event and their types, in QEMU's order."""
    text = files("simulator.qemu").joinpath(FILE).read_text(encoding="utf-8")
    return tuple(json.loads(text))


def needed(entries: Iterable[Entry], names: Iterable[str]) -> list[Entry]:
    """Of these entries those with these names, and all types that they are made of."""
    by_name = {entry["name"]: entry for entry in entries}
    found, open_names = set[str](), [name for name in names if name in by_name]
    while open_names:
        name = open_names.pop()
        if name not in found:
            found.add(name)
            open_names += _types(by_name[name])
    return [entry for name, entry in by_name.items() if name in found]


def _types(entry: Entry) -> list[str]:
    """The types that an entry names: of a command its arguments and its answer, of a type its parts."""
    own = [entry[key] for key in ("arg-type", "ret-type", "element-type") if key in entry]
    parts = [each for key in ("members", "variants") for each in entry.get(key, ())]
    return own + [part["type"] for part in parts if "type" in part]
