"""Tells at the end of the run how many deaths were tried."""

import pytest

from tests.crash.harness import TRIED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if TRIED:
        kinds = ", ".join(f"{name} {count}" for name, count in sorted(TRIED.items()))
        terminalreporter.write_line(f"deaths tried and recovered from: {TRIED.total()} ({kinds})")
