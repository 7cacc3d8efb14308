"""The configurations `meta_cskt/photos*` on a small folder of the documented layout: each trains and is tested."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from dife_lightning.cli.main import main
from dife_lightning.data.photos.few_labels import FewLabels
from dife_lightning.faces.few_labels import FewLabelFaces
from dife_lightning.methods import _heatmap_networks
from dife_lightning.mining import read_shifts
from dife_lightning.nn.backbone import PixelOptions
from dife_lightning.pretrained import backbones
from dife_lightning.running.configs import list_configs, load_config
from tests.photo_folder import FARM, draw, write_faces, write_photos
from tests.tiny import draw_nothing, fake_imagenet

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings(r"ignore:.*\d+ (usable )?images?\b")]
#: Those that differ by an option of a method alone run on the embedded world (tests/test_shipped_configs.py).
ALIKE = ("fixmatch", "pseudo_labels", "mean_landmarks", "nearest_label", "frozen_features")
NAMES = [name for name in list_configs() if name.startswith("meta_cskt/photos") and not name.endswith(ALIKE)]
STEPS = ["--trainer.max_steps=3", "--trainer.val_check_interval=1", "--trainer.enable_progress_bar=false",
         "--trainer.accelerator=cpu", "--trainer.precision=32-true"]  # fmt: skip
SMALL = {
    "MetaCSKT": ["--model.init_args.warmup_steps=1", "--model.init_args.steps=2",
                 "--model.init_args.mining={t_neg: q0.9, t_pos: null}"],
    "ConsistencyNet": ["--model.init_args.warmup_steps=1"],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write photos/ with six faces of each species in each table, and people with five points.

    A picture of the test is among the unlabelled ones, too, and one of the validation in a training table.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))
    draw_nothing(monkeypatch)
    root = write_photos(tmp_path, monkeypatch, unseen=FARM)
    write_faces(root / "faces/human_aflw", "dog", np.random.default_rng(1))
    for part in ("train", "val", "test"):
        table = root / f"faces/human_aflw/{part}.csv"
        _, *rows = table.read_text().splitlines()
        head = ",".join(["image", "name", "group", "photo", *(f"{axis}{k}" for k in range(5) for axis in "xy")])
        table.write_text("\n".join([head, *rows]))
    draw(root / "unlabelled/dog/more.png", np.random.default_rng(2))
    shutil.copy(root / "faces/dog/images/test3.png", root / "unlabelled/dog/leak.png")
    shutil.copy(root / "faces/cat/images/val1.png", root / "faces/cat/images/train0.png")
    return root


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_and_no_test_face_is_labelled_mined_or_in_the_pool(name, folder, monkeypatch, capsys):
    used: list[set[str]] = []
    make = FewLabels._make_faces

    def watched(self: FewLabels) -> FewLabelFaces:
        found = make(self)
        used.append({*found.names, *(face.name for face in found.labelled)})
        return found

    monkeypatch.setattr(FewLabels, "_make_faces", watched)
    network = fake_imagenet(monkeypatch)
    for module in (_heatmap_networks, backbones):
        if hasattr(module, "load_imagenet"):
            monkeypatch.setattr(module, "load_imagenet", lambda model: (network, PixelOptions()))
    content = load_config(name)
    method, options = content["model"]["class_path"], content["model"].get("init_args", {})
    words = ["--config", name, *SMALL.get(method, [])]
    if "backbone" in options:
        words.append("--model.init_args.backbone.side=32")
    if options.get("init_from") == "photos/dife":  # a tiny stand-in here, which is no such network
        words.append("--model.init_args.init_from=null")
    if method == "LabelVote":
        words.append("--model.init_args.embedder=photos/dife")
    if method in ("MeanLandmarks", "NearestLabel", "LabelVote"):
        assert main(["test", *words, "--out", "out", "--trainer.accelerator=cpu"]) == 0, capsys.readouterr().err
        metrics = Path("out/metrics.json")
    else:
        assert main(["fit", *words, "--run", "it", *STEPS]) == 0, capsys.readouterr().err
        assert main(["test", "--ckpt_path", "runs/it", "--trainer.accelerator=cpu"]) == 0, capsys.readouterr().err
        metrics = Path("runs/it/eval/test/metrics.json")
    rows = {row["domain"]: row for row in json.loads(metrics.read_text())["rows"]}
    assert all(np.isfinite(row["nme"]) for row in rows.values())
    leaked = {"dog_folder/leak.png", "cat/train0"}
    assert used
    for names in used:
        assert not names & leaked
        assert not [one for one in names if "/test" in one or "/val" in one]
    if method == "MetaCSKT":
        assert "dog_folder/more.png" in used[0]
        assert set(read_shifts(Path("runs/it/mining/flip.csv"))) <= used[0]
    if "human" not in name:
        assert {"dog", "cat", "horse", "sheep", "cow"} <= rows.keys()
