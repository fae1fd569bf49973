"""The engine on guests that run: memory and disks of one moment, on real QEMU.

The guest counts in memory, writes the counter to every disk and compares; `heard` fails as soon as it reports that the
two disagree, which is what memory and disks of different moments look like from inside.
"""

import os
from pathlib import Path
from typing import Any

import pytest

from xensnap.engine import CreateRequest, DeleteRequest, DiskChoice, Engine, RevertRequest
from xensnap.engine.request import RelocateRequest
from xensnap.errors import ExitCode, Failed, Refused
from xensnap.hypervisor import Then
from xensnap.model import Consistency, Kind, RunState

KINDS: dict[str, dict[str, Any]] = {
    "internal": {},
    "external": {"kind": Kind.EXTERNAL},
    "mixed": {"disks": {"xvda": DiskChoice(Kind.INTERNAL), "xvdb": DiskChoice(Kind.EXTERNAL)}},
}


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_brings_memory_and_disks_back(lab, kind, live) -> None:
    domain = lab.start()
    engine = Engine(lab.host)
    before = lab.said(domain)[-1][0]
    engine.create("guest", CreateRequest("s", live=live, **KINDS[kind]))
    soon = lab.heard(domain)

    engine.revert("guest", RevertRequest("s"))

    lab.heard(domain)
    assert before < lab.said(domain)[0][0] <= soon
    assert lab.seen(domain).state is RunState.RUNNING
    snapshot = engine.list("guest").contents.snapshots["s"]
    assert snapshot.consistency is Consistency.CHECKPOINT
    assert engine.list("guest").pending == ""


@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_snapshot_never_stops_the_guest(lab, kind) -> None:
    domain = lab.start()
    engine = Engine(lab.host)
    engine.create("guest", CreateRequest("s", disk_only=True, **KINDS[kind]))
    lab.heard(domain, reports=3)
    assert engine.list("guest").contents.snapshots["s"].consistency is Consistency.CRASH

    engine.revert("guest", RevertRequest("s", then=Then.STOPPED))
    assert lab.seen(domain).state is RunState.OFF
    for disk in engine.view("guest").domain.disks:
        lab.check(disk.layer)


@pytest.mark.parametrize("kind", KINDS)
def test_branches_and_deletions_while_the_guest_runs(lab, kind) -> None:
    domain = lab.start()
    engine = Engine(lab.host)
    for name in ("root", "middle", "leaf"):
        engine.create("guest", CreateRequest(name, **KINDS[kind]))
        lab.heard(domain)
    engine.revert("guest", RevertRequest("middle"))
    lab.heard(domain)
    engine.create("guest", CreateRequest("branch", **KINDS[kind]))
    lab.heard(domain)
    engine.delete("guest", DeleteRequest("middle"))
    lab.heard(domain)
    for name in ("leaf", "root", "branch"):
        engine.revert("guest", RevertRequest(name))
        lab.heard(domain)
    for name in ("root", "branch", "leaf"):
        engine.delete("guest", DeleteRequest(name))
        lab.heard(domain)
    assert not engine.list("guest").contents.snapshots
    lab.run(lab.toolstack.destroy(lab.seen(domain)))
    for image in engine.view("guest").images.values():
        assert image is not None
        lab.check(image.layer)


@pytest.mark.parametrize("then", [Then.PAUSED, Then.STOPPED])
def test_afterwards_the_guest_is_as_asked(lab, then) -> None:
    domain = lab.start()
    engine = Engine(lab.host)
    engine.create("guest", CreateRequest("s", then=then))
    assert lab.seen(domain).state is {Then.PAUSED: RunState.PAUSED, Then.STOPPED: RunState.OFF}[then]
    engine.revert("guest", RevertRequest("s"))
    lab.heard(domain)


def test_a_paused_guest_stays_paused(lab) -> None:
    domain = lab.start()
    lab.run(lab.toolstack.pause(domain))
    engine = Engine(lab.host)
    engine.create("guest", CreateRequest("s"))
    assert lab.seen(domain).state is RunState.PAUSED
    engine.revert("guest", RevertRequest("s"))
    assert lab.seen(domain).state is RunState.PAUSED
    lab.run(lab.toolstack.unpause(lab.seen(domain)))
    lab.heard(domain)


def test_a_writable_disk_cannot_be_left_out_of_a_checkpoint(lab) -> None:
    lab.start()
    with pytest.raises(Refused) as caught:
        Engine(lab.host).create("guest", CreateRequest("s", disks={"xvdb": DiskChoice(skip=True)}))
    assert caught.value.id == "skips-writable-disk"


def test_a_memory_file_that_cannot_be_read_brings_the_old_guest_back(lab) -> None:
    domain = lab.start()
    engine = Engine(lab.host)
    engine.create("guest", CreateRequest("s"))
    memory = Path(engine.list("guest").contents.snapshots["s"].memory)
    length = memory.stat().st_size
    os.truncate(memory, length // 2)
    os.truncate(memory, length)  # of another length it is not even tried
    before = lab.heard(domain)
    with pytest.raises(Failed) as caught:
        engine.revert("guest", RevertRequest("s"))
    assert caught.value.exit_code is ExitCode.NOTHING_CHANGED
    assert lab.heard(domain) > before
    assert engine.list("guest").pending == ""


def test_a_middle_layer_is_merged_while_the_guest_runs(lab) -> None:
    domain = lab.start()
    engine = Engine(lab.host)
    for name in ("root", "middle", "leaf"):
        engine.create("guest", CreateRequest(name, kind=Kind.EXTERNAL))
        lab.heard(domain)
    assert depths(engine) == [4, 4]
    result = engine.delete("guest", DeleteRequest("middle"))
    assert result.warnings == ()
    lab.heard(domain)
    assert depths(engine) == [3, 3]
    assert len(lab.chain(lab.seen(domain), "xvda")) == 3
    for name in ("root", "leaf"):
        engine.revert("guest", RevertRequest(name))
        lab.heard(domain)


@pytest.mark.parametrize("kind", [Kind.INTERNAL, Kind.EXTERNAL])
def test_images_that_qemu_was_told_by_another_name_are_merged_and_rid_of_tags(lab, kind) -> None:
    domain = lab.start()
    engine = Engine(lab.host)
    for name in ("root", "middle", "leaf"):
        engine.create("guest", CreateRequest(name, kind=kind, disk_only=True))
        lab.heard(domain)
    engine.stop("guest")
    (lab.directory / "link").symlink_to(lab.directory)
    description = lab.directory / "guest.toml"
    text = description.read_text()
    for disk in engine.view("guest").domain.disks:
        text = text.replace(f'"{Path(disk.path).name}"', f'"{lab.directory}/link/{Path(disk.path).name}"')
    description.write_text(text)
    lab.start(domain.uuid)
    assert all("/link/" in node.layer.path for node in lab.run(lab.blocks.nodes(lab.seen(domain))))
    assert not engine.diagnose("guest").found
    for name in ("middle", "leaf", "root"):
        result = engine.delete("guest", DeleteRequest(name))
        assert result.warnings == ()
        lab.heard(domain)
        assert not engine.diagnose("guest").found
    assert depths(engine) == [1, 1]
    engine.stop("guest")
    for disk in engine.view("guest").domain.disks:
        lab.check(disk.layer)


def test_a_disk_is_brought_to_a_directory_behind_a_link_and_its_guest_starts_there(lab) -> None:
    domain = lab.start()
    engine = Engine(lab.host)
    for name in ("root", "leaf"):
        engine.create("guest", CreateRequest(name, kind=Kind.EXTERNAL, disk_only=True))
        lab.heard(domain)
    engine.stop("guest")
    behind, link = lab.directory / "behind", lab.directory / "link"
    behind.mkdir()
    link.symlink_to(behind)
    before = {path.name for path in lab.directory.glob("guest-xvda*.qcow2")}
    engine.perform("guest", RelocateRequest("xvda", str(link)))
    chain = engine.view("guest").chain("xvda")
    assert chain is not None
    assert {Path(image.layer.path) for image in chain.images} == {link / name for name in before}
    assert not engine.diagnose("guest").found
    lab.start(domain.uuid)
    lab.heard(domain)
    engine.delete("guest", DeleteRequest("leaf"))
    lab.heard(domain)
    engine.revert("guest", RevertRequest("root"))
    lab.heard(domain)
    assert not engine.diagnose("guest").found


def depths(engine: Engine) -> list[int]:
    """How many images each disk stands on."""
    return [len(disk.chain.images) for disk in engine.view("guest").disks if disk.chain]
