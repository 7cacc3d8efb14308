"""The plain composition computes what our training step computes, where both do the same work."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from dife_lightning.faces.batches import DomainBatch, StreamBatch
from dife_lightning.latent.exploration import explore
from dife_lightning.losses.matching import semantic_matching_loss
from dife_lightning.methods.dife import DIFE
from dife_lightning.nn.stylegan2 import Architecture, StyleGAN2Generator
from dife_lightning.pretrained.generators import Generator
from experiments.gpu_check.composition import Composition, matching_loss, time_composition
from experiments.gpu_check.plain_generator import PlainGenerator, upfirdn2d
from experiments.gpu_check.setting import Setting
from experiments.gpu_check.speeds import write_paper_config
from tests.tiny import dife_arguments

CPU = torch.device("cpu")


@pytest.fixture
def generators() -> tuple[Generator, PlainGenerator]:
    """Return our generator and a plain one of the same random weights, with noise, biases and a mean w."""
    torch.manual_seed(0)
    network = StyleGAN2Generator(Architecture((6, 4, 8, 5), z_dim=8, w_dim=8, mapping_layers=2))
    with torch.no_grad():
        for name, value in [*network.named_parameters(), *network.named_buffers()]:
            if name.endswith(("noise_strength", "bias", "w_avg")):
                value += 0.3 * torch.randn_like(value)
    return Generator(network), PlainGenerator(network, CPU)


@pytest.fixture
def method(tmp_path) -> DIFE:
    """Return a small DIFE in training, with the settings of the paper that the composition has."""
    options: dict[str, Any] = {
        "converter": {"hidden": 8, "groups": 4, "kernel": 3},
        "distillation": {"normalize_features": "none", "teacher_norm": "unit"},
        "exploration": {"steps": 3, "lr": 0.01, "weight_w": 1.0, "norm": "literal"},
        "pair_augment": {"rotation": 0, "scale_min": 1, "scale_max": 1, "shift": 0, "color_probability": 0},
    }
    torch.manual_seed(0)
    method = DIFE(**dife_arguments(tmp_path, **options))
    method.setup("fit")
    return method


def same(found: Tensor, wanted: Tensor) -> None:
    assert found.shape == wanted.shape
    assert (found - wanted).norm() <= 1e-5 * wanted.norm()


def test_the_native_filter_by_hand():
    image, kernel = torch.tensor([[[[1.0, 10.0]]]]), torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    # a row of 1 0 10 0 and one of zeros, zeros before both; convolved, not correlated
    assert upfirdn2d(image, kernel, 2, (1, 0, 1, 0)).tolist() == [[[[1.0, 2.0, 10.0, 20.0], [0.0] * 4]]]


def test_both_generators_make_the_same_image_and_features(generators):
    ours, plain = generators
    z = torch.randn(3, 8)
    w = plain.map(z, 0.7)
    same(w, ours.map(z, truncation=0.7)[:, 0])
    for found, wanted in zip(plain.synthesize(w, 3), ours.synthesize(w, 3), strict=True):
        same(found, wanted)
    same(plain.features(w, 3), ours.features(w, 3))


def test_both_steps_have_the_same_embedding_and_distillation_losses(method):
    composition = Composition(method, 4, CPU)
    w, images, features = composition.sample(2)
    whole = torch.eye(2, 3).expand(2, -1, -1)
    batch = StreamBatch(
        torch.arange(2),
        {
            d: DomainBatch(rows, rows, features[d], whole, torch.ones(2, 32, 32, dtype=torch.bool), w[d])
            for d, rows in images.items()
        },
    )
    wanted, found = method.distill(batch), composition.distill(images, features, {})
    assert list(found) == ["k1", "k2"]
    for name, loss in found.items():
        same(loss, wanted[name])
    others = {d: torch.rand_like(rows) for d, rows in images.items()}
    for name, loss in composition.distill(images, features, others).items():
        same(loss, wanted[name])  # partners are embedded, and that is all
    same(method.encoder(images["dog"]), method.embed(images["dog"]))


def test_the_samples_are_those_of_one_z(method):
    composition = Composition(method, 4, CPU)
    torch.manual_seed(5)
    w, images, features = composition.sample(2)
    torch.manual_seed(5)
    z = torch.randn(2, 8)
    for domain, generator in method.generators.items():
        same(w[domain], generator.map(z, truncation=0.7)[:, 0])
        image, tapped = generator.synthesize(w[domain], 3)
        same(images[domain], image.clamp(-1, 1))  # 32 px are the encoder's size
        same(features[domain], tapped.repeat_interleave(2, 2).repeat_interleave(2, 3))  # 16 px to 32, nearest
    torch.manual_seed(5)
    composition.sample(2)
    for domain, rows in composition.warped(images, features)[0].items():
        same(rows, images[domain])  # there is nothing to warp or to jitter


def test_both_explorations_end_at_the_same_w(method):
    composition = Composition(method, 4, CPU)
    w, generator = composition.sample(2)[0]["dog"], method.generators["dog"]
    goal = torch.randn_like(generator.features(w, 3))
    found = composition.explore("dog", goal, w)
    wanted = explore(generator, 3, goal, w, generator.mean_w, method.pairs.exploration).w[:, 0]
    same(found - w, wanted - w)


def test_pairs_are_of_every_original_and_every_domain(method):
    composition = Composition(method, 4, CPU)
    w, images, _ = composition.sample(1)
    composition.make_pairs(w, images)
    assert {d: tuple(rows.shape) for d, rows in composition.partners.items()} == {
        "human": (2, 3, 32, 32),
        "dog": (2, 3, 32, 32),
    }
    goal = method.predict_features(images["human"], "dog")[:, :, ::2, ::2]  # 32 px to 16, nearest
    found = composition.explore("dog", goal.detach(), w["dog"])
    image, _ = method.generators["dog"].synthesize(found, 3)
    assert (composition.partners["dog"][:1] - image).abs().max() < 1e-3 * image.abs().max()


def test_both_matching_losses_are_the_same():
    torch.manual_seed(0)
    maps = torch.randn(2, 3, 4, 6, 6)
    wanted = sum(semantic_matching_loss(a[None], b[None], temperature=0.1) for a, b in zip(*maps, strict=True))
    assert float(matching_loss(maps[0], maps[1], 0.1)) == pytest.approx(float(wanted), rel=1e-4)


def test_a_step_trains_and_pairs_are_kept_until_they_are_made_anew(method):
    composition = Composition(method, 4, CPU)
    before = [p.clone() for p in method.encoder.parameters()]
    composition.step(0, matching=False, refresh=False)
    assert any(not torch.equal(old, new) for old, new in zip(before, method.encoder.parameters(), strict=True))
    assert composition.partners == {}
    kept = []
    for number, refresh in ((1, True), (2, False), (3, True)):
        composition.step(number, matching=True, refresh=refresh)
        kept.append(composition.partners["dog"].clone())
    assert torch.equal(kept[0], kept[1])
    assert not torch.equal(kept[1], kept[2])
    assert all(bool(p.isfinite().all()) for p in method.parameters())


def test_the_clock_of_the_composition(tmp_path):
    config = write_paper_config(Setting(tmp_path, small=True))
    found = time_composition(str(config), 2, 6, CPU)
    assert all(value > 0 for value in found.values())
