"""What goes wrong is told in words with a remedy, as a document, and by an exit code; never as a traceback."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from xensnap.cli import records
from xensnap.cli.main import main
from xensnap.cli.output import table
from xensnap.errors import Effect, Failed, Unknown


@pytest.mark.parametrize(
    ("words", "id", "code"),
    [
        (["list", "nobody"], "domain-not-found", 3),
        (["list", "guest1", "nothing"], "no-such-snapshot", 3),
        (["info", "guest1", "nothing"], "no-such-snapshot", 3),
        (["revert", "guest1", "nothing"], "no-such-snapshot", 3),
        (["delete", "guest1", "nothing"], "no-such-snapshot", 3),
        (["create", "guest1", "-n", "before"], "name-taken", 4),
        (["create", "guest1", "-n", ".hidden"], "bad-name", 6),
        (["create", "guest1", "--exclude", "xvda"], "skips-writable-disk", 6),
        (["create", "guest1", "--disk", "xvdz=internal"], "no-such-disk", 6),
        (["create", "guest1", "--disk", "xvda"], "bad-disk", 2),
        (["create", "guest1", "--disk", "xvda=external:"], "bad-disk", 2),
        (["create", "guest1", "--disk", "xvda=external:here.qcow2"], "relative-path", 2),
        (["create", "guest1", "--external-dir", "here"], "relative-path", 2),
        (["create", "guest1", "--disk", "xvda=skip", "--disk", "xvda=internal"], "contradiction", 2),
        (["create", "guest1", "--disk", "xvda=skip", "--only", "xvda"], "contradiction", 2),
        (["create", "guest1", "--disk", "xvda=internal", "--only", "xvdb"], "contradiction", 2),
        (["create", "guest1", "--only", "xvda", "--exclude", "xvdb"], "contradiction", 2),
        (["create", "guest1", "--wait", "1", "--no-wait"], "contradiction", 2),
        (["create", "snapshot.cfg", "guest1"], "no-such-file", 3),
        (["create", "a", "b", "guest1"], "too-many-words", 2),
        (["list", "guest1", "one", "-n", "two"], "two-names", 2),
        (["list", "-n", "one"], "domain-missing", 2),
        (["list", "guest1", "-l", "--name-only"], "contradiction", 2),
        (["list", "guest1", "--csv", "--tree"], "contradiction", 2),
        (["list", "guest1", "--descendants"], "contradiction", 2),
        (["list", "guest1", "--from", "nothing"], "no-such-snapshot", 3),
        (["list", "--leaves"], "domain-missing", 2),
        (["list", "--tree"], "domain-missing", 2),
        (["list", "--long"], "domain-missing", 2),
        (["list", "--sort", "name"], "domain-missing", 2),
        (["parent", "guest1", "nothing"], "no-such-snapshot", 3),
        (["revert", "guest1"], "name-missing", 2),
        (["delete", "guest1"], "name-missing", 2),
        (["delete", "guest1", "before", "--children", "--children-only"], "contradiction", 2),
        (["delete", "guest1", "before", "--children-only"], "no-children", 6),
        (["delete", "guest1", "--all", "--children"], "contradiction", 2),
        (["delete", "guest1", "before", "--all"], "which-snapshots", 2),
        (["delete", "guest1", "--older-than", "soon"], "usage", 2),
        (["delete", "guest1", "before", "--accept", "everything"], "no-such-risk", 2),
        (["prune", "guest1"], "no-retention-rule", 2),
        (["prune", "nobody", "--keep-last", "1"], "domain-not-found", 3),
        (["pin", "guest1", "nothing"], "no-such-snapshot", 3),
        (["pin", "guest1", "before", "--until", "2001-01-01"], "pin-is-over", 2),
        (["pin", "guest1", "before", "--until", "0x1"], "usage", 2),
        (["unpin", "guest1", "before"], "not-pinned", 6),
        (["rename", "guest1", "before", "before"], "name-taken", 4),
        (["rename", "guest1", "before", "a/b"], "bad-name", 6),
        (["rename", "guest1", "nothing", "new"], "no-such-snapshot", 3),
        (["edit", "guest1", "nothing"], "no-such-snapshot", 3),
        (["recover", "guest1", "--all"], "contradiction", 2),
        (["recover", "--abort", "--resume"], "contradiction", 2),
        (["recover", "nobody"], "domain-not-found", 3),
        (["apply", "nothing.json"], "no-such-file", 3),
        (["apply", "."], "unreadable-file", 2),
        (["apply", "-"], "bad-plan", 2),
        (["nonsense"], "usage", 2),
        (["create"], "usage", 2),
        (["list", "--nonsense"], "usage", 2),
        (["list", "guest1", "\udc80"], "bad-text", 2),
        (["list", "gu\0est"], "bad-text", 2),
        (["--host", "nonsense", "list"], "bad-host", 2),
        (["--host", "qemu:", "list"], "bad-host", 2),
        (["--host", "xen", "list"], "no-such-program", 1),
        (["--host", "qemu:nowhere", "list"], "no-such-host", 3),
        (["--host", "sim:nowhere", "list"], "no-simulated-host", 3),
        (["--host", "sim:nowhere", "create", "guest1"], "no-simulated-host", 3),
        (["sim", "init"], "exists-already", 4),
        (["--host", "sim:nowhere", "sim", "reset"], "no-simulated-host", 3),
        (["--host", "qemu:nowhere", "sim", "show"], "not-simulated", 2),
        (["sim", "domain", "add", "guest1"], "name-taken", 2),
        (["sim", "domain", "add", "a/b"], "bad-domain-name", 2),
        (["sim", "domain", "add", "other", "--disk", "xvda"], "bad-disk", 2),
        (["sim", "domain", "add", "other", "--disk", "xvda=1M,raw,base=raw:/images/x"], "bad-disk", 2),
        (["sim", "domain", "add", "other", "--disk", "xvda=1M,raw,qcow2"], "bad-disk", 2),
        (["sim", "domain", "add", "other", "--disk", "xvda=1M,nonsense"], "bad-disk", 2),
        (["sim", "domain", "add", "other", "--disk", "xvda=1M", "--disk", "xvda=1M"], "contradiction", 2),
        (["sim", "domain", "add", "other", "--uuid", "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"], "uuid-taken", 2),
        (["sim", "disk", "add", "guest1", "xvda=1M"], "contradiction", 2),
        (["sim", "disk", "add", "nobody", "xvda=1M"], "domain-not-found", 3),
        (["sim", "disk", "resize", "guest1", "xvda", "0"], "bad-size", 2),
        (["sim", "disk", "resize", "guest1", "xvdz", "1M"], "disk-not-found", 3),
        (["sim", "write", "guest1", "xvda", "0", "0"], "bad-size", 2),
        (["sim", "write", "guest1", "xvda", "-1", "1k"], "usage", 2),
        (["sim", "write", "guest1", "xvda", "1", "1k"], "bad-size", 2),
        (["sim", "write", "guest1", "xvda", "1G", "1k"], "beyond-the-end", 2),
        (["sim", "write", "guest1", "xvda", "x", "1k"], "bad-size", 2),
        (["sim", "write", "guest1", "xvdz", "0", "1k"], "disk-not-found", 3),
        (["sim", "read", "guest1", "xvda", "1G"], "beyond-the-end", 2),
        (["sim", "read", "guest1", "xvdz"], "disk-not-found", 3),
    ],
    ids=lambda value: ascii(" ".join(value)) if isinstance(value, list) else str(value),
)
def test_each_mistake_has_its_id_and_its_exit_code(sim, words, id, code) -> None:
    sim.ok("create", "guest1", "-n", "before")
    told = sim.error(*words)
    assert (told["id"], told["exit_code"], told["effect"]) == (id, code, "none")
    assert told["cause"]
    assert told["remedy"]
    result = sim.run(*words)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith("xensnap: ")
    assert sim.run("--xl-exit", *words).exit_code == 1


@pytest.mark.parametrize("words", [[], ["sim"], ["sim", "disk"]], ids=" ".join)
def test_without_a_command_the_help_is_shown(shell, words) -> None:
    result = shell.run(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"Usage: {' '.join(['xensnap', *words])}")


def test_all_reasons_are_told_at_once(both) -> None:
    both.ok("create", "guest1", "-n", "before")
    words = ["create", "guest1", "-n", "before", "--type", "external", "--exclude", "xvdb"]
    told = both.error(*words)
    assert [each["id"] for each in told["reasons"]] == ["name-taken", "kind-is-sticky", "skips-writable-disk"]
    text = both.run(*words).stderr
    assert all(f"  {each['id']}: {each['cause']}\n    → {each['remedy']}\n" in text for each in told["reasons"])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Failed("it broke", effect=Effect.NONE), 1),
        (Failed("it broke", effect=Effect.DONE), 5),
        (Unknown("no answer"), 7),
        (OSError(13, "Permission denied"), 1),
        (RuntimeError("a mistake\nof ours"), 1),
    ],
)
def test_whatever_comes_out_of_the_engine_is_told(sim, monkeypatch, error, code) -> None:
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr("xensnap.cli.current.domain_document", broken)
    result = CliRunner().invoke(main, ["current", "guest1", "--json"], env={"XENSNAP_HOST": sim.host})
    assert result.exit_code == code
    assert json.loads(result.stdout)["exit_code"] == code
    assert "Traceback" not in result.output
    if isinstance(error, RuntimeError):
        assert "internal error: RuntimeError: a mistake" in result.stdout
        debugged = CliRunner().invoke(main, ["--debug", "current", "guest1"], env={"XENSNAP_HOST": sim.host})
        assert "Traceback" in debugged.stderr


def test_a_host_that_is_in_use_is_busy(sim) -> None:
    from xensnap import hosts

    place = hosts.SimulatedPlace(sim.host.partition(":")[2])
    with place.locked():
        told = sim.error("create", "guest1", "--no-wait")
        assert (told["id"], told["exit_code"]) == ("busy", 4)
        assert str(os.getpid()) in told["cause"]
        assert sim.error("create", "guest1", "--wait", "0.1")["id"] == "busy"
        sim.ok("list", "guest1")
    sim.ok("create", "guest1", "--no-wait")


def test_a_real_domain_that_somebody_works_on_is_busy(qemu) -> None:
    from xensnap.backends.qemu.host import QemuHost

    host = QemuHost(qemu.host.partition(":")[2])
    uuid = host.run(host.toolstack.inspect("guest1")).uuid
    qemu.ok("create", "guest1", "-n", "one")
    lock = host.run(host.files.lock(f"{host.root}/{uuid}/lock", note=b"{}"))
    try:
        assert qemu.error("create", "guest1", "--no-wait")["exit_code"] == 4
        qemu.ok("list", "guest1")
    finally:
        host.run(lock.release())


def test_a_damaged_world_and_a_stranger_of_its_name_are_told_apart(sim) -> None:
    from xensnap import hosts

    place = hosts.SimulatedPlace(sim.host.partition(":")[2])
    place.path.write_bytes(place.path.read_bytes()[:-20])
    assert sim.error("list")["id"] == "damaged"
    sim.ok("sim", "reset")
    assert sim.json("list")["domains"] == []
    place.path.write_bytes(b"my own world")
    assert sim.error("sim", "reset", "--remove")["id"] == "no-simulated-host"
    assert sim.error("sim", "init")["id"] == "not-empty"
    assert place.path.read_bytes() == b"my own world"


def test_what_a_terminal_cannot_show_is_written_out(sim) -> None:
    assert sim.run("list", "\x1b[31m\u202e").stderr.startswith("xensnap: no domain '\\x1b[31m\\u202e'")


def test_a_reader_that_has_seen_enough_is_no_error_of_ours(sim) -> None:
    environment = os.environ | {"XENSNAP_HOST": sim.host}
    read, write = os.pipe()
    os.close(read)
    words = [sys.executable, "-m", "xensnap.cli", "list", "guest1"]
    done = subprocess.run(words, env=environment, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_streams_that_are_closed_take_nothing_in_and_are_no_error(sim) -> None:
    """Else the next file that is opened has the number of one of them, and the journal holds what a child complains."""
    environment = os.environ | {"XENSNAP_HOST": sim.host}
    words = shlex.join([sys.executable, "-m", "xensnap", "create", "guest1", "-v", "-n"])
    for name, closed in {"one": ">&-", "two": "<&- >&- 2>&-"}.items():
        done = subprocess.run(f"{words} {name} {closed}", shell=True, env=environment, check=False)
        assert done.returncode == 0
    assert sim.ok("list", "guest1", "--name-only") == "one\ntwo\n"


def test_what_was_done_and_cannot_be_shown_is_not_called_nothing(sim) -> None:
    environment = os.environ | {"XENSNAP_HOST": sim.host}
    with Path("/dev/full").open("wb") as full:
        words = [sys.executable, "-m", "xensnap.cli", "create", "guest1", "-n", "one"]
        done = subprocess.run(words, env=environment, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 5
    assert done.stderr.startswith("xensnap: it was done, but the result cannot be shown: No space left on device")
    assert sim.ok("list", "guest1", "--name-only") == "one\n"


def test_a_mistake_of_ours_in_the_middle_says_that_recovery_may_be_due(sim, monkeypatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("what nobody thought of")

    monkeypatch.setattr("xensnap.cli.progress.line", broken)
    result = CliRunner().invoke(main, ["-v", "create", "guest1", "-n", "one"], env={"XENSNAP_HOST": sim.host})
    assert result.exit_code == 5
    assert "xensnap recover" in result.stderr
    monkeypatch.undo()
    assert sim.json("recover")["recovered"][0]["outcome"] == "undone"


def test_exit_codes_are_those_of_xl_where_nothing_is_raised_either(sim) -> None:
    sim.ok("create", "guest1", "-n", "one")
    sim.ok("sim", "crash", "--at", "50", "delete", "guest1", "one")
    assert sim.run("--xl-exit", "recover", "--abort").exit_code == 1


def test_columns_stand_below_each_other_in_every_script() -> None:
    assert table(("A", "B"), [("日本", "x"), ("e\u0301", "y")]) == "A     B\n日本  x\ne\u0301     y"


def test_records_without_disks_have_no_kind() -> None:
    from xensnap.model import Consistency, DomainUuid, RunState, Snapshot

    bare = Snapshot("x", DomainUuid("u"), "guest1", 0, RunState.OFF, Consistency.CLEAN, ())
    assert records.snapshot_document(bare, current=None).kind == "none"
