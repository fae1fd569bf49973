"""The table of what the simulator models, made from its code and from the traces that hold it to the real tools."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import simulator
from simulator.qemu.commands import absent
from simulator.qemu.monitor import COMMANDS
from simulator.serve import programs
from simulator.serve.xl import helped
from simulator.serve.xl.run import SUBCOMMANDS
from simulator.tools.img.run import NOT_MODELLED, OPTIONS
from tests.parity import traces, xen_traces
from tests.parity.test_ledger import LEDGER
from tests.parity.test_mutants import MUTANTS
from tests.parity.test_qemu_img_broken import FAILS_OTHERWISE as FAILS
from tests.parity.test_qemu_img_broken import LEFT_OTHERWISE as LEFT

SOURCES = Path(simulator.__file__).parent
_OPTION = re.compile(r"`(-[^`]+)`")
_CITED = re.compile(r"(?:qemu|xen|xen-live)\.md [A-Z]?[0-9]+")

HEAD = """# What is modelled

Made from the code by `XENSNAP_GOLDEN=write pytest tests/parity/test_modelled.py`. Everything that is not in these
tables raises `NotModelled`, and the tools on the PATH of `xensnap sim run` end with exit code 70 and say what it was.

Versions: QEMU 7.2.22, Xen 4.17.7. A trace is a recording of the real tool that is replayed on the simulator; commands
of the monitor and of qemu-img are compared with the real tools by random sequences, too (`tests/parity`): how often,
and how often in a minute, is in {doc}`tried`.
"""


def page() -> str:
    """docs/reference/modelled.md."""
    return (
        "\n".join([HEAD, *_numbers(), *_monitor(), *_images(), *_xl(), *_others(), *_mutants(), *_differences()]) + "\n"
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


def _used() -> dict[str, list[str]]:
    """Which traces have which command."""
    used: dict[str, list[str]] = {}
    told = [(name, traces.read(name)) for name in sorted(traces.STORIES)]
    told += [(f"xen/{name}", xen_traces.read(name)) for name in xen_traces.NAMES]
    for name, lines in told:
        for command in (each for line in lines[1:] for each in _commands(line)):
            if name not in used.setdefault(command, []):
                used[command].append(name)
    return used


def _commands(line: dict[str, object]) -> Iterator[str]:
    match line:
        case {"qmp": {"execute": str(command), **rest}}:
            yield command
            arguments = rest.get("arguments")
            actions = arguments.get("actions", []) if isinstance(arguments, dict) else []
            listed = actions if isinstance(actions, list) else []
            yield from (f"transaction {each['type']}" for each in listed if "type" in each)
        case {"argv": [str(program), str(command), *_]}:
            yield f"{program} {command}"


def _monitor() -> Iterator[str]:
    used = _used()
    yield "## QMP\n"
    yield _row("command", "arguments", "traces")
    yield _row("---", "---", "---")
    for name, command in sorted(COMMANDS.items()):
        members = ", ".join(f"`{each}`" for each in command.members if each) or "-"
        if name == "blockdev-add":
            members = "qcow2, raw, file; no force-share"
        yield _row(f"`{name}`", members, ", ".join(used.get(name, [])) or "-")
    yield "\nBeside these `qmp_capabilities`, `query-commands` and `query-qmp-schema`, which tell of these only."
    yield f"QEMU has {len(absent.NAMES)} commands more, which are refused as not modelled.\n"


def _images() -> Iterator[str]:
    used = _used()
    yield "## qemu-img\n"
    yield _row("subcommand", "options", "traces")
    yield _row("---", "---", "---")
    for name, options in sorted(OPTIONS.items()):
        yield _row(f"`{name}`", options, ", ".join(used.get(f"qemu-img {name}", [])) or "-")
    yield f"\nNot modelled: {', '.join(sorted(NOT_MODELLED))}.\n"


def _xl() -> Iterator[str]:
    used = _used()
    yield "## xl\n"
    yield _row("subcommand", "traces")
    yield _row("---", "---")
    for name in sorted(SUBCOMMANDS):
        yield _row(f"`{name}`", ", ".join(used.get(f"xl {name}", [])) or "-")
    yield "\n`migrate -s ''` is modelled as an executable only, for it sends to a real program (unit/simulator)."
    yield f"\nNot modelled but for their help: {', '.join(sorted(set(helped.names()) - set(SUBCOMMANDS)))}.\n"


def _others() -> Iterator[str]:
    yield "## Xenstore\n"
    yield ", ".join(f"`{name}`" for name in programs.NAMES if name.startswith("xenstore")) + "."


def _mutants() -> Iterator[str]:
    yield "\n## What is not so\n"
    yield "What one would expect of the real tools and had better not: each is put into the simulator by a test, and"
    yield "the trace beside it must notice.\n"
    yield _row("expected", "noticed by")
    yield _row("---", "---")
    for mutate, trace in MUTANTS.items():
        yield _row(str(inspect.getdoc(mutate)), trace)


def _ledger() -> Iterator[tuple[str, str]]:
    """Every known difference between the simulator and the real tools, and why there is one."""
    yield from ((entry.__name__.replace("_", " "), why) for entry, (why, _) in LEDGER.items())
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
