"""One self-contained HTML page: requirements, cases, and every case step by step. Needs no network and no server."""

from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING

from xensnap.conformance.events import BAD, RunBegan, RunEnded, State
from xensnap.conformance.reports.outcomes import CaseOutcome, RunOutcome, coverage
from xensnap.conformance.requirements import Level
from xensnap.errors import Usage

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup


def html(runs: tuple[RunOutcome, ...]) -> str:
    """One page for one run or for several hosts side by side.

    Raises:
        Usage: the template engine is not installed.
    """
    return _page(runs, f"Conformance: {', '.join(_named(runs))}")


def replayed(now: CaseOutcome, *, host: str, seed: int, versions: Mapping[str, str]) -> str:
    """The page of one case that was carried out again."""
    began = RunBegan(host, seed, (now.began.case,), (), versions)
    bad = int(now.ended.state in BAD)
    run = RunOutcome(began, (now,), RunEnded({now.ended.state.value: 1}, now.ended.seconds, bad))
    return _page((run,), f"Replay: {now.began.case}")


def _page(runs: tuple[RunOutcome, ...], title: str) -> str:
    template = _template()
    matrix = [coverage(run) for run in runs]
    rows = [
        {
            "requirement": columns[0].requirement,
            "tried": any(column.cases for column in columns),
            "verdicts": [column.verdict for column in columns],
        }
        for columns in zip(*matrix, strict=True)
    ]
    return template.render(
        title=title,
        css=_part("page.css"),
        js=_part("page.js"),
        runs=runs,
        hosts=_named(runs),
        rows=rows,
        profiles=sorted({case.began.profile for run in runs for case in run.cases}),
        levels=[level.value for level in Level],
        states=[state.value for state in State],
        bad=BAD,
    )


def _named(runs: tuple[RunOutcome, ...]) -> list[str]:
    """What the hosts are called on the page; several runs on one host are counted."""
    hosts = [run.began.host for run in runs]
    return [
        f"{host} ({hosts[: at + 1].count(host)})" if hosts.count(host) > 1 else host for at, host in enumerate(hosts)
    ]


def _template() -> "Template":
    try:
        import jinja2  # noqa: PLC0415 -- only who wants this report needs it
    except ImportError as error:
        remedy = "pip install 'xensnap[testing]'"
        raise Usage("an HTML report needs the package jinja2", id="missing-package", remedy=remedy) from error
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8"))


def _part(name: str) -> "Markup":
    """Style or program of the page, which is ours and needs no escaping."""
    from markupsafe import Markup  # noqa: PLC0415 -- comes with the template engine

    return Markup(resources.files(__package__).joinpath(name).read_text(encoding="utf-8"))  # noqa: S704 -- as above
