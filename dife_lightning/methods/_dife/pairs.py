"""The pseudo-pairs of DIFE's second stage: of which domains, when they are made, how a checkpoint keeps them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from dife_lightning.geometry.coordinates import channels_last, resize_maps
from dife_lightning.latent.exploration import ExplorationOptions
from dife_lightning.latent.pseudo_pairs import PairBank, PairState, PseudoPairs, render_images, synthesize_pairs
from dife_lightning.methods._base import EmbedderModule
from dife_lightning.methods._dife.options import MatchingLossOptions, PairOptions
from dife_lightning.nn.hourglass import HourglassEncoder
from dife_lightning.pretrained.generators import Generator
from dife_lightning.utils.distributed import gather_objects
from dife_lightning.utils.randomness import normal


class PairMaker(EmbedderModule):
    """Base of DIFE: latent exploration (equation 3) with its encoder and converters, and the bank of pairs."""

    domains: dict[str, int]
    generators: dict[str, Generator]
    layer: int
    size: int
    seed: int
    weights: dict[str, float]
    encoder: HourglassEncoder
    convert: Callable[[Tensor, str], Tensor]
    normalize: Callable[[Tensor, str], Tensor]
    matching_loss: MatchingLossOptions
    exploration: ExplorationOptions
    pair_options: PairOptions
    bank: PairBank
    _stored_pairs: PairState

    def kinds_of_pairs(self) -> list[tuple[str, str]]:
        """Ordered pairs of domains that the weights ask for."""
        names = list(self.domains)
        within = [(d, d) for d in names] if self.weights["m1"] else []
        across = [(a, b) for a in names for b in names if a != b] if self.weights["m2"] else []
        return within + across

    @torch.no_grad()
    def refresh_pairs(self, matching_step: int) -> None:
        """Synthesise pseudo-pairs if this step of the matching stage asks for it."""
        options = self.pair_options
        if matching_step % options.refresh_every and len(self.bank):
            return
        first = options.per_refresh if options.first is None else options.first
        count = options.per_refresh if len(self.bank) else first
        self.encoder.eval()
        made = {kind: self.make_pairs(*kind, count, self.global_step) for kind in self.kinds_of_pairs()}
        self.encoder.train()
        for (source, target), pairs in made.items():
            self.bank.add(source, target, pairs.best(options.keep))
        self._log_pairs(made)

    def make_pairs(self, source: str, target: str, count: int, drawing: int) -> PseudoPairs:
        """Draw ``count`` originals of ``source`` and explore ``target`` for their partners (equation 3).

        Args:
            source: domain of the originals.
            target: domain of the partners.
            count: number of pairs.
            drawing: number of the drawing; the same number draws the same originals.
        """
        z = normal((count, self.generators[source].z_dim), self.seed, "pairs", drawing, self.global_rank)
        parts = [self._explore(source, target, part.to(self.device)) for part in z.split(self.pair_options.chunk)]
        pairs = functools.reduce(PseudoPairs.join, parts)
        pairs.index = torch.full_like(pairs.index, drawing)
        return pairs

    def _explore(self, source: str, target: str, z: Tensor) -> PseudoPairs:
        def wanted(images: Tensor) -> Tensor:
            return self.convert(self.encoder(channels_last(images)), target)

        def normalized(features: Tensor) -> Tensor:
            return self.normalize(features, target)

        def embedded(images: Tensor) -> Tensor:
            return resize_maps(self.encoder(channels_last(images)).float(), self.matching_loss.side)

        options = self.pair_options
        # a generator can give its own species' faces any of their geometries
        exploration = self.exploration if source != target else replace(self.exploration, deform=0.0)
        return synthesize_pairs(
            self.generators[source], self.generators[target], z, self.layer, self.size, wanted, normalized,
            exploration, same_z=options.start == "same-z" and source != target, truncation=options.truncation,
            embed=None if self.matching_loss.agree is None else embedded,
        )  # fmt: skip

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what made each process's pairs."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["pseudo_pairs"] = gather_objects(self.bank.state() if len(self.bank) else self._stored_pairs)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take this process's pairs; they are synthesised when training starts."""
        stored = checkpoint.get("pseudo_pairs") or [{}]
        if self._trainer is None:
            return
        if len(stored) != self._trainer.world_size and self._trainer.state.fn == "fit":
            rank_zero_warn(
                f"the checkpoint is of {len(stored)} processes, now there are {self._trainer.world_size}: training "
                "goes on, but with other samples than it would have had"
            )
        self._stored_pairs = stored[self.global_rank % len(stored)]

    @torch.no_grad()
    def on_train_start(self) -> None:
        """Synthesise the pairs of a checkpoint again, in the precision of the training."""
        with self.trainer.precision_plugin.train_step_context():
            self.bank.restore(self._stored_pairs, lambda d, w: render_images(self.generators[d], w, self.size))
        self._stored_pairs = {}

    def _log_pairs(self, made: dict[tuple[str, str], PseudoPairs]) -> None:
        values = {}
        for (source, target), pairs in made.items():
            for name in ("start_distance", "distance", "w_distance"):
                values[f"pairs/{source}_{target}_{name}"] = float(getattr(pairs, name).mean())
        self._log_once(values)

    def _log_once(self, values: dict[str, float]) -> None:
        """Log values that not every step has; ``self.log`` would repeat them in the rows of the steps after."""
        if self._trainer is not None and self._trainer.is_global_zero:
            for logger in self._trainer.loggers:
                logger.log_metrics(values, self.global_step)
