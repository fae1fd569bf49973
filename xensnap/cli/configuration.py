"""The configuration files: /etc/xensnap/config.toml, then the user's own, which has the last word key by key.

Hooks of both files run, those of the machine first. XENSNAP_CONFIG names one file to be read instead of both.
"""

import os
from pathlib import Path
from typing import Any, Literal

import msgspec

from xensnap.cli.names import said
from xensnap.cli.times import span_s
from xensnap.errors import Usage

VARIABLE = "XENSNAP_CONFIG"
SYSTEM = Path("/etc/xensnap/config.toml")


class HookTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """`[[hook]]`: a program of the operator.

    `when`: moments: `pre-create`, `post-revert` and so on, or `pre` and `post` for every operation.
    `run`: the program and its arguments; no shell is between.
    `deadline`: how long it may take, such as `30s`; then it is killed, which counts as failed.
    `on_failure`: `refuse` lets nothing be done (of a post hook: the command ends with 5), `warn` only tells.
    `domains`: patterns of names; all domains by default.
    """

    when: tuple[str, ...]
    run: tuple[str, ...]
    deadline: str = "60s"
    on_failure: Literal["refuse", "warn"] = "refuse"
    domains: tuple[str, ...] = ("*",)

    @property
    def deadline_s(self) -> float:
        """The deadline in seconds."""
        return float(span_s(self.deadline) or 0)


class RetentionTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """`[retention.NAME]`: a policy for `prune --policy NAME`, with the rules that its options have."""

    keep_last: int = 0
    keep_hourly: int = 0
    keep_daily: int = 0
    keep_weekly: int = 0
    keep_monthly: int = 0
    keep_yearly: int = 0
    keep_within: str = ""


class Configuration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """Everything that a file can say.

    `host`: which host to work on, if neither --host nor XENSNAP_HOST says so.
    `wait`: how long a changing verb waits for a domain that somebody else works on, such as `10s`.
    `hook`: programs to run before and after operations.
    `retention`: policies by name.
    """

    host: str = ""
    wait: str = ""
    hook: tuple[HookTable, ...] = ()
    retention: dict[str, RetentionTable] = {}

    @property
    def wait_s(self) -> int:
        """The time to wait in seconds."""
        return span_s(self.wait) or 0


def paths() -> tuple[Path, ...]:
    """The files that are read, the last of which wins."""
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return (Path(chosen),)
    base = os.environ.get("XDG_CONFIG_HOME", "")
    home = Path(base) if base.startswith("/") else Path(os.environ.get("HOME") or Path.home()) / ".config"
    return SYSTEM, home / "xensnap" / "config.toml"


def load() -> Configuration:
    """What all files together say. Nothing is imported for that where there is no file.

    Raises:
        Usage: id `bad-configuration`, with the file and the place in it.
    """
    found = Configuration()
    for path in paths():
        try:
            with path.open("rb") as file:
                text = said(file, str(path))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as error:
            # Under another's HOME nobody can tell whether there is a file at all: then it is not ours to read.
            if os.access(path.parent, os.X_OK):
                raise _bad(path, str(error.strerror)) from error
            continue
        except OSError as error:
            raise _bad(path, str(error.strerror)) from error
        found = _over(found, decode(text, path))
    return found


def decode(text: bytes, path: Path) -> Configuration:
    """Read one file; see `load`."""
    from xensnap.formats import toml

    try:
        found = msgspec.convert(toml.loads(text.decode()), Configuration)
    except (ValueError, msgspec.ValidationError) as error:
        raise _bad(path, str(error)) from error
    for number, hook in enumerate(found.hook):
        if span_s(hook.deadline) is None:
            raise _bad(path, f"{hook.deadline!r} is no span of time - at `$.hook[{number}].deadline`")
        if not hook.run or not hook.when:
            raise _bad(path, f"a hook needs a program and a moment - at `$.hook[{number}]`")
        for moment in hook.when:
            if moment.partition("-")[0] not in ("pre", "post"):
                raise _bad(path, f"{moment!r} is no moment: pre-VERB or post-VERB - at `$.hook[{number}].when`")
    for name, table in found.retention.items():
        if table.keep_within and span_s(table.keep_within) is None:
            raise _bad(path, f"{table.keep_within!r} is no span of time - at `$.retention.{name}.keep-within`")
    if found.wait and span_s(found.wait) is None:
        raise _bad(path, f"{found.wait!r} is no span of time - at `$.wait`")
    return found


def _over(below: Configuration, above: Configuration) -> Configuration:
    return Configuration(
        host=above.host or below.host,
        wait=above.wait or below.wait,
        hook=(*below.hook, *above.hook),
        retention={**below.retention, **above.retention},
    )


def _bad(path: Path, what: str) -> Usage:
    return Usage(f"{path}: {what}", id="bad-configuration", remedy="Correct it; `xensnap config` shows what is read.")


def as_toml(configuration: Configuration) -> dict[str, Any]:
    """What is in force, as a program reads it."""
    found: dict[str, Any] = msgspec.to_builtins(configuration)
    return found
