"""The programs of docs/examples pass their own tests, installed as a user would: from the wheel, and nothing else."""

import shutil
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
PROGRAMS = sorted(path.parent.name for path in EXAMPLES.glob("*/test_*.py"))


def test_each_directory_of_examples_has_tests() -> None:
    assert sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir()) == PROGRAMS


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_example_passes_its_own_tests(environment, tmp_path, name) -> None:
    place = tmp_path / name
    shutil.copytree(EXAMPLES / name, place, ignore=shutil.ignore_patterns("__pycache__"))
    (place / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", encoding="utf-8")
    argv = [str(environment.python), "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider"]
    done = environment.run(*argv, place=place)
    assert done.returncode == 0, done.stdout + done.stderr
    if "skipped" in done.stdout:
        pytest.skip(done.stdout)
