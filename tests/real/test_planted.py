"""What somebody else has planted where we write, or made his own of ours: nothing is written, read or removed by it."""

import json
import os

import pytest

from tests.real.lab import Lab
from tests.real.test_operators import record, store

NOBODY = 65534
PLACES = {
    "reserve": lambda lab: store(lab) / "reserve",
    "journal of before": lambda lab: store(lab) / "journal.1",
    "state": lambda lab: store(lab) / "domain.libxl-json",
    "state being written": lambda lab: store(lab) / ".domain.libxl-json.new",
    "record": lambda lab: record(lab, "two"),
    "record being written": lambda lab: store(lab) / ".snapshotdata-d.two.libxl-json.new",
    "copy of a record": lambda lab: lab.active()[0].with_name(f"{lab.active()[0].name}.xensnap.json"),
    "copy being written": lambda lab: lab.active()[0].with_name(f".{lab.active()[0].name}.xensnap.json.new"),
    "overlay that is asked for": lambda lab: lab.path("wanted.qcow2"),
}
"""Every name that an external create, or what comes after it, may give a file, and that can be known beforehand."""


@pytest.fixture
def guest(lab) -> Lab:
    """A domain with one disk and a snapshot of it."""
    lab.image("a.qcow2")
    lab.describe("guest", ("a.qcow2", "qcow2"))
    lab.ok("create", "guest", "-n", "one", "--type", "external")
    return lab


@pytest.mark.parametrize("what", ["link", "dangling link", "hard link"])
@pytest.mark.parametrize("where", PLACES)
def test_no_file_of_others_is_changed_by_what_is_planted_where_we_write(guest, where: str, what: str) -> None:
    victim, nowhere = guest.path("victim"), guest.path("nowhere")
    victim.write_bytes(b"somebody's")
    victim.chmod(0o640)
    planted = PLACES[where](guest)
    planted.unlink(missing_ok=True)
    if what == "hard link":
        planted.hardlink_to(victim)
    else:
        planted.symlink_to(victim if what == "link" else nowhere)
    shown = guest.shown()
    for words in (
        ["create", "guest", "-n", "two", "--disk", "xvda,external=wanted.qcow2"],
        ["create", "guest", "-n", "two", "--type", "external"],
        ["revert", "guest", "one"],
        ["undo", "guest"],
        ["delete", "guest", "one"],
        ["doctor", "guest", "--repair"],
        ["recover", "guest"],
    ):
        guest.run(*words)
        now = victim.stat()
        assert (victim.read_bytes(), now.st_mode & 0o7777) == (b"somebody's", 0o640), words
        assert not nowhere.exists(), words
    assert guest.shown() == shown


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="capability missing: only root gives files to others")


@needs_root
@pytest.mark.parametrize("name", ["", "journal", "domain.libxl-json", "snapshotdata-d.one.libxl-json", "lock"])
def test_what_belongs_to_another_in_the_store_stops_everything_and_is_told(guest, name: str) -> None:
    os.chown(store(guest) / name, NOBODY, NOBODY)
    for words in (["create", "guest"], ["revert", "guest", "one"], ["delete", "guest", "one"], ["recover", "guest"]):
        told = guest.refused(*words)
        assert (told["id"], told["exit_code"]) == ("store-not-trusted", 6)
        assert f"user {NOBODY}" in told["cause"]
    assert guest.snapshots() == ["one"]
    before = guest.everything()
    found = json.loads(guest.run("doctor", "guest", "--repair", "--json").stdout)["domains"][0]
    assert "store-not-trusted" in {each["id"] for each in found["findings"]}
    assert guest.everything() == before
    os.chown(store(guest) / name, 0, 0)
    guest.ok("revert", "guest", "one")
    guest.ok("doctor", "guest")


@pytest.mark.parametrize("place", ["snapshots", "snapshots/0f1e2d3c-4b5a-4978-8796-a5b4c3d2e1f0"])
def test_a_link_in_the_place_of_the_store_is_not_followed(guest, place: str) -> None:
    """It would be found out in the middle, when the names in a directory are to be made durable."""
    guest.path(place).rename(guest.path("kept"))
    guest.path(place).symlink_to(guest.path("kept"))
    assert guest.refused("revert", "guest", "one")["id"] == "store-not-trusted"
    guest.path(place).unlink()
    guest.path("kept").rename(guest.path(place))
    guest.ok("revert", "guest", "one")


@pytest.mark.parametrize(("mode", "trusted"), [(0o755, True), (0o775, True), (0o1777, True), (0o777, False)])
def test_who_can_only_add_stores_to_others_changes_none_of_them(guest, mode: int, trusted: bool) -> None:
    guest.path("snapshots").chmod(mode)
    if trusted:
        guest.ok("revert", "guest", "one")
    else:
        assert guest.refused("revert", "guest", "one")["id"] == "store-not-trusted"


@needs_root
def test_a_lost_store_is_not_rebuilt_from_what_another_has_written(guest) -> None:
    (copy,) = guest.directory.glob("*.xensnap.json")
    evil = copy.read_text().replace('"description": ""', '"description": "by another"')
    assert "by another" in evil
    copy.write_text(evil)
    os.chown(copy, NOBODY, NOBODY)
    for path in store(guest).iterdir():
        path.unlink()
    guest.run("doctor", "guest", "--repair")
    assert guest.snapshots() == []
    os.chown(copy, 0, 0)
    guest.ok("doctor", "guest", "--repair")
    assert guest.snapshots() == ["one"]
