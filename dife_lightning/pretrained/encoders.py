"""The encoder of a trained method: its options, and how it is loaded alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from dife_lightning.errors import ConfigError
from dife_lightning.geometry.coordinates import channels_last
from dife_lightning.nn.hourglass import HourglassEncoder
from dife_lightning.nn.pyramid import PyramidEncoder
from dife_lightning.pretrained import backbones
from dife_lightning.pretrained.embedders import Embedder, load_embedder
from dife_lightning.pretrained.imagenet import imagenet_file
from dife_lightning.utils.caching import ObjectCache
from dife_lightning.utils.checks import as_options, require
from dife_lightning.weights.building import check_settings
from dife_lightning.weights.checkpoints import find_weights, load_state, read_checkpoint

_loaded: ObjectCache[LoneEncoder | None] = ObjectCache()


@dataclass(frozen=True)
class EncoderOptions:
    """The encoder Φ: an hourglass, or a network that was trained on ImageNet.

    The defaults give the paper's hourglass of 12,597,136 parameters.

    Attributes:
        planes: see :class:`~dife_lightning.nn.hourglass.HourglassEncoder`; also for ``blocks``, ``depth``, ``groups``.
        blocks: of the hourglass.
        depth: of the hourglass.
        groups: of the hourglass.
        backbone: ``imagenet/mobilenet_v2`` or ``imagenet/efficientnet_lite0``, which is fine-tuned under a feature
            pyramid in place of the hourglass (an option of this package, not of the paper). A fit needs its
            weights (docs/backbones.md); a checkpoint holds all of them.
        backbone_rate: learning rate of the pretrained network, as a share of ``optimizer.lr``.
        side: the shorter side of the images that the pretrained network sees, in pixels.
    """

    planes: tuple[int, int, int] = (64, 128, 128)
    blocks: int = 4
    depth: int = 4
    groups: int = 16
    backbone: str | None = None
    backbone_rate: float = 0.15
    side: int = 128

    def __post_init__(self) -> None:
        require("encoder.", at_least=1, planes=self.planes, blocks=self.blocks, depth=self.depth, groups=self.groups)
        require("encoder.", at_least=0, backbone_rate=self.backbone_rate)
        require("encoder.", at_least=32, side=self.side)

    def build(
        self, dim: int, norm: Literal["group", "batch"] = "group", keep_size: bool = True
    ) -> HourglassEncoder | PyramidEncoder:
        """Return an untrained encoder with ``dim`` output channels.

        Raises:
            ConfigError: an unknown network, or a network for a method that needs an hourglass.
        """
        if self.backbone is not None:
            if not keep_size:
                raise ConfigError("encoder.backbone is set, but this method needs an hourglass, which halves the side")
            known = imagenet_file(self.backbone)
            return PyramidEncoder(known.options, known.pixels, dim, side=self.side)
        return HourglassEncoder(
            dim, self.planes, self.blocks, self.depth, norm=norm, groups=self.groups, keep_size=keep_size
        )


class LoneEncoder(nn.Module):
    """The encoder Φ of a trained DIFE without all else; it embeds as the DIFE does.

    Args:
        encoder: options of the encoder.
        dim: channels of the embedding.
        size: side of the images that it was trained on.
        unit_length: return unit vectors.
    """

    def __init__(self, encoder: Mapping[str, Any], dim: int, size: int, unit_length: bool) -> None:
        super().__init__()
        require(at_least=1, dim=dim, size=size)
        self.encoder = as_options(EncoderOptions, encoder).build(dim)
        self.dim, self.size, self.unit_length = dim, size, unit_length

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) in [-1, 1] to the embedding (B, dim, H, W), float32."""
        embedding = self.encoder(channels_last(images)).float()
        return F.normalize(embedding, dim=1) if self.unit_length else embedding

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Nothing in an older checkpoint's encoder has to be brought up to date."""


def load_encoder(name_or_path: str | Path) -> Embedder:
    """Load a frozen embedder as :func:`load_embedder` does, but of a DIFE the encoder alone.

    It has no ``convert``, and is loaded in a fraction of the time, because Lightning and the methods are not imported.

    Raises:
        AssetError: neither a known name nor a file or folder.
        CheckpointError: the file is damaged or has no embedder.
    """
    if str(name_or_path).startswith(backbones.PREFIX):
        return load_embedder(name_or_path)
    path = find_weights(name_or_path)
    found = _loaded.load(path, _encoder_of) if path.suffix == ".ckpt" else None
    return load_embedder(name_or_path) if found is None else Embedder(found, str(name_or_path))


def _encoder_of(path: Path) -> LoneEncoder | None:
    """Return the encoder of a DIFE; None for a checkpoint of another kind, or an older one without all settings."""
    checkpoint = read_checkpoint(path)
    written, state = checkpoint.get("hyper_parameters"), checkpoint.get("state_dict")
    if checkpoint.get("method") != "dife" or not isinstance(written, dict) or not isinstance(state, dict):
        return None
    names = ("encoder", "dim", "size", "unit_length")
    if not written.keys() >= set(names):
        return None
    settings = {key: written[key] for key in names}
    own = {key: value for key, value in state.items() if isinstance(key, str) and key.startswith("encoder.")}
    check_settings(LoneEncoder, settings, {"state_dict": own}, path)
    module = LoneEncoder(**settings)
    load_state(module, own, source=path)
    return module
