from __future__ import annotations

import json

from dife_lightning.cli.main import main


def test_predict_writes_landmarks_without_being_told_to(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))
    words = ["predict", "--config", "world/test", "--model", "CopyXY", "--out", "out"]
    few = ["--data.init_args.count", "2", "--data.init_args.lists", "[paper]", "--data.init_args.framings", "[plain]"]
    assert main([*words, *few]) == 0
    written = json.loads((tmp_path / "out" / "keypoints.json").read_text())
    assert len(written["annotations"]) == len(written["images"]) == 2
    assert (tmp_path / "out" / "keypoints.csv").read_text().count("\n") > 2
