"""DensePose CSE: image to dense surface embedding."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dife_lightning.errors import CheckpointError, ConfigError
from dife_lightning.nn.cse.architecture import IGNORED_PREFIXES, CSEArchitecture, read_architecture
from dife_lightning.nn.cse.backbone import COARSEST_STRIDE, FPN, ResNet
from dife_lightning.nn.cse.roi_heads import Decoder, DeepLabHead, DenseHeads, Predictor, V1ConvXHead
from dife_lightning.weights.checkpoints import load_state

#: Pixel mean and standard deviation in the order BGR, for pixels from 0 to 255.
PIXEL_STATISTICS = {"pixel_mean": (103.530, 116.280, 123.675), "pixel_std": (1.0, 1.0, 1.0)}


class CSENetwork(nn.Module):
    """DensePose CSE without its detector: the box is the whole image.

    :meth:`from_tensors` builds one with the weights of a public checkpoint.

    Args:
        architecture: all sizes.
        side: the shorter side of the image is resized to this many pixels; None keeps the image's size. The network
            was trained at 640 to 800. At 96 px its coarsest map would have 3 x 3 cells.
        normalize: :meth:`embed` returns unit vectors, as those compared during the network's training.

    Attributes:
        dim: channels of the embedding (16 in all public checkpoints).

    Raises:
        ConfigError: ``side`` below 32, the stride of the coarsest map.
    """

    def __init__(self, architecture: CSEArchitecture, side: int | None = 512, normalize: bool = True) -> None:
        super().__init__()
        if side is not None and side < COARSEST_STRIDE:
            raise ConfigError(f"side={side} is below {COARSEST_STRIDE}, one cell of the coarsest map; try side=512")
        self.architecture, self.side, self.normalize = architecture, side, normalize
        self.dim = architecture.dim
        self.pixel_mean: Tensor
        self.pixel_std: Tensor
        for name, values in PIXEL_STATISTICS.items():
            self.register_buffer(name, torch.tensor(values).reshape(3, 1, 1), persistent=False)
        self.backbone = _backbone(architecture)
        self.roi_heads = _heads(architecture)

    @classmethod
    def from_tensors(
        cls,
        tensors: Mapping[str, Tensor],
        *,
        side: int | None = 512,
        normalize: bool = True,
        source: str | Path = "the checkpoint",
    ) -> CSENetwork:
        """Build the network that the names and shapes of ``tensors`` describe, and copy them into it.

        Args:
            tensors: name -> tensor as in detectron2's ``model`` entry, all on one device, which becomes the
                network's. Tensors with :data:`IGNORED_PREFIXES` may be missing.
            side: see the class.
            normalize: see the class.
            source: the file, for error messages.

        Raises:
            CheckpointError: a tensor is missing, unknown or of another shape; the message names the first one.
        """
        own = {key: value for key, value in tensors.items() if not key.startswith(IGNORED_PREFIXES)}
        architecture = read_architecture(own, source)
        with torch.device("meta"):  # sizes come from an untrusted file, so allocate nothing yet
            network = cls(architecture, side, normalize)
        copies = {k: v.to(torch.float32 if v.is_floating_point() else v.dtype, copy=True) for k, v in own.items()}
        load_state(network, copies, source)
        network._load_pixel_statistics(tensors, source)
        return network

    def _load_pixel_statistics(self, tensors: Mapping[str, Tensor], source: str | Path) -> None:
        for name, values in PIXEL_STATISTICS.items():
            found = tensors.get(name, torch.tensor(values))
            if found.numel() != 3:
                raise CheckpointError(f"{source}: '{name}' is {tuple(found.shape)}, CSENetwork expects (3, 1, 1).")
            device = next(self.parameters()).device
            self.register_buffer(name, found.float().reshape(3, 1, 1).to(device, copy=True), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the network's own map, which covers the image from edge to edge.

        Args:
            images: (B, 3, H, W) RGB in [-1, 1], any sides.

        Returns:
            (B, dim, 112, 112) float32, not normalised.
        """
        pixels = self.preprocess(images)
        height, width = pixels.shape[-2:]
        # As in detectron2, right and bottom are padded with the mean colour; the box excludes the padding.
        padded = F.pad(pixels, (0, -width % COARSEST_STRIDE, 0, -height % COARSEST_STRIDE))
        boxes = pixels.new_tensor([0, 0, width, height]).expand(len(pixels), -1)
        return self.roi_heads(self.backbone(padded), boxes)

    def preprocess(self, images: Tensor) -> Tensor:
        """Convert images (B, 3, H, W), RGB in [-1, 1], to the backbone's input: resized, BGR, normalised, float32."""
        images = images.float()
        height, width = images.shape[-2:]
        if self.side is not None:
            scale = self.side / min(height, width)
            size = (int(height * scale + 0.5), int(width * scale + 0.5))
            with torch.autocast(images.device.type, enabled=False):
                images = F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
        return ((images.flip(1) + 1) * 127.5 - self.pixel_mean) / self.pixel_std

    def embed(self, images: Tensor) -> Tensor:
        """Embed every pixel of the images, background included: the 112 x 112 map, resized bilinearly.

        Args:
            images: (B, 3, H, W) RGB in [-1, 1], any sides.

        Returns:
            (B, dim, H, W) float32; unit length over channels unless ``normalize`` is False.
        """
        maps = self(images)
        with torch.autocast(images.device.type, enabled=False):
            embedding = F.interpolate(maps, images.shape[-2:], mode="bilinear", align_corners=False)
        return F.normalize(embedding, dim=1, eps=1e-6) if self.normalize else embedding


def _backbone(sizes: CSEArchitecture) -> FPN:
    return FPN(ResNet(sizes.stem, sizes.blocks, sizes.planes, sizes.widths), sizes.pyramid)


def _heads(sizes: CSEArchitecture) -> DenseHeads:
    head: nn.Module
    if sizes.head == "deeplab":
        head = DeepLabHead(sizes.pooled, sizes.head_width, sizes.head_convs, sizes.aspp)
    else:
        head = V1ConvXHead(sizes.pooled, sizes.head_width, sizes.head_convs)
    decoder = Decoder(sizes.pyramid, sizes.decoder, sizes.pooled)
    return DenseHeads(decoder, head, Predictor(sizes.head_width, sizes.dim))
