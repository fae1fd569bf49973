"""Rules of the house that no linter knows, checked on the syntax trees and never by running the code."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PACKAGES = ("xensnap", "simulator")

# Whoever uses one of these has left the ports: the simulator would not see the effect, and a run would not repeat.
WORLDLY = frozenset(
    {"datetime", "fcntl", "glob", "os", "random", "secrets", "shutil", "signal", "socket", "subprocess", "tempfile"}
    | {"threading", "time", "uuid"}
)
# Parts of them that are only functions of their arguments, when imported by name.
HARMLESS = {("os", "strerror")}
# Where the real world is the point. A name ending in "/" is a directory.
WORLDLY_PLACES = (
    "xensnap/backends/",
    "xensnap/conformance/places/",
    "xensnap/doors.py",
    "xensnap/hosts.py",
    "xensnap/served.py",
    "xensnap/testing/doors.py",
    "xensnap/testing/plugin.py",
    "xensnap/cli/",
    "simulator/serve/",
)
WORLDLY_EXCEPTIONS = {("simulator/core/rng.py", "random")}

# Modules that nothing imports because something outside does.
ENTRY_POINTS = {"xensnap.__main__", "xensnap.cli.main", "xensnap.testing.plugin"}
# Directories whose modules are looked up by name when they are used.
LOADED_BY_NAME = ("xensnap.cli.", "xensnap.conformance.cases.", "xensnap.conformance.reports.")

# What is offered to the tests of others needs no user of its own in the packages, but a test that uses it.
OFFERED = (
    "simulator.checkers.",
    "simulator.faults.",
    "xensnap.doors",
    "xensnap.served",
    "xensnap.conformance.",
    "xensnap.testing.",
    "xensnap.libxl",
)

# Tools leave these behind; nobody wrote what is in them.
MACHINE_MADE = {"__pycache__", "_build", "build", "dist", "node_modules"}
HIDDEN_BUT_OURS = {".ci", ".editorconfig", ".gitignore", ".pre-commit-config.yaml"}


def sources(*tops: str) -> list[Path]:
    """Every Python file below some directories of the project, in a stable order."""
    return sorted(path for top in tops for path in (PROJECT / top).rglob("*.py"))


def short(path: Path) -> str:
    """The path as a reader of the project says it."""
    return path.relative_to(PROJECT).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def module_name(path: Path) -> str:
    parts = path.relative_to(PROJECT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_names(tree: ast.Module, *, module: str, is_package: bool) -> Iterator[str]:
    """Dotted names that a module imports, anywhere in it. `from a import b` gives `a` and `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = module.split(".") if is_package else module.split(".")[:-1]
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *(node.module or "").split(".")]).strip(".")
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def imports_of(path: Path) -> set[str]:
    return set(imported_names(tree_of(path), module=module_name(path), is_package=path.name == "__init__.py"))


def worldly_uses(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and name of everything that reaches past the ports: modules, `open`, and paths that can do I/O."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, top) for alias in node.names if (top := alias.name.partition(".")[0]) in WORLDLY)
            yield from ((node.lineno, "pathlib") for alias in node.names if alias.name == "pathlib")
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            if (top := node.module.partition(".")[0]) in WORLDLY:
                yield from ((node.lineno, top) for alias in node.names if (node.module, alias.name) not in HARMLESS)
            if node.module == "pathlib":
                yield from ((node.lineno, alias.name) for alias in node.names if not alias.name.startswith("Pure"))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open":
            yield node.lineno, "open"


@pytest.mark.parametrize(
    ("line", "uses"),
    [
        ("import os.path", ["os"]),
        ("from time import sleep", ["time"]),
        ("def f():\n    import random", ["random"]),
        ("from pathlib import Path, PurePosixPath", ["Path"]),
        ("open('x')", ["open"]),
        ("from os import strerror", []),
        ("from .time import Clock\nimport posixpath, errno", []),
    ],
)
def test_the_check_for_worldly_uses_sees_each_form(line: str, uses: list[str]) -> None:
    assert [name for _, name in worldly_uses(ast.parse(line))] == uses


def test_only_the_real_hosts_touch_the_real_world() -> None:
    found = [
        f"{short(path)}:{line}: {name}"
        for path in sources(*PACKAGES)
        if not short(path).startswith(WORLDLY_PLACES)
        for line, name in worldly_uses(tree_of(path))
        if (short(path), name) not in WORLDLY_EXCEPTIONS
    ]
    assert not found, "go through a port (Files, Machine, Runner) or the world's own clock and dice"


def test_tests_assert_on_state_and_never_on_calls() -> None:
    found = []
    for path in sources("tests"):
        tree = tree_of(path)
        names = imports_of(path)
        found += [f"{short(path)}: imports {name}" for name in names if {"mock", "pytest_mock"} & set(name.split("."))]
        found += [
            f"{short(path)}:{node.lineno}: {node.attr}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and node.attr.startswith(("assert_called", "assert_not_called"))
        ]
    assert not found, "look at contents, chains and records instead of lists of calls"


def test_no_module_is_dead() -> None:
    used: set[str] = set()
    for path in sources(*PACKAGES):
        used |= imports_of(path) - {module_name(path)}
        # A module may be named in a string and loaded when it is used.
        constants = (node.value for node in ast.walk(tree_of(path)) if isinstance(node, ast.Constant))
        used |= {value for value in constants if isinstance(value, str)}
    tested: set[str] = set().union(*(imports_of(path) for path in sources("tests")))
    used |= {name for name in tested if name.startswith(OFFERED)}
    dead = [
        short(path)
        for path in sources(*PACKAGES)
        if path.name != "__init__.py"
        and (name := module_name(path)) not in used | ENTRY_POINTS
        and not name.startswith(LOADED_BY_NAME)
    ]
    assert not dead, "nothing imports these: use them, or delete them"


def test_every_port_says_what_it_promises() -> None:
    undocumented = []
    tree = tree_of(PROJECT / "xensnap" / "hypervisor.py")
    for owner, node in _public_definitions(tree):
        if not ast.get_docstring(node):
            undocumented.append(f"{owner}{node.name}, line {node.lineno}")
    assert not undocumented, "what it makes true, what it needs, what each error says of the effect, what it costs"


def _public_definitions(
    body: ast.Module | ast.ClassDef, owner: str = ""
) -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]]:
    for node in body.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield owner, node
            if isinstance(node, ast.ClassDef):
                yield from _public_definitions(node, f"{owner}{node.name}.")


def written_files() -> Iterator[Path]:
    """Every file that a person wrote, which is neither a tool's cache nor an environment."""

    def below(directory: Path) -> Iterator[Path]:
        for path in sorted(directory.iterdir()):
            ours = path.name in HIDDEN_BUT_OURS or not path.name.startswith(".")
            if not ours or path.name in MACHINE_MADE or path.is_symlink() or path.suffix == ".egg-info":
                continue
            if path.is_dir():
                if not (path / "pyvenv.cfg").exists():
                    yield from below(path)
            else:
                yield path

    yield from below(PROJECT)


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    # Put together here, so that this file is clean itself.
    homes = [f"/{name}/" for name in ("home", "root", "Users")]
    places = [*homes, f"{PROJECT}/", *([f"{Path.home()}/"] if Path.home() != Path("/") else [])]
    found = []
    for path in written_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{short(path)}: {place}" for place in places if place in text]
    assert not found, "say it relative to the project, or with a name that means nothing"


def test_the_readme_and_the_runner_give_the_same_command() -> None:
    commands = [line for line in (PROJECT / ".ci" / "run").read_text(encoding="utf-8").splitlines() if line]
    assert commands[-1] in (PROJECT / "README.md").read_text(encoding="utf-8")
