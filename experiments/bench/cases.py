"""What ``python -m experiments.bench`` measures: each case is a function from :class:`Conditions` to its timings."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dife_lightning.applications import LandmarkTransfer, SourceFace
from dife_lightning.applications.finding import Found
from dife_lightning.geometry.coordinates import channels_last, pixel_grid, to_pixels
from dife_lightning.geometry.crops import Square
from dife_lightning.latent.exploration import ExplorationOptions, explore
from dife_lightning.losses.dve import dve_loss
from dife_lightning.losses.matching import cosine_similarity_map, semantic_matching_loss
from dife_lightning.matching import transfer
from dife_lightning.nn.converter import Converter
from dife_lightning.nn.hourglass import HourglassEncoder
from dife_lightning.nn.stylegan2 import Architecture, StyleGAN2Generator
from dife_lightning.page.matching import PageMatcher
from dife_lightning.page.photos import PagePhotos
from dife_lightning.pretrained.generators import Generator
from dife_lightning.utils.randomness import uniform
from dife_lightning.world.pairs import PAPER_COUNTS
from experiments.bench.readers import readers_case
from experiments.bench.steps import step_case
from experiments.bench.timing import Conditions, Timing, peak_memory, timed

#: Side of the generator -> tapped layer, in the paper's numbers.
TAPS = {64: 5, 128: 7, 256: 7}
#: A plain loss that needs more bytes is measured on one pair and multiplied (14.3 GiB for matching at 96 px).
MOST_MEMORY = 2**30
#: Adam steps per call of the exploration.
EXPLORATION_STEPS = 4

# Networks


@functools.lru_cache(maxsize=1)
def random_generator(side: int, small: bool, device: torch.device) -> Generator:
    """Return a generator with random weights: config F, channel multiplier 2, which is 512 channels up to 64 px."""
    sides = [2**i for i in range(2, side.bit_length())]
    channels = tuple(8 if small else min(512, 2**15 // s) for s in sides)
    shape = {"z_dim": 8, "w_dim": 8, "mapping_layers": 2} if small else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Generator(StyleGAN2Generator(Architecture(channels, **shape))).to(device)


def generator_case(conditions: Conditions, side: int, layer: int | None = None, count: int = 4) -> list[Timing]:
    """Time z to image, or with ``layer`` z to features, of a batch of ``count`` without a graph."""
    generator = random_generator(side, conditions.small, conditions.device)
    z = conditions.normal(count, generator.z_dim)

    def call() -> None:
        w = generator.map(z)
        generator.image(w) if layer is None else generator.features(w, layer)

    name, what = (f"generator-{side}", "images/s") if layer is None else (f"features-{side}", "maps/s")
    with torch.no_grad(), conditions.autocast():
        return [timed(name, conditions, call, len(z), what)]


def exploration_case(conditions: Conditions, count: int = 1) -> list[Timing]:
    """Time a step of latent exploration of ``count`` w at 256 px; the forward pass after the last step is included."""
    generator, layer, steps = random_generator(256, conditions.small, conditions.device), TAPS[256], EXPLORATION_STEPS
    start, mean = conditions.normal(count, generator.w_dim), generator.mean_w
    options = ExplorationOptions(steps=steps)
    with torch.no_grad(), conditions.autocast():
        target = generator.features(mean[None], layer).float().expand(count, -1, -1, -1)
        call = functools.partial(explore, generator, layer, target, start, mean, options)
        return [timed("exploration-256", conditions, call, count, "steps/s", scale=1 / steps)]


def encoder_case(conditions: Conditions, step: bool) -> list[Timing]:
    """Time the paper's encoder forward, or with ``step`` encoder and converter forward and backward; 12 images."""
    shape = {"planes": (16, 16, 16), "blocks": 1, "depth": 2} if conditions.small else {}
    count, side = (2, 32) if conditions.small else (12, 96)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = HourglassEncoder(**shape).to(conditions.device)  # type: ignore[arg-type]
        converter = Converter(16, 16 if conditions.small else 512).to(conditions.device)
    images = channels_last(conditions.normal(count, 3, side, side).clamp(-1, 1))

    def call() -> None:
        with torch.set_grad_enabled(step):
            with conditions.autocast():
                output = encoder(images)
                output = converter(output) if step else output
            if step:
                torch.autograd.grad(output.float().square().mean(), parameters)

    parameters = [*encoder.parameters(), *converter.parameters()]
    return [timed(f"encoder-{'step' if step else 'forward'}", conditions, call, count, "images/s")]


# Losses and evaluation


Loss = Callable[[Tensor, Tensor], Tensor]


def loss_case(conditions: Conditions, name: str, side: int, plain: Loss, ours: Loss) -> list[Timing]:
    """Time a loss forward and backward of 12 pairs and take its memory: the plain formula, and ours."""
    pairs = 2 if conditions.small else 12
    shape = (4, side // 4, side // 4) if conditions.small else (16, side, side)
    maps = conditions.normal(2, pairs, *shape).to(conditions.dtype)  # what a convolution gives in this precision

    def loss(function: Loss, count: int) -> float:
        source, target = (half.clone().requires_grad_() for half in maps[:, :count])
        value = function(source, target)
        value.backward()
        return value.item()

    def measured(suffix: str, count: int, function: Loss) -> Timing:
        values: list[float] = []
        memory = peak_memory(lambda: values.append(loss(function, count)), conditions.device)
        scale = pairs // count  # seconds and memory grow with the number of pairs
        more: dict[str, float] = {"loss": values[0]} if scale == 1 else {"estimated": True}
        call = functools.partial(loss, function, count)
        more["memory_bytes"] = memory * scale
        return timed(f"{name}-{suffix}", conditions, call, pairs, "pairs/s", scale, **more)

    needed = peak_memory(lambda: loss(plain, 1), conditions.device) * pairs
    return [measured("plain", pairs if needed <= MOST_MEMORY else 1, plain), measured("ours", pairs, ours)]


def matching_case(conditions: Conditions, side: int) -> list[Timing]:
    """Measure the matching loss."""
    return loss_case(conditions, f"matching-{side}", side, plain_matching, semantic_matching_loss)


def dve_case(conditions: Conditions, side: int) -> list[Timing]:
    """Measure DVE's loss, the third image of a pair being the first of the next one."""

    def through_next(function: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> Loss:
        def loss(first: Tensor, second: Tensor) -> Tensor:
            height, width = first.shape[-2:]
            grid = 2 * uniform((len(first), height, width, 2), 0, "bench").to(first.device) - 1
            return function(first, second, first.roll(-1, dims=0), grid)

        return loss

    return loss_case(conditions, f"dve-{side}", side, through_next(plain_dve), through_next(dve_loss))


def plain_matching(source: Tensor, target: Tensor, temperature: float = 0.02) -> Tensor:
    """Equation 5 with softmax weights as it is written down: all similarities (B, h w, h w) at once."""
    height, width = source.shape[-2:]
    place = pixel_grid(height, width, source.device).reshape(-1, 2)
    similarity = cosine_similarity_map(source.flatten(2).transpose(1, 2), target)
    offset = (similarity / temperature).softmax(dim=-1) @ place - place
    return (offset.square().sum(dim=-1) + 1e-6).sqrt().mean()


def plain_dve(first: Tensor, second: Tensor, aux: Tensor, grid: Tensor) -> Tensor:
    """DVE's loss as it is written down, with all maps (B, h w, h w) at once."""
    height, width = first.shape[-2:]
    query, target, key = (20 * F.normalize(m.float().flatten(2), dim=1).mT for m in (first, second, aux))
    found = (query @ key.mT).softmax(dim=-1) @ key
    truth = to_pixels(grid, width, height, align_corners=True).flatten(1, 2)
    offset = truth[:, :, None] - pixel_grid(height, width, grid.device).reshape(-1, 2)
    distance = offset.square().sum(dim=-1).sqrt().sqrt()
    return ((found @ target.mT).softmax(dim=-1) * distance).sum(dim=-1).mean()


Transfer = Callable[[Tensor, Tensor, Tensor], Tensor]


def transfer_case(conditions: Conditions, names: dict[str, Transfer], pairs: int, count: int) -> list[Timing]:
    """Time the transfer of ``count`` points of each pair at 96 px and 16 channels, by each function of ``names``."""
    pairs, side = (4, 12) if conditions.small else (pairs, 96)
    source, target = conditions.normal(2, pairs, 16, side, side)
    points = uniform((pairs, count, 2), 0, "bench").to(conditions.device) * (side - 1)
    with torch.no_grad(), conditions.autocast():
        return [
            timed(name, conditions, functools.partial(function, source, target, points), pairs, "pairs/s")
            for name, function in names.items()
        ]


def plain_transfer(source: Tensor, target: Tensor, points: Tensor) -> Tensor:
    """Transfer one point after the other, each by one product of its descriptor and the whole map."""
    found = torch.empty_like(points)
    width = target.shape[-1]
    for i, several in enumerate(points):
        for k, (x, y) in enumerate(several.round().long().tolist()):
            best = int((source[i, :, y, x] @ target[i].flatten(1)).argmax())
            found[i, k, 0], found[i, k, 1] = best % width, best // width
    return found


# Photos


def photos_case(conditions: Conditions, find: bool) -> list[Timing]:
    """Time what `dife transfer` does with photos in memory: ``find`` the faces, and carry three landmarks to them."""
    count = 2 if conditions.small else 16
    pixels = uniform((count, 30, 40, 3), 0, "bench", "photos").mul(255).byte().numpy()
    photos = [cv2.resize(one, (400, 300), interpolation=cv2.INTER_CUBIC) for one in pixels]
    points = np.array([[150, 130], [250, 130], [200, 190]], np.float32)
    carry = LandmarkTransfer([SourceFace(photos[0], points)], ["left_eye", "right_eye", "nose"])

    def found() -> None:
        nothing: list[Found] = [(None, 0.0)] * len(photos)
        places = nothing if carry.eyes.finder is None else carry.eyes.finder.find(photos)
        whole: Found = (Square(200, 150, 300), 1.0)
        faces = [carry.eyes.crop(one, found=at if at[0] else whole) for one, at in zip(photos, places, strict=True)]
        carry.carry(faces)

    def given() -> None:
        carry.carry([carry.eyes.crop(one, (50, 0, 350, 300)) for one in photos])

    name, call = ("photos-found", found) if find else ("photos-given", given)
    with conditions.autocast():
        return [timed(name, conditions, call, count, "photos/s")]


def click_case(conditions: Conditions) -> list[Timing]:
    """Time what a click on the page of `dife serve` waits for: a point of a photo of 16 megapixels on ten others."""
    count, side = (2, 64) if conditions.small else (11, 4000)
    with TemporaryDirectory() as folder:
        for k in range(count):
            pixels = uniform((30, 30, 3), k, "bench", "page").mul(255).byte().numpy()
            cv2.imwrite(f"{folder}/{k:02}.jpg", cv2.resize(pixels, (side, side) if k == 0 else (400, 400)))
        photos = PagePhotos(folder)
        matcher = PageMatcher(photos)
        for k in range(count):
            matcher.set_box(k, [50, 50, 350, 350] if k else [side / 8, side / 8, side * 7 / 8, side * 7 / 8])
        places = itertools.cycle(side * share for share in (0.3, 0.4, 0.5, 0.6))

        def click() -> None:
            matcher.carry({0: [[next(places), side / 2]]}, ["a"], range(1, count))

        with conditions.autocast():
            return [timed("page-click", conditions, click, 1, "clicks/s")]


Case = Callable[[Conditions], list[Timing]]


def _cases() -> dict[str, Case]:
    part = functools.partial
    cases: dict[str, Case] = {}
    for side, layer in TAPS.items():
        cases[f"generator-{side}"] = part(generator_case, side=side)
        cases[f"features-{side}"] = part(generator_case, side=side, layer=layer)
    cases["exploration-256"] = exploration_case
    cases |= {"encoder-forward": part(encoder_case, step=False), "encoder-step": part(encoder_case, step=True)}
    cases |= {f"matching-{side}": part(matching_case, side=side) for side in (48, 96)}
    cases |= {"dve-96": part(dve_case, side=96)}
    cases |= {"evaluation": part(transfer_case, names={"evaluation": transfer}, pairs=100, count=9)}
    cases |= {"readers": readers_case}
    cases |= {"photos-found": part(photos_case, find=True), "photos-given": part(photos_case, find=False)}
    cases |= {"page-click": click_case}
    for count in (3, 9):  # the paper's four lists: 3 points on MAFL and AP-10K, 9 on WFLW and AnimalWeb
        names: dict[str, Transfer] = {f"lists-{count}-plain": plain_transfer, f"lists-{count}-ours": transfer}
        cases[f"lists-{count}"] = part(transfer_case, names=names, pairs=sum(PAPER_COUNTS.values()), count=count)
    return cases | {f"step-{stage}": part(step_case, stage=stage) for stage in ("warmup", "matching")}


#: Cases without networks; they are measured in one precision only.
ONCE = ("readers",)
#: Name -> function, in the order of the table.
CASES = _cases()
