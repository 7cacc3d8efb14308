"""DensePose CSE: image to dense surface embedding, and the vertex embeddings of its meshes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dife_lightning.errors import CheckpointError, ConfigError, did_you_mean
from dife_lightning.nn.cse.architecture import IGNORED_PREFIXES, CSEArchitecture, read_architecture
from dife_lightning.nn.cse.backbone import COARSEST_STRIDE, FPN, ResNet
from dife_lightning.nn.cse.roi_heads import CSEMaps, Decoder, DeepLabHead, DenseHeads, Predictor, V1ConvXHead
from dife_lightning.nn.cse.vertices import (
    VertexDirectEmbedder,
    VertexFeatureEmbedder,
    closest_vertices,
    unit_embedding,
)
from dife_lightning.weights.checkpoints import load_state

#: Blue, green and red of the mean picture, 0 to 255, and what the differences are divided by.
PIXEL_STATISTICS = {"pixel_mean": (103.530, 116.280, 123.675), "pixel_std": (1.0, 1.0, 1.0)}


class CSENetwork(nn.Module):
    """DensePose CSE without its detector: the whole image is the one box.

    Use :meth:`from_tensors` to get one with the weights of a public checkpoint.

    Args:
        architecture: all sizes.
        side: the image's short side is resized to this many pixels before it enters the network; None leaves the
            image as it is. The network was trained at 640 to 800; face crops of 96 pixels would leave its coarsest
            map 3 x 3 cells, so that they are enlarged to 512 by default.
        normalize: whether :meth:`embed` returns unit vectors. The network's own are of any length, but were compared
            with unit vectors after normalisation when it was trained.

    Attributes:
        dim: channels of the embedding (16 in all public checkpoints).
        architecture: all sizes.

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
            tensors: name -> tensor as in detectron2's ``model`` entry; all on one device, which becomes the
                network's. Those of the detector (:data:`IGNORED_PREFIXES`) may be there or not.
            side: see the class.
            normalize: see the class.
            source: the file, for the text of an error.

        Raises:
            CheckpointError: naming the first tensor that is missing, unknown or of another shape.
        """
        own = {key: value for key, value in tensors.items() if not key.startswith(IGNORED_PREFIXES)}
        architecture = read_architecture(own, source)
        with torch.device("meta"):  # no memory for what a file merely says
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

    def forward(self, images: Tensor) -> CSEMaps:
        """Return the raw maps of whole images, whatever their size: 112 x 112 in all public checkpoints.

        The maps cover the image from edge to edge, so that cell (u, v) of a map of side s shows the image at
        ((u + 0.5) W / s, (v + 0.5) H / s), up to the half cell of :func:`roi_align_legacy`.

        Args:
            images: (B, 3, H, W) RGB in [-1, 1], any sides.

        Returns:
            Embedding (B, dim, 112, 112), not normalised, and segmentation (B, classes, 112, 112), float32.
        """
        pixels = self.preprocess(images)
        height, width = pixels.shape[-2:]
        # Right and bottom are filled up with the mean colour, as for detectron2's batches; the box leaves that out.
        padded = F.pad(pixels, (0, -width % COARSEST_STRIDE, 0, -height % COARSEST_STRIDE))
        boxes = pixels.new_tensor([0, 0, width, height]).expand(len(pixels), -1)
        return self.roi_heads(self.backbone(padded), boxes)

    def preprocess(self, images: Tensor) -> Tensor:
        """Map RGB in [-1, 1] (B, 3, H, W) to the backbone's input: BGR, 0 to 255 minus the mean, resized, float32."""
        images = images.float()
        height, width = images.shape[-2:]
        if self.side is not None:
            scale = self.side / min(height, width)
            size = (int(height * scale + 0.5), int(width * scale + 0.5))
            with torch.autocast(images.device.type, enabled=False):
                images = F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
        return ((images.flip(1) + 1) * 127.5 - self.pixel_mean) / self.pixel_std

    def embed(self, images: Tensor) -> Tensor:
        """Embed whole images, such as face crops, at every pixel.

        The network's 112 x 112 map is resized to the image (bilinear, about pixel edges), then normalised. Pixels of
        the background are embedded like any other: inside a face crop there are few of them, and
        :meth:`segmentation` tells which.

        Args:
            images: (B, 3, H, W) RGB in [-1, 1], any sides.

        Returns:
            (B, dim, H, W) float32; unit length over channels unless ``normalize`` is False.
        """
        embedding = _resize(self(images).embedding, images)
        return unit_embedding(embedding, dim=1) if self.normalize else embedding

    def segmentation(self, images: Tensor) -> Tensor:
        """Return the coarse segmentation of ``images`` as logits (B, classes, H, W), float32; class 0 is background."""
        return _resize(self(images).segmentation, images)

    @property
    def meshes(self) -> dict[str, int]:
        """Mesh name -> number of vertices, in the order of the file."""
        return {name: vertices for name, (vertices, _) in self.architecture.meshes.items()}

    def vertices(self, mesh: str) -> Tensor:
        """Return the embeddings (N, dim) of the vertices of ``mesh``, unit length, float32.

        Raises:
            ConfigError: the checkpoint has no such mesh.
        """
        if mesh not in self.architecture.meshes:
            raise ConfigError(f"no mesh '{mesh}' in this CSE network. {did_you_mean(mesh, self.architecture.meshes)}")
        return self.roi_heads.embedder[f"embedder_{mesh}"]()

    def closest_vertices(self, maps: CSEMaps, mesh: str, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Find the vertex of ``mesh`` at each pixel of a ``width`` x ``height`` image; see :func:`closest_vertices`.

        Args:
            maps: what the network returns for the images.
            mesh: a name of :attr:`meshes`.
            height: of the images, in pixels.
            width: of the images, in pixels.

        Returns:
            Vertex numbers (B, height, width), int64, 0 outside the foreground; and the foreground, bool.
        """
        return closest_vertices(maps.embedding, maps.segmentation, self.vertices(mesh), (height, width))


def _backbone(sizes: CSEArchitecture) -> FPN:
    return FPN(ResNet(sizes.stem, sizes.blocks, sizes.planes, sizes.widths), sizes.pyramid)


def _heads(sizes: CSEArchitecture) -> DenseHeads:
    head: nn.Module
    if sizes.head == "deeplab":
        head = DeepLabHead(sizes.pooled, sizes.head_width, sizes.head_convs, sizes.aspp)
    else:
        head = V1ConvXHead(sizes.pooled, sizes.head_width, sizes.head_convs)
    embedders: dict[str, nn.Module] = {
        f"embedder_{mesh}": VertexFeatureEmbedder(vertices, features, sizes.dim)
        if features
        else VertexDirectEmbedder(vertices, sizes.dim)
        for mesh, (vertices, features) in sizes.meshes.items()
    }
    decoder = Decoder(sizes.pyramid, sizes.decoder, sizes.pooled)
    return DenseHeads(decoder, head, Predictor(sizes.head_width, sizes.dim, sizes.classes), nn.ModuleDict(embedders))


def _resize(maps: Tensor, images: Tensor) -> Tensor:
    with torch.autocast(maps.device.type, enabled=False):
        return F.interpolate(maps, images.shape[-2:], mode="bilinear", align_corners=False)
