"""Aligned photos: which are used, how they are warped, and that batches are functions of their number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dife_lightning.data import AlignedPhotos, GeneratorImages
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.geometry.affine import AugmentOptions

pytestmark = pytest.mark.filterwarnings(r"ignore:.*(usable images?\b|without content)")


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, str]:
    """Folders of 30 photos, each of one grey level of its own."""
    for number, name in enumerate(("dog", "cat")):
        (tmp_path / name).mkdir()
        for k in range(30):
            level = np.full((20, 16, 3), 100 * number + 3 * k, np.uint8)
            Image.fromarray(level).save(tmp_path / name / f"{k}.png")
    return {name: str(tmp_path / name) for name in ("dog", "cat")}


def ready(folders: dict[str, str], **given: object) -> AlignedPhotos:
    data = AlignedPhotos(folders, **{"size": 16, "batch_size": 4, **given})  # type: ignore[arg-type]
    data.setup("fit")
    return data


def test_photos_that_a_generator_holds_back_are_never_used(folders: dict[str, str]) -> None:
    data = ready(folders, held_out=3)
    for name in folders:
        generator = GeneratorImages(folder=folders[name], size=16, held_out=3)
        generator.setup("fit")
        unseen = {int(image.max()) for image in generator.held_out_images}
        assert len(unseen) == 3
        assert {int(image.max()) for image in data.photos[name]} == {
            int(image.max()) for image in generator.train_images
        }
        assert not unseen & {int(image.max()) for image in data.photos[name]}


def test_at_most_count_photos_are_chosen_by_the_seed(folders: dict[str, str]) -> None:
    chosen = [ready(folders, count=5, seed=seed).photos["dog"] for seed in (0, 0, 1)]
    assert len(chosen[0]) == 5
    assert np.array_equal(chosen[0], chosen[1])
    assert not np.array_equal(chosen[0], chosen[2])


def test_the_size_of_a_batch_and_the_order_of_the_folders_change_no_photo(folders: dict[str, str]) -> None:
    def seen(given: dict[str, str], batch_size: int, batches: int) -> dict[str, torch.Tensor]:
        loader = iter(ready(given, batch_size=batch_size).train_dataloader())
        found = [next(loader) for _ in range(batches)]
        assert all(one.domains == ("cat", "dog") for one in found)
        return {
            name: torch.cat([torch.cat((b.images.flatten(1), b.affine.flatten(1)), 1)[b.domain == k] for b in found])
            for k, name in enumerate(found[0].domains)
        }

    small, large = seen(folders, 2, 6), seen(dict(reversed(folders.items())), 12, 1)
    for name in folders:
        torch.testing.assert_close(small[name], large[name])


def test_the_affine_map_says_where_a_place_of_the_photo_went(tmp_path: Path) -> None:
    (tmp_path / "dog").mkdir()
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[17:20, 40:43] = 255  # a dot at (41, 18)
    for k in range(2):
        Image.fromarray(picture).save(tmp_path / "dog" / f"{k}.png")
    augment = AugmentOptions(brightness=0, hue=0, padding="border")
    data = ready({"dog": str(tmp_path / "dog")}, size=64, batch_size=6, augment=augment, flip=False)
    batch = next(iter(data.train_dataloader()))
    for image, affine in zip(batch.images, batch.affine, strict=True):
        light = (image.mean(0) + 1) / 2
        y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
        centre = torch.stack(((x * light).sum(), (y * light).sum())) / light.sum()
        torch.testing.assert_close(affine @ torch.tensor([41.0, 18.0, 1.0]), centre, atol=0.3, rtol=0)


def test_a_damaged_photo_stops_the_fit_unless_it_is_skipped(folders: dict[str, str]) -> None:
    (Path(folders["dog"]) / "3.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"3\.png"):
        ready(folders)
    with pytest.warns(UserWarning, match="photos of dog: 1 file skipped"):
        assert len(ready(folders, skip_broken=True, held_out=0).photos["dog"]) == 29


def test_a_batch_needs_a_photo_of_each_domain(folders: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="batch_size=1 for 2 folders"):
        AlignedPhotos(folders, batch_size=1)
    with pytest.raises(ConfigError, match="for 0 folders"):
        AlignedPhotos({})
