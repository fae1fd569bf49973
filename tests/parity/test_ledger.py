"""Known differences between the simulator and the real tools: each must still differ, and says why it may.

An entry that passes has become equal: take it out, and tell so in the changelog.
"""

import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simulator import NotModelled, SimulatedHost
from simulator.qemu.commands import absent
from simulator.serve import programs
from tests.parity.monitors import File, RealQemu, SimulatedQemu
from tests.parity.shells import Shells
from tests.parity.traces import NEGOTIATE, made

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("qemu_img", "qemu_io", "qemu_system")]


def zeros_that_a_rebase_has_copied(shells: Shells) -> None:
    shells.both(["create", "-q", "-f", "qcow2", "a", "1M"])
    shells.both(["create", "-q", "-f", "qcow2", "n", "1M"])
    shells.both(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "a", "o"])
    shells.write("n", 65536, 65536)
    shells.both(["rebase", "-b", "n", "-F", "qcow2", "o"])
    shells.both(["map", "--output=json", "-f", "qcow2", "o"])


def a_strict_comparison(shells: Shells) -> None:
    shells.both(["create", "-q", "-f", "raw", "a", "1M"])
    shells.both(["compare", "-s", "a", "a"])


def a_qcow2_file_read_as_raw(shells: Shells) -> None:
    shells.both(["create", "-q", "-f", "qcow2", "a", "1M"])
    shells.both(["convert", "-f", "raw", "-O", "raw", "a", "b"])


LEDGER: dict[Callable[[Shells], None], tuple[str, type[BaseException]]] = {
    zeros_that_a_rebase_has_copied: (
        "zeros are one write to us, so written and marked zeros look alike",
        AssertionError,
    ),
    a_strict_comparison: ("what is allocated is not compared", NotModelled),
    a_qcow2_file_read_as_raw: ("the bytes of a qcow2 image's own tables are not kept", NotModelled),
}


@pytest.mark.parametrize("entry", [pytest.param(entry, id=entry.__name__) for entry in LEDGER])
def test_a_known_difference_is_still_there(entry: Callable[[Shells], None]) -> None:
    why, kind = LEDGER[entry]
    with tempfile.TemporaryDirectory(prefix="ledger") as scratch, pytest.raises(kind):
        entry(Shells(Path(scratch)))
    assert why


A_JOB_IN_A_GRAPH = (
    "x-debug-query-block-graph while a job is at work",
    "which permissions a job and its filter hold, and what one that has ended still stands on, are not modelled",
)


DISCARDS_OF_TABLES = (
    "query-blockstats after a second internal snapshot: what is discarded in the file",
    "where a qcow2 image puts its tables, and when it gives the room of old ones back, is not simulated",
)


A_GUEST_WITHOUT_KERNEL = (
    "xl create of a PV guest whose file gives a UUID and names neither kernel nor bootloader",
    "guests that were added to a simulated host have no kernel, so that what describes them names nothing of that host",
)


def test_a_guest_without_a_kernel_is_made_here_where_its_file_gives_a_uuid() -> None:
    """xl 4.17.7 says `Neither kernel nor bootloader specified` of either file."""
    host = SimulatedHost.fresh()
    host.create_image("/images/a.qcow2")
    path = host.write_configuration(host.add_domain("pv1", disks={"xvda": "/images/a.qcow2"}).name)
    assert "kernel" not in host.run(host.files.read(path)).decode()
    assert programs.run(host.world, ("xl", "create", path)).returncode == 0, A_GUEST_WITHOUT_KERNEL


def edges(said: list[Any]) -> set[tuple[str, ...]]:
    """What hangs below what, by kind and name, and with which permissions."""
    graph = said[-1]["return"]
    nodes = {node["id"]: re.sub(r"#block\d+", "#block", f"{node['type']} {node['name']}") for node in graph["nodes"]}
    return {
        (
            nodes[edge["parent"]],
            nodes[edge["child"]],
            edge["name"],
            *sorted(edge["perm"]),
            "|",
            *sorted(edge["shared-perm"]),
        )
        for edge in graph["edges"]
    }


def test_permissions_in_a_graph_differ_only_where_a_job_is_at_work(tmp_path: Path) -> None:
    """The comparison of random commands leaves permissions out, so they are compared here."""
    overlay = File("a.qcow2", device="d0", node="n0", backing="base.qcow2")
    files = [
        File("base.qcow2"),
        overlay,
        File("b.qcow2", node="b", readonly=True),
        File("c.raw", "raw", node="c"),
        File("d.raw", "raw", device="d1"),
    ]
    made(tuple(files), tmp_path)
    real, simulated = RealQemu(tmp_path, files), SimulatedQemu(files)
    graph = b'{"execute":"x-debug-query-block-graph"}'
    commit = b'{"execute":"block-commit","arguments":{"device":"d0","job-id":"j"}}'
    try:
        for each in (real, simulated):
            each.answers(NEGOTIATE)
        assert edges(simulated.answers(graph)) == edges(real.answers(graph))
        for each in (real, simulated):
            each.answers(commit)
        assert edges(simulated.answers(graph)) != edges(real.answers(graph)), A_JOB_IN_A_GRAPH
    finally:
        real.close()


def test_discards_differ_only_once_a_table_of_snapshots_is_written_anew(tmp_path: Path) -> None:
    """The comparison of random commands leaves discards out, so they are compared here."""
    files = [File("a.qcow2", device="d0", node="n0")]
    made(tuple(files), tmp_path)
    real, simulated = RealQemu(tmp_path, files), SimulatedQemu(files)
    try:
        for each in (real, simulated):
            each.answers(NEGOTIATE)
        for name in ("s1", "s2"):
            told = [_discarded(each.answers(b'{"execute":"query-blockstats"}')) for each in (real, simulated)]
            assert told[0] == told[1]
            asked = {"execute": "blockdev-snapshot-internal-sync", "arguments": {"device": "d0", "name": name}}
            for each in (real, simulated):
                assert each.answers(json.dumps(asked).encode())[-1] == {"return": {}}
        told = [_discarded(each.answers(b'{"execute":"query-blockstats"}')) for each in (real, simulated)]
    finally:
        real.close()
    assert [each["discard-bytes-ok"] for each in told] == [65536, 0], DISCARDS_OF_TABLES


def _discarded(said: list[Any]) -> dict[str, Any]:
    """What is told of the file of the only disk."""
    (device,) = said[-1]["return"]
    counted: dict[str, Any] = device["parent"]["driver-specific"]
    return counted


def test_the_list_of_commands_is_shorter_than_the_real_one(tmp_path: Path) -> None:
    """`query-commands` names what is modelled, so that a client which looks does not try the rest."""
    files = [File("a.qcow2", node="a")]
    made(tuple(files), tmp_path)
    real, simulated = RealQemu(tmp_path, files), SimulatedQemu(files)
    try:
        told = []
        for each in (real, simulated):
            each.answers(NEGOTIATE)
            (answer,) = each.answers(b'{"execute":"query-commands"}')
            assert isinstance(answer, dict)
            told.append({command["name"] for command in answer["return"]})
    finally:
        real.close()
    assert told[1] < told[0]
    assert told[1] | absent.NAMES == told[0], "what else there is, is refused as not modelled, not as unknown"
