"""What is different on each run is taken out of what tools say, so that the rest can be compared word for word. Pure.

Domids need no filter: a thawed host has always given out the same ones.
"""

import re
from collections.abc import Mapping
from typing import Any

TEXT = (
    (re.compile(r"^xc: progress: .*\n", re.MULTILINE), ""),
    # CPU seconds, and whether it happens to run or to be blocked at this moment.
    (
        re.compile(r"^(\S+ +\d+ +\d+ +\d+ +)[r-][b-]([p-][s-][a-z-][d-]) +[\d.]+( .*)?$", re.MULTILINE),
        r"\1??\2 <time>\3",
    ),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "<uuid>"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d( \d\d:\d\d:\d\d\.\d+)?"), "<time>"),
    (re.compile(r"(?:(?<=safety-)|(?<=given-up-)|(?<=\.xvd[a-z]\.))[0-9a-f]{12}\b"), "<operation>"),
    (re.compile(r"\bmfn 0x[0-9a-f]+"), "mfn <mfn>"),
    (re.compile(r"\bevt \d+"), "evt <evt>"),
    (re.compile(r"\[pid \d+\]"), "[pid <pid>]"),
    (re.compile(r'(?<=device-model-pid = ")\d+'), "<pid>"),
    # Which frame, which grant and which event channel a guest has been given, also in one line for each path.
    (re.compile(r'\b(ring-ref|event-channel|port) = "\d+"'), r'\1 = "<number>"'),
    (re.compile(r'(?<=start_time = ")\d+\.\d+'), "<time>"),
)
NUMBERS = frozenset({"actual-size", "date-nsec", "date-sec", "vm-clock-nsec", "vm-clock-sec"})
"""Keys of QEMU's JSON whose values are times, or depend on the file system below."""

_NODE = re.compile(r"#block(?:\d+|<\d+>)")


def text(said: str) -> str:
    """What a tool printed, without what differs."""
    for pattern, instead in TEXT:
        said = pattern.sub(instead, said)
    return re.sub(rf'("(?:{"|".join(sorted(NUMBERS))})": )\d+', r"\1<number>", said)


def message(said: Any) -> Any:
    """What a monitor said, without what differs; of an event the time is left out."""
    if isinstance(said, Mapping):
        left_out = {"timestamp"} if "event" in said else set()
        return {
            key: "<number>" if key in NUMBERS else message(value) for key, value in said.items() if key not in left_out
        }
    if isinstance(said, list):
        return [message(each) for each in said]
    return text(said) if isinstance(said, str) else said


def nodes(said: str) -> str:
    """Nodes that nobody named, by the order in which they come: each QEMU begins their names with a number it draws."""
    names = {name: f"#block<{number}>" for number, name in enumerate(dict.fromkeys(_NODE.findall(said)))}
    return _NODE.sub(lambda found: names[found[0]], said)
