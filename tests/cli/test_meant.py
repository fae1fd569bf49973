"""Whoever types what another tool calls it, or a word that is nearly right, is told what to type here."""

import pytest

from tests.cli.test_options import COMMANDS
from xensnap.cli.elsewhere import COMMANDS as THEIRS
from xensnap.cli.elsewhere import OPTIONS
from xensnap.cli.main import VERBS


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["snapshot-create-as", "guest1", "clean"], "Did you mean `xensnap create DOMAIN -n NAME`?"),
        (["snapshot-parent", "guest1"], "Did you mean `xensnap parent`?"),
        (["rollback", "guest1", "clean"], "Did you mean `xensnap revert DOMAIN NAME`?"),
        (["lsit"], "Did you mean `xensnap list`?"),
        (["help", "create"], "Did you mean `xensnap VERB --help`?"),
        (["nonsense"], "`xensnap --help` lists the commands."),
        (["chain", "shwo", "guest1"], "Did you mean `xensnap chain show`?"),
        (["chain", "guest1"], "Its commands are: compact, relocate, show."),
        (["create", "guest1", "--tpye", "external"], "Did you mean --type"),
        (["create", "guest1", "--halt"], "--then stopped"),
        (["delete", "guest1", "clean", "--force"], "--accept RISK-ID takes that one."),
        (["--dry-run", "create", "guest1"], "It stands after the command: `xensnap create … --dry-run`."),
        (["-n", "new", "create", "guest1"], "It stands after the command: `xensnap create … -n`."),
        (["revert", "guest1", "-n"], "Write -n NAME. See `xensnap revert --help`."),
        (["create"], "It is used as `xensnap create [CONFIG] DOMAIN`."),
        (["completion"], "It is used as `xensnap completion {bash|zsh|fish}`."),
        (["current", "guest1", "clean"], "It is used as `xensnap current DOMAIN`."),
        (["create", "guest1", "clean"], "A name for the snapshot stands after -n."),
        (["list", "geust1"], "Did you mean 'guest1'?"),
        (["revert", "guest1", "before-"], "Did you mean 'before'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_was_meant_is_told(sim, words, told) -> None:
    sim.ok("create", "guest1", "-n", "before")
    result = sim.run(*words)
    assert result.exit_code in {2, 3}
    assert told in result.stderr


def test_what_stands_for_a_word_of_another_tool_can_be_typed_here() -> None:
    assert not set(THEIRS) & set(VERBS)
    for form in THEIRS.values():
        first = form.split()[0]
        assert first == "--version" or any(name == first or name.startswith(f"{first} ") for name in COMMANDS), form


@pytest.mark.parametrize("verb", ["create", "revert", "delete"])
def test_an_option_of_another_tool_is_told_of_where_it_is_not_ours(sim, verb) -> None:
    ours = {word for option in COMMANDS[verb].params for word in option.opts}
    for option in OPTIONS.keys() - ours:
        assert OPTIONS[option] in sim.run(verb, "guest1", option).stderr


def test_of_very_many_names_the_first_are_shown(sim) -> None:
    for number in range(25):
        sim.ok("sim", "domain", "add", f"host{number:02}")
    told = sim.run("list", "nothing-like-it").stderr
    assert "'host18' and 6 more." in told
