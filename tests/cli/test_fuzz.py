"""Whatever words are typed, the command ends with one of its exit codes and never with a traceback."""

import json
import os
import tempfile
from contextlib import chdir
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cli.conftest import Shell
from tests.cli.test_options import COMMANDS
from xensnap.errors import ExitCode

# They run any program, or take minutes; the rest comes from the commands themselves, so that a new verb is drawn, too.
LEFT_OUT = {"sim run", "sim shell", "demo", "conformance run", "conformance list", "conformance report", "explore"}
VERBS = [
    *([*name.split()] for name in sorted(set(COMMANDS) - LEFT_OUT - {"sim crash"})),
    *(["snapshot-create"], ["snapshot-list"], ["sim", "crash", "--at", "30"], ["sim"], ["chain"], []),
]
OPTIONS = sorted(
    {word for command in COMMANDS.values() for option in command.params for word in option.opts if word.startswith("-")}
    | {"--help", "-h", "--version", "--xl-exit", "--", "-"}
)
VALUES = [
    *("guest1", "before", "after", "xvda", "xvdb", "hdc", "internal", "external", "auto", "xvda=skip", "xvdb=external"),
    *("xvda=external:/images/x.qcow2", "/images", "/nowhere", "0", "1", "nan", "64k", "8M", "9999999999999T", "guest2"),
    *("xvda=1M,raw", "xvdc=8M,qcow2,ro", "xvdc=1M,base=raw:/images/guest1-xvdb.raw", "create", "revert", "plan.json"),
    *("pinned", "1d", "@0", "soon", "2001-01-01", "size", "running", "bash", "busy", "yes", "no", "=", "%", "~"),
]
# No slash, so that nothing outside the directory of the test is touched.
TEXT = st.text(st.characters(exclude_characters="/\0", exclude_categories=()), max_size=12).filter(
    lambda text: ".." not in text
)
WORDS = st.lists(st.one_of(st.sampled_from(OPTIONS), st.sampled_from(VALUES), TEXT), max_size=7)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(verb=st.sampled_from(VERBS), words=WORDS, then=WORDS)
def test_no_words_lead_to_a_traceback(world, verb, words, then) -> None:
    with tempfile.TemporaryDirectory() as directory, chdir(directory):
        place = Path(directory) / "world"
        place.mkdir()
        (place / "world").write_bytes((world / "world").read_bytes())
        shell = Shell(Path(directory), f"sim:{place}", {"XDG_STATE_HOME": directory, "VISUAL": "true"})
        os.environ.pop("XENSNAP_HOST", None)
        for line in (["create", "guest1", "-n", "before"], [*verb, *words], ["recover"], ["list", "guest1", *then]):
            result = shell.run(*line)  # which looks for tracebacks and internal errors
            assert result.exit_code in set(ExitCode)
            if "--json" in line and result.exit_code and "--" not in line:
                assert json.loads(result.stdout)["exit_code"] in set(ExitCode)
