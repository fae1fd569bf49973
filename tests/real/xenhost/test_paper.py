"""What of the harness is only text: filters, the page of results, the guests' files. Needs no Xen."""

import itertools
import json
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.real.xenhost import cache, dom0, filters, report
from tests.real.xenhost.guests import GUESTS
from tests.real.xenhost.scenarios import OTHER_GUESTS, SCENARIOS
from tests.real.xenhost.test_session import PAGE, typed
from tests.real.xenhost.words import WORDS
from xensnap.formats import xl_cfg


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("pv1      1   128     1     -b----      46.4\n", "pv1      1   128     1     ??---- <time>\n"),
        ("pv1      1   128     1     r-p---       6.6\n", "pv1      1   128     1     ??p--- <time>\n"),
        ("xc: progress: Frames: 2048/40960    5%\nxc: info: Restoring domain\n", "xc: info: Restoring domain\n"),
        ("1   snap1   0 B 2026-11-23 15:36:17 00:04:55.230   \n", "1   snap1   0 B <time>   \n"),
        ('"actual-size": 1056768, "date-sec": 17', '"actual-size": <number>, "date-sec": <number>'),
        (
            "remove /safety-f619ad0af724.save, /a.xvdb.f619ad0af724.qcow2, tag given-up-f619ad0af724",
            "remove /safety-<operation>.save, /a.xvdb.<operation>.qcow2, tag given-up-<operation>",
        ),
        (' ring-ref = "519170"\n backend-id = "0"\n', ' ring-ref = "<number>"\n backend-id = "0"\n'),
        ("xc: info: XenStore: mfn 0x11eafd, dom 0, evt 1", "xc: info: XenStore: mfn <mfn>, dom 0, evt <evt>"),
    ],
)
def test_only_what_differs_on_each_run_is_filtered(said: str, kept: str) -> None:
    assert filters.text(said) == kept


def test_an_event_loses_its_time_and_nothing_else() -> None:
    said = {"timestamp": {"seconds": 1}, "event": "STOP", "data": {"actual-size": 5, "names": ["a"]}}
    assert filters.message(said) == {"event": "STOP", "data": {"actual-size": "<number>", "names": ["a"]}}


@pytest.mark.parametrize("guest", GUESTS.values(), ids=GUESTS)
def test_a_guests_file_is_one_that_xl_reads(guest) -> None:
    read = xl_cfg.parse(guest.config(), source=guest.file)
    assert not read.warnings
    assert (read.string("name"), read.string("type")) == (guest.name, guest.type)
    assert len(read.items("disk") or ()) == len(guest.disks)


class Working:
    """A machine that is busy for so long between two looks at it, and stands where it stands."""

    def __init__(self, between_looks_s: float = 0.0) -> None:
        self.between_looks_s = between_looks_s
        self.looks = itertools.count()

    @property
    def cpu_s(self) -> float:
        return next(self.looks) * self.between_looks_s

    def stands(self) -> str:
        return "RIP=1"


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_a_machine_that_goes_leaves_nobody_waiting(pair) -> None:
    ours, theirs = pair
    host = dom0.Dom0(ours, Working())
    running = host.start("xl", "list")
    theirs.close()
    with pytest.raises(dom0.Dom0Failed, match="has gone"):
        running()
    host.close()


@pytest.mark.parametrize(
    ("timeout_s", "busy_s_max"),
    [(30.0, dom0.BUSY_S_MAX), (2 * dom0.BUSY_S_MAX / dom0.BUSY_SHARE, 2 * dom0.BUSY_S_MAX)],
    ids=["soon", "may take long"],
)
def test_a_machine_that_only_works_and_never_answers_is_given_up(
    pair, monkeypatch: pytest.MonkeyPatch, timeout_s: float, busy_s_max: float
) -> None:
    ours, _ = pair
    monkeypatch.setattr(dom0, "LOOK_S", 0.0)
    host = dom0.Dom0(ours, machine := Working(busy_s_max / 10))
    with pytest.raises(dom0.StandsStill, match=f"stands still.*{1.1 * busy_s_max:.0f} s") as failed:
        host.run("xl", "list", stdin=b"much", timeout_s=timeout_s)
    assert next(machine.looks) == 12
    assert "'xl', 'list'" in str(failed.value)
    assert "input" not in str(failed.value)
    assert str(failed.value).endswith("RIP=1")
    host.close()


def test_each_scenario_has_a_name_of_its_own() -> None:
    every = [*SCENARIOS, *OTHER_GUESTS, *WORDS]
    assert len({each.name for each in every}) == len(every)


def test_the_session_keeps_its_commands_when_its_answers_are_taken_out() -> None:
    page = PAGE.read_text(encoding="utf-8")
    bare = list(typed(page))
    assert list(typed("\n".join(bare))) == bare
    assert [line for line in page.splitlines() if line.startswith("dom0# ")]


def test_a_page_tells_what_failed_and_the_ratios() -> None:
    pauses = {
        deed: {"gap_ms": 10.0 * number, "stall_ms": 2.0 * number, "took_s": 1.5 * number}
        for number, deed in enumerate(report.PAUSES, start=1)
    }
    told = json.dumps(pauses)
    figures = json.dumps([report.Figure("G4", "two disks", "qemu-img", 1.25, 1.35)])
    both = {"pauses": told, "pause_goals": json.dumps([report.Figure("pause", "live", "plain", 0.03, 0.2)])}
    cases = [
        report.Case("test_flow", report.COVERS, "pv-internal", "passed", 30.0),
        report.Case("test_flow", report.COVERS, "hvm-internal", "failed", 90.0),
        report.Case("test_pauses", "test_pauses_side_by_side", "pvh512", "passed", 60.0, both),
        report.Case("test_figures", "test_figures", "pvh512", "passed", 60.0, {"figures": figures}),
        report.Case("test_killed", "test_killed_while", "us", "passed", 60.0, {"recovered": "undone"}),
        report.Case("test_endings", "test_ends", "hvm", "passed", 60.0, {"stood_still": "RIP=1"}),
        report.Case("test_killed", "test_killed_while", "xl", "passed", 60.0, {"recovered": "nothing"}),
    ]
    page = report.page(cases)
    assert "6 of 7 passed" in page
    assert "| internal | passed | not tried | failed |" in page
    assert "| what a snapshot covers comes back while the guest works | 1 | hvm-internal |" in page
    assert "| xl save -c | 1.00 | 3.00 | 1.00 |" in page
    assert "| pause | live | plain | 0.03x | ≤ 0.2x |" in page
    assert "| G4 | two disks | qemu-img | 1.25x | ≤ 1.35x |" in page
    assert "| killed while | 1 | 0 | 1 |" in page
    assert "Together they took 7 minutes" in page
    assert "stood still in `test_ends[hvm]`" in page


def test_the_last_outcome_of_a_case_counts_and_others_stay() -> None:
    one, two = (report.Case("test_flow", "test_it", way, "passed") for way in ("one", "two"))
    failed = replace(one, outcome="failed")
    assert report.merged([one, two], failed) == [failed, two]
    assert report.read(report.written([failed, two])) == [failed, two]


def test_a_fingerprint_tells_files_and_texts_apart(tmp_path) -> None:
    (tmp_path / "a").write_text("one")
    first = cache.fingerprint(tmp_path, "two")
    assert cache.fingerprint(tmp_path, "two") == first
    (tmp_path / "a").write_text("other")
    assert cache.fingerprint(tmp_path, "two") != first
    assert cache.fingerprint("ab", "c") != cache.fingerprint("a", "bc")
