from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from dife_lightning.data.stream import LatentStream, StyleGAN2Stream, synthesize, to_encoder_size
from dife_lightning.data.training import StreamStart
from dife_lightning.errors import ConfigError
from dife_lightning.faces.batches import LatentBatch, StreamBatch
from dife_lightning.geometry.affine import AugmentOptions
from dife_lightning.geometry.coordinates import apply_affine
from dife_lightning.pretrained.generators import load_generator
from tests.tiny import write_generator

DIMS = {"human": 8, "dog": 8}


def first(stream: LatentStream, count: int, workers: int = 0) -> list[LatentBatch]:
    return list(islice(iter(DataLoader(stream, batch_size=None, num_workers=workers)), count))


def flat(batches: list[LatentBatch]) -> Tensor:
    return torch.cat([torch.cat((b.z["human"], b.z["dog"], b.uniform["human"], b.uniform["dog"]), 1) for b in batches])


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # torch counts cores, not this test
@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_workers_gives_the_same_samples(workers: int) -> None:
    stream = LatentStream(DIMS, 3, seed=5)
    assert torch.equal(flat(first(stream, 4, workers)), flat(first(stream, 4)))


def test_two_ranks_share_out_the_stream_of_one() -> None:
    alone = flat(first(LatentStream(DIMS, 2), 4))
    ranks = [first(LatentStream(DIMS, 2, start=StreamStart(rank=r, world_size=2)), 2) for r in (0, 1)]
    together = flat([ranks[i % 2][i // 2] for i in range(4)])
    assert torch.equal(alone, together)


def test_a_resumed_stream_goes_on_where_it_stopped() -> None:
    whole = flat(first(LatentStream(DIMS, 2), 5))
    rest = flat(first(LatentStream(DIMS, 2, start=StreamStart(2)), 3))
    assert torch.equal(whole[4:], rest)


def test_samples_differ_between_positions_and_seeds() -> None:
    rows = flat(first(LatentStream(DIMS, 2, seed=0), 3) + first(LatentStream(DIMS, 2, seed=1), 3))
    assert len(torch.unique(rows, dim=0)) == len(rows)


def test_the_same_z_for_all_domains_is_an_option() -> None:
    same, own = (LatentStream(DIMS, 2, same_z=flag).batch(0) for flag in (True, False))
    assert torch.equal(same.z["human"], same.z["dog"])
    assert not torch.equal(own.z["human"], own.z["dog"])
    assert not torch.equal(same.uniform["human"], same.uniform["dog"])


@pytest.fixture
def batch(tmp_path: Path) -> tuple[LatentBatch, StreamBatch]:
    generators = {d: load_generator(write_generator(tmp_path / f"{d}.safetensors", i)) for i, d in enumerate(DIMS)}
    latent = LatentStream(DIMS, 2).batch(0)
    return latent, synthesize(latent, generators, layer=3, size=48, truncation=0.7, augment=AugmentOptions())


def test_the_batch_has_images_features_and_w_of_every_domain(batch: tuple[LatentBatch, StreamBatch]) -> None:
    _, stream = batch
    assert list(stream.domains) == ["human", "dog"]
    assert len(stream) == 2
    for samples in stream.domains.values():
        assert samples.images.shape == samples.originals.shape == (2, 3, 48, 48)
        assert samples.features.shape == (2, 8, 16, 16)
        assert samples.valid.shape == (2, 48, 48)
        assert samples.valid.dtype == torch.bool
        assert samples.images.abs().max() <= 1
        assert samples.originals.abs().max() <= 1
        assert not samples.images.requires_grad
        assert not samples.features.requires_grad


def test_image_and_features_get_the_same_warp(tmp_path: Path) -> None:
    """A bright dot moves to the same place, in both, as the affine says."""
    from dife_lightning.geometry.coordinates import sampling_grid, warp

    affine = synthesize(
        LatentStream(DIMS, 2).batch(3),
        {d: load_generator(write_generator(tmp_path / f"{d}.safetensors")) for d in DIMS},
        3, 48, 1.0, AugmentOptions(),
    ).domains["dog"].affine  # fmt: skip
    image = torch.zeros(2, 1, 48, 48)
    image[:, :, 22:26, 28:32] = 1  # centred at (29.5, 23.5)
    feature = torch.nn.functional.avg_pool2d(image, 3)
    centre = apply_affine(affine, torch.tensor([[[29.5, 23.5]]]).expand(2, -1, -1))[:, 0]
    for maps, side in ((image, 48), (feature, 16)):
        moved = warp(maps, sampling_grid(affine, side, side, 48, 48), "zeros")[:, 0]
        ramp = torch.arange(side) * 48 / side + (48 / side - 1) / 2
        mass = moved.sum((1, 2))
        found = torch.stack(((moved.sum(1) * ramp).sum(1) / mass, (moved.sum(2) * ramp).sum(1) / mass), -1)
        torch.testing.assert_close(found, centre, atol=0.6, rtol=0)


def test_pixels_that_the_warp_moved_in_are_marked(batch: tuple[LatentBatch, StreamBatch]) -> None:
    _, stream = batch
    samples = stream.domains["human"]
    corner = apply_affine(samples.affine, torch.tensor([[[24.0, 24.0]]]).expand(2, -1, -1))[:, 0].round().long()
    for row, (x, y) in enumerate(corner.tolist()):
        assert samples.valid[row, y, x]
    share = samples.valid.float().mean()
    assert 0.3 < share < 1


def test_generator_images_are_averaged_down_and_clamped() -> None:
    images = torch.full((1, 3, 64, 64), 3.0)
    small = to_encoder_size(images, 32)
    assert small.shape == (1, 3, 32, 32)
    assert small.max() == 1


def test_the_evaluation_knows_the_trainer_when_it_prepares_its_files() -> None:
    """With several processes the first one makes the cache then, and it learns from the trainer that there are."""

    class Evaluation(LightningDataModule):
        def prepare_data(self) -> None:
            self.met = self.trainer

    evaluation = Evaluation()
    stream = StyleGAN2Stream({"dog": "world/dog"}, evaluation)
    stream.trainer = object()  # type: ignore[assignment]
    stream.prepare_data()
    assert evaluation.met is stream.trainer


def test_validation_batches_pass_through_untouched(tmp_path: Path) -> None:
    module = StyleGAN2Stream({"human": write_generator(tmp_path / "g.safetensors")}, batch_size=2)
    marker = object()
    assert module.on_after_batch_transfer(marker, 0) is marker


@pytest.mark.parametrize(
    ("options", "text"), [({"batch_size": 1}, "batch_size=1 for 2"), ({"truncation": 1.5}, "truncation=1.5")]
)
def test_impossible_settings_are_refused(options: dict[str, float], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        StyleGAN2Stream({"human": "a", "dog": "b"}, **options)  # type: ignore[arg-type]
