"""A page's console blocks as a recording of a terminal, in the format of asciinema (asciicast v2).

The page holds what a simulated host answered, which its own test sees to. So a recording made from it is one of that
run, and only how fast somebody types and reads is made up.
"""

import json
import re

BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
WIDTH, HEIGHT = 110, 34
TYPED_S, ANSWERED_S, READ_S = 0.04, 0.3, 0.12
"""Seconds for a key, before an answer, and to read a line of it."""


def cast(page: str, *, title: str) -> str:
    """The recording of all that is typed on a page, and of what is answered.

    Args:
        page: the text of the page.
        title: what players show.
    """
    now_s = 0.0
    header = {"version": 2, "width": WIDTH, "height": HEIGHT, "title": title, "env": {"TERM": "xterm-256color"}}
    lines = [json.dumps(header)]

    def shown(text: str) -> None:
        lines.append(json.dumps([round(now_s, 3), "o", text], ensure_ascii=False))

    for line in "".join(BLOCK.findall(page)).splitlines():
        if line.startswith("$ "):
            now_s += ANSWERED_S
            shown("$ ")
            for key in line[2:]:
                now_s += TYPED_S
                shown(key)
            now_s += ANSWERED_S
            shown("\r\n")
        else:
            now_s += READ_S
            shown(f"{line}\r\n")
    return "\n".join(lines) + "\n"
