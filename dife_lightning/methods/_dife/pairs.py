"""The pseudo-pairs of DIFE's second stage: which kinds, when they are made, and how a checkpoint keeps them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from dife_lightning.latent.exploration import ExplorationOptions
from dife_lightning.latent.pseudo_pairs import Kind, PairBank, PairState, PseudoPairs, render_images, synthesize_pairs
from dife_lightning.methods._dife.options import PairOptions
from dife_lightning.pretrained.generators import Generator
from dife_lightning.utils.randomness import normal, torch_generator

#: Samples explored at a time, to bound memory.
_AT_ONCE = 32


class Networks(Protocol):
    """What exploration needs of a DIFE."""

    generators: dict[str, Generator]

    def predict_features(self, images: Tensor, domain: str) -> Tensor:
        """Map images (B, 3, S, S) to the generator's normalised features Ψ^d(Φ(x)) of ``domain``."""
        ...

    def normalize(self, features: Tensor, domain: str) -> Tensor:
        """Normalise generator features (B, n_d, h, w) of ``domain``."""
        ...

    def match_embed(self, images: Tensor) -> Tensor:
        """Map images (B, 3, S, S) to the embedding at the resolution at which pairs are matched."""
        ...


class PairMaker:
    """Makes pseudo-pairs by latent exploration (equation 3) and draws from the bank of those it has made.

    Args:
        kinds: ordered pairs of domains of which pairs are made.
        options: when and how many.
        exploration: how equation 3 is solved.
        layer: tapped layer, in the paper's numbers.
        size: side of the images.
        seed: of originals and of what is drawn from the bank.
        measure_drift: also measure how far the encoder's matches lie from the right place (``matching_loss.agree``).
    """

    def __init__(
        self,
        kinds: list[Kind],
        options: PairOptions,
        exploration: ExplorationOptions,
        *,
        layer: int,
        size: int,
        seed: int,
        measure_drift: bool,
    ) -> None:
        self.kinds, self.options, self.exploration = kinds, options, exploration
        self.layer, self.size, self.seed, self.measure_drift = layer, size, seed, measure_drift
        self.bank = PairBank(options.bank_size)
        self._stored: PairState = {}

    def due(self, matching_step: int, part: int = 0) -> bool:
        """Return whether new pairs are to be made now.

        Args:
            matching_step: optimiser steps since the start of the matching stage.
            part: number of the batch within the step; pairs are made before its first one.
        """
        return not len(self.bank) or (part == 0 and matching_step % self.options.refresh_every == 0)

    def refresh(self, networks: Networks, drawing: int, rank: int) -> dict[Kind, PseudoPairs]:
        """Make new pairs of all kinds, put them into the bank, and return them.

        Args:
            networks: encoder, converters and generators, in evaluation mode.
            drawing: number of the originals' drawing: the same number draws the same originals.
            rank: of this process, which draws originals of its own.
        """
        options = self.options
        first = options.per_refresh if options.first is None else options.first
        count = options.per_refresh if len(self.bank) else first
        made = {kind: self.make(networks, *kind, count, drawing, rank) for kind in self.kinds}
        for kind, pairs in made.items():
            self.bank.add(kind, pairs)
        return made

    def make(
        self, networks: Networks, source: str, target: str, count: int, drawing: int, rank: int = 0
    ) -> PseudoPairs:
        """Draw ``count`` originals of ``source`` and explore ``target`` for their partners (equation 3).

        Args:
            networks: see :meth:`refresh`.
            source: domain of the originals.
            target: domain of the partners.
            count: number of pairs.
            drawing: see :meth:`refresh`.
            rank: see :meth:`refresh`.
        """
        generator = networks.generators[source]
        z = normal((count, generator.z_dim), self.seed, "pairs", drawing, rank).to(generator.device)
        parts = [self._explore(networks, source, target, part) for part in z.split(_AT_ONCE)]
        pairs = functools.reduce(PseudoPairs.join, parts)
        pairs.index = torch.full_like(pairs.index, drawing)
        return pairs

    @torch.no_grad()
    def _explore(self, networks: Networks, source: str, target: str, z: Tensor) -> PseudoPairs:
        # within a species nothing is deformed: its generator can give its faces any of their geometries
        exploration = self.exploration if source != target else replace(self.exploration, deform=0.0)
        return synthesize_pairs(
            networks.generators[source],
            networks.generators[target],
            z,
            self.layer,
            self.size,
            wanted=lambda images: networks.predict_features(images, target),
            normalize=lambda features: networks.normalize(features, target),
            exploration=exploration,
            same_z=self.options.start == "same-z" and source != target,
            truncation=self.options.truncation,
            embed=networks.match_embed if self.measure_drift else None,
        )

    def sample(self, step: int, part: int, rank: int) -> dict[Kind, PseudoPairs]:
        """Draw the pairs of a batch from the bank, equally many of each kind.

        Args:
            step: number of the optimiser step.
            part: number of the batch within the step; the parts of a step share no pair while the bank has enough.
            rank: of this process.
        """
        count = max(1, self.options.batch_size // len(self.bank.pairs))
        generator = torch_generator(self.seed, "pair-batch", step, rank)
        return {kind: self.bank.sample(kind, count, generator, part) for kind in self.bank.pairs}

    def state(self) -> PairState:
        """Return what a checkpoint keeps of the bank."""
        return self.bank.state() if len(self.bank) else self._stored

    def load_state(self, states: Sequence[PairState], rank: int) -> None:
        """Take this process's part of the states in a checkpoint; :meth:`restore` makes the images."""
        self._stored = states[rank % len(states)]

    def restore(self, networks: Networks) -> None:
        """Synthesise the pairs of the loaded state again; to be called in the precision of the training."""
        self.bank.restore(self._stored, lambda domain, w: render_images(networks.generators[domain], w, self.size))
        self._stored = {}


def warn_of_other_processes(checkpoint: Mapping[str, Any], count: int) -> None:
    """Warn if a checkpoint was written by another number of processes than ``count``."""
    before = len(checkpoint.get("pseudo_pairs") or [{}])
    if before != count:
        rank_zero_warn(
            f"the checkpoint was written by {before} processes and is resumed by {count}: training goes on, but with "
            "other samples than it would have had"
        )
