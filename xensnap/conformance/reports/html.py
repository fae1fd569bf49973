"""One self-contained HTML page: requirements, cases, and every case step by step. Needs no network and no server."""

from importlib import resources
from typing import TYPE_CHECKING

from xensnap.conformance.capsule import Capsule
from xensnap.conformance.events import BAD, RunBegan, RunEnded, State
from xensnap.conformance.reports.outcomes import CaseOutcome, RunOutcome, coverage
from xensnap.errors import Usage

if TYPE_CHECKING:
    from jinja2 import Template


def html(runs: tuple[RunOutcome, ...]) -> str:
    """One page for one run or for several hosts side by side.

    Raises:
        Usage: the template engine is not installed.
    """
    hosts = [run.began.host for run in runs]
    matrix = [coverage(run) for run in runs]
    rows = [
        {"requirement": columns[0].requirement, "verdicts": [column.verdict for column in columns]}
        for columns in zip(*matrix, strict=True)
    ]
    profiles = sorted({case.began.profile for run in runs for case in run.cases})
    return _template().render(
        runs=runs, hosts=hosts, rows=rows, profiles=profiles, states=[state.value for state in State], bad=BAD
    )


def replayed(capsule: Capsule, now: CaseOutcome) -> str:
    """The page of one case that was carried out again."""
    began = RunBegan(capsule.host, capsule.seed, (capsule.case,), capsule.capabilities, capsule.versions)
    bad = int(now.ended.state in BAD)
    return html((RunOutcome(began, (now,), RunEnded({now.ended.state.value: 1}, now.ended.seconds, bad)),))


def _template() -> "Template":
    try:
        import jinja2  # noqa: PLC0415 -- only who wants this report needs it
    except ImportError as error:
        remedy = "pip install 'xensnap[testing]'"
        raise Usage("an HTML report needs the package jinja2", id="missing-package", remedy=remedy) from error
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    text = resources.files("xensnap.conformance.reports").joinpath("page.html").read_text(encoding="utf-8")
    return environment.from_string(text)
