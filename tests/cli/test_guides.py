"""The guides do what they say: each `console` block of a page is typed into a shell, and must print what stands there.

After a change that is meant, XENSNAP_GOLDEN=write writes the output into the pages anew; read the difference.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
# A prompt of another machine is for that machine's own tests.
PAGES = sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md") if "```console\n$ " in page.read_text())
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)


@pytest.mark.usefixtures("qemu_img", "qemu_io")
@pytest.mark.parametrize("name", PAGES)
def test_a_guide_prints_what_it_says(name, tmp_path) -> None:
    page = (DOCS / name).read_text(encoding="utf-8")
    commands = [re.findall(r"^\$ (.*)$", block, re.MULTILINE) for block in BLOCK.findall(page)]
    outputs = iter(_typed([command for block in commands for command in block], tmp_path))
    blocks = iter(commands)

    def told(_match: re.Match[str]) -> str:
        return "```console\n" + "".join(f"$ {command}\n{next(outputs)}" for command in next(blocks)) + "```"

    written = BLOCK.sub(told, page)
    if os.environ.get("XENSNAP_GOLDEN") == "write":
        (DOCS / name).write_text(written, encoding="utf-8")
    assert written == (DOCS / name).read_text(encoding="utf-8")


def _typed(commands: list[str], place: Path) -> list[str]:
    """What each command prints, all typed into one shell, less what is different every time."""
    mark = "=== end of output ==="
    script = "".join(f"{command}\necho '{mark}'\n" for command in commands)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("XENSNAP_")},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(place),
        "TZ": "UTC",
        "COLUMNS": "110",
        "NO_COLOR": "1",
    }
    done = subprocess.run(
        ["bash"], input=script, cwd=place, env=environment, check=False, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    text = done.stdout.replace(str(place), "~")
    text = re.sub(r"\b[0-9a-f]{12}(?=\.qcow2|')", "52d1c6a8e0b4", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "2026-11-23 09:00:00", text)
    text = re.sub(r"died at effect (\d+), .*", r"died at effect \1, …", text)
    return text.split(f"{mark}\n")[:-1]
