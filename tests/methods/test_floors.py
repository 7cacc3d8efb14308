from __future__ import annotations

import lightning as L
import numpy as np
import pytest
import torch

from dife_lightning.errors import ConfigError, TrainingError
from dife_lightning.faces.batches import PairBatch
from dife_lightning.matching import MatchingOptions
from dife_lightning.methods import mean_shape
from dife_lightning.methods._base import EmbedderModule
from dife_lightning.registry import get_method, list_methods

FLOORS = ("random", "copy-xy", "mean-shape")


def make_batch(pairs: int = 4, first: int = 0, source: int = 64, target: int = 64) -> PairBatch:
    generator = torch.Generator().manual_seed(first)
    points = torch.rand(pairs, 12, 2, generator=generator)
    return PairBatch(
        source_image=torch.rand(pairs, 3, source, source, generator=generator) * 2 - 1,
        target_image=torch.rand(pairs, 3, target, target, generator=generator) * 2 - 1,
        source_points=points * (source - 1),
        target_points=points * (target - 1),
        visible=torch.ones(pairs, 12, dtype=torch.bool),
        index=torch.arange(first, first + pairs),
        pair_id=[f"human-{i}>dog-{i}" for i in range(first, first + pairs)],
        pair="human+dog",
        framing="jittered",
        list_name="long",
    )


@pytest.fixture
def mean_face(monkeypatch):
    import dife_lightning.world as world

    face = np.linspace(10, 50, 18, dtype=np.float32).reshape(9, 2)
    asked = []

    def fake(species, framing, size):
        asked.append((species, framing, size))
        return face

    monkeypatch.setattr(world, "mean_shape", fake, raising=False)
    mean_shape._mean_layout.cache_clear()
    yield face, asked
    mean_shape._mean_layout.cache_clear()


def test_floors_are_registered_and_need_no_checkpoint():
    assert set(FLOORS) <= set(list_methods())
    assert not any(get_method(name).needs_checkpoint for name in FLOORS)


def test_random_points_are_uniform_over_the_image():
    batch = make_batch(800)
    points = get_method("random")().transfer_batch(batch)
    assert points.shape == (800, 12, 2)
    assert points.min() >= -0.5
    assert points.max() <= 63.5
    assert points.mean().item() == pytest.approx(31.5, abs=0.5)
    assert points.std().item() == pytest.approx(64 / 12**0.5, rel=0.02)


def test_two_random_points_are_as_far_apart_as_theory_says():
    a = get_method("random")(seed=0).transfer_batch(make_batch(1500))
    b = get_method("random")(seed=1).transfer_batch(make_batch(1500))
    distance = (a - b).norm(dim=-1).mean().item() * 70 / 64
    assert distance == pytest.approx(0.5214 * 70, rel=0.01)


def test_a_random_point_depends_on_the_pair_and_not_on_the_batch():
    method = get_method("random")()
    whole = method.transfer_batch(make_batch(6))
    assert torch.equal(method.transfer_batch(make_batch(2, first=4)), whole[4:])


def test_copy_xy_copies_and_scales_by_pixel_edges():
    method = get_method("copy-xy")()
    batch = make_batch()
    assert torch.equal(method.transfer_batch(batch), batch.source_points)
    batch = make_batch(source=64, target=128)
    torch.testing.assert_close(method.transfer_batch(batch), (batch.source_points + 0.5) * 2 - 0.5)


def test_mean_shape_is_that_of_the_target_species_under_the_pairs_framing(mean_face):
    face, asked = mean_face
    points = get_method("mean-shape")().transfer_batch(make_batch())
    assert asked == [("dog", "jittered", 64)]
    for row in points:
        np.testing.assert_allclose(row[:9].numpy(), face)
        np.testing.assert_allclose(row[9].numpy(), face[:2].mean(0))


@pytest.mark.parametrize("name", FLOORS)
def test_floors_never_look_at_an_image(name, mean_face):
    batch = make_batch()
    method = get_method(name)()
    before = method.transfer_batch(batch)
    batch.source_image, batch.target_image = torch.zeros_like(batch.source_image), torch.ones_like(batch.target_image)
    assert torch.equal(method.transfer_batch(batch), before)


@pytest.mark.parametrize("name", FLOORS)
def test_floors_refuse_to_be_fitted(name, tmp_path):
    trainer = L.Trainer(max_steps=1, logger=False, enable_checkpointing=False, default_root_dir=tmp_path)
    loader = torch.utils.data.DataLoader([0])
    with pytest.raises(ConfigError, match=f"'{name}' has nothing to learn"):
        trainer.fit(get_method(name)(), train_dataloaders=loader, val_dataloaders=loader)


class Raw(EmbedderModule):
    """The image as its own embedding."""

    def embed(self, images):
        return images


def test_an_embedder_matches_by_search_with_the_options_of_the_evaluation():
    batch = make_batch()
    batch.target_image = batch.source_image * torch.linspace(0.2, 3, 64)
    batch.source_points = batch.source_points.round()
    method = Raw()
    torch.testing.assert_close(method.transfer_batch(batch, MatchingOptions("cosine")), batch.source_points)
    assert not torch.equal(method.transfer_batch(batch, MatchingOptions("dot")), batch.source_points)


def test_an_embedder_that_gives_nan_stops_with_advice():
    batch = make_batch()
    batch.target_image[0, 0, 0, 0] = float("nan")
    with pytest.raises(TrainingError, match="NaN"):
        Raw().transfer_batch(batch)
