"""The ceiling of the tables: DIFE's encoder trained with what DIFE never sees, the dense truth of annotated faces.

Nothing is distilled and no pseudo-pair is made: every pixel's surface coordinate, common to all species, says what
its embedding is to be and which pixel of another face is its match.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dife_lightning.errors import ConfigError
from dife_lightning.faces.batches import RenderBatch
from dife_lightning.geometry.coordinates import channels_last
from dife_lightning.losses.dense_truth import draw_pixels, surface_code_loss, true_partners
from dife_lightning.losses.matching import semantic_matching_loss
from dife_lightning.methods._base import EmbedderModule
from dife_lightning.methods._dife.options import EncoderOptions, OptimizerOptions, as_options, plain
from dife_lightning.methods._schedule import ScheduledModule, make_optimizer
from dife_lightning.nn.hourglass import HourglassEncoder
from dife_lightning.utils.randomness import uniform

METHOD = "DenseTruth"


class DenseTruth(ScheduledModule, EmbedderModule):
    """An embedding learnt from dense surface coordinates of annotated faces.

    Args:
        dim: channels n of the embedding, an even number.
        unit_length: ``embed`` returns unit vectors. Both losses compare unit vectors, so without it a search by raw dot
            product also weighs lengths that nothing has trained.
        lambda_code: weight of the distance to the code of the surface coordinate.
        lambda_match: weight of the matching loss: the expected distance, to the power 0.5, of what is found in another
            face of the batch from the pixel with the same coordinate.
        code_scale: deviation of the code's frequencies in turns per unit (the surface teacher's is 0.3: coarse).
        queries: pixels of each face that are searched for in another one; every step pairs the faces anew.
        temperature: of the softmax over cosines.
        tolerance: largest distance of the surface coordinates of a match; a pixel is 0.05 of a 64-px face.
        encoder: size of Φ.
        optimizer: Adam and its schedule.
        seed: of the queries.

    Raises:
        ConfigError: an odd ``dim``, a negative weight, both 0, or fewer than one query.
    """

    def __init__(
        self,
        dim: int = 16,
        unit_length: bool = True,
        lambda_code: float = 3.0,
        lambda_match: float = 1.0,
        code_scale: float = 1.7,
        queries: int = 32,
        temperature: float = 0.05,
        tolerance: float = 0.06,
        encoder: EncoderOptions = EncoderOptions(),  # noqa: B008 - frozen
        optimizer: OptimizerOptions = OptimizerOptions(schedule="cosine"),  # noqa: B008
        seed: int = 0,
    ) -> None:
        given = {k: plain(v) for k, v in locals().items() if k not in ("self", "__class__")}
        super().__init__()
        self.save_hyperparameters(given)
        if dim < 2 or dim % 2:
            raise ConfigError(f"dim is {dim}; the surface code has an even number of channels, for example 16")
        if not (lambda_code >= 0 and lambda_match >= 0 and lambda_code + lambda_match > 0):
            raise ConfigError(
                f"lambda_code is {lambda_code}, lambda_match {lambda_match}; expected 0 (left out) or above, not both 0"
            )
        if queries < 1:
            raise ConfigError(f"queries is {queries}; expected 1 or more (lambda_match 0 leaves the matching out)")
        self.unit_length, self.weights = unit_length, {"code": lambda_code, "match": lambda_match}
        self.code_scale, self.queries, self.temperature = code_scale, queries, temperature
        self.tolerance, self.seed = tolerance, seed
        self.optimizer_options = as_options(OptimizerOptions, optimizer)
        shape = as_options(EncoderOptions, encoder)
        self.encoder = HourglassEncoder(dim, shape.planes, shape.blocks, shape.depth, groups=shape.groups)

    def embed(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) in [-1, 1] to the embedding (B, dim, H, W), float32."""
        embedding = self.encoder(channels_last(images)).float()
        return F.normalize(embedding, dim=1) if self.unit_length else embedding

    def training_step(self, batch: RenderBatch, batch_idx: int) -> Tensor:
        """One step: embed the faces, compare with the code, and match them with one another."""
        losses = self.losses(self.encoder(channels_last(batch.images)), batch, self.global_step)
        total = torch.stack([self.weights[name] * loss for name, loss in losses.items()]).sum()
        self.log("train/loss", total, prog_bar=True)
        self.log_dict({f"train/loss_{name}": loss for name, loss in losses.items()})
        return total

    def losses(self, embedding: Tensor, batch: RenderBatch, step: int) -> dict[str, Tensor]:
        """The losses that have a weight, by name, of a batch's ``embedding`` (B, dim, S, S)."""
        found = {}
        if self.weights["code"]:
            found["code"] = surface_code_loss(embedding, batch.uv, batch.inside, self.code_scale)
        if self.weights["match"]:
            found["match"] = self.match(embedding, batch, step)
        return found

    def match(self, embedding: Tensor, batch: RenderBatch, step: int) -> Tensor:
        """Search for pixels of each face in another one, which lies ``1 + step % (B - 1)`` places further on.

        So in B - 1 steps every place of the batch is matched with every other one, of its own species and of others.
        """
        count = len(embedding)
        shift = 1 + step % max(1, count - 1)
        numbers = uniform((count, self.queries), self.seed, "truth-queries", step, self.global_rank)
        pixels, inside = draw_pixels(batch.inside, numbers.to(embedding.device))
        vectors = embedding.flatten(2).gather(2, pixels[:, None].expand(-1, embedding.shape[1], -1))
        uv = batch.uv.flatten(1, 2).gather(1, pixels[..., None].expand(-1, -1, 2))
        target, target_uv, target_inside = (x.roll(-shift, 0) for x in (embedding, batch.uv, batch.inside))
        truth, near = true_partners(uv, target_uv, target_inside, self.tolerance)
        return semantic_matching_loss(
            vectors[:, :, None], target, truth[:, None], (near & inside)[:, None],
            weights="dve", temperature=self.temperature,
        )  # fmt: skip

    def configure_optimizers(self) -> Any:
        """Adam over the encoder, with the chosen schedule."""
        return make_optimizer(self.encoder.parameters(), self.optimizer_options, 0, self.trainer.max_steps)
