"""DIFE: one dense embedding for faces of several species, learnt without labels and without real images.

Stage one (warm-up) distils the surface teacher and the generators' features (equations 1 and 2); stage two adds
semantic matching on pseudo-pairs found by latent exploration (equations 3 to 6). The stage depends only on the step,
and one ``fit`` runs both.

Reference: Dense Interspecies Face Embedding, NeurIPS 2022.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from dife_lightning.errors import ConfigError
from dife_lightning.faces.batches import DomainBatch, PhotoBatch, StreamBatch
from dife_lightning.geometry.affine import AugmentOptions
from dife_lightning.geometry.coordinates import channels_last, resize_maps, resize_mask
from dife_lightning.latent.exploration import ExplorationOptions
from dife_lightning.latent.pseudo_pairs import Kind, PseudoPairs
from dife_lightning.losses.distillation import distillation_loss
from dife_lightning.methods._dife.distillation_step import surface_loss
from dife_lightning.methods._dife.gradient_share import gradient_shares, warn_of_small_shares
from dife_lightning.methods._dife.matching_step import matching_errors
from dife_lightning.methods._dife.options import (
    ConverterOptions,
    DistillationOptions,
    MatchingLossOptions,
    PairOptions,
    check_losses,
)
from dife_lightning.methods._dife.pairs import PairMaker, warn_of_other_processes
from dife_lightning.methods._dife.setup import (
    feature_statistics,
    flag_statistics,
    load_fitting_weights,
    register_statistics,
    warn_of_constant_teacher,
)
from dife_lightning.methods._options import OptimizerOptions
from dife_lightning.methods._training import EncoderModule, make_optimizer
from dife_lightning.nn.converter import Converter, Converters
from dife_lightning.nn.hourglass import HourglassEncoder
from dife_lightning.pretrained.embedders import Embedder, load_embedder
from dife_lightning.pretrained.encoders import EncoderOptions
from dife_lightning.pretrained.formats.hourglass import to_official
from dife_lightning.pretrained.generators import Generator, load_generator
from dife_lightning.utils.checks import as_options, require
from dife_lightning.utils.distributed import gather_objects
from dife_lightning.utils.randomness import normal

METHOD = "DIFE"
Stage = Literal["warmup", "matching"]


def stage_at(step: int, warmup_steps: int) -> Stage:
    """Return the stage of an optimiser step, counted from 0."""
    return "warmup" if step < warmup_steps else "matching"


class DIFE(EncoderModule):
    """Dense Interspecies Face Embedding.

    Args:
        domains: domain -> channels n_d of its generator's tapped layer.
        generators: domain -> generator, a shipped name or a file; needed only for training.
        teacher: surface teacher, a shipped name or a file; needed only for training.
        layer: tapped layer in the paper's numbers.
        size: side of the encoder's images.
        dim: channels n of the embedding, equal to the teacher's.
        unit_length: ``embed`` returns unit vectors, so that a search by dot product compares them like equation 4.
            Official code: False.
        lambda_k1: weight of the distillation from the surface teacher (equation 1; paper 1e-2).
        lambda_k2: weight of the distillation from the generators' features (equation 2; paper 1).
        lambda_m1: weight of the matching within a species (equation 5; paper 1e-2).
        lambda_m2: weight of the matching across species (equation 6; paper 1e-2).
        warmup_steps: optimiser steps before the matching stage.
        encoder: size of Φ.
        converter: form of Ψ.
        distillation: options of the warm-up losses.
        matching_loss: options of the matching losses.
        exploration: options of equation 3.
        pairs: when and how many pseudo-pairs are made.
        pair_augment: warp and colour jitter of pseudo-pairs.
        optimizer: Adam and its schedule.
        seed: of pseudo-pairs and their augmentation.
        init_from: checkpoint whose weights of encoder and converters are the start.
        share_every: steps between two measurements of each loss's share of the gradient; 0 never measures.

    A loss whose weight is 0 is not computed.

    Raises:
        ConfigError: no domain, all weights 0, or a number out of its range.
    """

    def __init__(
        self,
        domains: dict[str, int],
        generators: dict[str, str],
        teacher: str = "world/teacher",
        layer: int = 7,
        size: int = 96,
        dim: int = 16,
        unit_length: bool = False,
        lambda_k1: float = 1e-2,
        lambda_k2: float = 1.0,
        lambda_m1: float = 1e-2,
        lambda_m2: float = 1e-2,
        warmup_steps: int = 1500,
        encoder: EncoderOptions = EncoderOptions(),  # noqa: B008 - frozen
        converter: ConverterOptions = ConverterOptions(),  # noqa: B008
        distillation: DistillationOptions = DistillationOptions(),  # noqa: B008
        matching_loss: MatchingLossOptions = MatchingLossOptions(),  # noqa: B008
        exploration: ExplorationOptions = ExplorationOptions(),  # noqa: B008
        pairs: PairOptions = PairOptions(),  # noqa: B008
        pair_augment: AugmentOptions = AugmentOptions(),  # noqa: B008
        optimizer: OptimizerOptions = OptimizerOptions(),  # noqa: B008
        seed: int = 0,
        init_from: str | None = None,
        share_every: int = 50,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["init_from"])
        self.keep_plain_settings(init_from=None)
        self.loss_weights = {"k1": lambda_k1, "k2": lambda_k2, "m1": lambda_m1, "m2": lambda_m2}
        check_losses(domains, generators, self.loss_weights)
        require(at_least=1, size=size, dim=dim, layer=layer)
        require(at_least=0, warmup_steps=warmup_steps, seed=seed, share_every=share_every)
        self.domains, self.generator_names, self.teacher_name = dict(domains), dict(generators), teacher
        self.layer, self.size, self.dim, self.warmup_steps = layer, size, dim, warmup_steps
        self.unit_length, self.seed, self.init_from, self.share_every = unit_length, seed, init_from, share_every
        self.distillation = as_options(DistillationOptions, distillation)
        self.matching_loss = as_options(MatchingLossOptions, matching_loss)
        self.pair_augment = as_options(AugmentOptions, pair_augment)
        self.optimizer_options = as_options(OptimizerOptions, optimizer)
        form = as_options(ConverterOptions, converter)
        self.converter_side = form.side
        self.build_encoder(encoder, dim)
        self.encoder.check_side(size)
        shape = (form.kind, form.hidden, form.groups, form.kernel)
        self.converters = Converters({d: Converter(dim, channels, *shape) for d, channels in domains.items()})
        for domain, channels in domains.items():
            register_statistics(self, domain, channels)
        self.pairs = PairMaker(
            self.kinds_of_pairs(),
            as_options(PairOptions, pairs),
            as_options(ExplorationOptions, exploration),
            layer=layer,
            size=size,
            seed=seed,
            measure_drift=self.matching_loss.agree is not None,
        )
        self.generators: dict[str, Generator] = {}
        self.teacher: Embedder | None = None

    def kinds_of_pairs(self) -> list[Kind]:
        """Return the ordered pairs of domains that the loss weights ask for."""
        names = list(self.domains)
        within = [(d, d) for d in names] if self.loss_weights["m1"] else []
        across = [(a, b) for a in names for b in names if a != b] if self.loss_weights["m2"] else []
        return within + across

    # Inference

    def convert(self, embedding: Tensor, domain: str) -> Tensor:
        """Map the encoder's embedding (B, dim, h, w) to the (normalised) feature space (B, n_d, h, w) of ``domain``."""
        if self.converter_side is not None:
            embedding = resize_maps(embedding, self.converter_side)
        return self.converters(embedding, domain)

    def predict_features(self, images: Tensor, domain: str) -> Tensor:
        """Map images (B, 3, S, S) to Ψ^d(Φ(x)), the generator's normalised features (B, n_d, h, w) of ``domain``."""
        return self.convert(self.encoder(channels_last(images)), domain)

    def match_embed(self, images: Tensor) -> Tensor:
        """Map images (B, 3, S, S) to the embedding (B, dim, h, h) at the side at which pairs are matched."""
        return resize_maps(self.encoder(channels_last(images)).float(), self.matching_loss.side)

    def to_official(self) -> dict[str, Tensor]:
        """Return the tensors in the authors' layout; domains are numbered in their order here.

        ``unit_length`` is not part of it: the authors' network returns vectors of any length.
        """
        if not isinstance(self.encoder, HourglassEncoder):
            raise ConfigError("the authors' layout holds an hourglass; this DIFE has encoder.backbone")
        assert isinstance(self.converters, Converters)
        return to_official(self.encoder, self.converters, {d: self.statistics(d) for d in self.domains})

    # Set-up

    def setup(self, stage: str) -> None:
        """For fit: load the frozen networks, check their sizes, and measure the features' statistics."""
        super().setup(stage)
        if stage != "fit":
            return
        self.load_generators()
        if self.loss_weights["k1"]:
            self.teacher = load_embedder(self.teacher_name).to(self.device)
            if self.teacher.dim != self.dim:
                raise ConfigError(f"teacher {self.teacher_name} has {self.teacher.dim} channels, dim is {self.dim}")
            warn_of_constant_teacher(self.teacher, self.generators, self.size, self.pairs.options.truncation, self.seed)
        if self.init_from is not None:
            load_fitting_weights(self, self.init_from)
        for domain, generator in self.generators.items():
            if not self.get_buffer(f"measured_{domain}"):
                self._measure_features(domain, generator)

    def load_generators(self) -> None:
        """Load the generators, once per process; ConfigError if a tapped layer has other channels than stated."""
        self.generators = {d: load_generator(self.generator_names[d]).to(self.device) for d in self.domains}
        for domain, channels in self.domains.items():
            found = self.generators[domain].layer_shape(self.layer)[0]
            if found != channels:
                raise ConfigError(
                    f"domain '{domain}': layer {self.layer} of {self.generator_names[domain]} has {found} channels, "
                    f"the config says {channels}; set model.init_args.domains.{domain}: {found}"
                )

    def _measure_features(self, domain: str, generator: Generator) -> None:
        """Measure mean and deviation of each feature channel over generator samples."""
        mean, deviation = self.statistics(domain)
        found = torch.zeros_like(mean), torch.ones_like(deviation)
        if self.distillation.normalize_features == "channel":
            z = normal((self.distillation.statistics_samples, generator.z_dim), self.seed, "statistics", domain)
            found = feature_statistics(generator, z, self.layer, self.pairs.options.truncation)
        mean.copy_(found[0])
        deviation.copy_(found[1])
        self.get_buffer(f"measured_{domain}").fill_(True)

    def statistics(self, domain: str) -> tuple[Tensor, Tensor]:
        """Return mean and deviation (n_d,) of each feature channel of ``domain``."""
        return self.get_buffer(f"mean_{domain}"), self.get_buffer(f"deviation_{domain}")

    def normalize(self, features: Tensor, domain: str) -> Tensor:
        """Normalise generator features (B, n_d, h, w) to mean 0 and deviation 1 per channel, fp32."""
        mean, deviation = self.statistics(domain)
        return (features.float() - mean[:, None, None]) / deviation[:, None, None]

    # Training

    @property
    def uses_photos(self) -> bool:
        """Whether unlabelled photos of the stream would be learnt from."""
        return bool(self.loss_weights["k1"])

    @property
    def stage(self) -> Stage:
        """The stage of the current step."""
        return stage_at(self.global_step, self.warmup_steps)

    def training_step(self, batch: StreamBatch, batch_idx: int) -> Tensor:
        """One step: distil; in the matching stage also make pseudo-pairs and match them."""
        if self.stage == "matching" and self.distillation.photo_stages == "warmup":
            batch = replace(batch, photos={})
        if self.stage == "warmup" or not self.pairs.kinds:
            losses = self.distill(batch)
        else:
            losses = self.distill(batch.first(self.distillation.matching_images or len(batch)))
            self.refresh_pairs()
            losses |= self.match(self.pairs.sample(self.global_step, self.micro_batch, self.global_rank))
        weighted = {name: self.loss_weights[name] * loss for name, loss in losses.items()}
        total = torch.stack(list(weighted.values())).sum()
        self._log(losses, weighted, total)
        return total

    def distill(self, batch: StreamBatch) -> dict[str, Tensor]:
        """Equations 1 and 2, each summed over the domains; photos count in equation 1."""
        photos = batch.photos if self.loss_weights["k1"] else {}
        parts: list[tuple[str, DomainBatch | PhotoBatch]] = [*batch.domains.items(), *photos.items()]
        images = torch.cat([part.images for _, part in parts])
        embeddings = self.encoder(channels_last(images)).split([len(part.images) for _, part in parts])
        seen: dict[str, list[tuple[DomainBatch | PhotoBatch, Tensor]]] = {domain: [] for domain in batch.domains}
        for (domain, part), embedding in zip(parts, embeddings, strict=True):
            seen[domain].append((part, embedding))
        losses: dict[str, list[Tensor]] = {"k1": [], "k2": []}
        for domain, samples in batch.domains.items():
            options, embedding = self.distillation, seen[domain][0][1]
            if self.loss_weights["k1"]:
                assert self.teacher is not None
                losses["k1"].append(surface_loss(self.teacher, seen[domain], options))
            if self.loss_weights["k2"]:
                converted = self.convert(embedding.detach() if options.detach_features else embedding, domain)
                side = converted.shape[-1]
                features = resize_maps(self.normalize(samples.features, domain), side, "nearest")
                valid = resize_mask(samples.valid, side)
                losses["k2"].append(distillation_loss(converted, features, valid, options.reduction))
        return _summed(losses)

    @torch.no_grad()
    def refresh_pairs(self) -> None:
        """Make new pseudo-pairs (equation 3) if this step of the matching stage is due for them, once per step."""
        if not self.pairs.due(self.global_step - self.warmup_steps, self.micro_batch):
            return
        self.encoder.eval()
        made = self.pairs.refresh(self, self.global_step, self.global_rank)
        self.encoder.train()
        distances = ("start_distance", "distance", "w_distance")
        self._log_once(
            {f"pairs/{a}_{b}_{d}": float(getattr(p, d).mean()) for (a, b), p in made.items() for d in distances}
        )

    def match(self, pairs: Mapping[Kind, PseudoPairs]) -> dict[str, Tensor]:
        """Equations 5 and 6: ``m1`` within, ``m2`` across species, each summed over the kinds of pairs."""
        key = (self.seed, self.draw, self.global_rank)
        errors = matching_errors(self.encoder, list(pairs.values()), self.matching_loss, self.pair_augment, key)
        losses: dict[str, list[Tensor]] = {"m1": [], "m2": []}
        for (source, target), error in zip(pairs, errors, strict=True):
            losses["m1" if source == target else "m2"].append(error)
        return _summed(losses)

    # Checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the latents of each process's pseudo-pairs."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["pseudo_pairs"] = gather_objects(self.pairs.state())

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take this process's pseudo-pairs; their images are synthesised when training starts."""
        super().on_load_checkpoint(checkpoint)
        flag_statistics(checkpoint["state_dict"], self.domains)
        if self._trainer is not None:
            self.pairs.load_state(checkpoint.get("pseudo_pairs") or [{}], self.global_rank)
            if self._trainer.state.fn == "fit":
                warn_of_other_processes(checkpoint, self._trainer.world_size)

    @torch.no_grad()
    def on_train_start(self) -> None:
        """Synthesise the pseudo-pairs of a checkpoint again, in the precision of the training."""
        super().on_train_start()
        with self.trainer.precision_plugin.train_step_context():
            self.pairs.restore(self)

    # Optimiser and logs

    def configure_optimizers(self) -> Any:
        """Adam over encoder and converters, with the chosen schedule."""
        return make_optimizer(
            self.parameter_groups(self.converters), self.optimizer_options, self.warmup_steps, self.trainer.max_steps
        )

    def plateau_counts(self) -> bool:
        """Count from the start of the matching stage on."""
        return super().plateau_counts() and self.stage == "matching"

    def _log(self, losses: Mapping[str, Tensor], weighted: Mapping[str, Tensor], total: Tensor) -> None:
        self.log("train/loss", total, prog_bar=True)
        self.log_dict({f"train/loss_{name}": loss for name, loss in losses.items()})
        self.log("train/stage", float(self.stage == "matching"))
        if self.share_every and self.global_step % self.share_every == 0 and not self.micro_batch:
            self._log_shares(weighted)

    def _log_shares(self, weighted: Mapping[str, Tensor]) -> None:
        """Log each loss's share of the gradient; warn where one hardly counts."""
        shares = gradient_shares(weighted, self.encoder.last_weight)
        self._log_once({f"train/share_{name}": share for name, share in shares.items()})
        meant = ("k2",) if self.distillation.detach_features else ()
        warn_of_small_shares({k: v for k, v in shares.items() if k not in meant}, self.loss_weights, self.global_step)

    def _log_once(self, values: dict[str, float]) -> None:
        """Log values that not every step has; ``self.log`` would repeat them in the rows of the steps after."""
        if self._trainer is not None and self._trainer.is_global_zero:
            for logger in self._trainer.loggers:
                logger.log_metrics(values, self.global_step)


def _summed(losses: Mapping[str, list[Tensor]]) -> dict[str, Tensor]:
    """Return the sum of each loss over domains or kinds of pairs; a loss without any is left out."""
    return {name: torch.stack(parts).sum() for name, parts in losses.items() if parts}
