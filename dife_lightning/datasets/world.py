"""The embedded world as a dataset: renders with exact landmarks."""

from __future__ import annotations

from dife_lightning.world.dataset import WorldFaces

__all__ = ["DATASET", "WorldFaces"]

DATASET = "WorldFaces"
