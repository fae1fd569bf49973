"""The table of what is modelled is what the code says, and what was recorded can be done."""

import os
from pathlib import Path

import pytest

from simulator.qemu.monitor import COMMANDS
from tests.parity import traces
from tests.parity.modelled import options, page

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


RECORDED = {
    "qemu-img snapshot -c -x a": ["-c"],
    "qemu-img bitmap --ad a b": ["--add"],
    "qemu-img info --outp json -- -d": ["--output"],
    "qemu-img create -qf qcow2 -o compat=1.1,size=1M a": ["-q", "-f", "-o compat", "-o size"],
    "qemu-img resize a -64k": [],
    "xl list --verb -cn": ["-v", "-c", "-n"],
    "xl create -f -n": ["-f"],
}


@pytest.mark.parametrize("line", RECORDED)
def test_values_and_files_are_no_options_and_abbreviations_none_of_their_own(line: str) -> None:
    program, name, *argv = line.split()
    assert list(options(program, name, argv)) == RECORDED[line]
