"""The table of mutants at the end of a run."""

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each mutant: what it does, which rule of the design it breaks, and what it took to find it."""
    lines = []
    for report in terminalreporter.getreports("passed"):
        told = dict(getattr(report, "user_properties", ()))
        if "mutant" in told:
            name, rule = told["mutant"]
            effort, why = told["found"]
            lines.append(f"{name} [{rule}]: found after {effort}: {why[:80]}")
    if lines:
        terminalreporter.section("mutants of the engine")
        for line in lines:
            terminalreporter.write_line(line)
