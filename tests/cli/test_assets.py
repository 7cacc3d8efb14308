"""What ``dife assets`` prints: one line a file with its terms, or one asset in full."""

from __future__ import annotations

import json

import pytest

from dife_lightning.cli.main import main
from dife_lightning.weights import assets


@pytest.fixture(autouse=True)
def shelf(tmp_path, monkeypatch):
    monkeypatch.setattr(assets, "FOLDER", tmp_path / "shelf")
    weights, card = tmp_path / "w.safetensors", tmp_path / "card.md"
    weights.write_bytes(b"weights")
    card.write_text("# The card\n\nDogs only.\n")
    assets.register_asset("world/dog", weights, "generator", seed=3)
    assets.register_asset("photos/dife", weights, "dife", terms="non-commercial", data=["AFHQ", "MAFL"], notice=card)


def test_each_asset_has_one_line_with_its_terms(capsys):
    assert main(["assets"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "photos/dife  dife        0.0 MB  non-commercial",
        "world/dog    generator   0.0 MB  Apache-2.0",
    ]


def test_one_asset_is_shown_in_full(capsys):
    assert main(["assets", "photos/dife"]) == 0
    text = capsys.readouterr().out
    assert "terms: non-commercial\n" in text
    assert "data: AFHQ, MAFL\n" in text
    assert text.endswith("\n\n# The card\n\nDogs only.\n")
    assert main(["assets", "world/dog"]) == 0
    assert "terms: Apache-2.0" in capsys.readouterr().out


def test_an_asset_whose_record_has_no_version_is_the_first(capsys):
    manifest = assets.FOLDER / "manifest.json"
    entries = json.loads(manifest.read_text())
    del entries["world/dog"]["version"]
    manifest.write_text(json.dumps(entries))
    assert main(["assets", "world/dog"]) == 0
    assert "version: 1\n" in capsys.readouterr().out


def test_unknown_names_and_further_words_are_errors_of_one_line(capsys):
    assert main(["assets", "photos/dive"]) == 1
    assert capsys.readouterr().err == "error: no asset 'photos/dive'. Did you mean 'photos/dife'? " + (
        "Known: photos/dife, world/dog.\n"
    )
    assert main(["assets", "a", "b"]) == 2
