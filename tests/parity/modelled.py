"""The table of what the simulator models, made from its code and from the traces that hold it to the real tools."""

import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pytest

import simulator
from simulator import World
from simulator.qemu.commands import absent
from simulator.qemu.monitor import COMMANDS
from simulator.serve import programs
from simulator.serve.ended import Told
from simulator.serve.xl import acting, disks, helped, listing
from simulator.serve.xl.run import SUBCOMMANDS
from simulator.serve.xl.words import Refused
from simulator.tools.img.run import NOT_MODELLED, OPTIONS
from tests.parity import traces, xen_traces
from tests.parity.test_ledger import A_GUEST_WITHOUT_KERNEL, A_JOB_IN_A_GRAPH, DISCARDS_OF_TABLES, LEDGER
from tests.parity.test_mutants import MUTANTS
from tests.parity.test_qemu_img_broken import FAILS_OTHERWISE as FAILS
from tests.parity.test_qemu_img_broken import LEFT_OTHERWISE as LEFT
from tests.parity.unmodelled import MESSAGES, PROGRAMS

SOURCES = Path(simulator.__file__).parent
_TOOLS = {"qemu": "QEMU", "xen": "Xen"}
_OPTION = re.compile(r"`(-[^`]+)`")
_ALL_BUT = re.compile(r"all but [^;]*")
_CITED = re.compile(r"(?:qemu|xen|xen-live)\.md [A-Z]?[0-9]+")

HEAD = """# What is modelled

Made from the code by `XENSNAP_GOLDEN=write pytest tests/parity/test_modelled.py`. Everything that is not in these
tables raises `NotModelled`, and the tools on the PATH of `xensnap sim run` end with exit code 70 and say what it was.

A trace is a recording of the real tool, of the version beside it, that is replayed on the simulator; one with `xen/`
in front is of a real Xen host. Of options of command lines only those are counted that did not fail. Commands of the
monitor and of qemu-img are compared with the real tools by random sequences, too (`tests/parity`): how often,
and how often in a minute, is in {doc}`tried`.
"""


def page() -> str:
    """docs/reference/modelled.md."""
    return (
        "\n".join(
            [
                *(HEAD, *_numbers(), *_monitor(), *_images(), *_xl(), *_others(), *_refused()),
                *(*_mutants(), *_differences()),
            ]
        )
        + "\n"
    )


def _numbers() -> Iterator[str]:
    """How much there is of each, counted when the page is made."""
    arguments = sum(len(command.members) for command in COMMANDS.values())
    cited = {fact for path in SOURCES.rglob("*.py") for fact in _CITED.findall(path.read_text(encoding="utf-8"))}
    yield _row("what", "how many")
    yield _row("---", "---:")
    yield _row("traces of QEMU and qemu-img", str(len(traces.STORIES)))
    yield _row("traces of a real Xen host", str(len(xen_traces.NAMES)))
    yield _row("commands of the monitor, and their arguments", f"{len(COMMANDS)}, {arguments}")
    options = sum(len(_OPTION.findall(told)) for told in OPTIONS.values())
    yield _row("subcommands of qemu-img, and their options", f"{len(OPTIONS)}, {options}")
    yield _row("subcommands of xl", str(len(SUBCOMMANDS)))
    yield _row("measured facts that the simulator's code refers to", str(len(cited)))
    yield _row("mistakes that the traces are proved to notice", str(len(MUTANTS)))
    yield _row("known differences, each of which must still differ", str(len(list(_ledger()))))
    yield ""


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


Use = tuple[str, str]
"""A command and one of its options; the empty one stands for the command itself."""


class Traces(NamedTuple):
    """What has been recorded: which traces have a use, and of which versions of the tools they are."""

    used: dict[Use, list[str]]
    versions: dict[str, str]

    def row(self, *use: str) -> tuple[str, str]:
        """The traces of a use, and the versions of what was recorded in them."""
        names = self.used.get((use[0], use[1]), [])
        return ", ".join(names) or "-", ", ".join(sorted({self.versions[name] for name in names})) or "-"


@cache
def _traces() -> Traces:
    used: dict[Use, list[str]] = {}
    versions: dict[str, str] = {}
    told = [(name, "qemu", traces.read(name)) for name in sorted(traces.STORIES)]
    told += [(f"xen/{name}", "xen", xen_traces.read(name)) for name in xen_traces.NAMES]
    for name, tool, (head, *lines) in told:
        versions[name] = f"{_TOOLS[tool]} {head['versions'][tool].split()[0]}"
        for use in (each for line in lines for each in _uses(line)):
            if name not in used.setdefault(use, []):
                used[use].append(name)
    return Traces(used, versions)


def _uses(line: dict[str, Any]) -> Iterator[Use]:
    match line:
        case {"qmp": {"execute": str(command), **rest}}:
            arguments = rest.get("arguments")
            given = arguments if isinstance(arguments, dict) else {}
            yield from ((command, each) for each in ("", *given))
            actions = given.get("actions", [])
            for each in actions if isinstance(actions, list) else ():
                if isinstance(each, dict) and "type" in each:
                    yield f"transaction {each['type']}", ""
        case {"argv": [str(program), str(command), *words]}:
            yield f"{program} {command}", ""
            if not line.get("rc"):
                yield from ((f"{program} {command}", each) for each in _options(words, joined=program == "xl"))


def _options(words: list[str], *, joined: bool) -> Iterator[str]:
    """The options among these words; `-o` names its own. Letters together are as many, or one and its value."""
    for word, after in pairwise([*words, ""]):
        if word == "-o":
            yield from (f"-o {each.partition('=')[0]}" for each in after.split(",") if "=" in each)
        elif re.match(r"--[a-z]", word):
            yield word.partition("=")[0]
        elif re.match(r"-[A-Za-z]+$", word):
            yield from (f"-{letter}" for letter in (word[1:] if joined else word[1]))


def _table(command: str, shown: str, options: Iterable[str]) -> Iterator[str]:
    """The rows of one command: itself, and each of its options."""
    yield _row(f"`{shown}`", "", *_traces().row(command, ""))
    for option in options:
        yield _row("", f"`{option}`", *_traces().row(command, option))


def _head(title: str, command: str, option: str) -> Iterator[str]:
    yield f"## {title}\n"
    yield _row(command, option, "traces", "recorded from")
    yield _row("---", "---", "---", "---")


def _monitor() -> Iterator[str]:
    yield from _head("QMP", "command", "argument")
    for name, command in sorted(COMMANDS.items()):
        yield from _table(name, name, [each.rstrip("?") for each in command.members if each])
    for action in sorted(use for use, option in _traces().used if use.startswith("transaction ") and not option):
        yield from _table(action, action, [])
    yield "\n`blockdev-add` takes qcow2, raw and file, without force-share."
    yield "Beside these `qmp_capabilities`, `query-commands` and `query-qmp-schema`, which tell of these only."
    yield f"QEMU has {len(absent.NAMES)} commands more, which are refused as not modelled.\n"


def _recorded_options(command: str) -> set[str]:
    return {option for use, option in _traces().used if use == command and option}


def _images() -> Iterator[str]:
    yield from _head("qemu-img", "subcommand", "option")
    for name, told in sorted(OPTIONS.items()):
        command = f"qemu-img {name}"
        listed = {option for option in _OPTION.findall(_ALL_BUT.sub("", told)) if " " not in option} - {"-o", "-"}
        yield from _table(command, name, sorted(listed | _recorded_options(command)))
    yield "\nIn words:\n"
    yield from (f"- `{name}`: {told}" for name, told in sorted(OPTIONS.items()))
    yield f"\nNot modelled: {', '.join(sorted(NOT_MODELLED))}.\n"


def _xl() -> Iterator[str]:
    yield from _head("xl", "subcommand", "option")
    for name in sorted(SUBCOMMANDS):
        yield from _table(f"xl {name}", name, sorted({*_taken_by_xl(name), *_recorded_options(f"xl {name}")}))
    yield "\nOptions are those that are read; one without a trace may do what is refused as not modelled."
    yield "\n`migrate -s ''` is modelled as an executable only, for it sends to a real program (unit/simulator)."
    yield f"\nNot modelled but for their help: {', '.join(sorted(set(helped.names()) - set(SUBCOMMANDS)))}.\n"


def _taken_by_xl(name: str) -> list[str]:
    """The letters that a subcommand reads as options, of which it tells when it is called."""
    found: list[str] = []

    def reading(_name: str, _argv: Sequence[str], short: str, *_more: Any, **_least: int) -> NoReturn:
        found.extend(f"-{letter}" for letter in short if letter != ":")
        raise Refused("")

    with pytest.MonkeyPatch.context() as patched:
        for module in (acting, disks, listing):
            if hasattr(module, "read"):
                patched.setattr(module, "read", reading)
        with suppress(Refused):
            SUBCOMMANDS[name](World.fresh(0), ["config", "-x"], Told())
    return found


def _others() -> Iterator[str]:
    yield "## Xenstore\n"
    yield ", ".join(f"`{name}`" for name in programs.NAMES if name.startswith("xenstore")) + "."


def _refused() -> Iterator[str]:
    yield "\n## What is refused\n"
    yield "What the real tools have and somebody might miss. A test asks for each at every door. In process it raises"
    yield "`NotModelled`; an executable ends with exit code 70 and says it; a client of a monitor is hung up on, and"
    yield "the words are on the standard error of whoever serves, such as `xensnap sim run`.\n"
    yield _row("of", "not modelled")
    yield _row("---", "---")
    yield from (_row(argv[0], f"`{what}`") for what, argv in PROGRAMS.items())
    yield from (_row("QMP", f"`{what}`") for what in MESSAGES)
    yield "\nThe commands of QEMU 7.2.22 that are not modelled, all of which are refused like that:"
    yield ", ".join(f"`{name}`" for name in sorted(absent.NAMES)) + "."


def _mutants() -> Iterator[str]:
    yield "\n## What is not so\n"
    yield "What one would expect of the real tools and had better not: each is put into the simulator by a test, and"
    yield "the trace beside it must notice, or a test of that name.\n"
    yield _row("expected", "noticed by")
    yield _row("---", "---")
    for mutate, noticing in MUTANTS.items():
        yield _row(str(inspect.getdoc(mutate)), str(noticing))


def _ledger() -> Iterator[tuple[str, str]]:
    """Every known difference between the simulator and the real tools, and why there is one."""
    yield from ((entry.__name__.replace("_", " "), why) for entry, (why, _) in LEDGER.items())
    yield from (A_GUEST_WITHOUT_KERNEL, A_JOB_IN_A_GRAPH, DISCARDS_OF_TABLES)
    yield from ((f"{operation}, whose disk fails at `{event}`", why) for (operation, event), why in FAILS.items())
    for operation, left in LEFT.items():
        for (damage, tags, shows), why in left.items():
            yield f"{operation}, killed: {damage}, with {' and '.join(tags)}, disks `{shows}`", why


def _differences() -> Iterator[str]:
    yield "\n## Known differences\n"
    yield "Each must still differ, or a test fails. Of what a killed tool leaves, damage and snapshots are told, and"
    yield "whether the overlay and its base show the old (`=`), the new (`!`) or neither (`?`).\n"
    yield _row("why", "where")
    yield _row("---", "---")
    wheres: dict[str, list[str]] = {}
    for where, why in _ledger():
        wheres.setdefault(why, []).append(where)
    yield from (_row(why, "; ".join(where)) for why, where in wheres.items())
