"""`xl migrate -s ''` as an executable, whose receiver is any program: what Xen 4.17.7 said and did (xen-live.md A)."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from xensnap.backends.local.runner import LocalRunner
from xensnap.backends.xen.receiving import LocalReceivers
from xensnap.formats import savefile
from xensnap.hypervisor import Completed
from xensnap.model import Layer
from xensnap.testing.doors import Doors

IMAGE = "/images/a.qcow2"
BANNER = "printf 'xl migration receiver ready, send binary domain data.\\n'"
LIMIT_S = 120


def begin(doors: Doors, kind: str) -> str:
    """A guest that runs; where xl is."""
    with doors.host() as host:
        layer: Layer = host.create_image(IMAGE)
        host.add_domain("g", disks={"xvda": layer.path}, kind=kind)
        host.start("g")
    xl = shutil.which("xl", path=doors.environment["PATH"])
    assert xl is not None
    return xl


def state(doors: Doors) -> str:
    return doors.run("xl", "list", "g").stdout.split()[-2]


def told(words: str) -> list[str]:
    """The lines without what was one process's own."""
    return re.sub(r"\[\d+\]|0x3/0x0/\d+", "<own>", words).splitlines()


def migrated(doors: Doors, command: str, domain: str = "g") -> "subprocess.CompletedProcess[str]":
    return doors.run("xl", "migrate", "-s", "", domain, command)


EXITS = "libxl_exec.c:117:libxl_report_child_exitstatus:"
DIES = "libxl_exec.c:127:libxl_report_child_exitstatus:"
SENT = [
    "Saving to migration stream new xl format (info <own>)",
    "xc: info: Saving domain 1, type x86 HVM",
]
TRUNCATED = "libxl: error: libxl_utils.c:505:libxl_read_exactly: file/stream truncated reading"
LEFT = f"libxl: info: {EXITS} migration transport process <own> exited with"
HELPER = "domain 1 save/restore helper"
UNSENT = "libxl: error: libxl_stream_write.c:347:libxl__xc_domain_save_done: Domain 1:saving domain:"


def test_a_receiver_of_ours_takes_a_save_file_and_lets_the_guest_go_on(doors: Doors, tmp_path: Path) -> None:
    xl = begin(doors, "pvh")
    to = tmp_path / "g.save"
    to.touch()
    states: list[str] = []

    async def received() -> Completed:
        async with LocalReceivers(LocalRunner()).receive(str(to), 1, xl) as stream:
            await stream.complete()
            states.append(state(doors))
            return await stream.let_go()

    done = asyncio.run(received())
    assert (done.returncode, states, state(doors)) == (1, ["---ss-"], "-b----")
    assert told(done.stderr.decode()) == [
        *SENT,
        f"{TRUNCATED} ready message from migration receiver stream",
        f"{LEFT} error status 1",
        "Migration failed, resuming at sender.",
    ]
    assert not doors.run("xl", "destroy", "g").returncode
    again = subprocess.run([xl, "restore", "/dev/stdin"], input=to.read_bytes(), capture_output=True, check=False)
    assert (again.returncode, state(doors)) == (0, "-b----"), again.stderr


def test_pages_of_a_pv_guest_cannot_be_logged_so_no_memory_is_sent(doors: Doors, tmp_path: Path) -> None:
    begin(doors, "pv")
    done = migrated(doors, f"{BANNER}; cat >{tmp_path}/come; exit 3")
    assert done.returncode == 1
    assert (tmp_path / "come").read_bytes().startswith(savefile.MAGIC)
    assert told(done.stderr) == [
        SENT[0],
        "xc: info: Saving domain 1, type x86 PV",
        "xc: error: Failed to enable logdirty: 95,22,0 (22 = Invalid argument): Internal error",
        "xc: error: Save failed (22 = Invalid argument): Internal error",
        f"{UNSENT} domain did not respond to suspend request: Invalid argument",
        "migration sender: libxl_domain_suspend failed (rc=-8)",
        f"{LEFT} error status 3",
        "Migration failed, failed to suspend at sender.",
    ]
    assert state(doors) == "-b----"


def test_a_receiver_that_does_not_greet_gets_nothing(doors: Doors) -> None:
    begin(doors, "pvh")
    left = migrated(doors, "exit 4")
    assert told(left.stderr) == [f"{TRUNCATED} banner from migration receiver stream", f"{LEFT} error status 4"]
    other = migrated(doors, "yes")
    assert other.stderr.startswith(
        "migration receiver stream contained unexpected data instead of banner\n(command run"
    )
    assert (left.returncode, other.returncode, state(doors)) == (1, 1, "-b----")


def test_a_receiver_that_dies_leaves_the_guest_running(doors: Doors) -> None:
    """The pipe is full before it has all, as it was after 40 MB there."""
    with doors.host() as host:
        host.create_image(IMAGE)
        host.add_domain("g", disks={"xvda": IMAGE}, kind="pvh", memory_bytes=1 << 21)
        host.start("g")
    done = migrated(doors, f"{BANNER}; head -c 40000 >/dev/null; kill -9 $$")
    assert done.returncode == 1
    assert told(done.stderr) == [
        *SENT,
        f"{TRUNCATED} ipc msg header from {HELPER} stdout pipe",
        f"libxl: error: {DIES} {HELPER} <own> died due to fatal signal Broken pipe",
        "migration sender: libxl_domain_suspend failed (rc=-3)",
        f"libxl: info: {DIES} migration transport process <own> died due to fatal signal Killed",
        "Migration failed, resuming at sender.",
        "xc: error: Dom 1 not suspended: (shutdown 0, reason 255): Internal error",
        "libxl: error: libxl_dom_suspend.c:666:domain_resume_done: Domain 1:xc_domain_resume failed: Invalid argument",
    ]
    assert state(doors) == "-b----"


def test_an_xl_that_is_killed_leaves_the_guest_suspended(doors: Doors, tmp_path: Path) -> None:
    xl = begin(doors, "pvh")
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    command = f"{BANNER}; head -c 100 >/dev/null; echo >{ready}; cat >/dev/null"
    process = subprocess.Popen([xl, "migrate", "-s", "", "g", command], stderr=subprocess.DEVNULL)
    ready.read_text()
    while state(doors) != "---ss-":
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait(LIMIT_S)
    assert state(doors) == "---ss-"
    with doors.host() as host:
        assert not [each for each in host.world.processes.values() if each.command.startswith("xl migrate")]


def test_whoever_is_not_there_is_not_migrated(doors: Doors) -> None:
    begin(doors, "pvh")
    assert migrated(doors, "cat", "nosuch").stderr == "nosuch is an invalid domain identifier (rc=-6)\n"
    assert "unable to retrieve domain configuration" in migrated(doors, "cat", "77").stderr
    assert doors.run("xl", "migrate", "g").returncode == 2


def test_a_host_to_go_to_is_not_modelled(doors: Doors) -> None:
    begin(doors, "pvh")
    done = doors.run("xl", "migrate", "g", "elsewhere")
    assert (done.returncode, "not modelled" in done.stderr) == (70, True)


def test_the_engine_on_the_doors_sends_by_this_very_program(doors: Doors, tmp_path: Path) -> None:
    begin(doors, "pvh")
    words = ["create", "g", "-n", "live", "--live"]
    argv = [sys.executable, "-m", "xensnap.cli", "--host", "xen", *words]
    done = subprocess.run(argv, env=dict(doors.environment), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert state(doors) == "-b----"
