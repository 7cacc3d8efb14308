"""Points of face and ears beside the nine landmarks: where they are, and when they can be seen."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

import numpy as np
import pytest
import yaml

from dife_lightning.errors import ConfigError
from dife_lightning.faces.scheme_tables import pairs_by_name
from dife_lightning.faces.schemes import flip_permutation
from dife_lightning.world import Framing, render
from dife_lightning.world.extra_landmarks import EAR_POINTS, EXTRA_LANDMARKS, FACE_POINTS, extra_landmarks
from dife_lightning.world.face.species import Species, parse_species
from tests.world.samples import JITTER, SPECIES, read_bilinear, sample

FACES, EARS = slice(0, len(FACE_POINTS)), slice(len(FACE_POINTS), None)


def own_table(species: str, **sections: Mapping[str, Any]) -> Species:
    shipped = yaml.safe_load((resources.files("dife_lightning.world") / "species.yaml").read_text("utf-8"))
    table = shipped[species]
    return parse_species(species, table | {section: table[section] | traits for section, traits in sections.items()})


@pytest.mark.parametrize("framing", [None, JITTER])
@pytest.mark.parametrize("species", SPECIES)
def test_the_renderers_surface_coordinates_are_those_of_each_point_of_the_face(species, framing):
    gaps = []
    for index in range(4):
        one = sample(species, index, size=128, framing=framing)
        points, visible = extra_landmarks(species, "val", index, size=128, framing=framing)
        for k, wanted in enumerate(FACE_POINTS.values()):
            found = read_bilinear(one.uv, *points[k].tolist())
            if visible[k] and np.isfinite(found).all():  # a point at the rim of the mask has no four neighbours
                gaps.append(np.abs(found - wanted).max())
    assert len(gaps) > 16
    assert np.quantile(gaps, 0.9) < 0.025
    assert max(gaps) < 0.15  # a chin that is seen from above: one pixel is far on the surface


@pytest.mark.parametrize("species", [name for name in SPECIES if name != "human"])  # ears of skin are never dark
def test_points_of_the_ears_lie_where_a_change_of_the_ears_colour_shows(species):
    plain, dark = (
        own_table(species, coat={"dark_ears": value}, ears={"inner_color": [inner]})
        for value, inner in ((0, "#ffffff"), (1, "#000000"))
    )
    hits = 0
    for index in range(6):
        points, visible = extra_landmarks(plain, "val", index, size=96)
        before, after = (render(table, "val", index, size=96).image.astype(int) for table in (plain, dark))
        changed = np.abs(before - after).max(-1) > 4
        for (x, y), seen in zip(points[EARS], visible[EARS], strict=True):
            if seen:
                column, row = round(float(x)), round(float(y))
                hits += bool(changed[row - 1 : row + 2, column - 1 : column + 2].any())
        assert changed.mean() < 0.4
    assert hits >= 0.9 * 6 * len(EAR_POINTS)


@pytest.mark.parametrize("species", SPECIES)
def test_points_of_the_ears_are_never_on_the_face(species):
    for index in range(7):
        mask = sample(species, index, size=128).mask
        points, visible = extra_landmarks(species, "val", index, size=128)
        x, y = np.rint(points[EARS][visible[EARS]]).astype(int).T
        assert not mask[y, x].any()


def test_hair_hides_the_forehead_and_the_ears_that_it_covers():
    seen = {}
    for style in ("none", "fringe", "long"):
        table = own_table("human", hair={"style": {style: 1}})
        seen[style] = np.mean([extra_landmarks(table, "val", index)[1] for index in range(12)], axis=0)
    forehead, ears = EXTRA_LANDMARKS.index("forehead"), EARS
    assert seen["none"][forehead] > 0.9
    assert seen["fringe"][forehead] < 0.2
    assert seen["long"][ears].mean() < 0.1 < 0.5 < seen["none"][ears].mean()


@pytest.mark.parametrize("species", SPECIES)
def test_left_is_the_viewers_left_in_faces_that_look_ahead(species):
    order = flip_permutation(len(EXTRA_LANDMARKS), pairs_by_name(EXTRA_LANDMARKS))
    for index in range(12):
        if abs(sample(species, index).pose[0]) < 15:
            points, _ = extra_landmarks(species, "val", index)
            for k, name in enumerate(EXTRA_LANDMARKS):
                if name.startswith("left"):
                    assert points[k, 0] < points[order[k], 0]


def test_a_framing_moves_the_points_with_the_picture():
    plain, _ = extra_landmarks("cat", "val", 3, size=80)
    moved, _ = extra_landmarks("cat", "val", 3, size=80, framing=JITTER)
    matrix = JITTER.matrix(80)
    np.testing.assert_allclose(moved, plain @ matrix[:, :2].T + matrix[:, 2], atol=1e-3)


def test_a_point_outside_the_picture_is_not_seen():
    points, visible = extra_landmarks("cat", "val", 3, framing=Framing(shift_x=0.6))
    outside = ((points < -0.5) | (points > 63.5)).any(1)
    assert outside.any()
    assert not visible[outside].any()
    with pytest.raises(ConfigError, match="expected at least 8"):
        extra_landmarks("cat", "val", 3, size=4)
