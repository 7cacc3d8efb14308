"""CATs: flow between two images of one species, learnt from landmarks that both have.

It is the only matcher with a flow instead of an embedding, and it is supervised: it trains on pairs within a species
and is tested across species without any change.

Reference: CATs: Cost Aggregation Transformers for Visual Correspondence, NeurIPS 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn

from dife_lightning.errors import ConfigError
from dife_lightning.faces.batches import LandmarkBatch, PairBatch, RenderBatch
from dife_lightning.geometry.coordinates import resize_points
from dife_lightning.losses.flow import REACH, end_point_error, sparse_flow
from dife_lightning.matching import MatchingOptions
from dife_lightning.methods._base import DEFAULT_MATCHING
from dife_lightning.methods._flow_transfer import network_images, transfer_by_flow
from dife_lightning.methods._training import TrainedModule, fused_on_cpu, with_step_schedule
from dife_lightning.nn.cats import CATsArchitecture, CATsNetwork
from dife_lightning.pretrained.formats.cats import load_cats
from dife_lightning.utils.checks import as_options, require
from dife_lightning.utils.randomness import torch_generator
from dife_lightning.weights.checkpoints import load_state

METHOD = "CATs"
#: Sizes in which a network may differ from the public weights that it starts from.
_FREE = ("classes", "size", "temperature")


class CATs(TrainedModule):
    """Cost Aggregation Transformers.

    Args:
        architecture: sizes of the network; the paper's by default.
        lr: AdamW's learning rate for all but the backbone.
        lr_backbone: learning rate of the backbone.
        weight_decay: of AdamW.
        milestones: shares of the training after each of which the learning rates are multiplied by ``decay``.
        decay: see ``milestones``.
        rise: steps over which the learning rates rise linearly at the start.
        freeze_backbone: do not train the backbone of ``init_from``.
        reach: side, in cells, of the box around a cell; landmarks in it define its flow.
        seed: of the pairs.
        init_from: public network whose weights are the start: a name such as ``own/cats-spair``, a folder or a file.
            Its sizes must be those of ``architecture``.

    Raises:
        ConfigError: sizes that do not fit each other, or a number out of its range.
    """

    def __init__(
        self,
        architecture: CATsArchitecture = CATsArchitecture(),  # noqa: B008 - frozen
        lr: float = 3e-5,
        lr_backbone: float = 3e-6,
        weight_decay: float = 0.05,
        milestones: Sequence[float] = (0.7, 0.8, 0.9),
        decay: float = 0.5,
        rise: int = 0,
        freeze_backbone: bool = False,
        reach: float = REACH,
        seed: int = 0,
        init_from: str | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["init_from"])
        self.keep_plain_settings(init_from=None)
        require(above=0, lr=lr, lr_backbone=lr_backbone, reach=reach, decay=decay)
        require(at_least=0, weight_decay=weight_decay, rise=rise, seed=seed)
        require(at_least=0, at_most=1, milestones=tuple(milestones))
        self.lr, self.lr_backbone, self.weight_decay = lr, lr_backbone, weight_decay
        self.milestones, self.decay, self.rise = tuple(milestones), decay, rise
        self.freeze_backbone, self.reach, self.seed, self.init_from = freeze_backbone, reach, seed, init_from
        self.network = CATsNetwork(as_options(CATsArchitecture, architecture))
        if freeze_backbone:
            self.backbone.requires_grad_(False)

    @property
    def size(self) -> int:  # type: ignore[override]
        """Side of the network's images."""
        return self.network.architecture.size

    @property
    def backbone(self) -> nn.Module:
        """The network that the features come from."""
        return self.network.feature_extraction

    def transfer_batch(self, batch: PairBatch, matching: MatchingOptions = DEFAULT_MATCHING) -> Tensor:
        """Return the source points (B, P, 2) float32, carried by the flow to the target images."""
        return transfer_by_flow(self.network, batch)

    # Training

    def setup(self, stage: str) -> None:
        """For fit: load the weights of ``init_from``, unless the run is resumed."""
        if stage != "fit" or self.trainer.ckpt_path is not None:
            return
        if self.init_from is not None:
            load_public(self.network, self.init_from)
        elif self.freeze_backbone:
            raise ConfigError(
                "freeze_backbone without init_from would leave the backbone untrained; name public weights with "
                "--model.init_args.init_from, or set freeze_backbone to false"
            )

    def training_step(self, batch: RenderBatch | LandmarkBatch, batch_idx: int) -> Tensor:
        """Predict the flow from each image to another one of its species; compare it at the shared landmarks."""
        if self.freeze_backbone:
            self.backbone.eval()  # also keeps its running statistics
        size, side = self.network.architecture.size, batch.images.shape[-1]
        other = partners(batch.domain, torch_generator(self.seed, "partners", self.draw))
        points = resize_points(batch.points.float(), (side, side), (size, size))
        features = self.network.features(network_images(batch.images, size))
        flow = self.network.flow(features, [maps[other] for maps in features])
        visible = batch.visible & batch.visible[other]
        wanted, known = sparse_flow(points, points[other], visible, size, flow.shape[-1], self.reach)
        loss = end_point_error(flow, wanted, known)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> Any:
        """AdamW, with a lower rate for the backbone, and rates that fall at the milestones."""
        backbone = {id(parameter) for parameter in self.backbone.parameters()}
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        groups = [
            {"params": [p for p in trained if (id(p) in backbone) == inside], "lr": lr}
            for inside, lr in ((False, self.lr), (True, self.lr_backbone))
        ]
        groups = [group for group in groups if group["params"]]
        adam = torch.optim.AdamW(groups, weight_decay=self.weight_decay, fused=fused_on_cpu(trained))
        steps = self.trainer.estimated_stepping_batches
        return with_step_schedule(adam, lambda step: self.rate_factor(step, steps))

    def rate_factor(self, step: int, steps: float) -> float:
        """Return the factor of the learning rates at ``step`` of ``steps``, counted from 0."""
        risen = min(1.0, (step + 1) / self.rise) if self.rise else 1.0
        return risen * self.decay ** sum(step >= share * steps for share in self.milestones)


def partners(domain: Tensor, generator: torch.Generator) -> Tensor:
    """Return for each image the index of another image of its domain.

    The images of a domain form a random ring, in which each is the partner of the previous one. So each image is a
    partner exactly once.

    Args:
        domain: (B,) int64.
        generator: on the CPU.

    Raises:
        ConfigError: an image is the only one of its domain.
    """
    names, found = domain.cpu(), torch.empty(len(domain), dtype=torch.int64)
    for name in names.unique():
        members = (names == name).nonzero()[:, 0]
        if len(members) < 2:
            raise ConfigError(
                "a batch has one image of a domain, but pairs need two; increase data.init_args.batch_size"
            )
        ring = members[torch.randperm(len(members), generator=generator)]
        found[ring] = ring.roll(-1)
    return found.to(domain.device)


def load_public(network: CATsNetwork, name: str) -> None:
    """Copy the weights of a public network into one of the same sizes.

    Raises:
        ConfigError: the sizes differ.
    """
    public = load_cats(name)
    ours, theirs = network.architecture, public.architecture
    for field in fields(CATsArchitecture):
        wanted, found = getattr(ours, field.name), getattr(theirs, field.name)
        if field.name not in _FREE and wanted != found:
            raise ConfigError(
                f"init_from: {name} has {field.name} {found}, the configuration {wanted}; set "
                f"model.init_args.architecture.{field.name}: {list(found) if isinstance(found, tuple) else found}"
            )
    unused = () if ours.classes == theirs.classes else ("feature_extraction.backbone.fc.",)
    own = {k: v for k, v in network.state_dict().items() if k.startswith(unused)}
    taken = {k: v for k, v in public.state_dict().items() if not k.startswith(unused)}
    load_state(network, taken | own, name)
