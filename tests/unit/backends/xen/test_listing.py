"""What xl prints, as it was printed (Xen 4.17.7). Facts are numbered as in the notes of what was measured."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xensnap.backends.xen import listing, log
from xensnap.backends.xen.listing import Block, Line
from xensnap.errors import Damaged
from xensnap.model import DomainUuid, DomId, RunState

HEADER = (
    "Name                                        ID   Mem VCPUs\tState\tTime(s)   UUID                            "
    "Reason-Code\tSecurity Label\n"
)
DOM0 = (
    "Domain-0                                     0  1536     2     r-----     354.4 "
    "00000000-0000-0000-0000-000000000000        -                -\n"
)
UUID = DomainUuid("ec57283b-c3c4-4900-88b1-0d2d2f4c46a0")


def line(name: str = "pv1", *, state: str = "r-----", mem: int = 160, vcpus: int = 1, reason: str = "-") -> str:
    return f"{name:<40} {1:5d} {mem:5d} {vcpus:5d}     {state}  {14.4:8.1f} {UUID} {reason:>8} {'-':>16}\n"


def test_a_list_is_read_without_dom0() -> None:
    assert listing.domains(HEADER + DOM0 + line()) == (Line("pv1", DomId(1), UUID, RunState.RUNNING),)
    assert listing.domains(HEADER + DOM0) == ()
    assert listing.domains("") == ()


@pytest.mark.parametrize(
    ("letters", "state"),
    [
        ("r-----", RunState.RUNNING),
        ("-b----", RunState.RUNNING),
        ("------", RunState.RUNNING),
        ("--p---", RunState.PAUSED),
        ("-bp---", RunState.PAUSED),
        ("---ss-", RunState.SUSPENDED),
        ("---s--", RunState.SHUTDOWN),
        ("---sr-", RunState.SHUTDOWN),
        ("---sw-", RunState.SHUTDOWN),
        ("---sS-", RunState.SHUTDOWN),
        ("---sc-", RunState.CRASHED),
        ("-----d", RunState.DYING),
        ("--ps-d", RunState.DYING),
    ],
)
def test_fact_2_six_letters_tell_the_state(letters: str, state: RunState) -> None:
    """the fourth says that it is shut down, the fifth why, and a suspend is a shutdown, too"""
    assert listing.domains(HEADER + line(state=letters))[0].state is state


@pytest.mark.parametrize(
    ("letters", "reason"),
    [
        ("---s--", ""),
        ("---sr-", "r"),
        ("---ss-", "s"),
        ("---sw-", "w"),
        ("---sS-", "S"),
        ("---sc-", "c"),
        ("r-----", ""),
    ],
)
def test_fact_2_the_fifth_letter_tells_why_it_was_shut_down(letters: str, reason: str) -> None:
    assert listing.domains(HEADER + line(state=letters))[0].reason == reason


def test_fact_13_a_domain_that_is_just_being_restored_is_not_there_yet() -> None:
    """it is listed by its name, paused, without memory"""
    assert listing.domains(HEADER + line(state="--p---", mem=0, vcpus=0))[0].state is RunState.DYING


def test_a_shutdown_has_a_reason_code() -> None:
    assert listing.domains(HEADER + line(state="---s--", reason="0"))[0].state is RunState.SHUTDOWN


@pytest.mark.parametrize("name", ["5", "a b", "x" * 60, "r-----", "1 2 3 4", "name (domid 7)", "ü", "-"])
def test_fact_12_a_name_may_be_a_number_or_look_like_anything(name: str) -> None:
    assert listing.domains(HEADER + DOM0 + line(name))[0].name == name


@given(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=50))
def test_names_come_out_as_they_went_in(name: str) -> None:
    assert [found.name for found in listing.domains(HEADER + line(name))] == [name]


@given(st.text())
def test_whatever_is_printed_is_read_or_refused_by_line(text: str) -> None:
    with suppress(Damaged):
        assert len(listing.domains(text)) <= len(text.splitlines())
    assert isinstance(listing.blocks(text), dict)
    assert isinstance(listing.capabilities(text), frozenset)


@pytest.mark.parametrize("number", ["9" * 5000, "9" * 11, "\u0663"])
def test_a_number_that_is_none_of_xls_is_refused_or_left_out(number: str) -> None:
    """Python reads no numbers of more than 4,300 digits, and digits of other scripts are not xl's"""
    with pytest.raises(Damaged):
        listing.domains(HEADER + line().replace("    1 ", f" {number} "))
    with pytest.raises(Damaged):
        listing.domains(HEADER + line().replace("14.4", "1.4.4"))
    assert listing.blocks(BLOCKS.replace("51712 0", f"{number} 0")).keys() == {51728}
    assert log.watching(f"Waiting for domain pv1 (domid {number}) to die [pid 1]") is None


BLOCKS = """\
Vdev  BE  handle state evt-ch ring-ref BE-path
51712 0   1      4     8      8        /local/domain/0/backend/qdisk/1/51712
51728 0   1      1     -1     -1       /local/domain/0/backend/vbd/1/51728
"""


def test_fact_17_the_backend_that_serves_a_disk_is_told_by_its_path() -> None:
    """a raw file goes to blkback, of which QEMU knows nothing, and libxl-json does not tell"""
    assert listing.blocks(BLOCKS) == {51712: Block("qdisk", connected=True), 51728: Block("vbd", connected=False)}


def test_fact_5_the_blocks_of_a_domain_that_is_not_there_are_none() -> None:
    """xl exits 0 and prints the header"""
    assert listing.blocks(BLOCKS.splitlines(keepends=True)[0]) == {}


def test_live_a1_xen_tells_what_it_can_do() -> None:
    text = "host                   : dom0\nvirt_caps              : pv hvm hap gnttab-v1 gnttab-v2\n"
    assert listing.capabilities(text) == {"pv", "hvm", "hap", "gnttab-v1", "gnttab-v2"}
