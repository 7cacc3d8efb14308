"""The upper bound of the tables: DIFE's encoder trained with dense ground truth, which DIFE never sees.

There is no distillation and there are no pseudo-pairs. The surface coordinate of each pixel, common to all species,
defines its target embedding and the matching pixel in another face.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dife_lightning.errors import ConfigError
from dife_lightning.faces.batches import RenderBatch
from dife_lightning.geometry.coordinates import channels_last
from dife_lightning.losses.dense_truth import draw_pixels, surface_code_loss, true_partners
from dife_lightning.losses.matching import semantic_matching_loss
from dife_lightning.methods._options import OptimizerOptions
from dife_lightning.methods._training import EncoderModule
from dife_lightning.nn.surface import check_code
from dife_lightning.pretrained.encoders import EncoderOptions
from dife_lightning.utils.checks import as_options, require
from dife_lightning.utils.randomness import uniform

METHOD = "DenseTruth"


class DenseTruth(EncoderModule):
    """An embedding learnt from dense surface coordinates of annotated faces.

    Args:
        dim: channels n of the embedding, an even number.
        unit_length: ``embed`` returns unit vectors. Both losses compare unit vectors, so without it a search by dot
            product depends on lengths that no loss trains.
        lambda_code: weight of the distance to the code of the surface coordinate.
        lambda_match: weight of the matching loss: the expected distance, to the power 0.5, between the match in another
            face of the batch and the pixel with the same coordinate.
        code_scale: deviation of the code's frequencies in turns per unit (the surface teacher's is 0.3: coarse).
        queries: pixels per face that are matched to another face; every batch pairs the faces anew.
        temperature: of the softmax over cosines.
        tolerance: largest distance of the surface coordinates of a match; one pixel is 0.05 in a 64-px face.
        encoder: size of Φ.
        optimizer: Adam and its schedule.
        seed: of the queries.

    Raises:
        ConfigError: an odd ``dim``, both weights 0, or a number out of its range.
    """

    #: Side of the faces that the shipped configuration trains on.
    size = 64

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
        super().__init__()
        self.save_hyperparameters()
        self.keep_plain_settings()
        check_code(dim, code_scale)
        require(at_least=0, lambda_code=lambda_code, lambda_match=lambda_match, seed=seed)
        if not lambda_code + lambda_match:
            raise ConfigError("lambda_code and lambda_match are both 0, so there is nothing to learn; set one above 0")
        require(at_least=1, queries=queries)
        require(above=0, temperature=temperature, tolerance=tolerance)
        self.unit_length, self.loss_weights = unit_length, {"code": lambda_code, "match": lambda_match}
        self.code_scale, self.queries, self.temperature = code_scale, queries, temperature
        self.tolerance, self.seed = tolerance, seed
        self.optimizer_options = as_options(OptimizerOptions, optimizer)
        self.build_encoder(encoder, dim)

    def training_step(self, batch: RenderBatch, batch_idx: int) -> Tensor:
        """One step: embed the faces, compare with the code, and match them with one another."""
        losses = self.losses(self.encoder(channels_last(batch.images)), batch, self.draw)
        total = torch.stack([self.loss_weights[name] * loss for name, loss in losses.items()]).sum()
        self.log("train/loss", total, prog_bar=True)
        self.log_dict({f"train/loss_{name}": loss for name, loss in losses.items()})
        return total

    def losses(self, embedding: Tensor, batch: RenderBatch, draw: int) -> dict[str, Tensor]:
        """Return the losses with a weight above 0, by name, of a batch's ``embedding`` (B, dim, S, S)."""
        found = {}
        if self.loss_weights["code"]:
            found["code"] = surface_code_loss(embedding, batch.uv, batch.inside, self.code_scale)
        if self.loss_weights["match"]:
            found["match"] = self.match(embedding, batch, draw)
        return found

    def match(self, embedding: Tensor, batch: RenderBatch, draw: int) -> Tensor:
        """Match pixels of each face to the face ``1 + draw % (B - 1)`` places further on in the batch.

        So within B - 1 batches every place is matched with every other, of its own species and of others.
        """
        count = len(embedding)
        shift = 1 + draw % max(1, count - 1)
        numbers = uniform((count, self.queries), self.seed, "truth-queries", draw, self.global_rank)
        pixels, inside = draw_pixels(batch.inside, numbers.to(embedding.device))
        vectors = embedding.flatten(2).gather(2, pixels[:, None].expand(-1, embedding.shape[1], -1))
        uv = batch.uv.flatten(1, 2).gather(1, pixels[..., None].expand(-1, -1, 2))
        target, target_uv, target_inside = (x.roll(-shift, 0) for x in (embedding, batch.uv, batch.inside))
        truth, near = true_partners(uv, target_uv, target_inside, self.tolerance)
        return semantic_matching_loss(
            vectors[:, :, None], target, truth[:, None], (near & inside)[:, None],
            weights="dve", temperature=self.temperature,
        )  # fmt: skip
