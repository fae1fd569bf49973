"""Configuration files, and the hooks, policies and defaults that they set."""

from pathlib import Path

import pytest

from xensnap.cli import configuration


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Writes the user's configuration file; there is none of the machine's."""
    monkeypatch.setattr(configuration, "SYSTEM", tmp_path / "etc" / "config.toml")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def write(text: str, path: str = "config/xensnap/config.toml") -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    return write


def test_without_a_file_nothing_is_set(shell, config) -> None:
    assert shell.ok("config") == "# no file is read\n"


def test_the_users_file_has_the_last_word_and_hooks_add_up(shell, config, tmp_path) -> None:
    config('host = "xen"\nwait = "1m"\n[[hook]]\nwhen = ["pre"]\nrun = ["true"]\n', "etc/config.toml")
    config('host = "sim"\n[[hook]]\nwhen = ["post"]\nrun = ["false"]\n')
    told = shell.json("config")
    assert told["files"] == [f"{tmp_path}/etc/config.toml", f"{tmp_path}/config/xensnap/config.toml"]
    assert (told["settings"]["host"], told["settings"]["wait"]) == ("sim", "1m")
    assert [each["run"] for each in told["settings"]["hook"]] == [["true"], ["false"]]
    assert 'host = "sim"' in shell.ok("config")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("host = 1", "Expected `str`, got `int` - at `$.host`"),
        ("hosts = 'xen'", "Object contains unknown field `hosts`"),
        ("host = ", "config.toml: "),
        ("wait = 'soon'", "is no span of time - at `$.wait`"),
        ("[[hook]]\nwhen = ['pre']", "missing required field `run` - at `$.hook[0]`"),
        ("[[hook]]\nwhen = ['pre']\nrun = []", "a hook needs a program and a moment - at `$.hook[0]`"),
        ("[[hook]]\nwhen = ['before']\nrun = ['true']", "'before' is no moment"),
        ("[[hook]]\nwhen = ['pre']\nrun = ['true']\ndeadline = '1'", "at `$.hook[0].deadline`"),
        ("[[hook]]\nwhen = ['pre']\nrun = ['true']\non-failure = 'cry'", "at `$.hook[0].on-failure`"),
        ("[retention.x]\nkeep-within = '1'", "at `$.retention.x.keep-within`"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(shell, config, text, words) -> None:
    config(text)
    told = shell.error("config")
    assert (told["id"], told["exit_code"]) == ("bad-configuration", 2)
    assert words in told["cause"]


def test_a_file_says_which_host_and_how_long_to_wait(sim, config) -> None:
    config(f'host = "{sim.host}"\nwait = "0s"\n')
    sim.host = ""
    assert sim.json("list")["host"].startswith("sim:")
    sim.ok("sim", "write", "guest1", "xvda", "0", "64k")


def test_a_policy_of_a_file_prunes(sim, config) -> None:
    config("[retention.nightly]\nkeep-last = 2\n")
    for name in "abc":
        sim.ok("create", "guest1", "-n", name)
    assert sim.error("prune", "guest1", "--policy", "weekly")["id"] == "no-such-policy"
    assert sim.error("prune", "guest1", "--policy", "nightly", "--keep-last", "1")["id"] == "contradiction"
    assert sim.json("prune", "guest1", "--policy", "nightly")["deleted"] == ["a"]


# --- Hooks -----------------------------------------------------------------------------------------------------------

LOG = """
[[hook]]
when = ["pre", "post"]
run = ["sh", "-c", 'echo "$XENSNAP_HOOK $XENSNAP_DOMAIN $XENSNAP_SNAPSHOT $XENSNAP_RESULT" >> hooks.log']
"""


def log() -> list[str]:
    return Path("hooks.log").read_text().splitlines() if Path("hooks.log").exists() else []


def test_programs_run_before_and_after_and_know_what_about(qemu, config) -> None:
    config(LOG)
    qemu.ok("create", "guest1", "-n", "a")
    qemu.ok("list", "guest1")
    qemu.ok("create", "guest1", "-n", "b", "--dry-run")
    qemu.ok("revert", "guest1", "a")
    assert log() == [
        "pre-create guest1 a ",
        "post-create guest1 a done",
        "pre-revert guest1 a ",
        "post-revert guest1 a done",
    ]
    assert qemu.error("create", "guest1", "-n", "a")["id"] == "name-taken"
    assert len(log()) == 4


def test_a_program_that_fails_lets_nothing_be_done(qemu, config) -> None:
    config(LOG + '[[hook]]\nwhen = ["pre-create"]\nrun = ["sh", "-c", "echo not today >&2; exit 3"]\n')
    told = qemu.error("create", "guest1", "-n", "a")
    assert (told["id"], told["exit_code"]) == ("hook-failed", 6)
    assert told["cause"] == "hook pre-create: sh ended with 3: not today"
    assert qemu.json("list", "guest1")["snapshots"] == []
    assert log() == ["pre-create guest1 a ", "post-create guest1 a refused"]


def test_a_failure_can_be_told_only_and_hooks_can_be_for_some_domains(qemu, config) -> None:
    config(
        '[[hook]]\nwhen = ["pre"]\nrun = ["false"]\non-failure = "warn"\n'
        '[[hook]]\nwhen = ["pre"]\nrun = ["false"]\ndomains = ["db*"]\n'
        '[[hook]]\nwhen = ["pre"]\nrun = ["no-such-program"]\non-failure = "warn"\n'
    )
    warnings = qemu.json("create", "guest1", "-n", "a")["warnings"]
    assert warnings[0] == "hook pre-create: false ended with 1"
    assert warnings[1].startswith("hook pre-create: no-such-program ended with 127")


def test_a_program_that_takes_too_long_is_ended(qemu, config) -> None:
    config('[[hook]]\nwhen = ["pre"]\nrun = ["sleep", "600"]\ndeadline = "1s"\n')
    told = qemu.error("create", "guest1", "-n", "a")
    assert told["id"] == "hook-failed"
    assert "did not end within 1.0 s and was killed" in told["cause"]


def test_after_the_work_a_failure_is_told_as_what_is_left(qemu, config) -> None:
    config('[[hook]]\nwhen = ["post"]\nrun = ["false"]\n')
    told = qemu.error("create", "guest1", "-n", "a")
    assert (told["id"], told["exit_code"], told["effect"]) == ("hook-failed", 5, "done")
    assert [each["name"] for each in qemu.json("list", "guest1")["snapshots"]] == ["a"]


def test_what_comes_after_also_comes_after_a_recovery(qemu, config, monkeypatch) -> None:
    from xensnap.engine import execute

    config(LOG)

    async def dies(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(execute.Execution, "_decide", dies)
    assert qemu.run("create", "guest1", "-n", "a").exit_code == 130
    assert log() == ["pre-create guest1 a ", "post-create guest1 a undone"]


def test_of_a_simulated_host_no_program_runs(sim, config) -> None:
    config(LOG)
    sim.ok("create", "guest1", "-n", "a")
    assert log() == []
