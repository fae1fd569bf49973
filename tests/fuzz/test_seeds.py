"""What fuzzing starts from is good input: every reader takes its own without an error."""

import pytest

from tests.fuzz.readers import READERS
from tests.fuzz.seeds import seeds

SEEDS = seeds()
WITHOUT = {"archive", "manifest", "save file"}
"""Readers whose good input needs real contents; the fuzzer finds its way from what is nearly one."""


@pytest.mark.parametrize("name", READERS)
def test_a_reader_takes_its_seed(name: str) -> None:
    if name not in WITHOUT:
        READERS[name](SEEDS[name])


def test_there_is_a_seed_for_each() -> None:
    assert set(READERS) - set(SEEDS) <= WITHOUT
