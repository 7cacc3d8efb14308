"""The checks of found faces and of parts, on a small folder of the documented layout and a few drawn faces."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from dife_lightning.applications.overlay import FOLDER, OBJECTS
from experiments.build import objects
from experiments.checks import face_crops, parts
from tests.photo_folder import write_faces

SPECIES = ("human", "dog", "cat")


@pytest.fixture
def photos(tmp_path):
    for species in SPECIES:
        write_faces(tmp_path / "faces" / species, species, np.random.default_rng(1), count=4)
    return tmp_path


def test_errors_of_found_and_given_faces_are_printed(photos, capsys):
    words = [str(photos), "--species", "human,dog", "--count", "2", "--sources", "1,2"]
    assert face_crops.main(words) == 0
    table = capsys.readouterr().out
    assert "error in px of a 70-px crop" in table
    assert [line.split()[1] for line in table.splitlines() if "│ human" in line or "│ dog" in line] == ["human"] * 2 + [
        "dog"
    ] * 2


def test_true_squares_have_the_points_where_they_are(photos):
    """Eyes and nose of the folder's faces are in the middle of their square, whose side is 2.8 times their extent."""
    for species in SPECIES:
        faces = face_crops._faces(photos, species, "test")
        assert len(faces) == 4
        for face, box in faces:
            np.testing.assert_allclose((box[:2] + box[2:]) / 2, face.points.mean(0), atol=0.01)
            assert box[2] - box[0] == pytest.approx(2.8 * np.ptp(face.points, axis=0).max(), rel=1e-3)


def test_parts_of_the_true_surface_score_one_and_random_ones_little():
    """An embedding that is the true place itself: all species agree; the places of another face at random do not."""
    faces = [parts._world(species, 6) for species in SPECIES]
    uv = {one.species: torch.from_numpy(np.nan_to_num(one.uv, nan=3.0)).permute(0, 3, 1, 2) for one in faces}
    pure, across, agreement = parts.scores(faces, lambda images, species: uv[species], 9)
    assert pure > 0.7
    assert across > 0.6
    assert agreement > 0.8
    by_chance = parts.scores(faces, parts._places, 9)
    assert by_chance[0] < 0.5
    assert by_chance[2] < 0.3


def test_photos_are_cropped_around_eyes_and_nose(photos):
    found = parts._photos(photos, "dog", 3)
    assert found.images.shape == (3, 3, 64, 64)
    np.testing.assert_allclose(found.points.mean(axis=1), 31.5, atol=0.6)


def test_shipped_objects_are_those_that_the_command_draws(tmp_path, monkeypatch):
    monkeypatch.setattr(objects, "FOLDER", tmp_path)
    objects.main()
    for name in OBJECTS:
        with Image.open(tmp_path / f"{name}.png") as drawn, Image.open(FOLDER / f"{name}.png") as shipped:
            np.testing.assert_array_equal(np.array(drawn), np.array(shipped))
