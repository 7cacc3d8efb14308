"""DVE: a dense embedding learnt from warps of single images, by way of other images (the baseline "DVE*").

Two views of each image are made by random warps. A pixel of one must find its place in the other after its descriptor
has been exchanged for descriptors of a third image. In a batch of several species the third image is often of another
species; this is all that the method learns across species.

References:
    - [0]: Unsupervised Learning of Landmarks by Descriptor Vector Exchange, ICCV 2019.
    - [1]: Dense Interspecies Face Embedding, NeurIPS 2022, section 4.1: trained on generator samples of all domains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dife_lightning.errors import ConfigError
from dife_lightning.faces.batches import StreamBatch
from dife_lightning.geometry.affine import COLOR_NUMBERS, AugmentOptions, color_jitter
from dife_lightning.geometry.coordinates import channels_last, to_normalized
from dife_lightning.geometry.tps import TPSOptions, Views, draw_weights, two_views
from dife_lightning.losses.dve import dense_correlation_loss, dve_loss
from dife_lightning.methods._options import OptimizerOptions
from dife_lightning.methods._training import EncoderModule
from dife_lightning.pretrained.encoders import EncoderOptions
from dife_lightning.utils.checks import as_options, require, require_choice
from dife_lightning.utils.randomness import torch_generator, uniform

METHOD = "DVE"


@dataclass(frozen=True)
class JitterOptions:
    """Ranges of the colour jitter, drawn independently for each view; see ``AugmentOptions``."""

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.0
    probability: float = 1.0

    def __post_init__(self) -> None:
        self.as_augment()  # checks the ranges

    def as_augment(self) -> AugmentOptions:
        """Return them as the options of :func:`color_jitter`."""
        amounts = {name: getattr(self, name) for name in ("brightness", "contrast", "saturation", "hue")}
        return AugmentOptions(**amounts, color_probability=self.probability)


class DVE(EncoderModule):
    """Descriptor Vector Exchange.

    The defaults are those of the baseline in [1], where it states them; DVE's own network has ``dim=64, norm="batch"``.

    Args:
        size: side of the stream's images.
        dim: channels of the embedding.
        norm: ``group`` [1] or ``batch`` [0] normalisation of the encoder.
        unit_length: ``embed`` returns unit vectors, so that a search by dot product compares them like the loss.
            Official code: False.
        encoder: size of the hourglass, whose output has half the images' side.
        warper: the warps of the two views.
        jitter: the colour jitter of each view.
        pow: exponent of the distance.
        normalize: compare only the directions of descriptors (hourglass of [0]: True).
        exchange: compare by way of another image; otherwise the views are compared with each other directly.
        images: images per step, drawn from the stream's batch; None uses all.
        optimizer: Adam and its schedule.
        seed: of warps, colours and third images.

    Raises:
        ConfigError: a size that the encoder does not take, or a number out of its range.
    """

    def __init__(
        self,
        size: int = 96,
        dim: int = 16,
        norm: Literal["group", "batch"] = "group",
        unit_length: bool = False,
        encoder: EncoderOptions = EncoderOptions(),  # noqa: B008 - frozen
        warper: TPSOptions = TPSOptions(),  # noqa: B008
        jitter: JitterOptions = JitterOptions(),
        pow: float = 0.5,
        normalize: bool = True,
        exchange: bool = True,
        images: int | None = None,
        optimizer: OptimizerOptions = OptimizerOptions(),  # noqa: B008
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.keep_plain_settings()
        require(at_least=1, dim=dim)
        require(at_least=0, seed=seed)
        require(at_least=2, images=images)  # another image is needed
        require(above=0, pow=pow)
        require_choice("norm", norm, ("group", "batch"))
        self.warper = as_options(TPSOptions, warper)
        self.jitter = as_options(JitterOptions, jitter).as_augment()
        self.optimizer_options = as_options(OptimizerOptions, optimizer)
        self.size, self.dim, self.unit_length, self.seed = size, dim, unit_length, seed
        self.pow, self.normalize, self.exchange, self.images = pow, normalize, exchange, images
        self.build_encoder(encoder, dim, norm=norm, keep_size=False)
        self.encoder.check_side(size)
        self.encoder.check_side(size - 2 * self.warper.crop, "size - 2 * warper.crop")

    def training_step(self, batch: StreamBatch, batch_idx: int) -> Tensor:
        """One step: make two views of each image, encode them, and compare the descriptors."""
        views = self.views(self.drawn(batch))
        second, first = self.encoder(channels_last(torch.cat((views.second, views.first)))).chunk(2)
        loss = self.loss(second, first, views.origins)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def drawn(self, batch: StreamBatch) -> Tensor:
        """Return this step's images (B, 3, S, S) in random order, so that the next image may be of any domain."""
        images = torch.cat([samples.originals for samples in batch.domains.values()])
        if images.shape[-1] != self.size:
            raise ConfigError(
                f"the stream gives images of {images.shape[-1]} px, size is {self.size}; "
                "set model.init_args.size and data.init_args.size alike"
            )
        order = torch.randperm(len(images), generator=torch_generator(*self._key("order")))
        return images[order[: self.images].to(images.device)]

    def views(self, images: Tensor) -> Views:
        """Return two views of ``images`` (B, 3, S, S), warped and jittered independently."""
        count, device = len(images), images.device
        weights = torch.stack([draw_weights(self.warper, *self._key("warp"), number) for number in range(count)])
        views = two_views(images, weights.to(device), self.warper)
        first, second = uniform((2, count, COLOR_NUMBERS), *self._key("color")).to(device)
        return Views(
            color_jitter(views.first, first, self.jitter),
            color_jitter(views.second, second, self.jitter),
            views.origins,
        )

    def loss(self, second: Tensor, first: Tensor, origins: Tensor) -> Tensor:
        """Compare descriptors (B, dim, h, w) of both views; the third image is the second view of the next image."""
        height, width = origins.shape[1:3]
        grid = to_normalized(origins, width, height, align_corners=True)
        if not self.exchange:
            return dense_correlation_loss(second, first, grid, self.pow, self.normalize)
        return dve_loss(second, first, second.roll(-1, dims=0), grid, self.pow, self.normalize)

    def _key(self, purpose: str) -> tuple[int | str, ...]:
        """Return what this batch's random numbers are a function of."""
        return self.seed, purpose, self.draw, self.global_rank
