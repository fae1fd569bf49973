"""Configurations on a Xen host: what a file says as xl reads it, what is remembered, what a restore takes."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.backends.xen.scripted import UUID, ScriptedXen, config, disk, save_bytes
from tests.unit.backends.xen.test_facts import look, off, restored
from xensnap.engine import CreateRequest, Engine
from xensnap.errors import Refused
from xensnap.formats import libxl_json, savefile
from xensnap.model import DomainUuid, Format, Kind, Layer

OWN = DomainUuid(UUID)
OTHER = "f9f83f5f-24ea-424e-9e79-9198b4b537ac"


@pytest.fixture
def xen(tmp_path: Path) -> ScriptedXen:
    return ScriptedXen(tmp_path)


def written(xen: ScriptedXen, *uuids: str, **items: Any) -> Path:
    """An operator's file, of which xl tells this; its UUID is the next of these at each reading."""
    path = xen.place / "new.cfg"
    path.write_text("what xl reads")
    left = list(uuids)

    def read(_create: str, _path: str) -> tuple[int, bytes]:
        told = config("renamed", left.pop(0), disks=[disk("xvda", "/elsewhere", "raw")])
        return 0, json.dumps({**told, **items}).encode()

    xen.instead["-N"] = read
    return path


@pytest.mark.parametrize("pinned", [True, False])
def test_a_file_without_a_uuid_has_another_one_at_each_reading(xen: ScriptedXen, *, pinned: bool) -> None:
    path = written(xen, UUID, UUID if pinned else OTHER)
    told = xen.host.run(xen.host.toolstack.described("what xl reads", source=str(path)))
    assert (told.name, told.uuid) == ("renamed", UUID if pinned else "")
    assert [each.path for each in told.disks] == ["/elsewhere"]


def test_a_file_that_is_another_by_now_is_not_read(xen: ScriptedXen) -> None:
    path = written(xen)
    with pytest.raises(Refused) as caught:
        xen.host.run(xen.host.toolstack.described("what it said before", source=str(path)))
    assert caught.value.id == "configuration-moved"


def test_a_domain_that_is_off_is_remembered_as_it_was_configured_last(xen: ScriptedXen) -> None:
    layer = off(xen)
    path = written(xen, UUID, UUID, on_crash="destroy")
    told = xen.host.run(xen.host.toolstack.described("what xl reads", source=str(path)))
    xen.host.run(xen.host.toolstack.set_configuration(OWN, told.text, file=str(path)))
    found = look(xen, "renamed")
    assert (found.uuid, found.described_in, [each.layer for each in found.disks]) == (UUID, str(path), [layer])
    assert '"on_crash": "destroy"' in xen.host.run(xen.host.toolstack.configuration(OWN))


def test_a_restore_takes_bridges_and_actions_of_another_configuration_and_nothing_of_its_machine(
    xen: ScriptedXen,
) -> None:
    layer = off(xen)
    restored(xen, [layer])
    saved = config("pv1", disks=[disk("xvda", layer.path, "raw")])
    saved |= {"nics": [{"mac": "00:16:3e:00:00:01", "bridge": "xenbr0"}], "on_crash": "destroy", "on_reboot": "restart"}
    memory = xen.place / "m.save"
    memory.write_bytes(save_bytes(saved))
    given = saved | {"b_info": {"max_memkb": 1}, "nics": [{"mac": "other", "bridge": "xenbr1"}], "on_crash": "preserve"}
    text = libxl_json.dump({key: value for key, value in given.items() if key != "on_reboot"}).decode()
    layers = {"xvda": layer}
    xen.host.run(xen.host.toolstack.restore(str(memory), uuid=OWN, layers=layers, paused=True, configuration=text))
    fed = savefile.parse(xen.fed[: savefile.length(xen.fed[:48], path="x")], path="x").config
    assert fed["nics"] == [{"mac": "00:16:3e:00:00:01", "bridge": "xenbr1"}]
    assert (fed["on_crash"], fed["b_info"], "on_reboot" in fed) == ("preserve", saved["b_info"], False)


OVERLAY = Layer("/images/over.qcow2", Format.QCOW2)


def says(xen: ScriptedXen, *disks: dict[str, Any], name: str = "pv1", text: str = "as ever") -> str:
    """The operator writes this into the file that the domain is started from."""
    path = xen.place / "pv1.cfg"
    path.write_text(text)
    xen.instead["-N"] = lambda *_: (0, json.dumps(config(name, disks=disks)).encode())
    return str(path)


def switched(xen: ScriptedXen) -> None:
    """A domain that is off, known by its file, its first disk switched to an overlay of ours by a snapshot."""
    path = says(xen, disk("xvda", "/images/a.qcow2"), disk("xvdb", "/images/b.qcow2"))
    xen.host.run(xen.host.learn(path, remember=True))
    xen.host.run(xen.host.toolstack.set_layers(OWN, {"xvda": OVERLAY}))


def disks_now(xen: ScriptedXen) -> dict[str, str]:
    return {each.vdev: each.path for each in look(xen).disks}


def test_a_file_that_is_unchanged_is_not_asked_again(xen: ScriptedXen) -> None:
    switched(xen)
    xen.told.clear()
    assert disks_now(xen) == {"xvda": OVERLAY.path, "xvdb": "/images/b.qcow2"}
    assert not [told for told in xen.told if told[0] == "-N"]


def test_what_the_operator_changes_while_the_domain_is_off_counts_and_what_we_switched_stays(xen: ScriptedXen) -> None:
    switched(xen)
    says(xen, disk("xvda", "/images/a.qcow2"), disk("xvdb", "/images/new.qcow2"), disk("xvdc", "/c.qcow2"), text="new")
    assert disks_now(xen) == {"xvda": OVERLAY.path, "xvdb": "/images/new.qcow2", "xvdc": "/c.qcow2"}
    xen.host.run(xen.host.toolstack.set_layers(OWN, {"xvdc": Layer("/over-c.qcow2", Format.QCOW2)}))
    assert disks_now(xen) == {"xvda": OVERLAY.path, "xvdb": "/images/new.qcow2", "xvdc": "/over-c.qcow2"}


def test_a_file_that_names_the_overlay_as_asked_changes_nothing(xen: ScriptedXen) -> None:
    switched(xen)
    says(xen, disk("xvda", OVERLAY.path), disk("xvdb", "/images/b.qcow2"), text="corrected")
    assert disks_now(xen) == {"xvda": OVERLAY.path, "xvdb": "/images/b.qcow2"}


@pytest.mark.parametrize("trouble", ["gone", "another domain", "unreadable"])
def test_a_file_that_cannot_be_heard_changes_nothing(xen: ScriptedXen, trouble: str) -> None:
    switched(xen)
    path = Path(says(xen, disk("xvda", "/else.qcow2"), text="new", name="other" if "domain" in trouble else "pv1"))
    if trouble == "gone":
        path.unlink()
    if trouble == "unreadable":
        xen.instead["-N"] = lambda *_: (1, b"xl: a syntax error\n")
    assert disks_now(xen) == {"xvda": OVERLAY.path, "xvdb": "/images/b.qcow2"}


def test_a_domain_whose_file_is_gone_starts_from_what_is_remembered_of_it(xen: ScriptedXen) -> None:
    """else its next reboot would be its end, where one of ours watches it"""
    path = Path(says(xen, disk("xvda", "/dev/vg/a", "raw") | {"backend": "phy"}))
    xen.host.run(xen.host.learn(str(path), remember=True))
    told: list[str] = []

    def create(_paused: str, name: str) -> tuple[int, bytes]:
        told.append(Path(name).read_text())
        xen.enter(config("pv1"), "--p---", ran=False)
        return 0, b""

    xen.monitor |= {"query-named-block-nodes": [], "x-debug-query-block-graph": {"nodes": [], "edges": []}}
    xen.instead["create"] = create
    path.unlink()
    xen.host.run(xen.host.toolstack.create(OWN, paused=True))
    assert "xvda" in told[0]


def test_a_domain_whose_uuid_is_made_up_at_each_start_is_told_so_and_how_to_pin_it(xen: ScriptedXen) -> None:
    """a file without `uuid=` gives another one at each `xl create`; the domain stays who it was"""
    off(xen)
    assert not look(xen).uuid_not_pinned
    xen.enter(config("pv1", OTHER, disks=[disk("xvda", xen.image("pv1.raw"), "raw")]))
    found = look(xen)
    assert (found.uuid, found.uuid_not_pinned) == (UUID, True)


def test_a_file_that_gives_no_uuid_is_known_for_it_until_it_does(xen: ScriptedXen) -> None:
    path = written(xen, UUID, OTHER, OTHER, UUID)
    xen.host.run(xen.host.learn(str(path), remember=True))
    assert look(xen, "renamed").uuid_not_pinned
    path.write_text("another text, in which one is made up again")
    assert look(xen, "renamed").uuid_not_pinned
    path.write_text("a text with the UUID")
    assert not look(xen, "renamed").uuid_not_pinned


def test_whoever_takes_a_snapshot_of_such_a_domain_is_warned(xen: ScriptedXen) -> None:
    path = says(xen)
    readings = [config("pv1", each, disks=[disk("xvda", xen.image("a.raw"), "raw")]) for each in (UUID, OTHER)]
    xen.instead["-N"] = lambda *_: (0, json.dumps(readings.pop(0)).encode())
    xen.host.run(xen.host.learn(path, remember=True))
    plan = Engine(xen.host).plan("pv1", CreateRequest("one", kind=Kind.EXTERNAL, accept=("next-start-elsewhere",)))
    (warning,) = (each for each in plan.warnings if each.startswith("uuid-not-pinned: "))
    assert f'put this into {path}: uuid = "{UUID}"' in warning
