"""A frozen ImageNet network whose features are projected jointly over species: a teacher without any label.

CSE's embedding comes from clicks. Here the supervision is that unlabelled photos are aligned: in them, a place of the
picture is roughly a place of the face. The projection is the linear discriminant that tells places apart, whatever
photo or species they are of. It is fitted in closed form on warped photos, so places follow the known warps, and what
depends on the position in the image alone does not help.

Reference: MobileNetV2, CVPR 2018 (features); Fisher, 1936 (discriminant). This teacher is not part of the paper.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from dife_lightning.errors import CheckpointError, ConfigError, printable
from dife_lightning.faces.batches import AlignedBatch
from dife_lightning.geometry.coordinates import apply_affine, sample_points
from dife_lightning.methods._base import EmbedderModule
from dife_lightning.methods._training import TrainedModule
from dife_lightning.nn.backbone import Backbone, BackboneOptions
from dife_lightning.nn.discriminant import ScatterSums, discriminant, grid_places, registered_discriminant
from dife_lightning.nn.mobile import MobileNet
from dife_lightning.pretrained.imagenet import imagenet_file, load_imagenet
from dife_lightning.utils.checks import require
from dife_lightning.utils.distributed import gather_objects

METHOD = "ProjectedBackbone"


class ProjectedBackbone(TrainedModule, EmbedderModule):
    """Project features of a frozen ImageNet network to one embedding of several species.

    The network's weights are part of the checkpoint, which needs no other file and no package.

    Args:
        model: ``imagenet/mobilenet_v2`` or ``imagenet/efficientnet_lite0``.
        layer: block whose output is used; the blocks after it are left out.
        side: images are resized to this many pixels.
        dim: channels n of the embedding.
        context: a projection sees ``context`` x ``context`` cells of the feature map.
        grid: places per side of an aligned photo.
        shrinkage: share of the features' mean variance that is added to each channel's.
        register: bring the places of the species into agreement by a scale and a shift of each, found from their mean
            embeddings.

    Raises:
        ConfigError: an unknown network, or a number out of its range.
    """

    #: Side of the faces that the shipped configuration fits.
    size = 64
    weight: Tensor
    bias: Tensor

    def __init__(
        self,
        model: str = "imagenet/mobilenet_v2",
        layer: int = 13,
        side: int = 128,
        dim: int = 16,
        context: int = 3,
        grid: int = 8,
        shrinkage: float = 0.01,
        register: bool = True,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        known = imagenet_file(model)
        require(at_least=1, layer=layer, at_most=sum(stage.repeats for stage in known.options.stages))
        require(at_least=1, side=side, dim=dim)
        require(at_least=2, grid=grid)
        require(above=0, shrinkage=shrinkage)
        if context < 1 or context % 2 == 0:
            raise ConfigError(f"context is {context}; expected an odd number of cells")
        self.model, self.dim, self.context, self.grid = model, dim, context, grid
        self.shrinkage, self.register = shrinkage, register
        network = MobileNet(known.options, layer).requires_grad_(False)
        self.backbone = Backbone(network, BackboneOptions(side=side, upsample=False, unit_length=False), known.pixels)
        if dim > self.channels:
            raise ConfigError(f"dim is {dim}; layer {layer} of {model} has {self.channels} channels to project")
        # Not learnt by gradient; a parameter, so that Lightning has something to count steps by.
        self.weight = nn.Parameter(torch.zeros(dim, self.backbone.dim, context, context))
        self.register_buffer("bias", torch.zeros(dim))
        self.sums: ScatterSums | None = None
        self._fresh = False  # whether the sums have photos that the projection does not know
        self._domains: tuple[str, ...] = ()
        self._frames: dict[str, list[float]] = {}

    @property
    def channels(self) -> int:
        """Features that are projected: those of all cells of the context."""
        return self.backbone.dim * self.context**2

    def train(self, mode: bool = True) -> ProjectedBackbone:
        """Set the mode; the network's batch normalisation never learns."""
        super().train(mode)
        self.backbone.eval()
        return self

    def embed(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) in [-1, 1] to unit vectors (B, dim, H, W), float32."""
        maps = self._padded(images)
        with torch.autocast(images.device.type, enabled=False):
            coarse = F.conv2d(maps, self.weight, self.bias)
            fine = F.interpolate(coarse, images.shape[-2:], mode="bilinear", align_corners=False)
            return F.normalize(fine, dim=1)

    def _padded(self, images: Tensor) -> Tensor:
        """Return the feature map (B, C, h + context - 1, w + context - 1), float32, repeated at its border."""
        return F.pad(self.backbone.embed(images), [self.context // 2] * 4, mode="replicate")

    # Fit

    def setup(self, stage: str) -> None:
        """Load the network's weights for a fit; AssetError if their package is not installed."""
        if stage == "fit":
            own = self.backbone.model.state_dict()
            loaded = load_imagenet(self.model)[0].state_dict()
            self.backbone.model.load_state_dict({name: loaded[name] for name in own})

    def training_step(self, batch: AlignedBatch, batch_idx: int) -> Tensor:
        """Add the features at the places of the aligned photos to the sums."""
        if self.sums is None:
            self.sums = ScatterSums(len(batch.domains), self.grid, self.channels)
        self._domains = batch.domains
        with torch.no_grad():
            side = batch.images.shape[-1]
            places = grid_places(self.grid).to(batch.images.device) * side - 0.5
            points = apply_affine(batch.affine, places.expand(len(batch.images), -1, -1))
            inside = ((points > -0.5) & (points < side - 0.5)).all(-1)
            maps = self._padded(batch.images)
            around = F.unfold(maps, self.context).unflatten(2, (maps.shape[-2] - self.context + 1, -1))
            self.sums.add(sample_points(around, points, side, side), inside, batch.domain)
        self._fresh = True
        self.log("train/photos", float((self.draw + 1) * len(batch.images)))
        return 0 * self.weight.sum()  # nothing is learnt by gradient

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """An optimiser that changes nothing, by which Lightning counts the steps."""
        return torch.optim.SGD([self.weight], lr=0.0)

    def on_validation_start(self) -> None:
        """Fit the projection to all photos seen so far."""
        if self.trainer.state.fn == "fit":
            self.solve()

    def on_train_end(self) -> None:
        """Fit the projection to all photos, and say how the species were registered."""
        self.solve()
        for domain, (scale, x, y) in list(self._frames.items())[1:]:
            first = next(iter(self._frames))
            rank_zero_info(printable(
                f"{domain} photos registered to {first}: scale {scale:.2f}, shift {x:+.2f}, {y:+.2f} of the side"
            ))  # fmt: skip

    @torch.no_grad()
    def solve(self) -> None:
        """Fit the projection to the sums of all processes, which must all call this."""
        sums = self._all_sums() if any(gather_objects(self._fresh)) else None
        if sums is None:
            return
        weights, bias = discriminant(sums, self.dim, self.shrinkage)
        if self.register:
            weights, bias, frames = registered_discriminant(sums, self.dim, self.shrinkage)
            self._frames = dict(zip(self._domains, frames.tolist(), strict=True))
        self.weight.copy_(weights.T.reshape(self.weight.shape))
        self.bias.copy_(bias)
        self._fresh = False

    def _all_sums(self) -> ScatterSums | None:
        states = [state for state in gather_objects(None if self.sums is None else self.sums.state()) if state]
        if not states:
            return None
        merged = ScatterSums(len(states[0]["count"]), self.grid, self.channels)
        for state in states:
            merged.add_state(state)
        return merged

    # Checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the sums as long as photos are to come; the projection fits all that have been seen."""
        super().on_save_checkpoint(checkpoint)
        self.solve()  # in place, so the tensors of checkpoint["state_dict"] have it, too
        sums = self._all_sums()
        if sums is not None and self._trainer is not None and self.global_step != self._trainer.max_steps:
            checkpoint["sums"] = sums.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the sums of a fit that was interrupted.

        Raises:
            CheckpointError: the fit was complete.
        """
        super().on_load_checkpoint(checkpoint)
        if self._trainer is None or self._trainer.state.fn != "fit":
            return
        if (state := checkpoint.get("sums")) is None:
            raise CheckpointError("the fit of this checkpoint is complete; start a new run for more photos")
        self.sums = ScatterSums(len(state["count"]), self.grid, self.channels)
        if self.global_rank == 0:
            self.sums.add_state(state)
