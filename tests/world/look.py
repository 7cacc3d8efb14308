"""A coarse description of ten renders, kept in golden_look.json.

``python -m tests.world.look`` writes the file anew; do so only together with a new ``WORLD_VERSION``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dife_lightning.world import WORLD_VERSION, framing_for, list_species, render

GOLDEN = Path(__file__).with_name("golden_look.json")
_BLOCK = 16


def describe() -> dict[str, Any]:
    """Describe ten renders with no detail that another CPU may change.

    Means of 16 x 16 blocks of picture and (u, v), landmarks, visibility and share of the mask.
    """
    samples = {}
    for species in list_species():
        for split, index, kind in (("train", 0, "plain"), ("test", 11, "jittered")):
            one = render(species, split, index, framing=framing_for(kind, 0, index))
            samples[f"{species}/{split}/{index}/{kind}"] = {
                "blocks": _block_means(one.image).round(2).tolist(),
                "uv": _block_means(np.nan_to_num(one.uv)).round(4).tolist(),
                "points": one.points.astype(float).round(3).ravel().tolist(),
                "visible": one.visible.tolist(),
                "mask": round(float(one.mask.mean()), 4),
            }
    return {"version": WORLD_VERSION, "samples": samples}


def _block_means(picture: NDArray[np.generic]) -> NDArray[np.float64]:
    count = picture.shape[0] // _BLOCK
    means: NDArray[np.float64] = picture.reshape(count, _BLOCK, count, _BLOCK, -1).mean((1, 3), dtype=np.float64)
    return means.ravel()


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(describe()).replace('}, "', '},\n"') + "\n", encoding="utf-8")
