"""Which snapshots stay and what they are called: pin, prune, rename, edit, and deleting many at once."""

import pytest


def names(shell) -> list[str]:
    return [each["name"] for each in shell.json("list", "guest1")["snapshots"]]


@pytest.fixture
def five(both):
    for name in "abcde":
        both.ok("create", "guest1", "-n", name)
    return both


def test_a_pinned_snapshot_is_kept_by_all_but_who_takes_the_risk(five) -> None:
    five.ok("pin", "guest1", "b", "--owner", "me", "--why", "the good one")
    for words in (["b"], ["a", "--children"], ["--all"]):
        told = five.error("delete", "guest1", *words)
        assert told["id"] == "pinned"
        assert "the good one" in told["cause"]
        assert "--accept pinned" in told["remedy"]
    five.ok("delete", "guest1", "--keep-last", "1")
    assert names(five) == ["b", "e"]
    five.ok("prune", "guest1", "--keep-last", "1")
    assert names(five) == ["b", "e"]
    warnings = five.json("delete", "guest1", "--all", "--accept", "pinned")["warnings"]
    assert warnings[0] == "accepted: 'b' is pinned by me: the good one"
    assert names(five) == []


def test_only_its_owner_pins_a_snapshot_again_and_anybody_unpins_it(sim) -> None:
    sim.ok("create", "guest1", "-n", "a")
    sim.ok("pin", "guest1", "a", "--owner", "me", "--until", "2h")
    assert sim.error("pin", "guest1", "a", "--owner", "you")["id"] == "pinned-by-another"
    assert sim.error("unpin", "guest1", "a", "--owner", "you")["id"] == "pinned-by-another"
    sim.ok("pin", "guest1", "a", "--owner", "me", "--until", "@99999999999")
    assert sim.json("list", "guest1")["snapshots"][0]["pin"]["until"] == "5138-11-16T09:46:39Z"
    sim.ok("unpin", "guest1", "a")
    assert sim.json("list", "guest1")["snapshots"][0]["pin"] is None


def test_what_is_deleted_many_at_once_is_told_and_nothing_is_no_error(five) -> None:
    assert five.json("delete", "guest1", "--older-than", "1d")["deleted"] == []
    assert five.json("delete", "guest1", "--keep-last", "2")["deleted"] == ["c", "b", "a"]
    assert five.json("delete", "guest1", "--all")["deleted"] == ["e", "d"]
    assert five.ok("delete", "guest1", "--all") == "nothing to delete of guest1\n"
    assert five.ok("prune", "guest1", "--keep-last", "1") == "nothing to prune of guest1\n"


def test_a_dry_run_of_prune_tells_the_fate_of_each(five) -> None:
    text = five.ok("prune", "guest1", "--keep-last", "2", "--dry-run")
    assert "keep    d     one of the last 2" in text
    assert "delete  a     no rule keeps it" in text
    assert len(names(five)) == 5
    plan = five.ok("prune", "guest1", "--keep-last", "2", "--dry-run", "--json")
    (five.directory / "plan.json").write_text(plan)
    five.ok("apply", "plan.json")
    assert names(five) == ["d", "e"]


def test_a_renamed_snapshot_is_the_same_for_its_children_and_for_reverts(five) -> None:
    five.ok("rename", "guest1", "c", "centre")
    tree = {each["name"]: each for each in five.json("tree", "guest1")["snapshots"]}
    assert tree["centre"]["parent"] == "b"
    assert tree["d"]["parent"] == "centre"
    assert "tag 'c' in" in five.ok("list", "guest1", "centre", "-l")
    five.ok("rename", "guest1", "e", "end")
    assert five.json("current", "guest1")["current"] == "end"
    five.ok("revert", "guest1", "centre")
    five.ok("create", "guest1", "-n", "c")
    assert all(each["intact"] for each in five.json("info", "guest1")["snapshots"])
    five.ok("delete", "guest1", "centre")
    assert sorted(names(five)) == ["a", "b", "c", "d", "end"]


def test_a_checkpoint_that_was_renamed_leaves_its_name_to_another(sim) -> None:
    sim.ok("domain", "start", "guest1")
    sim.ok("create", "guest1", "-n", "a")
    sim.ok("rename", "guest1", "a", "old")
    sim.ok("create", "guest1", "-n", "a")
    told = {each["name"]: each["memory"] for each in sim.json("list", "guest1")["snapshots"]}
    assert told["old"].endswith("/a.save")
    assert told["a"].endswith("/a~2.save")
    sim.ok("delete", "guest1", "old")
    sim.ok("revert", "guest1", "a")


def test_a_description_is_changed_and_can_be_typed_in_an_editor(sim, monkeypatch) -> None:
    sim.ok("create", "guest1", "-n", "a", "--description", "first")
    sim.ok("describe", "guest1", "a", "second")
    assert sim.json("list", "guest1")["snapshots"][0]["description"] == "second"
    monkeypatch.setenv("EDITOR", "sed -i s/second/third/")
    sim.ok("edit", "guest1", "a")
    assert sim.json("list", "guest1")["snapshots"][0]["description"] == "third"
    monkeypatch.setenv("EDITOR", "true")
    assert sim.error("edit", "guest1", "a")["id"] == "interrupted"
