"""The table of what the simulator models, made from its code and from the traces that hold it to the real tools."""

import ast
import inspect
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, NoReturn

import pytest

import simulator
from simulator import World
from simulator.disk.filesystem import FileSystem
from simulator.qemu.commands import absent
from simulator.qemu.commands.snapshots import ACTIONS
from simulator.qemu.monitor import COMMANDS
from simulator.serve import programs
from simulator.serve.ended import Told
from simulator.serve.xl import acting, disks, helped, listing, words
from simulator.serve.xl.run import SUBCOMMANDS
from simulator.tools.img import (
    amend,
    arguments,
    bitmap,
    change,
    compare,
    copy,
    create,
    dd,
    look,
    mapping,
    measure,
    snapshot,
)
from simulator.tools.img import run as img
from tests.parity import traces, xen_traces
from tests.parity.test_ledger import A_GUEST_WITHOUT_KERNEL, A_JOB_IN_A_GRAPH, DISCARDS_OF_TABLES, LEDGER
from tests.parity.test_mutants import MUTANTS
from tests.parity.test_qemu_img_broken import FAILS_OTHERWISE as FAILS
from tests.parity.test_qemu_img_broken import LEFT_OTHERWISE as LEFT
from tests.parity.unmodelled import MESSAGES, PROGRAMS

SOURCES = Path(simulator.__file__).parent
_TOOLS = {"qemu": "QEMU", "xen": "Xen"}
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
    options = sum(len(_read_by_qemu_img(name).options) for name in img.SUBCOMMANDS)
    yield _row("subcommands of qemu-img, and their options", f"{len(img.SUBCOMMANDS)}, {options}")
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
                if isinstance(each, dict) and each.get("type") in ACTIONS:
                    yield f"transaction {each['type']}", ""
        case {"argv": [str(program), str(command), *argv]}:
            yield f"{program} {command}", ""
            if not line.get("rc"):
                yield from ((f"{program} {command}", each) for each in options(program, command, argv))


class _Asked(Exception):
    """A subcommand looks for its options.

    Attributes:
        short: letters, a colon after those that take a value.
        long: names, as the subcommand has them.
    """

    def __init__(self, short: str, long: Collection[str] = ()) -> None:
        super().__init__(short)
        self.short = short
        self.long = long

    @property
    def options(self) -> list[str]:
        """All of them, as they are typed."""
        return [*(f"-{each}" for each in self.short.replace(":", "")), *(f"--{each.rstrip('=')}" for each in self.long)]


def _asked(modules: Iterable[ModuleType], read: Callable[..., NoReturn], call: Callable[[], object]) -> _Asked:
    """What a call asks for that reads its words in one of these modules."""
    with pytest.MonkeyPatch.context() as patched:
        for module in modules:
            if hasattr(module, "read"):
                patched.setattr(module, "read", read)
        try:
            call()
        except _Asked as asked:
            return asked
    raise AssertionError("it reads no words")


_OF_QEMU_IMG = (amend, bitmap, change, compare, copy, create, dd, look, mapping, measure, snapshot)


@cache
def _read_by_qemu_img(name: str) -> _Asked:
    def reading(_argv: Sequence[str], short: str, long: Sequence[str] = (), **_more: Any) -> NoReturn:
        raise _Asked(short, long)

    return _asked(_OF_QEMU_IMG, reading, lambda: img.SUBCOMMANDS[name](FileSystem(), ["a", "1M"], "/", 0))


@cache
def _read_by_xl(name: str) -> _Asked:
    def reading(_name: str, _argv: Sequence[str], short: str, long: Mapping[str, str] = {}, **_least: int) -> NoReturn:
        raise _Asked(short, long)

    return _asked((acting, disks, listing), reading, lambda: SUBCOMMANDS[name](World.fresh(0), ["0", "-x"], Told()))


def options(program: str, name: str, argv: list[str]) -> Iterator[str]:
    """The options among these words, as the subcommand finds them; `-o` names its own, and xl's names are letters."""
    if program == "xl" and name in SUBCOMMANDS:
        asked = _read_by_xl(name)
        long = asked.long if isinstance(asked.long, Mapping) else {}
        argv = argv[1:] if name == "config-update" else argv
        try:
            yield from (f"-{letter}" for letter, _ in words.read(name, argv, asked.short, long).options)
        except words.Refused:
            yield from {"-h", "--help"} & {*argv}
    elif program == "qemu-img" and name in img.SUBCOMMANDS:
        asked = _read_by_qemu_img(name)
        argv = argv[:-1] if name == "resize" else argv
        try:
            given = arguments.read(argv, asked.short, tuple(asked.long)).given
        except arguments.Helped:
            yield from {"-h", "--help"} & {*argv}
            return
        except arguments.Failed:
            return  # `measure` goes on with options that it does not know
        for option, value in given:
            if option == "o":
                yield from (f"-o {each.partition('=')[0]}" for each in value.split(",") if "=" in each)
            else:
                yield f"-{option}" if len(option) == 1 else f"--{option}"


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
    for action in ACTIONS:
        yield from _table(f"transaction {action}", f"transaction {action}", [])
    yield "\n`blockdev-add` takes qcow2, raw and file, without force-share."
    yield "Beside these `qmp_capabilities`, `query-commands` and `query-qmp-schema`, which tell of these only."
    yield f"QEMU has {len(absent.NAMES)} commands more, which are refused as not modelled.\n"


def _recorded_options(command: str) -> set[str]:
    return {option for use, option in _traces().used if use == command and option}


def _images() -> Iterator[str]:
    yield from _head("qemu-img", "subcommand", "option")
    for name in sorted(img.SUBCOMMANDS):
        command = f"qemu-img {name}"
        listed = {*_read_by_qemu_img(name).options} - {"-o"}
        yield from _table(command, name, sorted(listed | _recorded_options(command)))
    yield "\nOptions are those that are read; one without a trace may do what is refused as not modelled."
    yield "`--object` takes only secrets, `--image-opts` and `json:` only a plain file. Otherwise, or less, is:\n"
    yield from (f"- `{name}`: {told}" for name, told in sorted(img.LIMITS.items()))
    yield f"\nNot modelled: {', '.join(sorted(img.NOT_MODELLED))}.\n"


def _xl() -> Iterator[str]:
    yield from _head("xl", "subcommand", "option")
    for name in sorted(SUBCOMMANDS):
        yield from _table(f"xl {name}", name, sorted({*_letters_of_xl(name), *_recorded_options(f"xl {name}")}))
    yield "\nOptions are those that are read; one without a trace may do what is refused as not modelled."
    yield "\n`migrate -s ''` is modelled as an executable only, for it sends to a real program (unit/simulator)."
    yield f"\nNot modelled but for their help: {', '.join(sorted(set(helped.names()) - set(SUBCOMMANDS)))}.\n"


def _letters_of_xl(name: str) -> list[str]:
    return [option for option in _read_by_xl(name).options if not option.startswith("--")]


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
    yield "\nAll that the code refuses, by where it does; `…` stands for what was asked for:\n"
    yield _row("of", "not modelled")
    yield _row("---", "---")
    for path in sorted(SOURCES.rglob("*.py")):
        if refused := sorted(set(_refusals(path))):
            yield _row(f"`{path.relative_to(SOURCES).with_suffix('')}`", "; ".join(refused))


def _refusals(path: Path) -> Iterator[str]:
    """What each `NotModelled` of a module says."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Name(id="NotModelled"), args=[said]):
                yield f"`{_text(said)}`"


def _text(said: ast.expr) -> str:
    match said:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(map(_text, parts))
    return "…"


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
