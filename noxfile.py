"""Everything a contributor runs: `nox -l` lists it, `nox` runs the tests, the types and the linters."""

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["tests", "types", "lint"]
nox.options.reuse_existing_virtualenvs = True

PROJECT = Path(__file__).parent
AXE = "axe-core@4"
LINTERS = ("import-linter", "mypy", "nox", "ruff")
LONG_S = 600
FLOOR = re.compile(r"(?P<name>[A-Za-z0-9._-]+)>=(?P<version>[0-9.]+)")


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests; arguments go to pytest."""
    session.install("--editable", ".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def deep(session: nox.Session) -> None:
    """Try for long what ordinary runs try a little of; XENSNAP_DEEP_S tells for how many seconds.

    So many each of what has no end of its own takes. What has one, such as all deaths there are, is tried to that end
    from ten minutes on, and in less no more of it than in an ordinary run.
    """
    session.install("--editable", ".[test]")
    seconds = os.environ.get("XENSNAP_DEEP_S") or str(LONG_S)
    deep = {"HYPOTHESIS_PROFILE": "deep", "XENSNAP_DEEP_S": seconds}
    places = session.posargs or ["tests/crash", "tests/doctor", "tests/stateful", "tests/discovery", "tests/parity"]
    session.run("pytest", "-n", "auto", *places, env=deep)
    if not session.posargs:
        # The engine's own tests once more, through the code of the real Xen host: in one process, and by executables.
        through = ["tests/unit/engine", "tests/scenarios", "tests/doctor/test_damages.py"]
        if float(seconds) < LONG_S:
            through += ["-m", "not every_effect", f"--share={float(seconds) / LONG_S}"]
        session.run("pytest", "-n", "auto", "--door=two", *through)
        session.run("pytest", "-n", "auto", "--door=three", *through)
        session.run("pytest", "-n", "auto", "tests/cli/test_door_three.py", env=deep)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Fuzz every parser, guided by coverage; arguments go to libFuzzer, such as -max_total_time=3600."""
    session.install("--editable", ".", "atheris>=3.0.0")
    corpus = session.create_tmp()
    session.run("python", "-m", "tests.fuzz.seeds", corpus)
    session.run("python", "-m", "tests.fuzz.parsers", corpus, *(session.posargs or ["-max_total_time=60"]))


@nox.session
def parity(session: nox.Session) -> None:
    """Hold the simulator to real tools and recorded traces."""
    session.install("--editable", ".[test]")
    session.run("pytest", "tests/parity", *session.posargs)


@nox.session
def xen(session: nox.Session) -> None:
    """Run the cases on a real Xen host inside QEMU; `-- quick` only the core; further arguments go to pytest."""
    wanted, more = ("quick", session.posargs[1:]) if session.posargs[:1] == ["quick"] else ("all", session.posargs)
    session.run("sh", ".ci/setup", "xen", external=True)
    session.install("--editable", ".[test]", "pytest-rerunfailures>=16.0")
    page = PROJECT / "docs" / "reference" / "xen-host.md"
    if wanted == "all" and not more:
        page.with_suffix(".json").unlink(missing_ok=True)  # the outcomes of runs before this one
        more = ["--ignore=tests/real/xenhost/test_conformance.py"]  # a quarter of an hour by itself
    where = [] if any(word.startswith("tests/") for word in more) else ["tests/real/xenhost"]
    # The emulated machine, not what runs on it, at times goes on for ever with an HVM guest: then once more.
    again = ["--reruns=1", "--only-rerun=StandsStill"]
    # Three on two processors: a host sleeps for a fifth of its time, as xl does while a device model ends.
    session.run("pytest", *where, f"--xen={wanted}", f"--xen-report={page}", "-n3", "-v", *again, *more)


@nox.session
def viewer(session: nox.Session) -> None:
    """Open the HTML report in a real browser; `-- pictures` also takes the documentation's pictures anew."""
    session.install("--editable", ".[test,viewer]")
    session.run(
        "npm", "install", "--silent", "--prefix", f"{session.virtualenv.location}/share/viewer", AXE, external=True
    )
    pictures = session.posargs[:1] == ["pictures"]
    env = {"XENSNAP_SCREENSHOTS": "write"} if pictures else {}
    session.run("pytest", "tests/viewer", *session.posargs[pictures:], env=env)


@nox.session
def hosts(session: nox.Session) -> None:
    """Try every host of ours with the conformance cases, and write the page about them anew."""
    session.install("--editable", ".[test]")
    session.run("python", "-m", "tests.conformance.hosts_page")


@nox.session
def cluster(session: nox.Session) -> None:
    """Run a campaign on a real Dask cluster of this machine, and lose a worker on the way."""
    session.install("--editable", ".[test,cluster]")
    session.run("pytest", "tests/conformance/test_cluster.py", *session.posargs)


@nox.session
def record(session: nox.Session) -> None:
    """Ask the real tools anew for all that the traces tell; `git diff` then shows what has drifted."""
    session.install("--editable", ".[test]")
    session.run("python", "-m", "tests.parity.traces")


@nox.session
def types(session: nox.Session) -> None:
    """Check types: strict in both packages, looser in the tests."""
    session.install("--editable", ".[test]")
    session.run("mypy", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, format and who imports whom."""
    session.install("--editable", ".[test]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports", "--no-logo")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error."""
    session.install("--editable", ".[docs]")
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure; ratios within one run are what counts."""
    session.install("--editable", ".[test]")
    session.run("pytest", "tests/benchmarks", "--benchmark-enable", "--benchmark-only", *session.posargs)


@nox.session
def minimums(session: nox.Session) -> None:
    """Run all tests on the lowest version of each runtime dependency."""
    floors = Path(session.create_tmp()) / "floors.txt"
    floors.write_text("".join(f"{pin}\n" for pin in lowest_versions()), encoding="utf-8")
    # The linters have dependencies of their own, with other floors; their tests are skipped without them.
    session.install("--editable", ".[testing]", *test_tools(), "--constraint", str(floors))
    session.run("pytest", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """Run the demonstration from a plain install."""
    session.install(".")
    session.run("xensnap", "demo", *session.posargs)


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the wheel and try it in a clean environment."""
    session.install("--editable", ".[test]")
    session.run("pytest", "tests/quality/test_wheel.py", *session.posargs)


def project_table() -> dict[str, Any]:
    """The table `project` of pyproject.toml."""
    with (PROJECT / "pyproject.toml").open("rb") as file:
        table: dict[str, Any] = tomllib.load(file)["project"]
    return table


def lowest_versions() -> list[str]:
    """Each runtime dependency pinned to its floor, as pip's constraints; a dependency without a floor is an error."""
    floors = [(dependency, FLOOR.fullmatch(dependency)) for dependency in project_table()["dependencies"]]
    if without := [dependency for dependency, floor in floors if floor is None]:
        message = f"no plain floor (name>=version) in pyproject.toml: {', '.join(without)}"
        raise ValueError(message)
    return [f"{floor['name']}=={floor['version']}" for _, floor in floors if floor is not None]


def test_tools() -> list[str]:
    """What the extra `test` adds to `testing`, less the linters."""
    wanted: list[str] = project_table()["optional-dependencies"]["test"]
    return [each for each in wanted if not each.startswith(("xensnap", *LINTERS))]
