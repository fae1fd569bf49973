"""What configurations say, setting by setting, and in which of them two differ. Pure.

The texts are the toolstack's: JSON, TOML or `xl.cfg`. What is about disks is passed over, since a revert decides that,
and so is the UUID, which is no setting but the identity.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from xensnap.errors import Damaged
from xensnap.formats import libxl_json, secret, toml

_ABOUT_DISKS = {"disk", "disks"}
_SETTING = re.compile(r"\s*(?P<key>[A-Za-z_][A-Za-z0-9_.-]*)\s*=\s*(?P<value>.*?)\s*\Z", re.DOTALL)
_MAY_DIFFER = re.compile(r"(c_info\.)?name|on_\w+")
_IDENTITY = {"uuid", "c_info.uuid"}
_OF_A_NIC = re.compile(r"nics\[\d+\]\.(?P<what>\w+)")
_UNSET = "unset"


def differing(then: str, now: str) -> tuple[str, ...]:
    """The settings that are different now, each as `key: then -> now`; none where either text is not known."""
    before, after = read(then), read(now)
    if not before or not after:
        return ()
    return tuple(_change(key, before, after) for key in _unequal(before, after))


def of_the_machine(saved: str, wanted: str) -> tuple[str, ...]:
    """Those of them that a guest with its memory cannot be given: all but name, bridges and actions on events.

    What a file does not say of a network interface, xl fills in.
    """
    before, after = read(saved), read(wanted)
    both = {_whole(key) for key in before} & {_whole(key) for key in after}
    keys = [key for key in _unequal(before, after) if not _may_differ(key, both, told=key in after)]
    return tuple(_change(key, before, after) for key in keys)


def read(text: str) -> dict[str, str]:
    """What a configuration says but for its disks, by key; parts of a whole by their path. Empty for an empty text."""
    for parse in (json.loads, toml.loads):
        try:
            told = parse(text.rstrip("\0"))
            if isinstance(told, dict):
                return _items(told)
        except (ValueError, RecursionError, Damaged):
            continue
        break
    return dict(_lines(text))


def _items(told: Mapping[str, Any]) -> dict[str, str]:
    wanted = {key: value for key, value in told.items() if key not in _ABOUT_DISKS}
    return {key: json.dumps(value, ensure_ascii=False, default=str) for key, value in libxl_json.items(wanted)}


def name(text: str) -> str:
    """What a text calls the domain; empty for an empty one."""
    found = read(text)
    told = found.get("c_info.name") or found.get("name") or ""
    try:
        return str(json.loads(told)) if told else ""
    except (ValueError, RecursionError):
        return told.strip("'\"")  # of a file for xl, or of a record that somebody has written to


def _change(key: str, before: Mapping[str, str], after: Mapping[str, str]) -> str:
    then, now = (secret.shown(key, told.get(key, _UNSET)) for told in (before, after))
    return f"{key}: {then} -> {now}"


def _unequal(before: dict[str, str], after: dict[str, str]) -> Sequence[str]:
    keys = sorted(before.keys() | after.keys())
    told = [key for key in keys if key not in _IDENTITY and not libxl_json.is_filled_in(key)]
    return [key for key in told if before.get(key) != after.get(key)]


def _may_differ(key: str, both: Collection[str], *, told: bool) -> bool:
    """Whether it is nothing of the machine: of an interface that is there before and after, what is not told, too."""
    nic = _OF_A_NIC.fullmatch(key)
    if nic:
        return _whole(key) in both and (nic["what"] == "bridge" or not told)
    return bool(_MAY_DIFFER.fullmatch(key))


def _whole(key: str) -> str:
    """What a setting is a part of."""
    return key.partition(".")[0]


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """`key = value` lines; what goes on over lines is about disks."""
    for line in text.splitlines():
        found = _SETTING.match(line)
        if found and found["key"] not in _ABOUT_DISKS:
            yield found["key"], found["value"]
