"""The table of the design's words is whole, its tests exist, and its page is the one in the reference."""

import ast
import os
from pathlib import Path

import pytest

from tests.cli.words_of_2014 import PARTS, page
from xensnap import libxl
from xensnap.cli.main import ALIASES
from xensnap.formats import snapshot_cfg

TESTS = Path(__file__).parents[1]
DOCS = TESTS.parent / "docs"
WORDS = [word for words in PARTS.values() for word in words]


@pytest.mark.parametrize("word", WORDS, ids=lambda word: word.word)
def test_the_test_of_each_word_is_there(word) -> None:
    file, _, function = word.test.partition("::")
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_no_word_is_missing() -> None:
    told = " ".join(word.word for word in WORDS)
    keys = {*snapshot_cfg.KEYS, *snapshot_cfg.OTHER_NAMES}
    assert {word.word for word in PARTS["xl.snapshot.cfg"]} >= keys
    assert {name for name in vars(libxl) if name.startswith("libxl_")} - {"libxl_error"} == {
        word.word for word in PARTS["Library"]
    }
    assert all(alias in told for alias in ALIASES)
    assert len(PARTS["Where it contradicts itself"]) == 22


def test_the_page_is_made_from_the_table() -> None:
    path = DOCS / "reference" / "words-of-2014.md"
    if os.environ.get("XENSNAP_GOLDEN") == "write":
        path.write_text(page(), encoding="utf-8")
    assert path.read_text(encoding="utf-8") == page(), "XENSNAP_GOLDEN=write pytest makes it anew"


def test_the_manual_tells_every_key() -> None:
    text = (DOCS / "man" / "xl.snapshot.cfg.5.md").read_text(encoding="utf-8")
    for key in (*snapshot_cfg.KEYS, *snapshot_cfg.OTHER_NAMES):
        assert f"`{key}" in text, f"the manual says nothing of `{key}`"
