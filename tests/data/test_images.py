"""Training images: a stream that is a pure function of its counter, from the world or from a folder."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image
from torch.utils.data import DataLoader

from dife_lightning.data import images
from dife_lightning.data.images import GeneratorImages, ImageStream, fixed_batches, split_held_out, to_float
from dife_lightning.data.photos import folder_check
from dife_lightning.data.training import StreamStart
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.faces.batches import ImageBatch

#: Folders of a few small images are what is wanted here.
pytestmark = pytest.mark.filterwarnings(r"ignore:.*\d+ (usable )?images?\b")


def numbered(count: int, size: int = 8) -> np.ndarray:
    """Images whose left half tells their number and whose right half is 255."""
    images = np.full((count, size, size, 3), 255, np.uint8)
    images[:, :, : size // 2] = np.arange(count, dtype=np.uint8)[:, None, None, None]
    return images


def numbers(batch: ImageBatch) -> list[int]:
    return batch.images[:, 0, 0].amin(dim=1).tolist()


def test_a_pass_shows_each_image_once_and_passes_differ() -> None:
    stream = ImageStream(numbered(12), 4, seed=1)
    first = [n for k in range(3) for n in numbers(stream.batch(k))]
    second = [n for k in range(3, 6) for n in numbers(stream.batch(k))]
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second


def test_batches_do_not_depend_on_what_was_read_before() -> None:
    one, other = ImageStream(numbered(10), 4, seed=2, flip=True), ImageStream(numbered(10), 4, seed=2, flip=True)
    one.batch(0)
    for number in (7, 3, 7):
        assert torch.equal(one.batch(number).images, other.batch(number).images)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine with one core
@pytest.mark.parametrize("workers", [0, 2])
def test_any_number_of_workers_gives_the_same_batches_in_order(workers: int) -> None:
    stream = ImageStream(numbered(10), 3, seed=3, start=StreamStart(2))
    loader = iter(DataLoader(stream, batch_size=None, num_workers=workers))
    for number in range(2, 7):
        batch = next(loader)
        assert batch.number == number
        assert torch.equal(batch.images, stream.batch(number).images)


def test_ranks_share_a_pass_without_overlap() -> None:
    ranks = [ImageStream(numbered(16), 4, seed=4, start=StreamStart(rank=r, world_size=2)) for r in range(2)]
    seen = [n for k in range(2) for rank in ranks for n in numbers(rank.batch(k))]
    assert sorted(seen) == list(range(16))


def test_half_of_the_images_are_mirrored_on_request() -> None:
    stream = ImageStream(numbered(200), 200, seed=5, flip=True)
    mirrored = (stream.batch(0).images[:, 0, 0, 0] == 255).float().mean()
    assert 0.35 < float(mirrored) < 0.65
    plain = ImageStream(numbered(200), 200, seed=5)
    assert not (plain.batch(0).images[:, 0, 0, 0] == 255).any()


def test_bytes_become_minus_one_to_one() -> None:
    assert to_float(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1.0, 1.0]


def test_fixed_batches_cover_all_images_once() -> None:
    batches = fixed_batches(numbered(10), 4)
    assert [len(batches[k]) for k in range(len(batches))] == [4, 4, 2]
    assert [n for batch in batches for n in numbers(batch)] == list(range(10))


@pytest.mark.parametrize(("count", "held", "expected"), [(100, 7, 7), (100, 50, 10), (19, 5, None)])
def test_held_out_images_are_apart_unless_there_are_too_few(count: int, held: int, expected: int | None) -> None:
    images = numbered(count)
    train, test = split_held_out(images, held, seed=0)
    if expected is None:
        assert len(train) == len(test) == count
        return
    assert (len(train), len(test)) == (count - expected, expected)
    first, second = ({int(i[0, 0, 0]) for i in part} for part in (train, test))
    assert not first & second


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for i in range(25):
        shape = (rng.integers(10, 60), rng.integers(10, 60), 3)
        image = Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))
        image.convert(["RGB", "L", "RGBA", "P", "1"][i % 5]).save(tmp_path / f"{i:02d}.png")
    return tmp_path


def test_a_folder_of_any_sizes_and_modes_becomes_batches(folder: Path) -> None:
    data = GeneratorImages(folder=str(folder), size=16, batch_size=4, held_out=2)
    data.setup("fit")
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    assert batch.images.shape == (4, 3, 16, 16)
    assert batch.images.dtype == torch.float32
    assert float(batch.images.min()) >= -1
    assert float(batch.images.max()) <= 1
    assert (len(data.train_images), len(data.held_out_images)) == (23, 2)


def test_a_training_warns_once_of_what_is_in_its_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "copy.png").write_bytes((folder / "00.png").read_bytes())
    Image.new("RGB", (32, 32), (9, 9, 9)).save(folder / "blank.png")
    reads: list[Path] = []
    original = images.read_image
    monkeypatch.setattr(images, "read_image", lambda path: (reads.append(path), original(path))[1])
    data = GeneratorImages(folder=str(folder), size=16, batch_size=4)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data.setup("fit")
        data.setup("fit")
    texts = [str(warning.message) for warning in caught]
    for part in (
        "1 image without content",
        "1 image with the pixels of another one",
        "smaller than 16",
        "25 usable images",
    ):
        assert sum(part in text for text in texts) == 1, texts
    assert len(texts) == 4
    assert len(reads) == len(set(reads)) == 27  # to look at the images costs no second reading
    assert len(data.train_images) + len(data.held_out_images) == 27  # nothing is skipped silently


def test_damaged_files_are_left_out_on_request_in_a_training_and_in_a_test(folder: Path) -> None:
    (folder / "03.png").write_bytes(b"broken")
    found = []
    for stage in ("fit", "test"):
        with pytest.raises(DataError, match=r"03\.png"):
            GeneratorImages(folder=str(folder), size=16).setup(stage)
        data = GeneratorImages(folder=str(folder), size=16, held_out=2, skip_broken=True)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            data.setup(stage)
        said = [str(one.message) for one in caught if "1 file skipped, the first: " in str(one.message)]
        assert len(said) == (stage == "fit")
        found.append(data.train_images)
    assert len(found[0]) == 22
    assert np.array_equal(*found)


def test_a_folder_of_damaged_files_alone_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"a\.png"):
        GeneratorImages(folder=str(tmp_path), size=16, skip_broken=True).setup("test")


def test_only_a_training_looks_at_its_folder_and_only_one_process_tells(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checked, plain = (GeneratorImages(folder=str(folder), size=16) for _ in range(2))
        plain.setup("test")
        monkeypatch.setattr(rank_zero_only, "rank", 1)
        checked.setup("fit")
    assert np.array_equal(checked.train_images, plain.train_images)


def test_a_large_sound_folder_is_told_of_without_a_warning(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(folder_check, "SMALL_SET", 20)
    monkeypatch.setattr(folder_check, "TINY_SET", 10)
    with warnings.catch_warnings(), caplog.at_level("INFO"):
        warnings.simplefilter("error")
        GeneratorImages(folder=str(folder), size=8).setup("fit")
    assert "25 usable images" in caplog.text + capsys.readouterr().err  # the command line logs to stderr


def test_world_renders_come_from_train_and_val(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path))
    data = GeneratorImages(species="dog", size=32, batch_size=2, count=4, held_out=2)
    data.setup("fit")
    assert data.train_images.shape == (4, 32, 32, 3)
    assert data.held_out_images.shape == (2, 32, 32, 3)
    assert len(list((tmp_path / "renders").glob("*.npy"))) == 2
    assert not np.array_equal(data.train_images[:2], data.held_out_images)


def test_the_position_in_the_stream_is_saved(folder: Path) -> None:
    data = GeneratorImages(folder=str(folder), size=8, batch_size=4)
    data.load_state_dict({"next_batch": 5})
    data.setup("fit")
    assert next(iter(data.train_dataloader())).number == 5
    assert data.state_dict() == {"next_batch": 5}


def test_senseless_settings_and_useless_folders_are_refused(tmp_path: Path, folder: Path) -> None:
    for settings in ({}, {"species": "dog", "folder": str(folder)}, {"species": "dog", "size": 60}):
        with pytest.raises(ConfigError):
            GeneratorImages(**settings)  # type: ignore[arg-type]
    (tmp_path / "one").mkdir()
    (folder / "00.png").rename(tmp_path / "one" / "a.png")
    with pytest.raises(DataError, match="two or more"):
        GeneratorImages(folder=str(tmp_path / "one")).setup("fit")
    with pytest.raises(DataError, match="no folder"):
        GeneratorImages(folder=str(tmp_path / "none")).setup("fit")
    (folder / "01.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"01\.png"):
        GeneratorImages(folder=str(folder)).setup("fit")
