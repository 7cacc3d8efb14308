"""Tiny frozen parts, written to files, so that methods can be trained for a step or two in a test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from dife_lightning.callbacks.keypoint_transfer import KeypointTransfer
from dife_lightning.callbacks.landmark_error import LandmarkError
from dife_lightning.methods import _training, projected_backbone
from dife_lightning.methods.landmark_net import LandmarkNet
from dife_lightning.methods.stylegan2 import StyleGAN2
from dife_lightning.nn.backbone import PixelOptions
from dife_lightning.nn.mobile import MOBILENET_V2, MobileNet
from dife_lightning.nn.stylegan2 import Architecture, StyleGAN2Generator
from dife_lightning.nn.surface import SurfaceNet
from dife_lightning.pretrained import imagenet
from dife_lightning.pretrained.generators import save_generator
from dife_lightning.weights.checkpoints import write_tensors

CHANNELS = (8, 8, 8, 8)  # 4 to 32 px; layer 3 is 16 px
#: Sizes of a CATs network that trains in a blink: tokens of 48 channels.
TINY_CATS: dict[str, Any] = {
    "stem": 4,
    "blocks": (1, 1),
    "planes": (4, 4),
    "hyperpixels": (0, 2),
    "side": 6,
    "appearance": 12,
    "heads": 6,
    "mlp_ratio": 1.0,
    "size": 32,
}


def draw_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tests write no pictures, which take most of the time of a short one."""
    for callback in (KeypointTransfer, LandmarkError):
        monkeypatch.setattr(callback, "_draw", lambda *_: None)


def write_generator(path: Path, seed: int = 0, channels: tuple[int, ...] = CHANNELS) -> str:
    """Write a random generator, by default of 32 px."""
    torch.manual_seed(seed)
    network = StyleGAN2Generator(Architecture(channels, z_dim=8, w_dim=8, mapping_layers=2))
    save_generator(network, path, torch.float32)
    return str(path)


def write_run(run: Path, channels: tuple[int, ...] = CHANNELS, mapping_layers: int = 2) -> str:
    """Write a run's folder with the last checkpoint of a random StyleGAN2, as its training leaves it."""
    torch.manual_seed(2)
    module = StyleGAN2(channels=list(channels), z_dim=8, w_dim=8, mapping_layers=mapping_layers)
    checkpoint = {"state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams), "method": "stylegan2"}
    (run / "checkpoints").mkdir(parents=True)
    torch.save(checkpoint, run / "checkpoints/last.ckpt")
    return str(run)


def write_teacher(path: Path, dim: int = 8) -> str:
    """Write a random surface teacher."""
    torch.manual_seed(1)
    architecture = {"dim": dim, "side": 8, "width": 8, "blocks": 1}
    network = SurfaceNet(**architecture)
    write_tensors(path, network.state_dict(), {"kind": "surface-teacher", "architecture": json.dumps(architecture)})
    return str(path)


def write_landmarks(path: Path, landmarks: str | list[str] = "animalweb-9", **more: Any) -> str:
    """Write the checkpoint of a random landmark model; ``more`` are options of `LandmarkNet`."""
    torch.manual_seed(4)
    small = {"stem": 4, "bottlenecks": 1, "channels": [4, 4, 4, 4], "modules": [1, 1, 1], "blocks": 1}
    module = LandmarkNet(network=small, landmarks=landmarks, **more)
    checkpoint = {"state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams), "method": "landmark-net"}
    torch.save(checkpoint, path)
    return str(path)


def fake_imagenet(monkeypatch: pytest.MonkeyPatch) -> MobileNet:
    """Put a random network in the place of the weights of ImageNet."""
    torch.manual_seed(3)
    network = MobileNet(MOBILENET_V2)
    for name, value in network.state_dict().items():
        if name.endswith("running_mean"):
            value.normal_(std=0.1)
    for module in (projected_backbone, _training):
        monkeypatch.setattr(module, "load_imagenet", lambda model: (network, PixelOptions()))
    return network


def without_imagenet(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Hide the weights of ImageNet, in packages and in the cache of torch.hub."""
    monkeypatch.setattr(imagenet, "find_spec", lambda name: None)
    monkeypatch.setenv("TORCH_HOME", str(folder / "no torch home"))


def dife_arguments(folder: Path, **changes: Any) -> dict[str, Any]:
    """Arguments of a DIFE for human and dog that trains in a blink."""
    generators = {d: write_generator(folder / f"{d}.safetensors", i) for i, d in enumerate(("human", "dog"))}
    arguments: dict[str, Any] = {
        "domains": dict.fromkeys(generators, 8),
        "generators": generators,
        "teacher": write_teacher(folder / "teacher.safetensors"),
        "layer": 3,
        "size": 32,
        "dim": 8,
        "lambda_k1": 1.0,
        "lambda_k2": 0.1,
        "lambda_m1": 0.05,
        "lambda_m2": 0.05,
        "warmup_steps": 2,
        "encoder": {"planes": [8, 8, 8], "blocks": 1, "depth": 2, "groups": 4},
        "converter": {"hidden": 8, "groups": 4, "kernel": 3, "side": 16},
        "distillation": {"statistics_samples": 8},
        "matching_loss": {"side": 16},
        "exploration": {"steps": 2},
        "pairs": {"refresh_every": 2, "per_refresh": 2, "bank_size": 4, "batch_size": 4},
        "optimizer": {"schedule": "constant"},
        "share_every": 0,
    }
    return arguments | changes
