"""An operator who works with qemu-img on images that a real QEMU has open.

Plain QEMU's locks keep him from it. Under Xen it takes none, so what he does there is done here with `locking=off`.
"""

import subprocess
from pathlib import Path

import pytest

from tests.real.qemu.conftest import Lab
from xensnap.conformance.places.boot_guest import REPORTS_UNTIL_NOTICED
from xensnap.engine import CreateRequest, DeleteRequest, Engine, RevertRequest
from xensnap.engine.execute import Progress
from xensnap.hypervisor import Then
from xensnap.model import Kind

LOCKED = {
    "commit": ["commit", "-q", "-f", "qcow2", "-d"],
    "rebase": ["rebase", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "guest-xvda.qcow2"],
    "rebase -u": ["rebase", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", "guest-xvda.qcow2"],
    "snapshot -c": ["snapshot", "-q", "-c", "by-hand"],
}


def two_snapshots(lab: Lab) -> Engine:
    """A guest that runs above two frozen images for each disk."""
    domain = lab.start()
    engine = Engine(lab.host)
    for name in ("one", "two"):
        engine.create("guest", CreateRequest(name, kind=Kind.EXTERNAL))
        lab.heard(domain, reports=REPORTS_UNTIL_NOTICED)
    return engine


def comes_back(lab: Lab, engine: Engine, *names: str) -> None:
    """The guest of each of these finds all that it had, in memory and on its disks."""
    assert sorted(engine.list("guest").contents.snapshots) == sorted(names)
    for name in names:
        engine.revert("guest", RevertRequest(name, then=Then.RUNNING))
        lab.heard(engine.view("guest").domain, reports=REPORTS_UNTIL_NOTICED)


def test_qemus_locks_keep_an_operator_from_images_in_use(lab: Lab) -> None:
    engine = two_snapshots(lab)
    top = engine.view("guest").domain.disks[0].path
    for words in LOCKED.values():
        done = subprocess.run(["qemu-img", *words, top], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "lock" in done.stderr
    lab.heard(engine.view("guest").domain)
    engine.delete("guest", DeleteRequest("one"))
    comes_back(lab, engine, "two")


@pytest.mark.parametrize(("name", "other"), [("one", "two"), ("two", "one")])
def test_a_header_that_is_written_during_a_merge_is_not_believed(lab: Lab, name: str, other: str) -> None:
    engine = two_snapshots(lab)
    tops = [disk.path for disk in engine.view("guest").domain.disks]
    rewritten: list[str] = []

    def by_hand(progress: Progress) -> None:
        if progress.text.startswith("copy what") and not rewritten:
            for top, vdev in zip(tops, ("xvda", "xvdb"), strict=True):
                image = f"driver=qcow2,file.driver=file,file.filename={top},file.locking=off"
                base = ["-F", "qcow2", "-b", f"guest-{vdev}.qcow2"]
                subprocess.run(["qemu-img", "rebase", "-q", "-u", "--image-opts", *base, image], check=True)
                rewritten.append(Path(top).name)

    Engine(lab.host, watch=by_hand).delete("guest", DeleteRequest(name))
    assert len(rewritten) == 2
    lab.heard(engine.view("guest").domain, reports=REPORTS_UNTIL_NOTICED)
    comes_back(lab, engine, other)
