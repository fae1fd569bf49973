"""In what a domain's configuration is another one than at a snapshot. Pure.

The texts are the toolstack's: JSON, TOML or `xl.cfg`. Lines about disks are passed over, since a revert changes those.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from xensnap.engine.view import View
from xensnap.model import Snapshot

_ABOUT_DISKS = {"disk", "disks"}
_SETTING = re.compile(r"\s*(?P<key>[A-Za-z_][A-Za-z0-9_.-]*)\s*=\s*(?P<value>.*?)\s*\Z", re.DOTALL)


def differing(view: View, snapshot: Snapshot) -> tuple[str, ...]:
    """The settings that are different now, each as `key: then -> now`; none where either text is not known."""
    then, now = settings(snapshot.domain_config), settings(view.configuration)
    if not then or not now:
        return ()
    return tuple(
        f"{key}: {then.get(key, 'unset')} -> {now.get(key, 'unset')}"
        for key in sorted(then.keys() | now.keys())
        if then.get(key) != now.get(key)
    )


def settings(text: str) -> dict[str, str]:
    """What a configuration says but for its disks, by key; parts of a whole by their path."""
    if not text:
        return {}
    try:
        return dict(_leaves("", json.loads(text.rstrip("\0"))))
    except ValueError:
        return dict(_lines(text))


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Every scalar by its path."""
    if isinstance(value, dict):
        for key, below in value.items():
            if key not in _ABOUT_DISKS:
                yield from _leaves(f"{path}.{key}" if path else key, below)
    elif isinstance(value, list):
        for number, below in enumerate(value):
            yield from _leaves(f"{path}[{number}]", below)
    else:
        yield path, json.dumps(value, ensure_ascii=False)


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """`key = value` lines above the first table; what is in tables or goes on over lines is about disks."""
    for line in text.splitlines():
        if line.lstrip().startswith("["):
            return
        found = _SETTING.match(line)
        if found and found["key"] not in _ABOUT_DISKS:
            yield found["key"], found["value"]
