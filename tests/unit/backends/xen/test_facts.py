"""What a host written from xl's documentation would get wrong, each by the number under which it was measured."""

import stat
from contextlib import suppress
from pathlib import Path

import pytest

from tests.unit.backends.xen.scripted import UUID, ScriptedXen, config, disk, save_bytes
from xensnap.errors import Busy, Effect, Failed, NotFound, Refused
from xensnap.formats import libxl_json, savefile, snapshot_record
from xensnap.hypervisor import Capability, TakeInternal, Then
from xensnap.model import Backend, Consistency, Domain, DomainUuid, Format, GuestKind, Layer, RunState, Snapshot

OTHER = "f9f83f5f-24ea-424e-9e79-9198b4b537ac"


@pytest.fixture
def xen(tmp_path: Path) -> ScriptedXen:
    return ScriptedXen(tmp_path)


def look(xen: ScriptedXen, ref: str = "pv1") -> Domain:
    return xen.host.run(xen.host.toolstack.inspect(ref))


def save(xen: ScriptedXen, *, then: Then = Then.SAME, live: bool = False, stop_before_finish: bool = False) -> Path:
    """The two phases into a new file of ours."""
    domain, path = look(xen), xen.place / "m.save"

    async def both() -> None:
        await xen.host.files.create(str(path))
        async with xen.host.toolstack.saving(domain, to=str(path), live=live) as saving:
            await saving.suspended()
            if not stop_before_finish:
                await saving.finish(then=then)

    xen.host.run(both())
    return path


def test_fact_1_the_watcher_is_stopped_for_a_save_and_goes_on_after_it(xen: ScriptedXen) -> None:
    domid = xen.add("pv1", xvda="a.raw")
    xen.watched("pv1", domid, 361)
    watcher = xen.host.run(xen.host.toolstack.hold_watcher(look(xen)))
    assert xen.stopped == {361}
    assert watcher is not None
    xen.host.run(watcher.resume())
    assert not xen.stopped


@pytest.mark.parametrize("which", ["another domid", "ended", "none"])
def test_fact_1_a_domain_without_a_watcher_has_none(xen: ScriptedXen, which: str) -> None:
    """`xl create -e`, or one that a save has ended before; a log of an older incarnation speaks of another domid"""
    domid = xen.add("pv1")
    if which != "none":
        xen.watched("pv1", domid + (which == "another domid"), 361)
    if which == "ended":
        xen.xls.clear()
    assert xen.host.run(xen.host.toolstack.hold_watcher(look(xen))) is None
    assert not xen.stopped


def test_fact_1_a_guest_that_has_lost_its_watcher_is_known_for_it(xen: ScriptedXen) -> None:
    """by `xl save -c` of somebody else; one that was started without any (`xl create -e`) has lost none"""
    domid = xen.add("pv1")

    def watched() -> bool | None:
        return xen.host.run(xen.host.toolstack.watched(look(xen)))

    assert watched() is None
    xen.watched("pv1", domid, 361)
    assert watched() is True
    xen.xls.clear()
    assert watched() is False


def test_live_c2_a_lost_watcher_is_replaced_once_and_one_that_lives_never(xen: ScriptedXen) -> None:
    """in the log that the next xl of this name will write into, too"""
    domid = xen.add("pv1")
    xen.instead["-N"] = lambda *_: (0, libxl_json.dump(config("pv1")))

    def replace() -> list[tuple[int, str, str]]:
        xen.host.run(xen.host.toolstack.watch(look(xen)))
        return xen.stood_in

    assert replace() == []
    xen.watched("pv1", domid, 361)
    assert replace() == []
    xen.xls.clear()
    assert replace() == [(domid, UUID, str(xen.place / "logs" / "xl-pv1.log"))]


def test_live_c2_nobody_stands_in_for_a_watcher_who_could_not_start_the_guest_anew(xen: ScriptedXen) -> None:
    """the guest would be ended at its next reboot, and not come back"""
    xen.watched("pv1", xen.add("pv1"), 361)
    xen.xls.clear()
    xen.instead["-N"] = lambda *_: (0, libxl_json.dump(config("pv1", kind="pvh")))
    with pytest.raises(Failed) as failed:
        xen.host.run(xen.host.toolstack.watch(look(xen)))
    assert failed.value.id == "needs-domain-config"
    assert not xen.stood_in


def test_fact_1_a_renamed_domain_is_watched_under_its_old_name(xen: ScriptedXen) -> None:
    xen.watched("before", xen.add("pv1"), 361)
    assert xen.host.run(xen.host.toolstack.hold_watcher(look(xen))) is not None


@pytest.mark.parametrize(
    ("kind", "drivers", "can"), [("pv", True, False), ("pvh", True, False), ("hvm", True, False), ("hvm", False, True)]
)
def test_fact_3_a_paused_guest_must_suspend_itself_and_cannot(
    xen: ScriptedXen, kind: str, *, drivers: bool, can: bool
) -> None:
    """xl would wait a minute and fail; only an HVM guest without drivers for Xen is saved from outside"""
    domid = xen.add("pv1", kind=kind, letters="--p---", xvda="a.raw")
    xen.guests[domid].connected = drivers
    assert bool(look(xen).no_paused_save) is not can


def test_fact_3_what_an_hvm_guest_that_never_ran_could_do_is_not_known(xen: ScriptedXen) -> None:
    """restored standing still, its drivers have connected to nothing yet, and xl would wait a minute for them"""
    domid = xen.add("pv1", kind="hvm", letters="--p---", xvda="a.raw")
    xen.guests[domid].connected = xen.guests[domid].ran = False
    assert "before it has run" in look(xen).no_paused_save


def test_fact_3_a_guest_that_hangs_cannot_be_saved_and_is_named_as_one(xen: ScriptedXen) -> None:
    """libxl takes its request back after a minute; the guest is as before"""
    xen.add("pv1")
    said = b"libxl: error: libxl_dom_suspend.c: guest didn't acknowledge suspend, cancelling request\n"
    xen.instead["save"] = lambda *_: (1, said)
    with pytest.raises(Failed, match="acknowledge") as caught:
        save(xen)
    assert (caught.value.id, caught.value.effect) == ("guest-silent", Effect.NONE)
    assert "xensnap domain stop pv1" in caught.value.remedy
    assert look(xen).state is RunState.RUNNING


def test_fact_4_pauses_are_counted(xen: ScriptedXen) -> None:
    domid = xen.add("pv1")
    xen.host.run(xen.host.toolstack.pause(look(xen)))
    xen.guests[domid].pauses += 1  # somebody else
    with pytest.raises(Failed) as caught:
        xen.host.run(xen.host.toolstack.unpause(look(xen)))
    assert (caught.value.id, xen.guests[domid].pauses) == ("still-paused", 1)


def test_fact_4_a_guest_that_was_paused_before_its_save_is_paused_once_after_it(xen: ScriptedXen) -> None:
    domid = xen.add("pv1", kind="hvm", letters="--p---")
    save(xen)
    assert xen.guests[domid].pauses == 1


def test_fact_5_exit_codes_lie(xen: ScriptedXen) -> None:
    xen.add("pv1")
    for verb, face in (("pause", xen.host.toolstack.pause), ("unpause", xen.host.toolstack.unpause)):
        xen.guests[1].pauses = int(verb == "unpause")
        xen.instead[verb] = lambda _: (0, b"libxl: error: Domain 1:Non-existant domain\n")
        with pytest.raises(Failed, match="Non-existant domain"):
            xen.host.run(face(look(xen)))


def test_fact_5_an_error_keeps_the_words_of_xl(xen: ScriptedXen) -> None:
    xen.instead["list"] = lambda *_: (1, b"xencall: error: Could not obtain handle on privileged command interface\n")
    with pytest.raises(Failed, match="privileged command interface") as caught:
        xen.host.run(xen.host.toolstack.domains())
    assert caught.value.effect is Effect.NONE


def test_fact_6_a_failed_save_leaves_no_fragment_and_a_guest_that_runs(xen: ScriptedXen) -> None:
    """on a full file system the domain resumes, rc 1, and 20 MB stay"""
    xen.add("pv1")

    def full(_: str, __: str, path: str) -> tuple[int, bytes]:
        Path(path).write_bytes(save_bytes(config("pv1"))[:500])
        return 1, b"libxl: error: write to save file: No space left on device\n"

    xen.instead["save"] = full
    with pytest.raises(Failed, match="No space left on device") as caught:
        save(xen)
    assert caught.value.effect is Effect.NONE
    assert (xen.place / "m.save").read_bytes() == b""
    assert look(xen).state is RunState.RUNNING


def test_fact_6_nothing_is_saved_over_what_is_there_and_only_we_can_read_it(xen: ScriptedXen) -> None:
    """xl truncates at once, before anything can fail, and makes new files 0644"""
    xen.add("pv1")
    path = save(xen)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before, told = path.read_bytes(), len(xen.told)

    async def again() -> None:
        async with xen.host.toolstack.saving(look(xen), to=str(path)) as saving:
            await saving.suspended()

    with pytest.raises(Refused) as caught:
        xen.host.run(again())
    assert caught.value.id == "not-empty"
    assert path.read_bytes() == before
    assert all(words[0] != "save" for words in xen.told[told:])


def test_fact_7_a_guest_that_a_killed_save_left_suspended_is_revived(xen: ScriptedXen) -> None:
    domid = xen.add("pv1")

    def killed(*_: str) -> tuple[int, bytes]:
        xen.guests[domid].letters = "---ss-"
        return -9, b""

    xen.instead["save"] = killed
    with pytest.raises(Failed):
        save(xen)
    assert ("revive", "-c", str(domid)) in xen.told
    assert look(xen).state is RunState.RUNNING


def test_fact_7_and_one_that_suspends_itself_only_when_xl_was_killed_already(tmp_path: Path) -> None:
    """it was asked to, and nobody has taken that back"""

    class Late(ScriptedXen):
        looks_left = 0

        def _list(self, *words: str) -> tuple[int, bytes]:
            self.looks_left -= 1
            if not self.looks_left:
                self.guests[1].letters = "---ss-"
            return super()._list(*words)

    def killed(*_: str) -> tuple[int, bytes]:
        late.looks_left = 5
        return -9, b""

    late = Late(tmp_path)
    late.add("pv1")
    late.instead["save"] = killed
    with pytest.raises(Failed):
        save(late)
    assert late.looks_left <= 0
    assert look(late).state is RunState.RUNNING


def test_a_save_that_is_given_up_between_its_phases_leaves_the_guest_as_it_was(xen: ScriptedXen) -> None:
    xen.add("pv1")
    path = save(xen, stop_before_finish=True)
    assert look(xen).state is RunState.RUNNING
    assert path.read_bytes() == b""


@pytest.mark.parametrize(
    ("then", "state"),
    [(Then.SAME, RunState.RUNNING), (Then.RUNNING, RunState.RUNNING), (Then.PAUSED, RunState.PAUSED)],
)
@pytest.mark.parametrize("live", [False, True])
def test_after_a_save_the_guest_does_what_was_asked(
    xen: ScriptedXen, then: Then, state: RunState, *, live: bool
) -> None:
    xen.add("pv1", kind="pvh")
    assert save(xen, then=then, live=live).read_bytes().endswith(savefile.END)
    assert look(xen).state is state


def test_a_guest_that_stops_after_its_save_is_remembered(xen: ScriptedXen) -> None:
    xen.add("pv1")
    xen.guests[1].config = config("pv1", disks=[disk("xvda", xen.image("a.raw"), "raw")])
    xen.userdata(1).write_bytes(libxl_json.dump(xen.guests[1].config) + b"\0")
    save(xen, then=Then.STOPPED)
    found = look(xen)
    assert (found.state, found.domid, found.uuid) == (RunState.OFF, None, UUID)
    assert [each.path for each in found.disks] == [xen.image("a.raw")]


def restored(xen: ScriptedXen, tops: list[Layer], *, code: int = 0) -> None:
    """`xl restore` brings up what it is fed, and QEMU has these images open."""

    def restore(*_: str) -> tuple[int, bytes]:
        head = savefile.parse(xen.fed[: savefile.length(xen.fed[:48], path="x")], path="x")
        xen.enter(head.config, "--p---", ran=False)
        return code, b"xc: info: Restore successful\n"

    xen.instead["restore"] = restore
    xen.monitor["query-named-block-nodes"] = [
        {
            "node-name": f"xvd{'ab'[at]}-{top.format}",
            "drv": top.format.value,
            "ro": False,
            "image": {"filename": top.path},
        }
        for at, top in enumerate(tops)
    ]
    backends = [
        {"id": 10 + at, "type": "block-backend", "name": f"/machine/unattached/device[{at}]"} for at in range(len(tops))
    ]
    nodes = [{"id": at, "type": "block-driver", "name": f"xvd{'ab'[at]}-{top.format}"} for at, top in enumerate(tops)]
    edges = [{"parent": 10 + at, "child": at, "name": "root"} for at in range(len(tops))]
    xen.monitor["x-debug-query-block-graph"] = {"nodes": backends + nodes, "edges": edges}


def bring_back(xen: ScriptedXen, layer: Layer) -> Domain:
    memory = xen.place / "m.save"
    memory.write_bytes(save_bytes(config("old-name", disks=[disk("xvda", "/images/base.raw", "raw")])))
    return xen.host.run(
        xen.host.toolstack.restore(str(memory), uuid=DomainUuid(UUID), layers={"xvda": layer}, paused=True)
    )


def off(xen: ScriptedXen, name: str = "pv1", uuid: str = UUID) -> Layer:
    """A domain that is off, and the raw image that it has."""
    layer = Layer(xen.image(f"{name}.raw"), Format.RAW)
    xen.enter(config(name, uuid, disks=[disk("xvda", layer.path, "raw")]))
    xen.host.run(xen.host.toolstack.destroy(look(xen, name)))
    return layer


def test_fact_14_and_23_a_save_file_names_old_images_and_is_restored_on_those_that_are_meant(xen: ScriptedXen) -> None:
    layer = off(xen)
    restored(xen, [layer])
    found = bring_back(xen, layer)
    assert (found.uuid, found.name, found.state) == (UUID, "pv1", RunState.PAUSED)
    assert [each.layer for each in found.disks] == [layer]
    assert xen.fed.endswith(b"LibxlFmt" + bytes(100) + savefile.END)
    assert b"/images/base.raw" not in xen.fed


@pytest.mark.parametrize("tops", [0, 1])
def test_fact_8_a_restore_without_its_disk_is_no_success(xen: ScriptedXen, tops: int) -> None:
    """xl says successful, and the guest runs without its disk; or on another one than was meant"""
    layer = off(xen)
    restored(xen, [Layer(xen.image("wrong.raw"), Format.RAW)][:tops])
    (xen.place / "logs" / "qemu-dm-pv1.log").write_text(
        "xen-qemu-system-i386: failed to create 'qdisk' device '51712': failed to create drive: Image is not in qcow2\n"
    )
    with pytest.raises(Failed, match="failed to create 'qdisk' device") as caught:
        bring_back(xen, layer)
    assert caught.value.id == "start-failed"
    assert not xen.guests
    assert look(xen).state is RunState.OFF


def test_fact_9_every_start_has_a_new_domid_and_the_domain_is_the_same(xen: ScriptedXen) -> None:
    layer = off(xen)
    restored(xen, [layer])
    assert bring_back(xen, layer).domid == 2
    xen.host.run(xen.host.toolstack.destroy(look(xen)))
    assert bring_back(xen, layer).domid == 3


@pytest.mark.parametrize("who", ["pv1", "another"])
def test_fact_12_nothing_is_restored_beside_a_domain_of_this_name_or_uuid(xen: ScriptedXen, who: str) -> None:
    """two restores at once both succeed, and two guests write to one image"""
    layer = off(xen)
    restored(xen, [layer])
    xen.enter(config(who, OTHER if who == "pv1" else UUID))
    memory = xen.place / "m.save"
    memory.write_bytes(save_bytes(config("pv1", disks=[disk("xvda", layer.path, "raw")])))
    work = xen.host.toolstack.restore(str(memory), uuid=DomainUuid(UUID), layers={"xvda": layer}, paused=True)
    with pytest.raises(Failed) as caught:
        xen.host.run(work)
    assert caught.value.effect is Effect.NONE
    assert len(xen.guests) == 1


@pytest.mark.parametrize("ours", [True, False])
def test_only_what_was_started_here_is_ended_when_the_start_has_failed(xen: ScriptedXen, *, ours: bool) -> None:
    """xl takes back what it could not start; somebody else may have started the guest meanwhile, and works with it"""
    layer = off(xen)
    restored(xen, [layer], code=1)
    restore = xen.instead["restore"]

    def late(*words: str) -> tuple[int, bytes]:
        told = restore(*words)
        for guest in xen.guests.values():
            guest.ran, guest.pauses = not ours, int(ours)
        return told

    xen.instead["restore"] = late
    with pytest.raises(Failed) as caught:
        bring_back(xen, layer)
    assert ("stays" in caught.value.cause) is not ours
    assert look(xen).state is (RunState.OFF if ours else RunState.RUNNING)


def test_libxl_is_asked_again_where_it_had_no_patience_with_a_new_qemu(xen: ScriptedXen) -> None:
    layer = off(xen)
    restored(xen, [layer])
    restore, tried = xen.instead["restore"], []

    def impatient(*words: str) -> tuple[int, bytes]:
        tried.append(words)
        if len(tried) == 1:
            return 1, b"libxl: error: libxl_dm.c:3381:device_model_postconfig_done: Domain 5:Post DM startup, rc=-9\n"
        return restore(*words)

    xen.instead["restore"] = impatient
    assert bring_back(xen, layer).state is RunState.PAUSED


def test_fact_12_a_name_of_digits_is_a_name_first(xen: ScriptedXen) -> None:
    first = xen.add("2")
    second = xen.add("other", uuid=OTHER)
    assert (first, second) == (1, 2)
    assert look(xen, "2").domid == 1
    assert look(xen, OTHER).domid == 2
    assert look(xen, "1").domid == 1
    xen.host.run(xen.host.toolstack.pause(look(xen, "2")))
    assert xen.told[-2] == ("pause", "1")


def test_two_domains_of_one_name_are_told_apart_by_uuid_only(xen: ScriptedXen) -> None:
    xen.add("pv1")
    xen.add("pv1", uuid=OTHER)
    with pytest.raises(Refused) as caught:
        look(xen)
    assert caught.value.id == "ambiguous-domain"
    assert look(xen, OTHER).domid == 2


def test_fact_12_of_twins_the_one_that_is_meant_is_ended_and_of_a_guest_that_rebooted_what_it_is_now(
    xen: ScriptedXen,
) -> None:
    first, second = xen.add("pv1"), xen.add("pv1")
    twin = next(each for each in xen.host.run(xen.host.toolstack.domains()) if each.domid == second)
    xen.host.run(xen.host.toolstack.destroy(twin))
    assert list(xen.guests) == [first]
    before = look(xen)
    xen.guests.clear()
    xen.add("pv1")
    xen.host.run(xen.host.toolstack.destroy(before))
    assert not xen.guests


def test_a_domain_that_is_not_there_is_not_found_and_those_that_are_named(xen: ScriptedXen) -> None:
    xen.add("pv1")
    with pytest.raises(NotFound, match="no domain 'nobody'") as caught:
        look(xen, "nobody")
    assert caught.value.remedy.startswith("There are: 'pv1'. One that is off is known by the file")


def test_a_new_uuid_at_each_create_is_the_same_guest_if_name_and_images_are(xen: ScriptedXen) -> None:
    layer = off(xen)
    xen.enter(config("pv1", OTHER, disks=[disk("xvda", layer.path, "raw")]))
    found = look(xen)
    assert (found.uuid, found.state) == (UUID, RunState.RUNNING)
    assert look(xen, OTHER) == found
    xen.userdata(2).write_bytes(libxl_json.dump(config("pv1", OTHER, disks=[disk("xvda", "/other", "raw")])))
    assert {each.uuid for each in xen.host.run(xen.host.toolstack.domains())} == {UUID, OTHER}
    assert look(xen).uuid == OTHER, "the name means the one that is there"


def test_what_lies_in_a_drive_does_not_tell_who_a_guest_is(xen: ScriptedXen) -> None:
    layer = off(xen)
    drive = disk("hdc", "/iso", "raw") | {"readwrite": 0, "is_cdrom": 1}
    xen.enter(config("pv1", OTHER, disks=[disk("xvda", layer.path, "raw"), drive]))
    assert look(xen).uuid == UUID


def test_a_name_of_two_that_are_off_is_ambiguous(xen: ScriptedXen) -> None:
    off(xen)
    place = xen.place / "store"
    text = (place / UUID / "description.json").read_text()
    (place / OTHER).mkdir()
    (place / OTHER / "description.json").write_text(text)
    with pytest.raises(Refused) as caught:
        look(xen)
    assert caught.value.id == "ambiguous-domain"
    assert look(xen, OTHER).uuid == OTHER


@pytest.mark.parametrize(
    ("kind", "caps", "can"),
    [
        ("pv", "pv hvm hap", False),
        ("pv", "pv shadow", True),
        ("pvh", "hvm hap", True),
        ("hvm", "hvm shadow", True),
        ("hvm", "hvm", False),
    ],
)
def test_live_a1_what_xen_can_log_is_asked_and_not_tried(xen: ScriptedXen, kind: str, caps: str, *, can: bool) -> None:
    xen.virt_caps = caps
    xen.add("pv1", kind=kind)
    assert look(xen).kind is GuestKind(kind)
    assert bool(look(xen).no_live_save) is not can


def test_live_a6_a_live_stream_that_breaks_off_leaves_the_guest_running(xen: ScriptedXen) -> None:
    xen.add("pv1", kind="pvh")

    def full(path: Path) -> None:
        path.write_bytes(b"half")
        raise Failed("No space left on device", id="save-failed")

    xen.stream = full
    with pytest.raises(Failed, match="No space left on device") as caught:
        save(xen, live=True)
    assert caught.value.effect is Effect.NONE
    assert look(xen).state is RunState.RUNNING
    assert (xen.place / "m.save").read_bytes() == b""
    assert not any(words[0] == "destroy" for words in xen.told)
    assert not look(xen).no_live_save


def test_live_b3_what_a_domain_starts_from_next_is_switched_in_every_source(xen: ScriptedXen) -> None:
    domid = xen.add("pv1", xvda="a.raw", xvdb="b.raw")
    xen.userdata(domid, "xl").write_text("stale: `xl config-update` would win at the next reboot")
    layer = Layer(str(xen.place / "images" / "o.qcow2"), Format.QCOW2)
    xen.host.run(xen.host.toolstack.set_layers(DomainUuid(UUID), {"xvdb": layer}))
    stored = xen.userdata(domid).read_bytes()
    assert stored.endswith(b"}\0")
    assert [each.path for each in libxl_json.disks(libxl_json.parse(stored, source="x"))] == [
        xen.image("a.raw"),
        layer.path,
    ]
    assert [path.name for path in (xen.place / "userdata").iterdir()] == [xen.userdata(domid).name]
    xen.guests.clear()
    assert look(xen).disks[1].layer == layer


def test_live_b3_a_disk_that_is_not_there_changes_nothing(xen: ScriptedXen) -> None:
    domid = xen.add("pv1", xvda="a.raw")
    before = xen.userdata(domid).read_bytes()
    with pytest.raises(NotFound):
        xen.host.run(xen.host.toolstack.set_layers(DomainUuid(UUID), {"xvdz": Layer("/o", Format.QCOW2)}))
    assert xen.userdata(domid).read_bytes() == before


def test_fact_19_and_20_qemu_is_asked_on_its_second_monitor_and_let_go_on_before_a_snapshot(xen: ScriptedXen) -> None:
    """after a save of an HVM guest it has given its images up, and calls that a question of formats"""
    xen.add("pv1", xvda="a.raw")
    restored(xen, [Layer(xen.image("a.raw"), Format.RAW)])
    for status, conts in (("paused", 1), ("restore-vm", 1), ("running", 0)):
        xen.asked.clear()
        xen.monitor["query-status"] = {"status": status}
        xen.monitor["query-jobs"] = []
        xen.host.run(xen.host.blocks.transaction(look(xen), []))
        assert xen.asked.count("cont") == conts


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"[" * 99999, b'{"config": {"c_info": 1}}', b"\xff"])
def test_a_description_that_cannot_be_read_keeps_nobody_from_other_domains(xen: ScriptedXen, text: bytes) -> None:
    off(xen)
    xen.enter(config("other", OTHER))
    (xen.place / "store" / UUID / "description.json").write_bytes(text)
    assert [each.name for each in xen.host.run(xen.host.toolstack.domains())] == ["other"]


def test_a_domain_that_is_off_and_has_no_description_is_what_the_newest_record_tells(xen: ScriptedXen) -> None:
    """of those with a configuration of libxl's; the others are of another host, or written by hand"""
    store, kept = xen.place / "store" / UUID, libxl_json.dump
    store.mkdir()
    for time_s, told in enumerate((kept(config("first")), kept(config("second")), b"name = 'third'")):
        snapshot = Snapshot(
            name=f"s{time_s}",
            domain_uuid=DomainUuid(UUID),
            domain_name="any",
            creation_time_s=time_s,
            state=RunState.OFF,
            consistency=Consistency.CLEAN,
            disks=(),
            domain_config=told.decode(),
        )
        (store / f"snapshotdata-d.s{time_s}.libxl-json").write_bytes(snapshot_record.encode(snapshot))
    assert [each.name for each in xen.host.run(xen.host.toolstack.domains())] == ["second"]


def test_a_domain_that_runs_is_not_started_again(xen: ScriptedXen) -> None:
    xen.add("pv1")
    with pytest.raises(Busy):
        xen.host.run(xen.host.toolstack.create(DomainUuid(UUID)))


def graph_of(xen: ScriptedXen, *roots: tuple[str, list[tuple[str, str]]]) -> None:
    """QEMU has these devices, each with its nodes (name and path), top first; all raw."""
    named, nodes, edges = [], [], []
    for at, (device, chain) in enumerate(roots):
        nodes.append({"id": 1000 + at, "type": "block-backend", "name": device})
        above, edge = 1000 + at, "root"
        for below, (name, path) in enumerate(chain):
            number = at * 10 + below
            named.append({"node-name": name, "drv": "raw", "ro": below > 0, "image": {"filename": path}})
            nodes.append({"id": number, "type": "block-driver", "name": name})
            edges.append({"parent": above, "child": number, "name": edge})
            above, edge = number, "backing"
    xen.monitor = {
        "query-status": {"status": "running"},
        "query-jobs": [],
        "query-named-block-nodes": named,
        "x-debug-query-block-graph": {"nodes": nodes, "edges": edges},
    }


@pytest.mark.parametrize("name", ["xvda-raw", "xvda-qcow2", "xvda-0123456789ab", "#block123"])
def test_fact_15_the_root_of_a_disk_is_found_by_a_name_in_its_chain_or_by_its_file(xen: ScriptedXen, name: str) -> None:
    """devices have no ids; a base that an overlay was committed into was opened without a name"""
    xen.add("pv1", xvda="a.raw", xvdb="b.raw")
    graph_of(
        xen,
        ("/machine/unattached/device[3]", [("xvdb-raw", xen.image("b.raw"))]),
        ("/machine/unattached/device[2]", [("top", xen.image("o.raw")), (name, xen.image("a.raw"))]),
    )
    found = xen.host.run(xen.host.blocks.nodes(look(xen)))
    assert [(node.vdev, node.node_name) for node in found] == [("xvda", "top"), ("xvdb", "xvdb-raw")]


def test_fact_16_an_image_that_is_open_twice_is_not_snapshotted(xen: ScriptedXen) -> None:
    """until the kernel of an HVM guest unplugs its emulated disks, each copy loses what the other writes"""
    xen.add("pv1", kind="hvm", xvda="a.raw")
    twice = [("ide0-hd0", [("#block1", xen.image("a.raw"))]), ("/machine/x", [("xvda-raw", xen.image("a.raw"))])]
    graph_of(xen, *twice)
    with pytest.raises(Refused) as caught:
        xen.host.run(xen.host.blocks.transaction(look(xen), [TakeInternal("xvda", "s")]))
    assert caught.value.id == "image-open-twice"
    assert "transaction" not in xen.asked
    graph_of(xen, twice[1])
    xen.host.run(xen.host.blocks.transaction(look(xen), [TakeInternal("xvda", "s")]))
    assert "transaction" in xen.asked


def test_fact_17_a_disk_on_blkback_is_told_as_such_and_not_looked_for_in_qemu(xen: ScriptedXen) -> None:
    xen.add("pv1", xvda="a.raw")
    xen.instead["block-list"] = lambda domid: (
        0,
        f"Vdev\n51712 0 1 4 8 8 /local/domain/0/backend/vbd/{domid}/51712\n".encode(),
    )
    assert [each.backend for each in look(xen).disks] == [Backend.PHY]
    graph_of(xen)
    assert xen.host.run(xen.host.blocks.nodes(look(xen))) == ()


def test_a_configuration_is_asked_for_again_only_when_libxl_keeps_another_one(xen: ScriptedXen) -> None:
    """`xl list -l` is the dear one, and every step of an operation looks anew"""
    domid = xen.add("pv1", xvda="a.raw")

    def asked() -> int:
        before = xen.told.count(("list", "-l"))
        look(xen, str(domid))
        return xen.told.count(("list", "-l")) - before

    assert (asked(), asked()) == (1, 0)
    told = libxl_json.with_layers(config("pv1", disks=[disk("xvda", "a.raw", "raw")]), {"xvda": Layer("b", Format.RAW)})
    xen.userdata(domid).write_bytes(libxl_json.dump(told) + b"\0")
    assert (asked(), asked()) == (1, 0)
    assert look(xen).disks[0].path == "b"
    xen.guests[domid].config = config("other")
    assert (asked(), asked()) == (1, 0)


def test_nobody_can_say_how_long_a_guest_of_xl_may_stand_still(xen: ScriptedXen) -> None:
    """xl stops it after five rounds, or when few pages are left"""
    xen.add("pv1")
    assert Capability.DOWNTIME_LIMIT not in xen.host.capabilities
    with pytest.raises(Refused) as caught:
        xen.host.toolstack.saving(look(xen), to="/m", live=True, max_downtime_s=1.0)
    assert caught.value.id == "no-downtime-limit"


@pytest.mark.parametrize(("status", "refused"), [(1, False), (-9, True)])
def test_live_a6_a_guest_whose_migration_was_killed_is_not_streamed_again(
    xen: ScriptedXen, status: int, *, refused: bool
) -> None:
    """Xen logs its writes until another migration ends that, and one of these found its guest dead"""
    domid = xen.add("pv1", kind="pvh", xvda="a.raw")
    xen.migration_status = status
    with suppress(Failed):
        save(xen, live=True, stop_before_finish=True)
    assert ("broke off" in look(xen).no_live_save) is refused
    xen.userdata(domid, "xensnap-live").unlink(missing_ok=True)  # libxl does, with the domain
    assert not look(xen).no_live_save


def test_live_a6_a_guest_whose_stream_broke_off_at_its_source_is_not_streamed_again(xen: ScriptedXen) -> None:
    """where only the helper of xl was killed, xl ends with 1, as it does in the end of a good stream"""
    xen.add("pv1", kind="pvh")

    def broken(_: Path) -> None:
        raise Failed("the stream ends after 40000000 bytes", id="stream-broken")

    xen.stream = broken
    with pytest.raises(Failed):
        save(xen, live=True)
    assert "broke off" in look(xen).no_live_save


def test_live_a6_a_note_of_before_the_host_booted_is_of_another_domain(xen: ScriptedXen) -> None:
    xen.userdata(xen.add("pv1", kind="pvh"), "xensnap-live").write_text("another boot")
    assert not look(xen).no_live_save
