"""Who has a file open, and what is said where that cannot be seen."""

import os
import subprocess

import pytest

from xensnap.backends.local import machine as machines
from xensnap.backends.local.machine import LocalMachine
from xensnap.backends.local.waiting import run
from xensnap.errors import FileFailed, Refused


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image"
    path.write_bytes(b"content")
    return path


def test_a_hard_link_is_the_same_file_and_we_are_not_another_process(image, tmp_path):
    os.link(image, tmp_path / "link")
    with image.open("rb") as ours, subprocess.Popen(["sleep", "60"], stdin=ours) as other:
        (opener,) = run(LocalMachine().openers(str(tmp_path / "link")))
        assert (opener.pid, opener.command, opener.writing) == (other.pid, "sleep 60", False)
        other.kill()


def test_a_file_that_was_removed_is_not_the_one_that_has_its_name_now(image):
    with image.open("rb") as ours, subprocess.Popen(["sleep", "60"], stdin=ours) as other:
        image.unlink()
        image.write_bytes(b"new")
        assert run(LocalMachine().openers(str(image))) == ()
        other.kill()


def test_nobody_is_never_said_without_having_seen_all(image, monkeypatch):
    monkeypatch.setattr(machines, "_FIRST_PID_NAMESPACE", 1)
    with pytest.raises(Refused) as caught:
        run(LocalMachine().openers(str(image)))
    assert caught.value.id == "cannot-see-openers"
    # Whom we do see is told all the same.
    with image.open("rb") as ours, subprocess.Popen(["sleep", "60"], stdin=ours) as other:
        assert [opener.pid for opener in run(LocalMachine().openers(str(image)))] == [other.pid]
        other.kill()


def test_of_a_file_that_is_not_there_nothing_is_said(image):
    with pytest.raises(FileFailed):
        run(LocalMachine().openers(f"{image}.not"))
