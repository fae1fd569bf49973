"""The table of what is modelled is what the code says, and what was recorded can be done."""

import os
from pathlib import Path

from simulator.qemu.monitor import COMMANDS
from tests.parity import traces
from tests.parity.modelled import page

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "modelled.md"


def test_the_table_is_made_from_the_code() -> None:
    if os.environ.get("XENSNAP_GOLDEN") == "write":
        PAGE.write_text(page(), encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "made by XENSNAP_GOLDEN=write pytest tests/parity/test_modelled.py"
    )


def test_every_command_of_the_monitor_has_a_trace() -> None:
    asked = {line["qmp"]["execute"] for name in traces.STORIES for line in traces.read(name)[1:] if "qmp" in line}
    assert set(COMMANDS) <= asked
