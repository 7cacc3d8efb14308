"""Tiny stand-ins for the shipped generators and teacher, under their names and with their interfaces."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from dife_lightning.nn.stylegan2 import Architecture, StyleGAN2Generator
from dife_lightning.nn.surface import SurfaceNet
from dife_lightning.pretrained.generators import save_generator
from dife_lightning.weights.assets import register_asset
from dife_lightning.weights.checkpoints import write_tensors

#: As the shipped ones: 64 px, and 64 channels in layer 5 (32 px).
CHANNELS = (8, 8, 8, 64, 8)


def register_tiny_world(folder: Path) -> None:
    """Register `world/human`, `world/dog`, `world/cat` and `world/teacher` in `assets.FOLDER`."""
    register_tiny(folder, "world")


def register_tiny(folder: Path, family: str) -> None:
    """Register three generators and a teacher of ``family`` in `assets.FOLDER`; for photos, as `photos/dife`, too."""
    (folder / "notice.md").write_text("# Not trained\n")
    terms = {"terms": "any", "data": ["none"], "notice": folder / "notice.md"} if family != "world" else {}
    for seed, name in enumerate(("human", "dog", "cat")):
        torch.manual_seed(seed)
        path = folder / f"{name}.safetensors"
        save_generator(StyleGAN2Generator(Architecture(CHANNELS, z_dim=8, w_dim=8, mapping_layers=1)), path)
        register_asset(f"{family}/{name}", path, "generator", **terms)
    architecture = {"dim": 16, "side": 8, "width": 8, "blocks": 1}
    metadata = {"kind": "surface-teacher", "architecture": json.dumps(architecture)}
    write_tensors(folder / "teacher.safetensors", SurfaceNet(**architecture).state_dict(), metadata)
    for name in ("teacher", "dife") if family == "photos" else ("teacher",):
        register_asset(f"{family}/{name}", folder / "teacher.safetensors", "surface-teacher", **terms)
