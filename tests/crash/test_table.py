"""Every operation of the engine goes wrong in every way: it dies, fails, hears nothing, and does so while recovering.

Others do not play along; and beside a guest that runs it loses that guest's QEMU.

Ordinary runs let each effect of each operation fail once, and draw the rest by the name of the row; the profile `deep`
tries all. Of a second thing that goes wrong there are too many: with `XENSNAP_DEEP_S` a deep run tries of those of one
row what time allows, in an order that favours none.
"""

import random
import time
from collections.abc import Iterator
from contextlib import suppress
from errno import ENOSPC
from itertools import islice
from typing import get_args

import pytest

from simulator.core.effects import Cut
from simulator.faults.points import effects
from simulator.plans import Hindrance
from tests.crash.harness import GUEST, TRIED
from tests.crash.table import ROWS
from tests.crash.trials import TWICE, WAYS, IsHindered, QemuDies, Trial, every, ready, replay, some
from tests.deep import DEEP_S, EXHAUSTIVE
from xensnap.engine.engine import AsyncEngine, Engine
from xensnap.engine.journal import Begin
from xensnap.engine.plan import each
from xensnap.engine.request import Birth, Request
from xensnap.engine.steps import OneStep
from xensnap.errors import XensnapError

FEW = 2
"""So many of each way are tried through the code of a real Xen host, which is slower than the simulator's own ports.

Of the many repairs, half as many of each.
"""

SHARE = 1 / 60
"""Of the time of a deep run what one row may take for two things that go wrong one after the other."""

ROLES = ("record", "domain", "sidecar", "memory", "image", "file", "journal", "lock")
ADDED_TO = ("journal.append", "file.append", "memory.append", "file.write-part")
NOBODYS = {
    *(f"{kind}.{verb}" for kind in ROLES for verb in ("append", "write-part") if f"{kind}.{verb}" not in ADDED_TO),
    *(f"{kind}.{verb}" for kind in ROLES for verb in ("take", "release") if kind != "lock"),
    *(f"{kind}.set-flag" for kind in ROLES if kind != "image"),
    *(f"{kind}.{verb}" for kind in ("record", "domain", "sidecar") for verb in ("create", "fsync")),  # written at once
    *(f"lock.{verb}" for verb in ("create", "fsync", "rename", "replace")),
    *("image.replace", "journal.replace", "memory.replace", "memory.rename", "sidecar.rename"),
    *("xl.rename", "xl.shutdown"),
}
"""Effects of the ports that no operation of the engine has: every kind of file can be written in every way."""

ELSEWHERE = {"journal.remove", "machine.sleep", "memory.truncate", "qemu-img.resize", "qmp.job-cancel"}
"""Effects that come about only where something went wrong before, or has to be waited for: other tests have them."""

AT_ONCE = {
    *("agent.freeze", "agent.thaw", "dir.create", "dir.fsync", "image.set-flag", "lock.release", "lock.take"),
    *("machine.fresh-id", "toolstack.define", "toolstack.set-configuration", "xl.pause", "xl.resume", "xl.unpause"),
    *("watcher.continue", "watcher.stand-in", "watcher.stop", "qmp.snapshot-delete"),
    *(f"qmp.{verb}" for verb in ("block-commit", "block-stream", "cont", "flush", "job-complete", "job-dismiss")),
    *(f"{kind}.remove" for kind in ("domain", "file", "image", "lock", "memory", "record", "sidecar")),
    *(f"{kind}.rename" for kind in ("domain", "record")),
    *(f"{kind}.fsync" for kind in ("file", "image", "journal", "memory")),
    *("image.create", "journal.create"),
}
"""Effects that have no half."""

LOOKING = {
    *("unborn", "bereft", "view", "maps", "verify", "plan", "following", "plan_making", "undoing", "audit", "diagnose")
}
"""What the engine is asked for that changes nothing."""

ASKING = {"perform", "make", "apply", "recover"}
"""Ways to ask for what has rows; and `recover`, which every row is ended by."""

BEFORE_A_GUEST = {"import", "relocate", "start"}
"""What is asked for only where no guest runs yet."""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("row", ROWS)
def test_it_ends_as_before_or_after_and_the_error_says_the_truth(row: str, way: str) -> None:
    tried = 0
    for trial in trials(row, way):
        replay(row, trial)
        tried += 1
    TRIED[f"table: {way}"] += tried
    nobody_there = (way == "loses QEMU" and not ready(row).host.world.qemus) or (way, row) == ("is hindered", "import")
    assert tried or nobody_there


@pytest.mark.parametrize("row", [name for name, row in ROWS.items() if row.door])
def test_so_it_does_where_the_code_of_a_real_xen_host_works(row: str) -> None:
    it = ready(row, door=True)
    few = FEW if it.row.verb != "repair" else FEW // 2
    for way in WAYS:
        for trial in every(it, way) if EXHAUSTIVE and way not in TWICE else islice(some(it, way), few):
            replay(row, trial, door=True)
            TRIED[f"table, through the door: {way}"] += 1


@pytest.mark.parametrize("row", ["checkpoint in place of another", "delete a checkpoint", "empty below a guest"])
def test_a_qemu_that_can_be_asked_no_more_keeps_what_it_has_open(row: str) -> None:
    it = ready(row)
    tried = [trial for trial in IsHindered.all(it) if trial.what is Hindrance.MONITOR_GONE]
    for trial in tried:
        replay(row, trial)
    assert len(tried) > FEW * 10
    TRIED["table: is hindered"] += len(tried)


def test_a_guest_whose_memory_cannot_be_kept_is_not_ended_before_its_end_is_due() -> None:
    it = ready("revert a guest whose memory cannot be kept")
    due = next(number for number, effect in it.effects.items() if effect == "xl.destroy")
    early = [number for number in it.effects if number < due]
    for number in early:
        host = it.host.fork()
        host.fail_at(number, Cut.BEFORE, ENOSPC)
        with suppress(XensnapError):
            it.row.does(Engine(host))
        Engine(host).recover(GUEST)
        assert it.judge.look(host) == it.before, it.effects[number]
    assert early


def trials(row: str, way: str) -> Iterator[Trial]:
    """Those of this run, some or all."""
    it = ready(row)
    if way in TWICE and DEEP_S:
        until = time.monotonic() + DEEP_S * SHARE
        while time.monotonic() < until:
            yield from islice(some(it, way, seed=random.random()), 100)
    else:
        yield from every(it, way) if EXHAUSTIVE else some(it, way)


def verbs() -> set[str]:
    """Whatever the engine can be asked for that changes something."""
    asked = {kind.__name__.removesuffix("Request").lower() for kind in (*get_args(Request), *get_args(Birth))}
    own = {name for name in vars(AsyncEngine) if not name.startswith("_")}
    return asked | own - LOOKING - ASKING


def test_whatever_the_engine_can_be_asked_for_has_a_row() -> None:
    assert {row.verb for row in ROWS.values()} == verbs()


def test_whatever_can_be_asked_for_beside_a_guest_has_a_row_that_loses_its_qemu() -> None:
    met = {it.row.verb for it in map(ready, ROWS) if any(QemuDies.all(it))}
    assert met == verbs() - BEFORE_A_GUEST


def test_every_kind_of_step_is_in_a_plan_of_a_row() -> None:
    met: set[type] = set()
    for row in ROWS:
        engine = Engine(ready(row).ended)
        for domain in engine.domains():
            plans = [entry.plan for entry in engine.audit(domain.uuid)[1] if isinstance(entry, Begin)]
            met |= {type(step) for plan in plans for step in each(plan.prepare + plan.finish)}
    assert {kind.__name__ for kind in get_args(OneStep)} - {kind.__name__ for kind in met} == set()


def test_every_effect_of_the_registry_is_met_by_a_row() -> None:
    met = {point.effect for row in ROWS for point in ready(row).ended.recorded}
    writing = {effect.name for effect in effects() if effect.writes}
    assert met - ELSEWHERE == writing - NOBODYS - ELSEWHERE
    halved = {point.effect for row in ROWS for point in ready(row).ended.recorded if point.cut is Cut.PARTLY}
    assert met - halved == AT_ONCE
