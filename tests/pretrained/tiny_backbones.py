"""Tiny vision networks with random weights, written as `save_pretrained` of transformers writes public ones."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

#: What `preprocessor_config.json` says of the public DINOv2, but for a small side.
PIXELS = {
    "crop_size": {"height": 28, "width": 28},
    "do_center_crop": True,
    "do_normalize": True,
    "do_rescale": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "rescale_factor": 1 / 255,
    "size": {"shortest_edge": 32},
}
_TOKENS = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}


def _dinov2(tf: Any) -> Any:
    return tf.Dinov2Model(tf.Dinov2Config(**_TOKENS, image_size=42, patch_size=14))


def _dinov2_registers(tf: Any) -> Any:
    config = tf.Dinov2WithRegistersConfig(**_TOKENS, image_size=42, patch_size=14, num_register_tokens=3)
    return tf.Dinov2WithRegistersModel(config)


def _dinov3(tf: Any) -> Any:
    config = tf.DINOv3ViTConfig(
        **_TOKENS, intermediate_size=32, image_size=28, patch_size=14, num_register_tokens=4, pos_embed_rescale=None
    )
    return tf.DINOv3ViTModel(config)


def _vit(tf: Any, pooler: bool = True) -> Any:
    config = tf.ViTConfig(**_TOKENS, intermediate_size=32, image_size=28, patch_size=14)
    return tf.ViTModel(config, add_pooling_layer=pooler)


def _resnet(tf: Any) -> Any:
    sizes = {"hidden_sizes": [8, 12, 16, 20], "depths": [1, 1, 1, 1]}
    return tf.ResNetModel(tf.ResNetConfig(embedding_size=8, layer_type="basic", **sizes))


def _convnext(tf: Any) -> Any:
    return tf.ConvNextModel(tf.ConvNextConfig(hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 1, 1]))


def _swin(tf: Any) -> Any:
    return tf.SwinModel(tf.SwinConfig(embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=2, image_size=32))


def _bert(tf: Any) -> Any:
    config = tf.BertConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, vocab_size=50
    )
    return tf.BertModel(config)


def _vit_mae(tf: Any) -> Any:
    return tf.ViTMAEModel(tf.ViTMAEConfig(**_TOKENS, intermediate_size=32, image_size=28, patch_size=14))


NETWORKS: dict[str, Callable[..., Any]] = {
    "dinov2": _dinov2,
    "dinov2-registers": _dinov2_registers,
    "dinov3": _dinov3,
    "vit": _vit,
    "resnet": _resnet,
    "convnext": _convnext,
    "swin": _swin,
    "bert": _bert,
    "vit-mae": _vit_mae,
}


def write_backbone(folder: Path, kind: str = "dinov2", pixels: dict[str, Any] | None = PIXELS, **options: Any) -> str:
    """Write a random network of ``kind`` (a key of ``NETWORKS``); returns the folder's name."""
    import transformers

    torch.manual_seed(3)
    network = NETWORKS[kind](transformers, **options)
    for name, value in network.named_parameters():  # LayerScale, class tokens and biases that start as constants
        torch.nn.init.normal_(value, 1.0 if "norm" in name and value.ndim == 1 else 0.0, 0.3)
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
        network.save_pretrained(folder)
    if pixels is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(pixels))
    return str(folder)
