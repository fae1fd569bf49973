"""What a snapshot costs on a dom0, against the bare commands that it is made of: side by side, in one run.

Time there goes by instructions (see `machine`), so only the ratios count, and a second round would tell the same. Of
our commands the start of Python is left out: they are forked, as everything here is.
"""

import json
from pathlib import Path
from statistics import median

import pytest

from tests.real.xenhost import asking
from tests.real.xenhost.lab import STORE, XenLab
from tests.real.xenhost.report import Figure
from tests.real.xenhost.strikes import struck
from tests.real.xenhost.test_pauses import BIG

QUESTIONS = 50
BARE = "/var/tmp/bare.save"


def questions(lab: XenLab) -> Figure:
    socket = lab.monitor()
    lab.dom0.put("/tmp/asking.py", Path(asking.__file__).read_bytes())

    def ours() -> float:
        return median(json.loads(lab.begin_program("/tmp/asking.py", socket, str(QUESTIONS))().must().out))

    def bare() -> float:
        said = lab.dom0.qmp(socket, *({"execute": "query-status"} for _ in range(QUESTIONS)))
        return median(each["seconds"] for each in said[1:])

    return Figure("G6", "`query-status`, by xensnap's port", "a bare socket", ours() / bare(), 2.1)


def checkpoints(lab: XenLab) -> list[Figure]:
    name = lab.guest.name
    bare = lab.dom0.try_run("xl", "save", "-c", name, BARE, timeout_s=90).must()
    ours = lab.try_xensnap("create", name, "--name", "one").must()
    sizes = [int(lab.dom0.shell(f"stat -c %s {file}")) for file in (f"{STORE}/*/*.save*", BARE)]
    return [
        Figure("G12", "checkpoint of 512 MiB", "`xl save -c`", ours.seconds / bare.seconds, 1.03),
        Figure("G12", "bytes of its memory file", "`xl save -c`", sizes[0] / sizes[1], 1.001),
    ]


def revived(lab: XenLab) -> Figure:
    """A guest whose save was killed half way, which no command of xl wakes."""
    name = lab.guest.name
    bare = lab.dom0.try_run("xl", "save", "-c", name, BARE, timeout_s=90).must()
    struck(lab, "save", "both", "create", name, "--name", "killed")
    ours = lab.try_xensnap("recover", name).must()
    assert lab.running()
    return Figure(
        "revive", "a guest whose `xl save` was killed: `recover`", "`xl save -c`", ours.seconds / bare.seconds, 1
    )


def disks_alone(lab: XenLab) -> Figure:
    """Of a guest that is off, which is found by what is remembered of it."""
    name, images = lab.guest.name, [disk.path(lab.guest.name) for disk in lab.guest.disks]
    lab.xl("destroy", name)
    script = " && ".join(f"qemu-img snapshot -c bare {image}" for image in images)
    bare = lab.dom0.try_run("/bin/sh", "-c", script).must()
    ours = lab.try_xensnap("create", name, "--name", "two").must()
    against = "`qemu-img`, one after the other"
    return Figure("G4", f"internal snapshot of {len(images)} disks, off", against, ours.seconds / bare.seconds, 1.35)


@pytest.mark.parametrize("guest", [pytest.param(BIG, id="pvh512")])
def test_the_engine_beside_the_bare_commands(lab: XenLab, record_property) -> None:
    found = [questions(lab), *checkpoints(lab), revived(lab), disks_alone(lab)]
    record_property("figures", json.dumps(found))
    assert all(each.ratio > 0 for each in found)
    assert {each.what: each.ratio for each in found}["bytes of its memory file"] <= 1.001
