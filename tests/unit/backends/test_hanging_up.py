"""A monitor that breaks off in the very moment in which the line is ready: as one that is gone, not as our mistake."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.unit.backends.test_endless_lines import GREETING, ask, heard, reply
from xensnap.backends.local.waiting import run
from xensnap.errors import Failed


@contextmanager
def monitor(path: Path, last_words: bytes) -> Iterator[None]:
    """Somebody who listens there once, negotiates, and says the last of all together with that."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            line, _ = listening.accept()
            listening.close()
            with line:
                line.sendall(GREETING)
                asked = heard(line)
                reply(line, asked, also=last_words)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join()


@pytest.mark.parametrize("last_words", [b"", b"Killed\r\n"], ids=["none", "some"])
def test_who_hangs_up_as_soon_as_the_line_is_ready_is_gone(tmp_path: Path, last_words: bytes) -> None:
    with monitor(tmp_path / "qmp", last_words), pytest.raises(Failed) as caught:
        run(ask(tmp_path / "qmp"))
    assert caught.value.id == "monitor-gone"
