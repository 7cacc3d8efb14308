"""Grids, embeddings, samples and pseudo-pairs: what is written is what was computed."""

from __future__ import annotations

import json
import weakref
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from PIL import Image

from dife_lightning.applications import photo_lists
from dife_lightning.applications.dense_grid import EXTENT, DenseGrid
from dife_lightning.applications.pair_gallery import make_pairs, pair_rows
from dife_lightning.applications.samples import sample_images
from dife_lightning.cli.main import main
from dife_lightning.errors import CheckpointError, ConfigError, DataError
from dife_lightning.faces.images import read_image
from dife_lightning.methods.dife import DIFE
from dife_lightning.pretrained.generators import load_generator
from dife_lightning.world.dataset import WorldFaces
from tests.applications.test_transfer import Colors, moved, smooth_picture
from tests.tiny import dife_arguments


@pytest.fixture
def photos(tmp_path, monkeypatch) -> Path:
    """Go to a folder with two drawn faces and a damaged file in ``photos``."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for k, species in enumerate(("dog", "cat")):
        Image.fromarray(WorldFaces(species, "test", 1, size=80)[0]["image"]).save(f"photos/{k}.png")
    Path("photos/broken.png").write_text("no picture")
    return tmp_path


def test_a_grid_goes_where_the_picture_was_moved():
    grid = DenseGrid(smooth_picture(), (-0.5, -0.5, 63.5, 63.5), 5, 0.6, Colors(), size=64)
    assert len(grid.grid) == 25
    np.testing.assert_allclose(grid.grid[[0, 24]], 31.5 + np.array([[-1, -1], [1, 1]]) * 0.4 * 0.6 * 64, atol=1e-3)
    found = grid.transfer(moved(smooth_picture()), (40, 10, 136, 106))
    np.testing.assert_allclose(found.points, grid.grid * 1.5 + [40, 10], atol=3)
    assert found.matched.all()


def test_points_of_a_grid_outside_of_the_photo_are_left_out():
    grid = DenseGrid(smooth_picture(), (-40, 0, 40, 80), 4, 1.0, Colors(), size=64)
    assert 0 < len(grid.grid) < 16
    assert (grid.grid >= -0.5).all()
    assert len(grid.places) == len(grid.grid)
    with pytest.raises(ConfigError, match="points is 1"):
        DenseGrid(smooth_picture(), "whole", 1, model=Colors())
    with pytest.raises(DataError, match="no point of the grid"):
        DenseGrid(smooth_picture(), (60, 0, 700, 640), 2, 0.2, model=Colors())


def test_dense_writes_points_and_a_sheet(photos, capsys):
    Image.fromarray(WorldFaces("human", "test", 1, size=80)[0]["image"]).save("person.png")
    assert main(["dense", "person.png", "photos", "--faces", "whole", "--face", "whole", "--grid", "6"]) == 0
    assert "36 points carried to 2 faces" in capsys.readouterr().out
    written = json.loads(Path("dense/dense.json").read_text())
    assert sorted(written["targets"]) == ["0.png", "1.png"]
    assert np.shape(written["targets"]["0.png"]["points"]) == np.shape(written["grid"]) == (36, 2)
    np.testing.assert_allclose(np.ptp(written["grid"], axis=0), EXTENT * 80 * 5 / 6, atol=0.02)  # brows to chin
    assert read_image("dense/dense.png").shape[1] > 300


def test_embed_writes_what_the_model_returns(photos, capsys):
    assert main(["embed", "photos", "--faces", "whole"]) == 0
    said = capsys.readouterr()
    assert "2 faces embedded" in said.out
    assert "passed over: photos/broken.png" in said.err
    with np.load("embed/embeddings.npz", allow_pickle=False) as arrays:
        assert arrays["names"].tolist() == ["0.png", "1.png"]
        assert arrays["embeddings"].shape == (2, 16, 64, 64)
        norms = np.linalg.norm(arrays["embeddings"].astype(np.float32), axis=1)
        np.testing.assert_allclose(arrays["squares"], [[39.5, 39.5, 80]] * 2)
    np.testing.assert_allclose(norms, 1, atol=2e-3)
    assert read_image("embed/embed.png").shape[1] > 300
    assert main(["embed", "photos", "--colors", "rainbow"]) == 2


@pytest.mark.parametrize(
    "words", [["embed"], ["dense", "photos/0.png"], ["parse", "--parts", "2"], ["overlay", "glasses"]]
)
def test_photos_are_not_kept_in_memory(tmp_path, monkeypatch, words):
    """At most the photo at work, the one before and the one that is read ahead; each is counted when one is opened."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    face = Image.fromarray(WorldFaces("dog", "test", 1, size=80)[0]["image"])
    for k in range(8):
        face.save(f"photos/{k}.png")
    alive, most, opens = [], [], photo_lists.open_photo

    def counted(file):
        image = opens(file)
        alive.append(weakref.ref(image))
        most.append(sum(one() is not None for one in alive))
        return image

    monkeypatch.setattr(photo_lists, "open_photo", counted)
    monkeypatch.setattr(photo_lists, "BATCH", 1)
    assert main([*words, "photos", "--faces", "whole"]) == 0
    assert len(most) % 8 == 0
    assert max(most) <= 3


def test_samples_have_one_z_in_all_domains_and_truncations(tmp_path, monkeypatch):
    """Without truncation 0 is the mean face, whatever the z is; images are those of the generator itself."""
    monkeypatch.chdir(tmp_path)
    generators = {name: load_generator(f"world/{name}") for name in ("human", "dog")}
    images = sample_images(generators, 3, (0.0, 1.0), seed=4)
    assert {key: tuple(batch.shape) for key, batch in images.items()} == {
        (name, psi): (3, 3, 64, 64) for name in generators for psi in (0.0, 1.0)
    }
    torch.testing.assert_close(images["dog", 0.0][0], images["dog", 0.0][1])
    assert (images["dog", 1.0][0] - images["dog", 1.0][1]).abs().mean() > 0.05
    again = sample_images({"human": generators["human"]}, 3, (1.0,), seed=4)
    torch.testing.assert_close(again["human", 1.0], images["human", 1.0])
    assert main(["generate", "world/human", "world/dog", "--count", "2", "--psi", "0.5,1", "--seed", "4"]) == 0
    assert len(list(Path("generate/images").iterdir())) == 8
    assert Path("generate/images/world-dog-0.5-1.png").is_file()
    assert main(["generate", "world/human", "--psi", "a"]) == 2
    with pytest.raises(ConfigError, match="one or more generators"):
        sample_images({}, 1)


def test_pairs_of_a_run_are_drawn_and_recorded(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = dife_arguments(tmp_path)
    dife = DIFE(**arguments)
    dife.load_generators()
    for domain in dife.domains:
        dife._measure_features(domain, dife.generators[domain])
    trainer = L.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.strategy.connect(dife)
    trainer.save_checkpoint("dife.ckpt")
    assert main(["pairs", "dife.ckpt", "--count", "2"]) == 0
    assert "8 pairs" in capsys.readouterr().out
    rows = json.loads(Path("pairs/pairs.json").read_text())["pairs"]
    assert {(row["source"], row["target"]) for row in rows} == {(a, b) for a in dife.domains for b in dife.domains}
    assert all(-1 <= row["geometry_cosine"] <= 1 and row["distance"] <= row["start_distance"] + 1e-6 for row in rows)
    assert read_image("pairs/pairs.png").shape[1] > 300
    made = make_pairs(dife, 1)
    torch.testing.assert_close(made["human", "dog"].original, made["human", "human"].original)
    assert len(pair_rows(dife.eval(), made)) == 4
    with pytest.raises(CheckpointError, match="makes no pseudo-pairs"):
        make_pairs(torch.nn.Identity())  # type: ignore[arg-type]
