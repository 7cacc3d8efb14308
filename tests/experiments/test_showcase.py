"""The page of pictures: one command, all parts, nothing from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dife_lightning.errors import DifeError
from experiments.figures import showcase


def test_the_page_shows_the_pictures_of_every_command(tmp_path, monkeypatch, capsys):
    """Commands are replaced by ones that write their pictures, which their own tests check."""
    monkeypatch.chdir(tmp_path)
    calls = []

    def call(words: list[str]) -> int:
        calls.append(words[0])
        out = Path(words[words.index("--out") + 1])
        out.mkdir(parents=True, exist_ok=True)
        name = {"parse": "parts"}.get(words[0], words[0])
        (out / f"{name} & 1.png" if words[0] == "overlay" else out / f"{name}.png").write_bytes(b"")
        return 0

    monkeypatch.setattr(showcase, "dife", call)
    assert showcase.main(["--out", "page"]) == 0
    assert calls == ["match", "dense", "embed", "parse", "overlay", "overlay", "overlay", "generate", "pairs"]
    text = Path("page/index.html").read_text(encoding="utf-8")
    sources = re.findall(r'src="([^"]+)"', text)
    assert len(sources) == 9
    assert all(Path("page", source.replace("&amp;", "&")).is_file() for source in sources)
    assert "glasses/overlay &amp; 1.png" in sources
    assert not re.search(r"https?://", text)
    assert {path.name[2:] for path in Path("page/photos").iterdir()} >= {"astronaut.png", "drawn_dog.png"}
    monkeypatch.setattr(showcase, "dife", lambda words: 1)
    with pytest.raises(DifeError, match="the part 'Dense correspondence' failed"):
        showcase.main(["--out", "page"])
