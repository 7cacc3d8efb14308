"""Unlabelled photos beside a stream: pure functions of the position, framed like samples, those held out never seen."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from dife_lightning.data.images import GeneratorImages
from dife_lightning.data.photos.stream_photos import StreamPhotos, read_photos
from dife_lightning.data.stream import LatentStream, StyleGAN2Stream, synthesize
from dife_lightning.data.training import StreamStart
from dife_lightning.errors import ConfigError, DataError, MissingAssetError, MissingDataError
from dife_lightning.faces.batches import LatentBatch, PhotoBatch
from dife_lightning.geometry.affine import AugmentOptions
from dife_lightning.pretrained.generators import load_generator
from tests.tiny import write_generator

DIMS = {"human": 8, "dog": 8}
STILL = AugmentOptions(rotation=0, scale_min=1, scale_max=1, shift=0, color_probability=0)


def numbered(count: int) -> np.ndarray:
    """Photos of 8 x 8 px whose left half tells their number and whose right half is 255."""
    photos = np.full((count, 8, 8, 3), 255, np.uint8)
    photos[:, :, :4] = np.arange(count, dtype=np.uint8)[:, None, None, None]
    return photos


def stream(photos: dict[str, np.ndarray], count: int = 3, **start: int) -> LatentStream:
    return LatentStream(DIMS, 2, 5, start=StreamStart(**start), photos=photos, photo_count=count)


BOTH = {"human": numbered(12), "dog": numbered(10)}


def first(stream: LatentStream, count: int, workers: int = 0) -> list[LatentBatch]:
    return list(islice(iter(DataLoader(stream, batch_size=None, num_workers=workers)), count))


def flat(batches: list[LatentBatch]) -> Tensor:
    """One row for each photo of both domains: its pixels and its numbers."""
    rows = [[b.photos[d].flatten(1).float(), b.photo_uniform[d]] for b in batches for d in ("human", "dog")]
    return torch.cat([torch.cat(row, 1) for row in rows])


def shown(batch: LatentBatch, domain: str = "human") -> list[int]:
    return batch.photos[domain].amin((1, 2, 3)).tolist()


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # torch counts cores, not this test
@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_workers_gives_the_same_photos(workers: int) -> None:
    assert torch.equal(flat(first(stream(BOTH), 6, workers)), flat(first(stream(BOTH), 6)))


def test_two_processes_share_out_the_photos_of_one() -> None:
    alone = flat(first(stream(BOTH), 6))
    ranks = [first(stream(BOTH, rank=rank, world_size=2), 3) for rank in (0, 1)]
    assert torch.equal(alone, flat([ranks[i % 2][i // 2] for i in range(6)]))


def test_a_resumed_stream_goes_on_with_the_photo_where_it_stopped() -> None:
    whole, rest = first(stream(BOTH), 7), first(stream(BOTH, first_batch=4), 3)
    assert torch.equal(flat(whole[4:]), flat(rest))


def test_photos_change_no_latent_and_no_number_of_the_samples() -> None:
    for alone, beside in zip(first(LatentStream(DIMS, 2, 5), 3), first(stream(BOTH), 3), strict=True):
        assert not alone.photos
        assert not alone.photo_uniform
        for domain in DIMS:
            assert torch.equal(alone.z[domain], beside.z[domain])
            assert torch.equal(alone.uniform[domain], beside.uniform[domain])
            assert not torch.equal(beside.uniform[domain], beside.photo_uniform[domain][:2])


def test_a_pass_shows_each_photo_once_and_half_of_them_mirrored() -> None:
    batches = [stream({"human": numbered(200)}, 20).batch(k) for k in range(10)]
    assert sorted(n for batch in batches for n in shown(batch)) == list(range(200))
    mirrored = torch.cat([batch.photos["human"][:, 0, 0, 0] == 255 for batch in batches]).float().mean()
    assert 0.35 < float(mirrored) < 0.65


def test_domains_with_the_same_photos_see_them_in_orders_of_their_own() -> None:
    batch = stream({"human": numbered(50), "dog": numbered(50)}, 20).batch(0)
    assert shown(batch, "human") != shown(batch, "dog")


def photo_batch(tmp_path: Path, photos: Tensor, numbers: Tensor, size: int, augment: AugmentOptions) -> PhotoBatch:
    generators = {"dog": load_generator(write_generator(tmp_path / "dog.safetensors"))}
    latent = LatentBatch(torch.tensor([0]), {"dog": torch.zeros(1, 8)}, {"dog": torch.full((1, 9), 0.5)},
                         {"dog": photos}, {"dog": numbers})  # fmt: skip
    return synthesize(latent, generators, 3, size, 0.7, augment).photos["dog"]


def test_a_photo_is_turned_enlarged_and_moved_as_its_numbers_say(tmp_path: Path) -> None:
    """By hand: a quarter turn clockwise, then twice as large, then 0.1 of the 32 px to the right."""
    photos = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    photos[:, :, 30:34, 38:42] = 255  # 8 px of 64 right of the centre
    augment = AugmentOptions(rotation=90, scale_min=1, scale_max=2, shift=0.1, color_probability=0)
    numbers = torch.tensor([[1.0, 1.0, 1.0, 0.5, 0, 0, 0, 0, 0]])
    found = photo_batch(tmp_path, photos, numbers, 32, augment)
    bright = (found.images[0, 0] > 0).nonzero().float()
    y, x = bright.mean(0).tolist()
    assert (x, y) == pytest.approx((15.5 + 3.2, 15.5 + 8), abs=0.3)  # 8 px of 64 below the centre: 4 of 32, times 2
    lit = (found.originals[0, 0] > 0).nonzero().float().mean(0).tolist()
    assert lit == pytest.approx([15.5, 15.5 + 4], abs=0.3)


def test_an_enlarged_photo_is_read_from_the_larger_one_and_stays_sharp(tmp_path: Path) -> None:
    photos = torch.zeros(1, 3, 40, 40, dtype=torch.uint8)
    photos[..., ::2] = 255  # stripes of one pixel; a photo reduced to 32 px has lost them
    augment = AugmentOptions(rotation=0, scale_min=1.25, scale_max=1.25, shift=0, color_probability=0)
    found = photo_batch(tmp_path, photos, torch.full((1, 9), 0.5), 32, augment)
    torch.testing.assert_close(found.images[0, :, :, :4], torch.tensor([1.0, -1, 1, -1]).expand(3, 32, 4))
    assert found.originals.shape == (1, 3, 32, 32)
    assert found.originals[..., 1:-1].abs().max() < 0.9


def test_a_photo_without_augmentation_is_itself(tmp_path: Path) -> None:
    photos = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = photo_batch(tmp_path, photos, torch.full((2, 9), 0.5), 32, STILL)
    torch.testing.assert_close(found.images, photos / 127.5 - 1, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.originals, photos / 127.5 - 1)
    assert found.valid.all()


def test_pixels_from_outside_the_photo_are_not_valid(tmp_path: Path) -> None:
    photos = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    augment = AugmentOptions(rotation=0, scale_min=1, scale_max=1, shift=0.25, color_probability=0)
    numbers = torch.tensor([[0.5, 0.5, 1.0, 0.5, 0, 0, 0, 0, 0]])  # 8 px to the right
    valid = photo_batch(tmp_path, photos, numbers, 32, augment).valid[0]
    assert not valid[:, :8].any()
    assert valid[:, 8:].all()


def test_colours_are_jittered_in_the_photo_alone_that_the_encoder_sees(tmp_path: Path) -> None:
    photos = torch.full((1, 3, 32, 32), 100, dtype=torch.uint8)
    augment = AugmentOptions(rotation=0, scale_min=1, scale_max=1, shift=0, brightness=0.5, hue=0, color_probability=1)
    numbers = torch.tensor([[0.5, 0.5, 0.5, 0.5, 1.0, 0.5, 0.5, 0.5, 0]])  # 1.5 times as bright
    found = photo_batch(tmp_path, photos, numbers, 32, augment)
    torch.testing.assert_close(found.images, torch.full((1, 3, 32, 32), 150 / 127.5 - 1))
    torch.testing.assert_close(found.originals, torch.full((1, 3, 32, 32), 100 / 127.5 - 1))


def write_photos(folder: Path, count: int, size: tuple[int, int] = (8, 8)) -> Path:
    folder.mkdir(parents=True)
    for k in range(count):
        Image.new("RGB", size, (k, 255 - k, 90)).save(folder / f"{k:03}.png")
    return folder


def greys(photos: np.ndarray) -> list[int]:
    return sorted(photos[:, 0, 0, 0].tolist())


@pytest.mark.filterwarnings(r"ignore:.*\d+ (usable )?images?\b")
@pytest.mark.parametrize("seed", [0, 3])
def test_the_photos_that_a_generator_holds_back_are_not_used(tmp_path: Path, seed: int) -> None:
    folder = write_photos(tmp_path / "dog", 60)
    images = GeneratorImages(folder=str(folder), size=8, seed=seed)
    images.setup("fit")
    found = read_photos(StreamPhotos(str(tmp_path), held_out_seed=seed), ["dog"], 10)["dog"]
    assert greys(found) == greys(images.train_images)
    assert len(found) == 54  # a tenth is held out
    assert len(read_photos(StreamPhotos(str(tmp_path), held_out=0), ["dog"], 10)["dog"]) == 60


def made(tmp_path: Path, photos: StreamPhotos, **options: object) -> StyleGAN2Stream:
    generators = {d: write_generator(tmp_path / f"{d}.safetensors", seed) for seed, d in enumerate(DIMS)}
    return StyleGAN2Stream(generators, layer=3, size=32, batch_size=4, photos=photos, **options)  # type: ignore[arg-type]


def one_batch(data: StyleGAN2Stream) -> LatentBatch:
    data.setup("fit")
    return next(iter(data.train_dataloader()))


def test_photos_are_kept_at_the_size_times_the_largest_scale(tmp_path: Path) -> None:
    for domain in DIMS:
        write_photos(tmp_path / "photos" / domain, 5, (90, 70))
    batch = one_batch(made(tmp_path, StreamPhotos(str(tmp_path / "photos"), batch_size=6)))
    assert {d: tuple(rows.shape) for d, rows in batch.photos.items()} == dict.fromkeys(DIMS, (3, 3, 40, 40))
    as_many = one_batch(made(tmp_path, StreamPhotos(str(tmp_path / "photos"))))
    assert as_many.photos["dog"].shape == (2, 3, 40, 40)
    assert as_many.photos["dog"].dtype == torch.uint8


def test_each_domain_may_have_a_folder_of_its_own_and_one_may_have_none(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "elsewhere", 5)
    data = made(tmp_path, StreamPhotos({"dog": str(folder)}))
    batch = data.on_after_batch_transfer(one_batch(data), 0)
    assert list(batch.photos) == ["dog"]  # type: ignore[attr-defined]
    assert list(batch.domains) == ["human", "dog"]  # type: ignore[attr-defined]


def test_a_folder_named_own_is_found_by_paths_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_photos(tmp_path / "data" / "unlabelled" / "dog", 4)
    (tmp_path / "paths.yaml").write_text("photos: data\n")
    monkeypatch.chdir(tmp_path)
    assert read_photos(StreamPhotos("own/photos/unlabelled"), ["dog"], 8)["dog"].shape == (4, 8, 8, 3)
    with pytest.raises(MissingAssetError, match=r"own/photos/unlabelled/cat' is .*data/unlabelled/cat.* fix entry"):
        read_photos(StreamPhotos("own/photos/unlabelled"), ["dog", "cat"], 8)


def test_only_fit_reads_photos(tmp_path: Path) -> None:
    made(tmp_path, StreamPhotos("no/such/folder")).setup("test")


def test_a_missing_folder_or_a_damaged_photo_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"no folder .*photos/dog"):
        read_photos(StreamPhotos(str(tmp_path / "photos")), ["dog"], 8)
    (write_photos(tmp_path / "photos" / "dog", 3) / "broken.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"broken\.png is damaged"):
        read_photos(StreamPhotos(str(tmp_path / "photos")), ["dog"], 8)
    with pytest.warns(UserWarning, match=r"photos of dog: 1 file skipped, the first: .*broken\.png"):
        kept = read_photos(StreamPhotos(str(tmp_path / "photos"), skip_broken=True), ["dog"], 8)
    assert greys(kept["dog"]) == [0, 1, 2]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"folder": {"dgo": "a"}}, r"'dgo' is no domain of the stream\. Did you mean 'dog'"),
        ({"folder": {}}, "photos: neither folder nor faces"),
        ({"folder": "a", "batch_size": 1}, "photos.batch_size is 1 for 2 domains"),
        ({"folder": "a", "batch_size": 0}, "photos.batch_size is 0"),
        ({"folder": "a", "held_out": -1}, "photos.held_out is -1"),
    ],
)
def test_impossible_settings_are_refused(options: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        StyleGAN2Stream({"human": "a", "dog": "b"}, photos=StreamPhotos(**options))  # type: ignore[arg-type]
