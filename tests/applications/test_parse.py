"""Parts of faces: clusters that are known, labels in pixels of the photo, and scores against counts by hand."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dife_lightning.applications import FaceCrop
from dife_lightning.applications.parsing import (
    NOTHING,
    FaceParser,
    landmark_purity,
    part_rows,
    photo_labels,
    region_agreement,
)
from dife_lightning.cli.main import main
from dife_lightning.errors import CheckpointError, ConfigError, DataError
from dife_lightning.geometry.crops import Square
from dife_lightning.weights.assets import find_asset
from dife_lightning.weights.checkpoints import write_tensors
from dife_lightning.world.dataset import WorldFaces

#: Three far embeddings; the first is the most frequent.
ROWS = torch.tensor([[4.0, 0, 0], [0, 4.0, 0], [0, 0, 4.0]])
PICTURE = torch.tensor([[0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 1, 2], [0, 0, 1, 1]])


def maps(count: int = 2, noise: float = 0.1) -> torch.Tensor:
    """Return embeddings (count, 3, 4, 4) whose parts are those of ``PICTURE``."""
    exact = ROWS[PICTURE].permute(2, 0, 1).expand(count, -1, -1, -1)
    return exact + noise * torch.randn(exact.shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("normalize", ["none", "l2"])
def test_known_parts_are_found_largest_first(normalize, tmp_path):
    parser = FaceParser.fit([maps(2), maps(1)], parts=3, normalize=normalize, model="mine")
    np.testing.assert_array_equal(parser.parse(maps(1))[0], PICTURE)
    parser.save(tmp_path / "parts.safetensors")
    again = FaceParser.load(tmp_path / "parts.safetensors")
    assert (again.normalize, again.model, len(again)) == (normalize, "mine", 3)
    torch.testing.assert_close(again.centres, parser.centres)


def test_length_alone_makes_parts_unless_vectors_are_normalised():
    scaled = torch.cat((maps(1), 10 * maps(1)), dim=3)
    same = FaceParser.fit([scaled], parts=3, normalize="l2").parse(scaled)[0]
    np.testing.assert_array_equal(same[:, :4], same[:, 4:])
    other = FaceParser.fit([scaled], parts=3, normalize="none").parse(scaled)[0]
    assert (other[:, :4] != other[:, 4:]).any()


def test_labels_lie_on_the_photo_where_the_face_is():
    """A face of 20 px at (10, 4) of a photo of 60 x 40, whose right half is part 1."""
    photo = np.zeros((40, 60, 3), np.uint8)
    face = FaceCrop(photo, Square(19.5, 13.5, 20), np.zeros((8, 8, 3), np.uint8), "box")
    labels = photo_labels(face, np.repeat([[0, 1]], 128, axis=1).repeat(256, axis=0).astype(np.uint8))
    assert labels.shape == (40, 60)
    assert set(labels[4:24, 10:20].ravel()) == {0}
    assert set(labels[4:24, 20:30].ravel()) == {1}
    assert (labels[:, 31:] == NOTHING).all()
    first, second = part_rows("a.png", labels, 2)
    assert (first["share"], second["share"]) == (0.5, 0.5)
    assert (first["x"], second["x"], second["y"]) == (14.5, 24.5, 13.5)


def test_purity_counts_points_in_the_usual_part():
    """By hand: eyes are in part 1 on three of four faces; noses in part 2 on people, in part 0 on dogs."""
    parts = np.array([[1, 2], [1, 2], [1, 0], [3, 0]])
    visible = np.ones_like(parts, bool)
    found = landmark_purity(parts, visible, ["human", "human", "dog", "dog"])
    assert found["purity"] == pytest.approx((3 + 2) / 8)
    assert found["across"] == pytest.approx((2 + 1 + 0 + 0) / 8)
    visible[3] = False
    assert landmark_purity(parts, visible, ["human"] * 4)["purity"] == pytest.approx((3 + 2) / 6)
    assert np.isnan(landmark_purity(parts, visible, ["human"] * 4)["across"])


def test_agreement_is_one_for_parts_of_the_true_surface():
    """Parts cut from the true coordinates agree between species; shifted ones of one species do not."""
    uv = np.stack([WorldFaces(species, "test", 1).sample(0).uv for species in ("human", "dog")])
    parts = np.nan_to_num((uv[..., 0] > 0) * 2 + (uv[..., 1] > 0)).astype(int)
    assert region_agreement(parts, uv, ["human", "dog"]) > 0.97
    parts[1] = (parts[1] + 1) % 4
    assert region_agreement(parts, uv, ["human", "dog"]) < 0.03
    assert np.isnan(region_agreement(parts, uv, ["human", "human"]))


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        (lambda: FaceParser.fit([], 3), DataError, "no face"),
        (lambda: FaceParser.fit([maps()], 1), ConfigError, "parts is 1"),
        (lambda: FaceParser.fit([torch.zeros(1, 3, 4, 4)], 3), DataError, "fewer different pixels than 3"),
        (lambda: FaceParser(ROWS, "l1"), ConfigError, "normalize 'l1'"),
        (lambda: FaceParser(ROWS).parse(torch.zeros(1, 5, 4, 4)), ConfigError, "5 channels; these parts were found in"),
    ],
)
def test_what_cannot_be_parsed_is_refused(given, error, said):
    with pytest.raises(error, match=said):
        given()


def test_another_file_is_no_parser(tmp_path):
    write_tensors(tmp_path / "x.safetensors", {"centres": ROWS})
    with pytest.raises(CheckpointError, match="holds no parts of faces"):
        FaceParser.load(tmp_path / "x.safetensors")


def test_the_command_finds_parts_and_uses_them_again(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for species in ("human", "dog"):
        Path(species).mkdir()
        Image.fromarray(WorldFaces(species, "test", 1, size=80)[0]["image"]).save(f"{species}/a.png")
    Path("dog/broken.jpg").write_text("no picture")
    assert main(["parse", "human", "dog", "--faces", "whole", "--parts", "4"]) == 0
    assert "2 faces in 4 parts" in capsys.readouterr().out
    labels = Image.open("parse/labels/human/a.png.png")
    assert labels.mode == "P"
    assert labels.size == (80, 80)
    assert set(np.unique(labels)) <= {0, 1, 2, 3}
    with open("parse/parts.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows[::4]] == ["dog/a.png", "human/a.png"] or len(rows) == 8
    assert sum(float(row["share"]) for row in rows) == pytest.approx(2, abs=0.01)
    assert main(["parse", "dog/a.png", "--faces", "whole", "--parser", "parse/parser.safetensors", "--out", "b"]) == 0
    first, second = (np.array(Image.open(f"{place}.png")) for place in ("parse/labels/dog/a.png", "b/labels/a.png"))
    assert (first == second).mean() > 0.99
    assert main(["parse", "dog/broken.jpg"]) == 1
    assert "no face in any of 1 photos" in capsys.readouterr().err.splitlines()[-1]


def test_parts_are_used_with_the_model_that_they_were_found_with(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(WorldFaces("dog", "test", 1, size=80)[0]["image"]).save("dog.png")
    words = ["parse", "dog.png", "--faces", "whole"]
    assert main([*words, "--model", "photos/teacher", "--parts", "3"]) == 0
    again = [*words, "--parser", "parse/parser.safetensors", "--out", "again"]
    capsys.readouterr()
    assert main(again) == 0
    assert "its parts were found with photos/teacher, which is used" in capsys.readouterr().err
    assert Path("parse/labels/dog.png.png").read_bytes() == Path("again/labels/dog.png.png").read_bytes()
    assert main([*again, "--model", "photos/dife"]) == 1
    assert "found with photos/teacher, not photos/dife; leave out --model" in capsys.readouterr().err
    shutil.copy(find_asset("photos/teacher"), "copy.ckpt")
    assert main([*again, "--model", "copy.ckpt"]) == 0


def test_weights_are_compared_by_their_content_and_older_parts_by_name(tmp_path):
    for name in ("one", "other"):
        (tmp_path / f"{name}.ckpt").write_text(name)
    one, other, moved = (str(tmp_path / f"{name}.ckpt") for name in ("one", "other", "moved"))
    parser = FaceParser.fit([maps()], 3, model=one)
    parser.check_model(one, "p")
    shutil.copy(one, moved)
    parser.check_model(moved, "p")
    with pytest.raises(ConfigError, match=r"p: its parts were found with .*one.ckpt, not .*other.ckpt"):
        parser.check_model(other, "p")
    Path(one).write_text("trained on")
    with pytest.raises(ConfigError, match="found with other weights; find parts anew"):
        parser.check_model(one, "p")
    about = {name: json.dumps(value) for name, value in (("kind", "face-parser"), ("normalize", "l2"), ("model", one))}
    write_tensors(tmp_path / "old.safetensors", {"centres": ROWS}, about)
    old = FaceParser.load(tmp_path / "old.safetensors")
    assert (old.normalize, old.weights) == ("l2", "")
    old.check_model(str(tmp_path / "x" / ".." / "one.ckpt"), "p")
    with pytest.raises(ConfigError, match=r"not .*moved.ckpt"):
        old.check_model(moved, "p")
