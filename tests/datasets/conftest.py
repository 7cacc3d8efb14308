from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep what readers learn of pictures out of the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("DIFE_CACHE", str(folder))
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with two small pictures."""
    for name in ("a.png", "b.png"):
        Image.new("RGB", (50, 40)).save(tmp_path / name)
    return tmp_path
