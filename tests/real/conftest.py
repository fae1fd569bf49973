"""A laboratory for each test: a directory of real images, and the command line on it."""

import pytest

from tests.conftest import require_tool
from tests.real.lab import Lab


@pytest.fixture
def lab(tmp_path, monkeypatch) -> Lab:
    """An empty directory for images."""
    for name in ("qemu-img", "qemu-io"):
        require_tool(name)
    place = tmp_path / "images"
    place.mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XENSNAP_HOST", raising=False)
    return Lab(place)
