"""What QEMU says of its own commands, asked of a real one, and kept for the simulator."""

import json
import tempfile
from pathlib import Path
from typing import Any

from simulator.qemu import introspection
from simulator.qemu.introspection import Entry, needed
from simulator.qemu.monitor import names
from tests.parity.monitors import RealQemu

NAMED = {"command", "event"}
KEPT = Path(introspection.__file__).with_name(introspection.FILE)


def asked(program: str) -> list[Entry]:
    """All that a real QEMU tells."""
    with tempfile.TemporaryDirectory(prefix="schema") as scratch:
        real = RealQemu(Path(scratch), [], program)
        try:
            real.answers(b'{"execute":"qmp_capabilities"}')
            (answer,) = real.answers(b'{"execute":"query-qmp-schema"}')
        finally:
            real.close()
    assert isinstance(answer, dict)
    told: list[Entry] = answer["return"]
    return told


def record() -> None:
    """Keep what is modelled of it, one entry a line."""
    wanted = [*names(daemon=False), *introspection.JOB_EVENTS, *introspection.MACHINE_EVENTS]
    kept = needed(asked("qemu-system-x86_64"), wanted)
    KEPT.write_text("[\n" + ",\n".join(map(json.dumps, kept)) + "\n]\n", encoding="utf-8")


def spelled(entries: list[Entry]) -> dict[str, Any]:
    """Every command and event with all of its types spelled out, since the numbers of types are each program's own."""
    by_name = {entry["name"]: entry for entry in entries}

    def whole(name: str, above: tuple[str, ...] = ()) -> Any:
        if name in above:
            return f"the type {above.index(name)} steps in"
        entry, inside = by_name[name], (*above, name)
        told: Any = {key: value for key, value in entry.items() if key != "name"}
        for key in ("arg-type", "ret-type", "element-type"):
            if key in entry:
                told[key] = whole(entry[key], inside)
        for key in ("members", "variants"):
            parts = entry.get(key, ())
            told[key] = [part | {"type": whole(part["type"], inside)} if "type" in part else part for part in parts]
        return told

    return {name: whole(name) for name, entry in by_name.items() if entry["meta-type"] in NAMED}
