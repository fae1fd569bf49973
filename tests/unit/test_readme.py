"""The README's example is a test that passes."""

import re
from pathlib import Path
from typing import Any

README = Path(__file__).parents[2] / "README.md"


def test_the_simulator_in_ten_lines() -> None:
    examples = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) == 1
    names: dict[str, Any] = {}
    exec(compile(examples[0], README.name, "exec"), names)
    names["test_a_disk_comes_back"]()
