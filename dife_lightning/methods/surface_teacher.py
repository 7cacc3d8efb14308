"""The world's surface teacher: it plays the role of DensePose CSE and learns from sparse noisy clicks.

Reference: Continuous Surface Embeddings, NeurIPS 2020 (the role, not the network: see ``nn/surface.py``).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dife_lightning.errors import ConfigError
from dife_lightning.faces.batches import ClickBatch
from dife_lightning.losses.clicks import click_loss
from dife_lightning.methods._base import EmbedderModule
from dife_lightning.methods._training import TrainedModule
from dife_lightning.nn.surface import SurfaceNet
from dife_lightning.utils.checks import require
from dife_lightning.weights.checkpoints import write_tensors

METHOD = "SurfaceTeacher"


class SurfaceTeacher(TrainedModule, EmbedderModule):
    """Regress the surface code at clicked points.

    Args:
        dim: channels of the code.
        code_scale: highest typical frequency of the code in turns per unit; low means coarse.
        side: side to which images are resized before they enter the network.
        width: channels of the network.
        blocks: residual blocks of the network.
        lr: Adam's learning rate, which falls to 0 along a cosine.
    """

    #: Side of the faces that the shipped configuration trains on.
    size = 64

    def __init__(
        self,
        dim: int = 16,
        code_scale: float = 0.3,
        side: int = 16,
        width: int = 48,
        blocks: int = 3,
        lr: float = 2e-3,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        require(at_least=1, side=side)
        require(at_least=0, blocks=blocks)
        require(above=0, code_scale=code_scale, lr=lr)
        if dim < 2 or dim % 2 or width < 8 or width % 8:
            raise ConfigError(f"dim is {dim}, width {width}; expected an even dim and a width that is a multiple of 8")
        self.dim, self.code_scale, self.lr = dim, code_scale, lr
        self.architecture = {"dim": dim, "side": side, "width": width, "blocks": blocks}
        self.network = SurfaceNet(**self.architecture)

    def embed(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) in [-1, 1] to unit-length codes (B, dim, H, W)."""
        return self.network(images)

    def training_step(self, batch: ClickBatch, batch_idx: int) -> Tensor:
        """Squared distance between the code at each click and the code of its surface coordinate."""
        loss = click_loss(self.network.coarse(batch.images), batch, self.code_scale)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> Any:
        """Adam with a cosine to 0."""
        adam = torch.optim.Adam(self.network.parameters(), lr=self.lr)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(adam, max(1, self.trainer.max_steps))
        return {"optimizer": adam, "lr_scheduler": {"scheduler": cosine, "interval": "step"}}

    def export(self, path: str | Path) -> None:
        """Write the network as safetensors, so that ``load_embedder`` reads it."""
        metadata = {"kind": "surface-teacher", "architecture": json.dumps(self.architecture)}
        write_tensors(path, self.network.state_dict(), metadata)
