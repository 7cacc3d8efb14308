"""The embedded face world: procedural faces of several species with exact geometric truth.

>>> from dife_lightning.world import render
>>> sample = render("dog", "val", 7, size=64)
>>> sample.image.shape, sample.points.shape
((64, 64, 3), (9, 2))
"""

from __future__ import annotations

from dife_lightning.world.dataset import WorldFaces, mean_shape, render_arrays
from dife_lightning.world.face.canonical import CANONICAL_LANDMARKS
from dife_lightning.world.face.species import Species, list_species, load_species
from dife_lightning.world.pairs import Pair, PairList, pair_list
from dife_lightning.world.scene.framing import Framing, draw_framing, framing_for
from dife_lightning.world.scene.renderer import WORLD_VERSION, WorldSample, landmarks_only, render, render_image

__all__ = [
    "CANONICAL_LANDMARKS",
    "WORLD_VERSION",
    "Framing",
    "Pair",
    "PairList",
    "Species",
    "WorldFaces",
    "WorldSample",
    "draw_framing",
    "framing_for",
    "landmarks_only",
    "list_species",
    "load_species",
    "mean_shape",
    "pair_list",
    "render",
    "render_arrays",
    "render_image",
]
