"""DIFE's training step as the public code puts it together, in eager fp32, to compare the speed of ours with.

The public code lacks its data sets, losses and settings, so it cannot be run. Its order of work is known, and is
repeated here with our encoder, converters, teacher and mapping networks, and with plain generators of equal weights:

* Every step seeds the random numbers anew. One batch of z serves all domains, and each maps and synthesises it.
* Images become 96 px (bilinear, corners aligned, clamped), features too (nearest), and both are warped there.
* In the matching stage each domain has one original. The encoder sees it with the domain's partners, for which no loss
  is computed. It then sees all originals of the pairs without a graph, and all partners with one.
* Pairs are made of the step's own originals: each domain explores all of them at once, from the w of the same z.

What is unknown is as in our configuration: period and steps of the exploration (with none stopped early), ranges of the
augmentation, and weights of the matching. Where the cost is unknown, this takes the cheaper way: exploration runs the
generator up to the tapped layer only, teacher and converters see originals only, and nothing is masked or logged.

Reference: Dense Interspecies Face Embedding, NeurIPS 2022, and the order of work of its public code.
"""

from __future__ import annotations

import copy
import time

import torch
import torch.nn.functional as F
from torch import Tensor

from dife_lightning.callbacks.step_clock import peak_memory
from dife_lightning.geometry.affine import AFFINE_NUMBERS, COLOR_NUMBERS, color_jitter, draw_affine
from dife_lightning.geometry.coordinates import pixel_grid, resize_maps, sampling_grid, warp
from dife_lightning.methods.dife import DIFE
from dife_lightning.pretrained.embedders import Embedder, load_embedder
from dife_lightning.pretrained.generators import read_generator
from dife_lightning.running.configs import load_config
from experiments.gpu_check.plain_generator import PlainGenerator
from experiments.gpu_check.setting import stage_times

#: By domain.
Maps = dict[str, Tensor]


def time_composition(config: str, warmup: int, total: int, device: torch.device) -> dict[str, float]:
    """Train some steps and return what ``Setting.timed_fit`` does of ours.

    Args:
        config: file of the configuration, also of the period in which pairs are made.
        warmup: steps of the first stage.
        total: steps of both stages.
        device: where to train.
    """
    content = load_config(config)
    torch.manual_seed(0)
    method = DIFE(**content["model"]["init_args"])
    composition = Composition(method, content["data"]["init_args"]["batch_size"], device)
    seconds, period = [], method.pairs.options.refresh_every
    mark = time.perf_counter()
    for number in range(total):
        matching = number - warmup
        composition.step(number, matching=matching >= 0, refresh=matching >= 0 and matching % period == 0)
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - mark)
        mark = time.perf_counter()
    return {**stage_times(seconds, warmup, period), "memory": peak_memory(device)}


class Composition:
    """The networks, the optimiser, and the latest pairs.

    Args:
        method: with the networks to train and all settings.
        batch_size: images of a step of the warm-up, over all domains.
        device: where to train.
    """

    def __init__(self, method: DIFE, batch_size: int, device: torch.device) -> None:
        self.method, self.device, self.size = method.to(device), device, method.size
        self.generators = {d: PlainGenerator(read_generator(p), device) for d, p in method.generator_names.items()}
        self.count = batch_size // len(self.generators)
        self.teacher = Embedder(copy.deepcopy(load_embedder(method.teacher_name).module), "teacher").to(device)
        self.teacher.module.train()  # as the public code leaves it
        learnt = [*method.encoder.parameters(), *method.converters.parameters()]
        self.optimizer = torch.optim.Adam(learnt, lr=method.optimizer_options.lr)
        self.originals: Tensor | None = None
        self.partners: Maps = {}

    def step(self, number: int, *, matching: bool, refresh: bool) -> None:
        """Train one step; in the matching stage with pairs, which ``refresh`` makes anew."""
        torch.manual_seed(self.method.seed + number)
        w, images, features = self.sample(1 if matching else self.count)
        if refresh:
            self.make_pairs(w, images)
        views = self.warped(images, features)
        others = {d: self.view(rows, self.affine(len(rows))) for d, rows in self.partners.items()} if matching else {}
        losses = self.distill(*views, others)
        if matching:
            losses["m1"] = self.match()  # within and across species, of equal weight
        self.optimizer.zero_grad()
        torch.stack([self.method.loss_weights[name] * loss for name, loss in losses.items()]).sum().backward()
        self.optimizer.step()

    @torch.no_grad()
    def sample(self, count: int) -> tuple[Maps, Maps, Maps]:
        """Return w (B, w_dim), images (B, 3, S, S) and features (B, n_d, S, S) of ``count`` z for all domains."""
        found: tuple[Maps, Maps, Maps] = ({}, {}, {})
        z = torch.randn(count, next(iter(self.generators.values())).z_dim, device=self.device)
        for domain, generator in self.generators.items():
            w = generator.map(z, self.method.pairs.options.truncation)
            image, features = generator.synthesize(w, self.method.layer)
            image = F.interpolate(image, (self.size, self.size), mode="bilinear", align_corners=True).clamp(-1, 1)
            for maps, values in zip(found, (w, image, resize_maps(features, self.size, "nearest")), strict=True):
                maps[domain] = values
        return found

    def affine(self, count: int) -> Tensor:
        """Draw ``count`` grids that warp images or maps of S x S."""
        numbers, size = torch.rand(count, AFFINE_NUMBERS, device=self.device), self.size
        return sampling_grid(draw_affine(numbers, self.method.pair_augment, size, size), size, size, size, size)

    def view(self, images: Tensor, grid: Tensor) -> Tensor:
        """Warp images (B, 3, S, S) and jitter their colours, all by the same numbers."""
        options, numbers = self.method.pair_augment, torch.rand(1, COLOR_NUMBERS, device=self.device)
        return color_jitter(warp(images, grid, options.padding), numbers.expand(len(images), -1), options)

    def warped(self, images: Maps, features: Maps) -> tuple[Maps, Maps]:
        """Warp images and features of each domain in the same way."""
        grids, padding = {d: self.affine(len(rows)) for d, rows in images.items()}, self.method.pair_augment.padding
        warped = {d: warp(rows, grids[d], padding) for d, rows in features.items()}
        return {d: self.view(rows, grids[d]) for d, rows in images.items()}, warped

    def distill(self, images: Maps, features: Maps, others: Maps) -> Maps:
        """Equations 1 and 2 for images and features of all domains; ``others`` are only embedded."""
        merged = [torch.cat((rows, others[d])) if others else rows for d, rows in images.items()]
        embeddings = self.method.encoder(torch.cat(merged)).split([len(rows) for rows in merged])
        losses: dict[str, list[Tensor]] = {"k1": [], "k2": []}
        for (domain, rows), both in zip(images.items(), embeddings, strict=True):
            embedding, surface = both[: len(rows)], resize_maps(self.teacher.embed(rows), self.size)
            if self.method.distillation.teacher_norm == "unit":
                surface = F.normalize(surface, dim=1)
            losses["k1"].append((surface - embedding).norm(dim=1).mean())
            losses["k2"].append((features[domain] - self.method.converters(embedding, domain)).norm(dim=1).mean())
        return {name: torch.stack(parts).sum() for name, parts in losses.items()}

    def make_pairs(self, w: Maps, images: Maps) -> None:
        """Find the partners of one original (1, 3, S, S) of each domain in each domain (equation 3)."""
        self.originals = torch.cat(list(images.values()))
        with torch.no_grad():
            embedding = self.method.encoder(self.originals)
        for domain, generator in self.generators.items():
            with torch.no_grad():
                goal = self.method.converters(embedding, domain)
            side = generator.network.architecture.layer_shape(self.method.layer)[1]
            found = self.explore(domain, resize_maps(goal, side, "nearest"), w[domain].expand(len(goal), -1))
            with torch.no_grad():
                image, _ = generator.synthesize(found, self.method.layer)
            self.partners[domain] = resize_maps(image, self.size, "nearest")

    def explore(self, domain: str, goal: Tensor, start: Tensor) -> Tensor:
        """Return the w (B, w_dim) with features near ``goal`` (B, n_d, h, h), from ``start`` on."""
        options, generator = self.method.pairs.exploration, self.generators[domain]
        w = start.clone().requires_grad_()
        adam = torch.optim.Adam([w], lr=options.lr)
        for _ in range(options.steps):
            distance = (generator.features(w, self.method.layer) - goal).flatten(1).norm(dim=1)
            adam.zero_grad()
            (distance + options.weight_w * (w - generator.mean_w).norm(dim=1)).sum().backward()
            adam.step()
        return w.detach()

    def match(self) -> Tensor:
        """Equations 5 and 6, summed over all pairs; both images of a pair are warped in the same way."""
        assert self.originals is not None
        partners, side = torch.cat(list(self.partners.values())), self.method.matching_loss.side
        grid = self.affine(len(partners))
        with torch.no_grad():
            source = self.method.encoder(self.view(self.originals.repeat(len(self.partners), 1, 1, 1), grid))
        target = self.method.encoder(self.view(partners, grid))
        source, target = (F.interpolate(maps, (side, side), mode="nearest") for maps in (source, target))
        return matching_loss(source, target, self.method.matching_loss.temperature)


def matching_loss(source: Tensor, target: Tensor, temperature: float) -> Tensor:
    """Mean distance in cells between each cell and its expected match, summed over the pairs of (P, n, h, w) maps."""
    height, width = target.shape[2:]
    cells = pixel_grid(height, width, target.device).reshape(-1, 2)
    query, key = (F.normalize(maps.flatten(2), dim=1) for maps in (source, target))
    weights = (query.transpose(1, 2) @ key / temperature).softmax(dim=-1)
    return (weights @ cells - cells).norm(dim=-1).mean(dim=-1).sum()
