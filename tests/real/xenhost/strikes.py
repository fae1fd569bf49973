"""Something happens in the midst of what xl does for us (`killing.py`, which runs in dom0)."""

import json
import signal
from pathlib import Path
from typing import Any

from tests.real.xenhost import killing
from tests.real.xenhost.dom0 import Answer
from tests.real.xenhost.lab import VERB_S, XenLab

KILLED = -signal.SIGKILL


def struck(lab: XenLab, what: str, whom: str, *words: str) -> tuple[Answer, dict[str, Any]]:
    """Carry out a verb of ours, and strike while xl works on it; how it ended, and what there was at that moment."""
    strike = begin(lab, what, whom)
    answer = lab.begin_xensnap(*words)()
    at: dict[str, Any] = json.loads(strike().must().out)
    return answer, at


def begin(lab: XenLab, what: str, whom: str) -> Any:
    """Wait for it in dom0; what comes back tells what there was when it is called."""
    lab.dom0.put("/tmp/killing.py", Path(killing.__file__).read_bytes())
    return lab.dom0.start("python3", "-E", "-S", "/tmp/killing.py", what, whom, timeout_s=VERB_S)


def state(at: dict[str, Any]) -> str:
    """The six letters of the only domain."""
    (line,) = at["list"]
    letters: str = line.split()[4]
    return letters
