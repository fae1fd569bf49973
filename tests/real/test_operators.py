"""What operators do by hand to files that are ours: renamed, edited, removed, damaged, planted.

Never a traceback, never a loss, always an exit code that tells the truth.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.conftest import require_tool
from tests.real.lab import Lab, command, honest, tool

ODD_NAMES = [
    "sp ace.qcow2",
    "co:lon.qcow2",
    "com,ma,,x.qcow2",
    "per%25cent%s.qcow2",
    "new\nline.qcow2",
    "-dash.qcow2",
    "back\\slash\"q'.qcow2",
    "ünï漢.qcow2",
    "json:{}.qcow2",
    "nbd:host.qcow2",
    "*.qcow2",
    "noending",
    ".hidden",
    "x.xvda.0123456789ab.qcow2",
    "a" * 200 + ".qcow2",
]


def store(lab: Lab) -> Path:
    (place,) = lab.path("snapshots").iterdir()
    return place


def record(lab: Lab, name: str) -> Path:
    return store(lab) / f"snapshotdata-d.{name}.libxl-json"


@pytest.fixture
def guest(lab) -> Lab:
    """A domain with one disk."""
    lab.image("a.qcow2")
    lab.describe("guest", ("a.qcow2", "qcow2"))
    return lab


# --- Names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["internal", "external"])
@pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
def test_whatever_an_image_is_called_it_comes_back(lab, name, kind) -> None:
    image = lab.image("plain").rename(lab.path(name))
    lab.describe("guest", (name, "qcow2"))
    shown = lab.content(image)
    lab.ok("create", "guest", "-n", "one", "--type", kind)
    lab.ok("create", "guest", "-n", "two")
    lab.guest_writes(9)
    lab.ok("revert", "guest", "one")
    assert lab.shown() == {"xvda": shown}
    lab.ok("delete", "guest", "two")
    lab.ok("delete", "guest", "one")
    assert lab.files() == {name, "guest.toml"}
    assert lab.content(image) == shown


def test_a_name_too_long_for_the_files_beside_it_changes_nothing(lab) -> None:
    name = "a" * 249 + ".qcow2"
    lab.image("plain").rename(lab.path(name))
    lab.describe("guest", (name, "qcow2"))
    assert lab.error("create", "guest", "-n", "one", "--type", "external")["exit_code"] in {1, 6}
    assert lab.files() == {name, "guest.toml"}
    lab.ok("recover")
    lab.ok("create", "guest", "-n", "two")


def test_an_overlay_name_that_no_file_can_have_changes_nothing(guest) -> None:
    long = str(guest.path("o" * 252 + ".qcow2"))
    assert guest.error("create", "guest", "-n", "one", "--disk", f"xvda=external:{long}")["exit_code"] in {1, 6}
    assert guest.files() == {"a.qcow2", "guest.toml"}
    guest.ok("create", "guest", "-n", "two")


@pytest.mark.parametrize("how", ["./", "link/", "absolute"])
def test_another_spelling_of_a_path_is_the_same_file(guest, how) -> None:
    file = guest.path("guest.toml")
    guest.ok("create", "guest", "-n", "one", "--type", "external")
    guest.guest_writes(5)
    guest.ok("create", "guest", "-n", "two")
    guest.guest_writes(6)
    guest.path("link").symlink_to(".")
    place = {"absolute": f"{guest.directory}/", "./": "./", "link/": "link/"}[how]
    file.write_text(file.read_text().replace('path = "', f'path = "{place}'))
    shown = guest.shown()
    guest.ok("delete", "guest", "two")
    assert guest.shown() == shown
    guest.ok("delete", "guest", "one")
    assert guest.shown() == shown
    assert guest.files() == {"a.qcow2", "guest.toml", "link"} - ({"link"} if guest.path("link").is_dir() else set())
    assert guest.active()[0].resolve() == guest.path("a.qcow2")


# --- Files that were moved, edited or removed ------------------------------------------------------------------------


def test_an_overlay_that_is_away_for_a_while_keeps_what_it_stands_on(guest) -> None:
    away = guest.directory.parent / "away"
    away.mkdir()
    guest.ok("create", "guest", "-n", "one", "--type", "external")
    guest.guest_writes(5)
    guest.ok("create", "guest", "-n", "two", "--external-dir", str(away))
    guest.guest_writes(6, at="1M")
    shown = guest.shown()
    away.rename(f"{away}.unmounted")
    for name in ("two", "one"):
        guest.ok("delete", "guest", name)
    Path(f"{away}.unmounted").rename(away)
    assert guest.shown() == shown
    guest.ok("create", "guest", "-n", "three")
    guest.ok("delete", "guest", "three")
    assert guest.shown() == shown
    assert guest.files() == {"a.qcow2", "guest.toml"}


def test_a_base_that_is_away_for_a_while_is_merged_when_it_is_back(guest) -> None:
    guest.ok("create", "guest", "-n", "one", "--type", "external")
    guest.guest_writes(5)
    shown = guest.shown()
    base = guest.path("a.qcow2")
    base.rename(guest.path("elsewhere"))
    for words in (["create", "guest", "-n", "two"], ["revert", "guest", "one"]):
        assert guest.refused(*words)["id"] == "image-missing"
    guest.ok("delete", "guest", "one")
    guest.path("elsewhere").rename(base)
    assert guest.shown() == shown
    guest.ok("create", "guest", "-n", "two")
    guest.ok("delete", "guest", "two")
    assert guest.shown() == shown
    assert guest.files() == {"a.qcow2", "guest.toml"}


def test_an_overlay_that_was_removed_by_hand_can_be_left_by_a_revert(guest) -> None:
    shown = guest.shown()
    guest.ok("create", "guest", "-n", "one", "--type", "external")
    guest.active()[0].unlink()
    assert guest.refused("create", "guest", "-n", "two")["id"] == "image-missing"
    guest.ok("revert", "guest", "one")
    assert guest.shown() == shown


def test_a_domain_file_that_is_wrong_is_named_and_no_other_domain_is_guessed_about(guest) -> None:
    guest.path("other.toml").write_text("name = ")
    told = guest.refused("create", "guest", "-n", "one")
    assert (told["id"], told["exit_code"]) == ("bad-domain-file", 2)
    assert "other.toml" in told["cause"]


def test_a_renamed_domain_keeps_its_snapshots(guest) -> None:
    shown = guest.shown()
    guest.ok("create", "guest", "-n", "one")
    file = guest.path("guest.toml")
    file.write_text(file.read_text().replace('name = "guest"', 'name = "renamed"'))
    file.rename(guest.path("renamed.toml"))
    guest.guest_writes(5, "renamed")
    guest.ok("revert", "renamed", "one")
    assert guest.shown("renamed") == shown


# --- The store -------------------------------------------------------------------------------------------------------


def test_a_damaged_record_is_told_and_never_written_over(guest) -> None:
    guest.ok("create", "guest", "-n", "one")
    damaged = record(guest, "one")
    damaged.write_text("{" + damaged.read_text())
    assert "cannot be read" in guest.run("list", "guest").stderr
    told = guest.refused("create", "guest", "-n", "one")
    assert (told["id"], told["exit_code"]) == ("name-taken", 4)
    damaged.write_text(damaged.read_text()[1:])
    assert guest.snapshots() == ["one"]


@pytest.mark.parametrize("what", ["directory", "link", "fifo", "another's", "copy"])
def test_a_record_that_is_none_keeps_nobody_from_the_others(guest, what) -> None:
    guest.ok("create", "guest", "-n", "one")
    guest.ok("create", "guest", "-n", "two")
    planted = record(guest, "planted")
    match what:
        case "directory":
            planted.mkdir()
        case "link":
            planted.symlink_to(record(guest, "one"))
        case "fifo":
            os.mkfifo(planted)
        case "copy":
            shutil.copy(record(guest, "one"), planted)
        case _:
            told = json.loads(record(guest, "one").read_text())
            told |= {"name": "planted", "domain_uuid": "1f1e2d3c-4b5a-4978-8796-a5b4c3d2e1f0"}
            planted.write_text(json.dumps(told))
    assert guest.snapshots() == ["one", "two"]
    assert "planted" in guest.run("list", "guest").stderr
    guest.ok("revert", "guest", "one")
    guest.ok("delete", "guest", "one")
    assert guest.snapshots() == ["two"]
    assert planted in store(guest).iterdir()


@pytest.mark.parametrize("form", ["snapshotdata-one.libxl-json", "snapshotdata-one.xl"])
def test_a_record_under_an_older_file_name_is_deleted_too(guest, form) -> None:
    guest.ok("create", "guest", "-n", "one")
    record(guest, "one").rename(store(guest) / form)
    guest.ok("create", "guest", "-n", "d.one")
    guest.ok("delete", "guest", "one")
    assert guest.snapshots() == ["d.one"]
    guest.ok("revert", "guest", "d.one")


def test_deleting_one_never_takes_the_record_of_another_with_a_name_like_it(guest) -> None:
    for name in ("x", "d.x", "x.xl", "d.x.xl"):
        guest.ok("create", "guest", "-n", name)
    guest.ok("delete", "guest", "d.x")
    assert guest.snapshots() == ["x", "x.xl", "d.x.xl"] or set(guest.snapshots()) == {"x", "x.xl", "d.x.xl"}
    guest.ok("delete", "guest", "x")
    assert set(guest.snapshots()) == {"x.xl", "d.x.xl"}


def test_a_neighbour_whose_records_are_damaged_stops_the_merging(guest) -> None:
    guest.ok("create", "guest", "-n", "one", "--type", "external")
    guest.image("b.qcow2")
    guest.describe("other", ("b.qcow2", "qcow2"))
    guest.ok("create", "other", "-n", "theirs")
    (theirs,) = guest.directory.rglob("snapshotdata-d.theirs.libxl-json")
    text = theirs.read_text()
    theirs.write_text("")
    shown = guest.shown()
    assert "stays as a hidden base" in guest.run("delete", "guest", "one").stderr
    assert guest.shown() == shown
    theirs.write_text(text)
    guest.ok("create", "guest", "-n", "two")
    guest.ok("delete", "guest", "two")
    assert guest.files() == {"a.qcow2", "b.qcow2", "guest.toml", "other.toml"}
    assert guest.shown() == shown


@pytest.mark.parametrize("content", ["", "{}", "[]", "\udcff", '{"schema": 99}', "nonsense"])
def test_a_damaged_state_stops_what_changes_until_it_is_rebuilt(guest, content) -> None:
    guest.ok("create", "guest", "-n", "one", "--type", "external")
    (store(guest) / "domain.libxl-json").write_bytes(content.encode("utf-8", "surrogateescape"))
    before = guest.everything()
    for words in (["create", "-n", "two"], ["revert", "one"], ["delete", "one"]):
        result = guest.run(words[0], "guest", *words[1:])
        assert result.exit_code == 5, (words, result.output)
        assert "domain.libxl-json" in result.output
        assert "doctor --repair" in result.output
    for words in (["list"], ["info"]):
        assert "domain.libxl-json" in guest.run(words[0], "guest").stderr
    guest.ok("recover", "guest")
    assert guest.everything() == before
    guest.ok("doctor", "guest", "--repair")
    guest.ok("revert", "guest", "one")
    guest.ok("delete", "guest", "one")
    assert guest.files() == {"a.qcow2", "guest.toml"}


# --- The journal and the lock ----------------------------------------------------------------------------------------


def interrupted(lab: Lab, at: int = 2) -> None:
    """A create that was killed when it had begun so many steps; its qemu-img has ended by then, too."""
    words = command("-v", "create", "guest", "-n", "two", "--type", "external")
    environment = {**os.environ, "XENSNAP_HOST": lab.host}
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        for _ in range(at):
            assert process.stderr.readline().startswith("[")
        process.send_signal(signal.SIGKILL)
    with (store(lab) / "lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # what outlives it holds the lock that it has inherited, and may still write


@pytest.mark.parametrize("garbage", [b"\0" * 512, b"\xff\n\xfe\n", b"00000000 {}\n", b"half of a li"])
def test_garbage_at_the_end_of_the_journal_hides_nothing(guest, garbage) -> None:
    guest.ok("create", "guest", "-n", "one", "--type", "external")
    journal = store(guest) / "journal"
    with journal.open("ab") as file:
        file.write(garbage)
    guest.ok("create", "guest", "-n", "two")
    assert guest.json("recover")["recovered"] == []
    assert guest.snapshots() == ["one", "two"]


def test_an_operation_whose_beginning_is_unreadable_is_told_and_not_forgotten(guest) -> None:
    guest.ok("create", "guest", "-n", "one", "--type", "external")
    interrupted(guest)
    if guest.json("list", "guest")["pending"] is None:
        pytest.skip("it was done before it could be killed")
    journal = store(guest) / "journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    kept = list(lines)
    begun = max(number for number, line in enumerate(lines) if b'"type":"begin"' in line)
    lines[begun] = lines[begun].replace(b"create", b"cReate")
    journal.write_bytes(b"".join(lines))
    for words in (["create", "guest", "-n", "three"], ["recover", "guest"]):
        told = guest.refused(*words)
        assert told["id"] == "damaged"
    assert "cannot be read" in guest.json("list", "guest")["pending"]
    journal.write_bytes(b"".join(kept))
    guest.ok("recover", "guest")
    guest.ok("revert", "guest", "one")


@pytest.mark.parametrize("name", ["journal", "lock"])
@pytest.mark.parametrize("what", ["link", "dangling link", "hard link", "directory", "fifo"])
def test_what_is_planted_as_journal_or_lock_is_not_written_to(guest, name, what) -> None:
    guest.ok("create", "guest", "-n", "one")
    victim = guest.image("victim.qcow2")
    planted = store(guest) / name
    planted.unlink()
    match what:
        case "link":
            planted.symlink_to(victim)
        case "dangling link":
            planted.symlink_to(guest.path("nowhere"))
        case "hard link":
            planted.hardlink_to(victim)
        case "directory":
            planted.mkdir()
        case _:
            os.mkfifo(planted)
    content = victim.read_bytes()
    for words in (["create", "guest", "-n", "two"], ["recover", "guest"], ["list", "guest"]):
        honest(words, (result := guest.run(*words)).exit_code, result.output)
        assert result.exit_code != 5 or words[0] == "create"
    assert victim.read_bytes() == content
    assert not guest.path("nowhere").exists()


@pytest.mark.parametrize("what", ["file", "dangling link"])
def test_what_is_planted_as_the_store_is_told(guest, what) -> None:
    planted = guest.path("snapshots")
    planted.write_text("") if what == "file" else planted.symlink_to("nowhere")
    told = guest.error("create", "guest", "-n", "one")
    assert (told["exit_code"], told["effect"]) == (1 if what == "file" else 6, "none")
    assert guest.tags(guest.path("a.qcow2")) == []


def test_a_directory_that_all_may_write_to_makes_no_file_of_ours_readable(guest) -> None:
    guest.directory.chmod(0o777)
    before = os.umask(0)
    try:
        guest.ok("create", "guest", "-n", "one", "--type", "external")
    finally:
        os.umask(before)
    assert store(guest).stat().st_mode & 0o777 == 0o700
    assert guest.active()[0].stat().st_mode & 0o777 == 0o600
    for path in store(guest).iterdir():
        assert path.stat().st_mode & 0o777 == 0o600, path


AS_NOBODY = """
import asyncio, asyncio.subprocess, encodings.ascii, os, sys, tomlkit
import xensnap.backends.qemu.host, xensnap.cli.output, xensnap.engine.engine
from xensnap.cli import create, delete, list, operate, revert
from xensnap.cli.main import main
os.chdir("/")
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
main(sys.argv[1:])
"""


def test_a_user_without_rights_is_told_and_changes_nothing() -> None:
    if os.geteuid():
        pytest.skip("capability missing: only root can become another user")
    require_tool("qemu-img")
    with tempfile.TemporaryDirectory() as name:  # one whose path others may go along
        place = Path(name)
        place.chmod(0o755)
        (place / "images").mkdir(mode=0o755)
        guest = Lab(place / "images")
        guest.image("a.qcow2")
        guest.describe("guest", ("a.qcow2", "qcow2")).chmod(0o644)
        guest.ok("create", "guest", "-n", "one")
        before = guest.everything()
        for words in (["create", "-n", "two"], ["revert", "one"], ["delete", "one"], ["list"]):
            environment = {**os.environ, "XENSNAP_HOST": guest.host, "PYTHONDONTWRITEBYTECODE": "1"}
            line = [sys.executable, "-c", AS_NOBODY, words[0], "guest", *words[1:]]
            done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
            honest(words, done.returncode, done.stdout + done.stderr)
            assert done.returncode == 1, (words, done.stdout, done.stderr)
            assert "Permission denied" in done.stderr
        assert guest.everything() == before


# --- qemu-img by hand ------------------------------------------------------------------------------------------------

BY_HAND = {
    # what is run on the active layer, and the finding that tells of it
    "commit": (["commit", "-q", "-f", "qcow2", "-d"], "image-changed"),
    "rebase": (["rebase", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "a.qcow2"], ""),
    "rebase -u": (["rebase", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", "a.qcow2"], ""),
    "snapshot": (["snapshot", "-q", "-c", "by-hand"], "tag-unknown"),
}


@pytest.mark.parametrize("hand", BY_HAND)
def test_what_an_operator_did_with_qemu_img_costs_no_snapshot_that_he_did_not_touch(guest, hand) -> None:
    held = {}
    for number, name in enumerate(("one", "two"), 2):
        held[name] = guest.shown()
        guest.ok("create", "guest", "-n", name, "--type", "external")
        guest.guest_writes(number, at=f"{number}M")
    words, finding = BY_HAND[hand]
    tool("qemu-img", *words, str(guest.active()[0]))
    shown = guest.shown()
    found = [each["id"] for each in json.loads(guest.run("doctor", "guest", "--json").stdout)["domains"][0]["findings"]]
    assert found == [finding] * bool(finding), found
    if hand == "commit":
        assert guest.refused("revert", "guest", "two")["id"] == "image-changed"
        del held["two"]
    if hand == "snapshot":  # his tag would be lost with the overlay
        refused = guest.refused("revert", "guest", "one")
        assert refused["id"], refused
        tool("qemu-img", "snapshot", "-q", "-d", "by-hand", str(guest.active()[0]))
    guest.ok("create", "guest", "-n", "three")
    for name, content in held.items():
        guest.ok("revert", "guest", name)
        assert guest.shown() == content
    guest.ok("revert", "guest", "three")
    assert guest.shown() == shown
