"""Which images a job works on, and as what: `x-debug-query-block-graph` while a merge waits to be let go.

That is where the real back end learns what a merge has copied from where. Permissions are in the ledger.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.parity.monitors import IMAGES, File, RealQemu, SimulatedQemu
from tests.parity.tools import WITH_QEMU
from tests.parity.traces import NEGOTIATE, made

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("qemu_img", "qemu_system")]

FILES = [
    File("base"),
    File("lower", backing="base"),
    File("upper", backing="lower"),
    File("top", device="d0", node="n0", backing="upper"),
    File("other", device="d1", node="n1"),
]
WAITS = {"device": "d0", "job-id": "j", "auto-dismiss": False, "auto-finalize": False}
MERGES: dict[str, tuple[str, dict[str, Any]]] = {
    "a stream into the root": ("block-stream", {"base": f"{IMAGES}/lower"}),
    "a stream of everything": ("block-stream", {}),
    "a commit into the middle": ("block-commit", {"top": f"{IMAGES}/upper", "base": f"{IMAGES}/base"}),
    "a commit of the root": ("block-commit", {"base": f"{IMAGES}/lower"}),
}


@pytest.mark.parametrize(("command", "images"), MERGES.values(), ids=MERGES)
def test_a_job_stands_on_the_same_images(command: str, images: dict[str, Any], tmp_path: Path) -> None:
    made(tuple(FILES), tmp_path)
    real, simulated = RealQemu(tmp_path, FILES), SimulatedQemu(FILES)
    try:
        found = []
        for each, directory in ((real, str(tmp_path)), (simulated, IMAGES)):
            each.answers(NEGOTIATE)
            each.answers(_line(command, WAITS | images).replace(IMAGES, directory).encode())
            found.append(_worked_on(each))
    finally:
        real.close()
    WITH_QEMU["x-debug-query-block-graph"] += 1
    assert found[0]
    assert found[0] == found[1]


def _line(command: str, arguments: dict[str, Any]) -> str:
    return json.dumps({"execute": command, "arguments": arguments})


def _asked(monitor: RealQemu | SimulatedQemu, command: str, **arguments: Any) -> Any:
    answer = monitor.answers(_line(command, arguments).encode())[-1]
    assert isinstance(answer, dict)
    return answer["return"]


def _worked_on(monitor: RealQemu | SimulatedQemu) -> set[tuple[str, str]]:
    """As what the job has which files; filters are of no file."""
    nodes = _asked(monitor, "query-named-block-nodes", flat=True)
    files = {node["node-name"]: Path(node["file"]).name for node in nodes if node["drv"] == "qcow2"}
    graph = _asked(monitor, "x-debug-query-block-graph")
    told = {node["id"]: node for node in graph["nodes"]}
    return {
        (edge["name"], files.get(told[edge["child"]]["name"], "a filter"))
        for edge in graph["edges"]
        if told[edge["parent"]]["type"] == "block-job"
    }
