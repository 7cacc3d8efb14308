"""Photographed faces as a pair list frames them: rotated, scaled and moved, as the embedded world does it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dife_lightning.data.photos.cropped_faces import CroppedFaces
from dife_lightning.faces.items import FaceItem
from dife_lightning.world.scene.framing import Framing, FramingKind, draw_framing


class FramedFaces:
    """The faces of one side of a pair list: item k is the crop of face ``indices[k]`` with the framing ``framings[k]``.

    A face that is in several pairs has another framing in each.
    """

    def __init__(self, crops: CroppedFaces, indices: Sequence[int], framings: Sequence[Framing]) -> None:
        self.crops, self.indices, self.framings = crops, indices, framings

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> FaceItem:
        return self.crops.framed(self.indices[index], self.framings[index])

    def picture(self, index: int) -> Path:
        """Return the file of the picture that the face of pair ``index`` is in."""
        return self.crops.picture(self.indices[index])


def pair_framing(kind: FramingKind, seed: int, pair: str, names: tuple[str, str], side: int) -> Framing:
    """Draw the framing of one side (0 source, 1 target) of a pair: of the kind of pair and the names of its two faces.

    It depends neither on the place of the pair in a list nor on what else is in it. The ranges are those of the world.
    """
    key = json.dumps([seed, pair, *names, side]).encode()
    entropy = int.from_bytes(hashlib.sha256(key).digest()[:16], "big")
    return draw_framing(kind, np.random.default_rng(entropy))
