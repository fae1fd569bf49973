"""What a reasonable fake would get wrong of xl: each put into the simulator, and the traces must notice."""

from collections.abc import Callable

import msgspec
import pytest

from simulator.serve.xl import acting, configuration
from simulator.serve.xl.words import Refused
from simulator.world import World, life, programs
from simulator.xen.incarnations import Incarnation
from tests.parity import xen_traces

replace = msgspec.structs.replace
Mutate = Callable[[pytest.MonkeyPatch], None]

MADE, TOLD = life.made, configuration.config


def pauses_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(life, "paused", lambda world, domid: life.changed(world, replace(_of(world, domid), pauses=1)))


def exit_codes_are_right(patch: pytest.MonkeyPatch) -> None:
    def there(world: World, domid: int) -> Incarnation:
        if domid not in world.xen.there:
            raise Refused("no such domain")
        return world.xen.there[domid]

    patch.setattr(acting, "there", there)


def a_save_leaves_the_watcher(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(life, "without_watcher", lambda world, _incarnation: world)


def a_paused_guest_can_be_saved(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(programs, "may_suspend", lambda _world, _domid: True)


def a_save_file_is_private(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(programs, "_CREATED_MODE", 0o600)


def domids_are_given_again(patch: pytest.MonkeyPatch) -> None:
    def made(world: World, **told: object) -> tuple[World, int]:
        free = max(world.xen.there, default=0) + 1
        return MADE(replace(world, xen=replace(world.xen, next_domid=free)), **told)  # type: ignore[arg-type]

    patch.setattr(life, "made", made)


def xl_knows_of_an_overlay(patch: pytest.MonkeyPatch) -> None:
    def told(world: World, each: Incarnation) -> object:
        config = TOLD(world, each)
        for disk in config.get("disks", ()):
            drive = world.qemus[each.domid].guests(disk["vdev"]) if each.domid in world.qemus else None
            disk["pdev_path"] = drive.root.layer.path if drive else disk["pdev_path"]
        return config

    patch.setattr(configuration, "config", told)


MUTANTS: dict[Mutate, str] = {
    pauses_are_not_counted: "pause-is-counted",
    exit_codes_are_right: "no-such-domain",
    a_save_leaves_the_watcher: "poweroff-after-a-save",
    a_paused_guest_can_be_saved: "save-of-a-paused-guest",
    a_save_file_is_private: "save-and-restore",
    domids_are_given_again: "save-and-restore",
    xl_knows_of_an_overlay: "external-snapshot",
}


def _of(world: World, domid: int) -> Incarnation:
    return life.require(world, domid)


def differs(name: str) -> bool:
    _, *lines = xen_traces.read(name)
    pairs = zip(xen_traces.answers(lines), lines, strict=True)
    return any(xen_traces.normal(ours) != xen_traces.normal(theirs) for ours, theirs in pairs)


@pytest.mark.parametrize("mutate", [pytest.param(mutate, id=mutate.__name__) for mutate in MUTANTS])
def test_a_trace_notices(mutate: Mutate, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not differs(MUTANTS[mutate])
    mutate(monkeypatch)
    assert differs(MUTANTS[mutate])
