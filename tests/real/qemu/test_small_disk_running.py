"""A file system that runs full under a real guest that writes, in the middle of an operation on it.

At the beginning of a step all room but a little is taken. QEMU stops a guest whose write finds no room, and does that
write again when the guest is told to go on: so nothing that it has written may be lost, whatever the operation came to.
"""

import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.real.qemu.conftest import PATIENCE_S, Lab, small_file_system
from tests.real.qemu.test_bad_disk_running import honest, recovered
from xensnap.cli.main import main
from xensnap.conformance.places.boot_guest import REPORTS_UNTIL_NOTICED
from xensnap.engine import CreateRequest, DeleteRequest, Engine, RevertRequest
from xensnap.engine.execute import Progress
from xensnap.engine.request import Request
from xensnap.errors import ExitCode, XensnapError
from xensnap.hypervisor import Then
from xensnap.model import Domain, Kind, RunState

DEEP = bool(os.environ.get("XENSNAP_DEEP_S"))
SIZE_KIB = 96 << 10
"""Three memories of the guest, as big as they might be, and all images."""

FREE_BYTES = (0, 4096, 65_536, 200_000, 400_000, 800_000)
"""Nothing; less and more than a cluster, an overlay, two, and about what one memory takes."""

INTERNAL, EXTERNAL = Kind.INTERNAL, Kind.EXTERNAL
CASES: dict[str, tuple[Kind, Request]] = {
    "create-internal": (INTERNAL, CreateRequest("three", kind=INTERNAL)),
    "create-external": (EXTERNAL, CreateRequest("three", kind=EXTERNAL)),
    "create-disk-only": (EXTERNAL, CreateRequest("three", kind=EXTERNAL, disk_only=True)),
    "delete-internal": (INTERNAL, DeleteRequest("one")),
    "delete-merge": (EXTERNAL, DeleteRequest("one")),
    "delete-pivot": (EXTERNAL, DeleteRequest("two")),
    "revert-internal": (INTERNAL, RevertRequest("one", then=Then.RUNNING)),
    "revert-external": (EXTERNAL, RevertRequest("one", then=Then.RUNNING)),
}
DRAWN = 8 if DEEP else 1


class Room:
    """Takes the room of a file system at the beginning of a step, and gives it back."""

    def __init__(self, directory: Path, step: int, left_bytes: int) -> None:
        self._ballast = directory / "ballast"
        self._step = step
        self._left_bytes = left_bytes

    def watch(self, progress: Progress) -> None:
        if progress.number == self._step and not self._ballast.exists():
            self.take()

    def take(self) -> None:
        with self._ballast.open("wb") as file:
            while True:
                room = os.statvfs(self._ballast.parent)
                with suppress(OSError):  # the guest has taken some of it meanwhile
                    os.posix_fallocate(file.fileno(), 0, max(1, room.f_bavail * room.f_frsize - self._left_bytes))
                    return

    def give_back(self) -> None:
        self._ballast.unlink(missing_ok=True)


@contextmanager
def small(lab: Lab) -> Iterator[Lab]:
    """The same on a file system of its own."""
    directory = lab.directory / "small"
    with small_file_system(directory, SIZE_KIB):
        made = Lab(directory)
        try:
            yield made
        finally:
            made.close()


def stopped_for_want_of_room(lab: Lab, domain: Domain) -> bool:
    """Whether QEMU has stopped it, and says so."""
    now = lab.seen(domain)
    return now.state is RunState.PAUSED and now.halted.startswith("there is no room for what it writes to xvd")


def goes_on(lab: Lab, domain: Domain) -> None:
    """It runs, or was stopped for want of room, which there is again: nothing that it has written is lost."""
    if lab.seen(domain).state is not RunState.RUNNING:
        assert stopped_for_want_of_room(lab, domain)
        lab.run(lab.toolstack.unpause(lab.seen(domain)))
    lab.heard(domain, reports=REPORTS_UNTIL_NOTICED)


@pytest.mark.parametrize("case", CASES)
def test_a_disk_that_runs_full_under_a_guest_that_writes_loses_nothing(lab: Lab, case: str) -> None:
    kind, request = CASES[case]
    draw = random.Random(case)
    with small(lab) as here:
        domain = here.start()
        engine = Engine(here.host)
        for _ in range(DRAWN):
            made_ready(here, engine, domain, kind)
            plan = engine.plan("guest", request)
            steps = len(plan.prepare) + 1 + len(plan.finish)
            filled(here, domain, request, draw.randint(1, steps), draw.choice(FREE_BYTES))
        for name in sorted(engine.list("guest").contents.snapshots):
            engine.revert("guest", RevertRequest(name, then=Then.RUNNING))
            here.heard(domain, reports=REPORTS_UNTIL_NOTICED)


def made_ready(lab: Lab, engine: Engine, domain: Domain, kind: Kind) -> None:
    """Two snapshots and no third, of a guest that has written to all its sectors since each."""
    names = set(engine.list("guest").contents.snapshots)
    if names != {"one", "two"}:
        if names:
            engine.delete("guest", DeleteRequest(every=True))
        for name in ("one", "two"):
            engine.create("guest", CreateRequest(name, kind=kind))
            lab.heard(domain, reports=REPORTS_UNTIL_NOTICED)


def filled(lab: Lab, domain: Domain, request: Request, step: int, left_bytes: int) -> None:
    """Let the room go at a step of the operation, and judge what has come of it; then there is room again."""
    room = Room(lab.directory, step, left_bytes)
    engine = Engine(lab.host, watch=room.watch)
    before = set(engine.list("guest").contents.snapshots)
    told: XensnapError | None = None
    try:
        engine.perform("guest", request)
    except XensnapError as error:
        told = error
    where = f"{left_bytes} bytes left at step {step}: {told}"
    assert told is None or honest(engine, told), where
    assert told is None or told.remedy or told.exit_code is ExitCode.NOTHING_CHANGED, where
    if told is None or told.exit_code is ExitCode.NOTHING_CHANGED:
        assert lab.seen(domain).state is RunState.RUNNING or stopped_for_want_of_room(lab, domain), where
    room.give_back()
    engine = Engine(lab.host)
    recovered(lab, engine)
    if lab.seen(domain).state is RunState.OFF:
        engine.start("guest")
    if told is not None and told.exit_code is ExitCode.NOTHING_CHANGED:
        assert set(engine.list("guest").contents.snapshots) == before, where
    goes_on(lab, domain)


def test_a_guest_that_has_no_room_is_told_of_and_a_snapshot_of_it_goes_on_where_it_stood(lab: Lab) -> None:
    with small(lab) as here:
        domain = here.start()
        engine = Engine(here.host)
        engine.create("guest", CreateRequest("before", kind=EXTERNAL, disk_only=True))
        room = Room(here.directory, step=0, left_bytes=0)
        room.take()
        deadline = time.monotonic() + PATIENCE_S
        while not stopped_for_want_of_room(here, domain):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        environment = {"XENSNAP_HOST": f"qemu:{here.directory}"}
        for words in (["info", "guest"], ["list", "guest"], ["list"]):
            told = CliRunner().invoke(main, words, env=environment)
            assert told.exit_code == 0
            assert "guest stands still: there is no room for what it writes to xvd" in told.stderr
            assert "run `xensnap domain unpause guest`" in told.stderr
            told = CliRunner().invoke(main, [*words, "--json"], env=environment)
            assert '"halted": "there is no room' in told.stdout
        room.give_back()
        warned = engine.create("guest", CreateRequest("standing", kind=EXTERNAL)).warnings
        assert any(text.startswith("guest stands still: there is no room") for text in warned)
        for _ in range(2):
            assert here.seen(domain).state is RunState.PAUSED
            engine.unpause("guest")
            here.heard(domain, reports=REPORTS_UNTIL_NOTICED)
            engine.revert("guest", RevertRequest("standing"))
