"""Ship what eyes and nose are in an embedding: ``python -m experiments.build.face_points photos/dife``.

``dife match`` looks for faces with these vectors. They are means over clicked training faces of people, dogs and cats,
from a folder of the layout of docs/photos.md (``own/photos`` in paths.yaml).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.common.commands import guarded

_ANIMAL = {"file": "train.csv", "left": "subject", "subject": "photo"}
#: Reader options of each domain.
DOMAINS: dict[str, dict[str, Any]] = {
    "human": {"file": "train.csv", "scheme": "300w-68", "subject": "group"},
    "human_aflw": {"file": "train.csv", "scheme": "mafl-5"},
    "dog": _ANIMAL,
    "cat": _ANIMAL,
}


def main(words: Sequence[str] | None = None) -> int:
    """Compute and register the vectors; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m experiments.build.face_points", description=__doc__)
    parser.add_argument("model", help="a shipped embedder")
    parser.add_argument("--root", default="own/photos", help="folder of the photographs; default: own/photos")
    parser.add_argument("--count", type=int, default=60, help="faces of each domain; default: 60")
    options = parser.parse_args(words)
    return guarded(lambda: ship(options), "run the same command again")


def ship(options: argparse.Namespace) -> None:
    """Register the vectors as an asset beside the model, with its terms, data and notice."""
    from safetensors.torch import save_file

    from dife_lightning.pretrained.embedders import load_embedder
    from dife_lightning.weights.assets import FOLDER, list_assets, register_asset

    entry, name = list_assets()[options.model], f"{options.model}-face-points"
    queries = face_points(load_embedder(options.model), options.root, options.count)
    info = {key: entry[key] for key in ("terms", "data") if key in entry}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "points.safetensors"
        save_file({"queries": queries}, path, metadata={"kind": "face-points", "points": "left_eye right_eye nose"})
        register_asset(name, path, "face points", notice=FOLDER / entry["notice"], of=options.model, **info)


def face_points(embedder: Any, root: str, count: int) -> Any:
    """Return (3, n): the mean embeddings of the eyes, the viewer's left one first, and of the nose."""
    import torch
    import torch.nn.functional as F

    from dife_lightning.data import FaceSets
    from dife_lightning.geometry.coordinates import sample_points
    from dife_lightning.geometry.crops import CropOptions

    side = int(getattr(embedder.module, "size", 96))
    means = []
    for name, reader in DOMAINS.items():
        domain: Any = {"dataset": "folder", "root": f"{root}/faces/{name}", "options": reader}
        crop = CropOptions("landmarks", factor=2.8)
        faces = FaceSets({name: domain}, landmarks="3-point", crop=crop, size=side, framing="plain", count=count)
        faces.setup("test")
        found = []
        for loader in faces.test_dataloader():
            for batch in loader:
                maps = F.normalize(embedder.embed(batch.images).float(), dim=1)
                rows = sample_points(maps, batch.points, side, side)  # (B, 3, n)
                found.append(rows[batch.visible.all(dim=1)])
        means.append(F.normalize(torch.cat(found).mean(dim=0), dim=1))
    return F.normalize(torch.stack(means).mean(dim=0), dim=1)


if __name__ == "__main__":
    raise SystemExit(main())
