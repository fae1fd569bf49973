"""What xl 4.17.7 prints as help: the list of its subcommands, and the usage of each (recorded, trace xen/usage)."""

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any

from simulator.core.unmodelled import NotModelled

_NAME = re.compile(r"^ ([a-z][a-z0-9-]+) ", re.MULTILINE)


@cache
def _recorded() -> dict[str, Any]:
    told: dict[str, Any] = json.loads(files(__package__).joinpath("help.json").read_text(encoding="utf-8"))
    return told


def everything() -> str:
    """`xl help`."""
    text: str = _recorded()["all"]
    return text


def of(name: str) -> str:
    """`xl help NAME`."""
    text: str | None = _recorded()["commands"].get(name)
    if text is None:
        raise NotModelled(f"xl help {name}")
    return text


def names() -> list[str]:
    """All subcommands, in xl's order."""
    return _NAME.findall(everything())


def meant(word: str) -> str | None:
    """The subcommand that a word names: in full, or by a beginning that no other one has."""
    found = [name for name in names() if name.startswith(word)]
    return word if word in found else found[0] if len(found) == 1 else None


def can_be_dry(name: str) -> bool:
    """Whether it takes `-N`."""
    return "N]" in of(name).partition("\n")[0]
