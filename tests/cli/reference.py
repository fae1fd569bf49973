"""The pages of the reference about commands and JSON documents, made from the commands and the documents themselves."""

import json
from collections.abc import Iterator
from typing import get_args

import click
import msgspec

from xensnap.cli.command import COMMON
from xensnap.cli.configuration import Configuration, HookTable, RetentionTable
from xensnap.cli.documents.every import Document
from xensnap.cli.documents.parts import EventDocument
from xensnap.cli.explanations import EXPLANATIONS
from xensnap.cli.main import ALIASES, SECTIONS, VERBS, main
from xensnap.engine.risks import RISKS

COMMANDS_INTRODUCTION = """\
# Commands

`xensnap [--host HOST] [-v] [--debug] [--xl-exit] VERB …`. DOMAIN is a name or a UUID. `--host` and `-v` can stand
before or after the verb.

- **A Xen host** keeps its snapshots where `--root` says, /var/lib/xen/snapshots if it is not given. xl knows a domain
  only while it is there: `--domain-config` names the file that one is started from, and it is remembered. Both stand
  before the verb, and that of `create` also after it.
- **Output.** The result goes to stdout, everything else to stderr. `--json` prints one document, also for an error; see
  [](json.md). `-v` tells each step on stderr; on a terminal a moving line does.
- **Paths** are made absolute before they are used. A simulated host has no working directory: paths there are absolute.
- **Exit codes** are those of [](errors.md). With `--xl-exit` they are 0 and 1 only, as `xl` has them.
- **Ctrl-C** brings the operation under way to one of its two ends, says which, and ends with 130.
- **Looking is always allowed.** `list`, `info`, `tree` and `current` work on a domain with an interrupted operation and
  say on stderr that recovery is due.
- **Plans.** `--dry-run` shows the plan and changes nothing. With `--json` it prints the plan as `apply` reads it, and
  `apply` carries out exactly that, or refuses if the domain is not what it was any more.
"""

JSON_INTRODUCTION = """\
# JSON documents

With `--json` every verb prints one document on stdout, whose `schema` is its name and version. Within a version fields
may be added, so a reader passes over those it does not know; none is taken away or changes its meaning. Where a verb
fails, `xensnap-error/1` is printed instead, and the exit code is in it.

`create`, `revert` and `delete` with `--dry-run --json` print a plan, `xensnap-plan/1`, which is made for `apply` and is
no interface: its steps may change with every version, and `apply` refuses a plan of another one.

The schemas are [JSON Schema 2020-12](https://json-schema.org/draft/2020-12/schema).
"""


ERRORS_INTRODUCTION = """\
# Errors and exit codes

| Exit code | Meaning |
|---|---|
| 0 | done |
| 1 | failed, and nothing has changed |
| 2 | the request or the configuration makes no sense as it stands |
| 3 | the domain, snapshot, disk or file is not there |
| 4 | somebody else is at work there |
| 5 | failed, and something is left; the message says which command ends it |
| 6 | refused before anything was touched |
| 7 | the outcome is not known; look at the host before trying again |
| 130 | interrupted; undone, or to be resumed |

## The tree

```{eval-rst}
.. automodule:: xensnap.errors
```

## Risks

A refusal that names one of these can be lifted with `--accept` and the id, one by one.

"""


CONFIGURATION_INTRODUCTION = """\
# Configuration

`/etc/xensnap/config.toml` is read first, then `$XDG_CONFIG_HOME/xensnap/config.toml` (`~/.config/xensnap/config.toml`),
which has the last word key by key; hooks and policies of both hold. The variable `XENSNAP_CONFIG` names one file to be
read instead. Options and `XENSNAP_HOST` win over all files. `xensnap config` shows what is in force. Nothing but these
keys is allowed, so that a slip of the pen is told with its place.

```toml
host = "xen"
wait = "1m"

[retention.nightly]
keep-daily = 7
keep-weekly = 4

[[hook]]
when = ["pre-create"]
run = ["/usr/local/sbin/quiet-database", "--flush"]
deadline = "30s"
domains = ["db*"]
```

Hooks get facts in their environment: `XENSNAP_HOOK`, `XENSNAP_HOST`, `XENSNAP_VERB`, `XENSNAP_DOMAIN`,
`XENSNAP_DOMAIN_UUID`, `XENSNAP_SNAPSHOT`, `XENSNAP_OPERATION` (an id), and afterwards `XENSNAP_RESULT`: `done`,
`undone`, `failed` or `refused`. A hook that runs after an operation always follows the one before it, even where
xensnap died in between: then the next recovery runs it. On simulated hosts no hook runs.
"""


def configuration_page() -> str:
    """docs/reference/configuration.md."""
    parts = [CONFIGURATION_INTRODUCTION]
    for each in (Configuration, HookTable, RetentionTable):
        about = (each.__doc__ or "").partition("\n\n")
        rows = [
            f"| `{field.encode_name}` | `{told_type(field)}` | {told_default(field)} |"
            for field in msgspec.structs.fields(each)
        ]
        table = "\n".join(["| Key | Type | Default |", "|---|---|---|", *rows])
        listed = "\n".join(f"- {line.strip()}" for line in about[2].splitlines() if line.strip())
        parts.append(f"## {each.__name__.removesuffix('Table')}\n\n{about[0].strip()}\n\n{listed}\n\n{table}\n")
    return "\n".join(parts).replace("\n\n\n", "\n")


def told_type(field: msgspec.structs.FieldInfo) -> str:
    """The type as somebody writes it."""
    text = field.type.__name__ if isinstance(field.type, type) else str(field.type)
    return text.replace("typing.", "").replace("xensnap.cli.configuration.", "")


def told_default(field: msgspec.structs.FieldInfo) -> str:
    """The default in a table, or that there is none."""
    if field.required:
        return "required"
    return "" if field.default is msgspec.NODEFAULT else f"`{json.dumps(field.default)}`"


MAN_INTRODUCTION = """\
---
orphan: true
---

# xensnap

## Synopsis

**xensnap** [**--host** HOST] [**-v**] [**--debug**] [**--xl-exit**] VERB …

## Description

xensnap takes, lists, reverts and deletes snapshots of domains: disks alone, or disks and memory of one moment. What it
is going to do can be shown first with **--dry-run**; what was interrupted is undone or finished by the next command, or
by **xensnap recover**. Nothing is done that would make another snapshot unusable.

HOST is **xen** for this machine, **qemu:DIR** for real images in a directory, **sim** or **sim:DIR** for a simulated
one. Each verb explains itself with **--help**.

## Commands
"""

MAN_END = """\
## Exit status

0 done; 1 failed, and nothing has changed; 2 the request makes no sense as it stands; 3 something is not there;
4 somebody else is at work there; 5 failed, and something is left; 6 refused before anything was touched; 7 the outcome
is not known; 130 interrupted. With **--xl-exit**, 0 and 1 only.

## Environment

XENSNAP_HOST
: The host to work on, where **--host** does not say.

XENSNAP_CONFIG
: One configuration file to be read instead of the usual ones.

VISUAL, EDITOR
: What **xensnap edit** starts.

NO_COLOR
: No colours on a terminal.

## Files

/etc/xensnap/config.toml, ~/.config/xensnap/config.toml
: Configuration: the host, retention policies, hooks.

/var/lib/xen/snapshots
: Records, journals and memory of the snapshots of this machine.

IMAGE.xensnap.json
: Copies of records, beside the overlays of frozen images.

## See also

xl(1), xl.cfg(5), xl-disk-configuration(5), qemu-img(1), virsh(1)
"""


def man_page() -> str:
    """docs/man/xensnap.md, of which Sphinx makes xensnap(1)."""
    sections = {**SECTIONS, "Around it": tuple(name for name in VERBS if not any(name in s for s in SECTIONS.values()))}
    parts = [MAN_INTRODUCTION]
    for title, names in sections.items():
        parts.append(f"### {title}\n")
        parts += [f"**{name}**\n: {VERBS[name][1]}\n" for name in names]
    parts.append("## Options of most commands\n")
    parts += [f"**{option}**\n: {told}\n" for option, told in COMMON.items() if told != "As above."]
    return "\n".join([*parts, MAN_END])


def errors_page() -> str:
    """docs/reference/errors.md."""
    risks = "\n".join(f"| `{name}` | {what} |" for name, what in sorted(RISKS.items()))
    ids = "\n".join(f"| `{name}` | {what} | {remedy} |" for name, (what, remedy) in sorted(EXPLANATIONS.items()))
    return (
        f"{ERRORS_INTRODUCTION}| Id | What is risked |\n|---|---|\n{risks}\n\n## All ids\n\n"
        "`xensnap explain ID` tells the same without this page.\n\n"
        f"| Id | What it is | What to do |\n|---|---|---|\n{ids}\n"
    )


def leaves(group: click.Group, *path: str) -> Iterator[tuple[list[str], click.Command]]:
    """Every command that does something, in the order of the help."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from leaves(command, *path, name)
        else:
            yield [*path, name], command


def commands_page() -> str:
    """docs/reference/commands.md."""
    parts = [COMMANDS_INTRODUCTION]
    for path, command in leaves(main):
        context = click.Context(command, info_name=" ".join(["xensnap", *path]), terminal_width=100)
        context.help_option_names = ["-h", "--help"]
        aliases = [alias for alias, name in ALIASES.items() if [name] == path]
        also = f"Also as `{aliases[0]}`.\n\n" if aliases else ""
        parts.append(f"## {' '.join(path)}\n\n{also}```text\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


def json_page() -> str:
    """docs/reference/json.md."""
    parts = [JSON_INTRODUCTION]
    for each in (*get_args(Document), EventDocument):
        text = json.dumps(msgspec.json.schema(each), indent=2)
        parts.append(f"## {each.__struct_config__.tag}\n\n{each.__doc__}\n\n```json\n{text}\n```\n")
    return "\n".join(parts)
