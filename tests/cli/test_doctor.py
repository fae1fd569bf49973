"""`doctor` on the command line: what it prints, how it ends, and real files that it mends."""

import pytest

from tests.cli.test_json import validated


def test_a_healthy_domain_ends_with_zero(sim) -> None:
    sim.ok("create", "guest1", "-n", "a")
    assert "all fits together" in sim.ok("doctor")


def test_real_files_are_compared_and_mended(qemu) -> None:
    qemu.ok("create", "guest1", "-n", "a")
    qemu.ok("create", "guest1", "-n", "b")
    assert validated(qemu.ok("doctor", "guest1", "--check", "--json"))["domains"][0]["findings"] == []
    store = next((qemu.directory / "snapshots").iterdir()) if (qemu.directory / "snapshots").exists() else None
    store = store or next(path.parent for path in qemu.directory.rglob("domain.libxl-json"))
    (store / "domain.libxl-json").write_bytes(b"\0\0\0")
    (store / "nobody.save").write_bytes(b"memory")
    (store / "nobody.save").chmod(0o600)
    assert qemu.run("list", "guest1").exit_code == 0
    refused = qemu.error("create", "guest1", "-n", "c")
    assert (refused["id"], refused["exit_code"]) == ("state-damaged", 5)
    assert "doctor --repair" in refused["remedy"]
    result = qemu.run("doctor", "guest1", "--json")
    told = validated(result.stdout)["domains"][0]
    assert {each["id"] for each in told["findings"]} >= {"state-damaged", "leftover"}
    assert result.exit_code == 5
    told = validated(qemu.ok("doctor", "guest1", "--repair", "--check", "--json"))["domains"][0]
    assert {each["id"] for each in told["repaired"]} == {"state-damaged", "leftover"}
    assert (told["findings"], told["failed"]) == ([], [])
    qemu.ok("revert", "guest1", "a")
    qemu.ok("delete", "guest1", "b")
    assert "all fits together" in qemu.ok("doctor", "--check")


@pytest.mark.parametrize("other", ["link/b.raw", "images//b.raw"])
def test_real_files_in_one_directory_that_is_spelled_in_two_ways_are_left_alone(qemu, tmp_path, other) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "images")
    description = tmp_path / "images" / "guest1.toml"
    description.write_text(description.read_text().replace('"b.raw"', f'"{tmp_path}/{other}"'))
    for name in ("one", "two", "three"):
        qemu.ok("create", "guest1", "-n", name)
        there = {path.name for path in (tmp_path / "images").iterdir()}
        assert "all fits together" in qemu.ok("doctor", "--check")
        assert "repaired" not in qemu.ok("doctor", "--repair")
        assert {path.name for path in (tmp_path / "images").iterdir()} == there
    qemu.ok("delete", "guest1", "two")
    for name in ("one", "three"):
        qemu.ok("revert", "guest1", name)
        assert "all fits together" in qemu.ok("doctor", "--check")


@pytest.mark.parametrize("words", [["doctor", "guest1", "--all"], ["doctor", "nobody"]])
def test_what_makes_no_sense_is_refused(sim, words) -> None:
    assert sim.error(*words)["exit_code"] in (2, 3)
