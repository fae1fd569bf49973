"""A QMP client that is neither ours nor the one that the engine has: `qmp` of PyPI, unmodified, at a real socket."""

from pathlib import Path
from typing import Any

import pytest

from tests.parity.test_sockets import simulated

qmp = pytest.importorskip("qmp", reason="capability missing: qmp is not installed; the extra 'test' has it")


def test_it_takes_a_snapshot_hears_of_a_job_and_is_told_of_its_mistakes(tmp_path: Path) -> None:
    with simulated(tmp_path) as path, qmp.QEMUMonitorProtocol(str(path)) as client:
        assert client.connect()["QMP"]["capabilities"] == ["oob"]
        assert client.command("query-status")["status"] == "running"
        disk, *_ = client.command("query-named-block-nodes", flat=True)
        overlay = {"node-name": disk["node-name"], "snapshot-file": "/images/o.qcow2", "snapshot-node-name": "o"}
        assert client.cmd("blockdev-snapshot-sync", overlay) == {"return": {}}
        assert client.cmd("block-commit", {"device": "o", "job-id": "j"}) == {"return": {}}
        events: list[str] = []
        heard_until(client, events, "BLOCK_JOB_READY")
        assert client.cmd("job-complete", {"id": "j"}, cmd_id=7) == {"return": {}, "id": 7}
        heard_until(client, events, "BLOCK_JOB_COMPLETED")
        assert events.count("BLOCK_JOB_COMPLETED") == events.count("BLOCK_JOB_READY") == 1
        with pytest.raises(Exception, match="Device 'nope' not found"):
            client.command("block-commit", device="nope")


def heard_until(client: Any, events: list[str], last: str) -> None:
    """The client has heard of everything up to this event."""
    while last not in events:
        events.append(client.pull_event(wait=60.0)["event"])
