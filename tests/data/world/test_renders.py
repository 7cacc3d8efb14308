"""Batches of annotated renders: pure functions of (seed, number) whose truth fits their pictures."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import fields
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from dife_lightning.data.training import StreamStart
from dife_lightning.data.world.pairs import WorldPairs
from dife_lightning.data.world.renders import FOLD, RenderStream, WorldRenders
from dife_lightning.errors import ConfigError
from dife_lightning.faces.batches import RenderBatch
from dife_lightning.geometry.affine import AugmentOptions
from dife_lightning.geometry.coordinates import warp_known
from dife_lightning.world import CANONICAL_LANDMARKS, Framing, render
from dife_lightning.world.truth import TruthArrays, truth_arrays

SPECIES = ("human", "dog", "cat")
STILL = AugmentOptions(rotation=0, scale_min=1, scale_max=1, shift=0, color_probability=0)
COUNT, SIZE = 24, 64


@pytest.fixture(scope="module")
def renders() -> dict[str, TruthArrays]:
    return {name: truth_arrays(name, "train", COUNT, SIZE) for name in SPECIES}


@pytest.fixture(scope="module")
def batch(renders: dict[str, TruthArrays]) -> RenderBatch:
    return RenderStream(renders, 16, AugmentOptions()).batch(0)


def tensors(batch: RenderBatch) -> list[Tensor]:
    return [getattr(batch, field.name) for field in fields(batch) if field.name != "domains"]


def same(one: RenderBatch, other: RenderBatch) -> bool:
    return one.domains == other.domains and all(map(torch.equal, tensors(one), tensors(other)))


def first(stream: RenderStream, count: int, workers: int = 0) -> list[RenderBatch]:
    return list(islice(iter(DataLoader(stream, batch_size=None, num_workers=workers)), count))


def read(uv: Tensor, inside: Tensor, point: np.ndarray) -> np.ndarray | None:
    """The coordinate of a map (S, S, 2) at one point, bilinear by hand; None where a pixel around it has none."""
    x, y = np.floor(point).astype(int)
    if min(x, y) < 0 or max(x, y) + 1 >= len(uv) or not inside[y : y + 2, x : x + 2].all():
        return None
    patch, (a, b) = uv[y : y + 2, x : x + 2].numpy(), point - (x, y)
    rows = patch[:, 0] * (1 - a) + patch[:, 1] * a
    return rows[0] * (1 - b) + rows[1] * b


def landmarks(batch: RenderBatch) -> Iterator[tuple[int, int]]:
    return iter(batch.visible.nonzero().tolist())


def test_a_batch_has_equally_many_faces_of_each_species_in_order(batch: RenderBatch) -> None:
    assert batch.domains == SPECIES
    assert batch.domain.tolist() == [0] * 16 + [1] * 16 + [2] * 16
    assert batch.index.tolist() == [*range(16)] * 3
    assert batch.images.shape == (48, 3, SIZE, SIZE)
    assert batch.images.abs().max() <= 1
    assert (batch.uv.shape, batch.inside.shape) == ((48, SIZE, SIZE, 2), (48, SIZE, SIZE))
    assert (batch.points.shape, batch.visible.shape) == ((48, 9, 2), (48, 9))
    assert (batch.inside.dtype, batch.visible.dtype) == (torch.bool, torch.bool)
    assert batch.uv[~batch.inside].abs().max() == 0
    assert batch.uv.abs().max() <= 1


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # torch counts cores, not this test
@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_workers_gives_the_same_batches(renders: dict[str, TruthArrays], workers: int) -> None:
    stream = RenderStream(renders, 2, AugmentOptions(), seed=5)
    assert all(map(same, first(stream, 4, workers), first(stream, 4)))


def test_two_ranks_share_out_the_stream_of_one(renders: dict[str, TruthArrays]) -> None:
    alone = RenderStream(renders, 4, AugmentOptions())
    ranks = [RenderStream(renders, 2, AugmentOptions(), start=StreamStart(rank=rank, world_size=2)) for rank in (0, 1)]
    whole, halves = alone.batch(3), [rank.batch(3) for rank in ranks]
    for name in ("index", "images", "uv", "points"):
        together = torch.stack([getattr(half, name).unflatten(0, (3, 2)) for half in halves], 1).flatten(0, 2)
        assert torch.equal(together, getattr(whole, name)), name


def test_a_resumed_stream_goes_on_where_it_stopped(renders: dict[str, TruthArrays]) -> None:
    whole = first(RenderStream(renders, 2, AugmentOptions()), 4)
    assert all(map(same, whole[2:], first(RenderStream(renders, 2, AugmentOptions(), start=StreamStart(2)), 2)))


def test_batches_differ_between_numbers_seeds_and_places(renders: dict[str, TruthArrays]) -> None:
    parts = [RenderStream(renders, 3, AugmentOptions(), seed=seed).batch(k) for seed in (0, 1) for k in (0, 1)]
    images = torch.cat([part.images for part in parts]).flatten(1)
    assert len(torch.unique(images, dim=0)) == len(images)


def test_without_framing_and_colour_a_batch_is_what_the_renderer_gives(renders: dict[str, TruthArrays]) -> None:
    batch = RenderStream(renders, 3, STILL).batch(1)
    samples = {name: [render(name, "train", index) for index in range(COUNT)] for name in SPECIES}
    for row, domain in enumerate(batch.domain.tolist()):
        image = (batch.images[row].permute(1, 2, 0).numpy() + 1) * 127.5
        sample = min(samples[SPECIES[domain]], key=lambda one: np.abs(one.image - image).mean())
        np.testing.assert_allclose(image, sample.image, atol=0.01)
        assert np.array_equal(batch.inside[row], sample.mask)
        np.testing.assert_allclose(batch.uv[row][sample.mask], sample.uv[sample.mask], atol=2e-5)
        np.testing.assert_allclose(batch.points[row], sample.points, atol=1e-4)
        assert np.array_equal(batch.visible[row], sample.visible)


def test_every_face_comes_up_and_none_far_too_often(renders: dict[str, TruthArrays]) -> None:
    points = torch.cat([RenderStream(renders, 12, STILL).batch(k).points for k in range(20)])
    _, counts = torch.unique(points.round(decimals=2).flatten(1), dim=0, return_counts=True)
    assert len(counts) == 3 * COUNT  # 240 draws of 24 for each species
    assert counts.max() < 25


@pytest.mark.parametrize("species", SPECIES)
def test_the_warped_truth_is_that_of_a_render_framed_likewise(renders: dict[str, TruthArrays], species: str) -> None:
    framing = Framing(17.0, 0.85, 0.06, -0.04)
    matrix = torch.from_numpy(framing.matrix(SIZE)).float()[None]
    off, agreed = [], []
    for index in range(8):
        plain, framed = (render(species, "train", index, framing=one) for one in (None, framing))
        known = torch.from_numpy(plain.mask)
        uv = torch.from_numpy(np.nan_to_num(plain.uv))
        warped, inside = (part[0].numpy() for part in warp_known(uv[None], known[None], matrix, FOLD))
        both = inside & framed.mask
        agreed.append(both.sum() / (inside | framed.mask).sum())
        off.append(np.abs(warped - framed.uv)[both].max(-1))
    assert np.mean(agreed) > 0.9  # a pixel at the rim belongs to either
    error = np.concatenate(off)
    assert np.median(error) < 0.001
    assert np.quantile(error, 0.98) < 0.05  # a pixel has 0.048


def test_unknown_values_and_those_across_a_fold_are_not_mixed_in() -> None:
    ramp = torch.tensor([[0.1, 0.2, 9.0, 0.9, 1.0]])[:, None, :, None]  # the third is unknown, the fourth past a fold
    known = torch.tensor([[[True, True, False, True, True]]])
    left = torch.tensor([[[1.0, 0.0, -0.4], [0.0, 1.0, 0.0]]])  # new pixel x shows old pixel x + 0.4
    found, inside = warp_known(ramp, known, left, fold=0.25)
    assert inside[0, 0].tolist() == [True, True, False, True, True]
    torch.testing.assert_close(found[0, 0, :, 0], torch.tensor([0.14, 0.2, 0.0, 0.94, 1.0]))
    unbroken = warp_known(torch.tensor([[[[0.0], [1.0]]]]), torch.ones(1, 1, 2, dtype=torch.bool), left, fold=0.25)[0]
    assert unbroken.flatten().tolist() == [0.0, 1.0]
    mixed = warp_known(torch.tensor([[[[0.0], [1.0]]]]), torch.ones(1, 1, 2, dtype=torch.bool), left, fold=1.0)[0]
    torch.testing.assert_close(mixed.flatten(), torch.tensor([0.4, 1.0]))


def test_a_pixel_from_outside_the_picture_is_unknown() -> None:
    shift = torch.tensor([[[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]]])
    found, inside = warp_known(torch.ones(1, 3, 4, 2), torch.ones(1, 3, 4, dtype=torch.bool), shift, FOLD)
    assert inside[0].tolist() == [[False, False, True, True]] * 3
    assert torch.equal(found[0].sum(-1), inside[0] * 2.0)


def test_the_coordinate_at_a_warped_landmark_is_that_of_the_landmark(batch: RenderBatch) -> None:
    off = []
    for row, k in landmarks(batch):
        uv = read(batch.uv[row], batch.inside[row], batch.points[row, k].numpy())
        if uv is not None:
            off.append(np.abs(uv - CANONICAL_LANDMARKS[k]).max())
    assert len(off) > 250
    assert np.median(off) < 0.005  # a tenth of a pixel
    assert np.quantile(off, 0.95) < 0.05


def test_landmarks_carried_by_the_nearest_coordinate_arrive_within_a_pixel(batch: RenderBatch) -> None:
    rows = {name: (batch.domain == i).nonzero()[:, 0].tolist() for i, name in enumerate(batch.domains)}
    grid = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE)), -1)
    off = []
    for a, b in zip(rows["human"], rows["dog"], strict=True):
        where = batch.inside[b].numpy()
        for k in (batch.visible[a] & batch.visible[b]).nonzero()[:, 0].tolist():
            uv = read(batch.uv[a], batch.inside[a], batch.points[a, k].numpy())
            if uv is not None:
                nearest = np.linalg.norm(batch.uv[b].numpy()[where] - uv, axis=-1).argmin()
                off.append(np.linalg.norm(grid[where][nearest] - batch.points[b, k].numpy()))
    assert len(off) > 60
    assert np.mean(off) < 1


def test_a_landmark_is_visible_if_it_was_and_is_inside(renders: dict[str, TruthArrays]) -> None:
    shifted = AugmentOptions(rotation=0, scale_min=1.25, scale_max=1.25, shift=0.3, color_probability=0)
    stream = RenderStream(renders, 16, shifted)
    batch = stream.batch(0)
    inside = ((batch.points > -0.5) & (batch.points < SIZE - 0.5)).all(-1)
    assert not batch.visible[~inside].any()
    assert (~inside).sum() > 20
    hidden = copy.deepcopy(renders)
    for truth in hidden.values():
        truth.visible[:] = False
        truth.visible[:, 4] = True
    seen = RenderStream(hidden, 16, shifted).batch(0).visible
    assert torch.equal(seen[:, 4], inside[:, 4])
    assert not seen[:, :4].any()
    assert not seen[:, 5:].any()


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path))
    return tmp_path


def tiny(**changes: Any) -> WorldRenders:
    return WorldRenders(**{"domains": ["human", "dog"], "size": 16, "batch_size": 5, "count": 3} | changes)


def test_the_module_starts_its_stream_where_the_trainer_stands(cached: Path) -> None:
    data = tiny(seed=3)
    data.setup("fit")
    fresh = next(iter(data.train_dataloader()))
    assert fresh.index.tolist() == [0, 1, 0, 1]
    progress = SimpleNamespace(is_last_batch=False, current=SimpleNamespace(processed=8))
    loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=progress))
    data.trainer = SimpleNamespace(  # type: ignore[assignment]
        global_step=4, accumulate_grad_batches=2, global_rank=1, world_size=3, fit_loop=loop
    )
    assert next(iter(data.train_dataloader())).index.tolist() == [50, 51, 50, 51]
    assert len(list((cached / "renders").iterdir())) == 2


def test_the_cache_can_be_left_out_and_changes_nothing(cached: Path) -> None:
    modules = [tiny(cache=False), tiny(), tiny()]
    for data in modules:
        data.setup("fit")
    streams = [next(iter(data.train_dataloader())) for data in modules]
    assert same(streams[0], streams[1])
    assert same(streams[1], streams[2])


def test_several_processes_render_once_per_node(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tiny()
    data.trainer = SimpleNamespace(world_size=2)  # type: ignore[assignment]
    data.prepare_data()
    with monkeypatch.context() as patch:
        patch.setattr("dife_lightning.world.truth.render", None)
        other = tiny()
        other.setup("fit")
    assert np.array_equal(other.renders["dog"].uv, data.renders["dog"].uv)


def test_the_evaluation_is_handed_through(cached: Path) -> None:
    data = tiny(evaluation=WorldPairs(val_count=2, count=2, lists=["long"], framings=["plain"], size=16))
    assert (tiny().val_dataloader(), tiny().test_dataloader(), tiny().predict_dataloader()) == ([], [], [])
    data.setup("validate")
    data.setup("test")
    assert not data.renders  # an evaluation needs none
    loaders = (data.val_dataloader(), data.test_dataloader(), data.predict_dataloader())
    assert [len(several) for several in loaders] == [1, 1, 1]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"domains": []}, "one or more species"),
        ({"domains": ["dog", "dog"]}, "each once"),
        ({"domains": ["dgo"]}, "no species 'dgo'"),
        ({"batch_size": 1}, "batch_size=1 for 2"),
        ({"count": 0}, "count=0"),
        ({"size": 4}, "expected at least 8"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        tiny(**changes)
