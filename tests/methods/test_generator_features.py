from __future__ import annotations

from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dife_lightning.errors import ConfigError
from dife_lightning.faces.batches import PairBatch
from dife_lightning.geometry.coordinates import resize_maps
from dife_lightning.matching import transfer
from dife_lightning.methods import generator_features
from dife_lightning.pretrained.generators import load_generator
from dife_lightning.registry import get_method
from tests.methods.test_floors import make_batch
from tests.tiny import write_generator


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def generators(tmp_path: Path) -> dict[str, str]:
    return {name: write_generator(tmp_path / f"{name}.safetensors", seed) for seed, name in enumerate(("human", "dog"))}


@pytest.fixture
def method(generators):
    def build(**options):
        return get_method("generator-features")(**{"generators": generators, "layer": 3, "steps": 4, **options})

    return build


def pair_of(generators: dict[str, str], count: int = 3) -> PairBatch:
    """Pairs whose images the generators can draw."""
    batch = make_batch(count, source=32, target=32)
    for field, domain in (("source_image", "human"), ("target_image", "dog")):
        generator = load_generator(generators[domain])
        with torch.no_grad():
            w = generator.map(torch.randn(count, 8, generator=torch.Generator().manual_seed(4)), truncation=0.7)
            setattr(batch, field, generator.image(w))
    return batch


def part(batch: PairBatch, rows: slice) -> PairBatch:
    return make_batch(len(batch.index[rows])).__class__(
        *(value[rows] if isinstance(value, torch.Tensor | list) else value for value in vars(batch).values())
    )


def test_each_image_is_searched_in_the_features_of_its_own_species(method, generators):
    batch = pair_of(generators)
    module = method(pose=False)
    maps = []
    for images, domain in ((batch.source_image, "human"), (batch.target_image, "dog")):
        generator = load_generator(generators[domain])
        with torch.no_grad():
            features = generator.features(module.invert(images, generator).w, 3)
        maps.append(F.normalize(resize_maps(features, 32), dim=1))
    found = module.transfer_batch(batch)
    torch.testing.assert_close(found, transfer(*maps, batch.source_points))
    assert not torch.equal(maps[0], module.features(batch.source_image, "dog"))


def test_without_steps_every_image_has_the_features_of_the_mean_face(method, generators):
    generator = load_generator(generators["dog"])
    with torch.no_grad():
        mean = generator.features(generator.mean_w[None], 3)
    found = method(steps=0, pose=False, upsample=False).features(make_batch(2).target_image, "dog")
    torch.testing.assert_close(found, F.normalize(mean, dim=1).expand(2, -1, -1, -1), atol=1e-5, rtol=1e-4)


def test_an_image_that_a_generator_drew_has_nearly_the_features_it_was_drawn_with(generators, method):
    generator = load_generator(generators["human"])
    w = generator.map(torch.randn(2, 8, generator=torch.Generator().manual_seed(1)), truncation=0.7)
    with torch.no_grad():
        images, features = generator.synthesize(w, 3)
    truth = F.normalize(features, dim=1)
    cosine = {}
    for steps in (0, 120):
        module = method(steps=steps, lr=0.05, weight_w=0.0, pose=False, upsample=False)
        cosine[steps] = (module.features(images, "human") * truth).sum(dim=1).mean().item()
    assert cosine[120] > 0.99
    assert 1 - cosine[120] < 0.1 * (1 - cosine[0])


def test_normalised_channels_have_mean_0_and_deviation_1_over_samples(method, generators, monkeypatch):
    generator = load_generator(generators["human"])
    drawn = []
    original = generator_features.normal
    monkeypatch.setattr(generator_features, "normal", lambda *args: drawn.append(original(*args)) or drawn[-1])
    module = method(steps=0, pose=False, upsample=False, normalize_features="channel")
    found = module.features(make_batch(1).source_image, "human")
    with torch.no_grad():
        features = generator.features(generator.map(drawn[0]), 3).double()
        mean = generator.features(generator.mean_w[None], 3).double()
    centred = (mean - features.mean(dim=(0, 2, 3))[:, None, None]) / features.std(dim=(0, 2, 3))[:, None, None]
    torch.testing.assert_close(found.double(), F.normalize(centred, dim=1), atol=1e-4, rtol=1e-3)


def test_a_result_depends_on_the_pair_and_not_on_its_batch(method, generators):
    batch = pair_of(generators, 5)
    whole = method(cache=False).transfer_batch(batch)
    for rows in (slice(0, 1), slice(3, 5)):
        assert torch.equal(method(cache=False).transfer_batch(part(batch, rows)), whole[rows])


@pytest.fixture
def inverted(monkeypatch) -> list[int]:
    """Numbers of images that were inverted, call by call."""
    counts = []
    original = generator_features.invert

    def invert(generator, images, *args):
        counts.append(len(images))
        return original(generator, images, *args)

    monkeypatch.setattr(generator_features, "invert", invert)
    return counts


def test_an_image_of_several_pairs_is_inverted_once(method, generators, inverted):
    batch = pair_of(generators)
    batch.source_image[2] = batch.source_image[0]
    module = method(cache=False)
    first = module.transfer_batch(batch)
    assert inverted == [2, 3]
    assert torch.equal(module.transfer_batch(batch), first)
    assert inverted == [2, 3]
    module.features(batch.source_image, "dog")  # another generator
    assert inverted == [2, 3, 2]


def test_a_test_that_is_run_again_goes_on_from_the_cache(method, generators, inverted):
    batch = pair_of(generators)
    first = method().transfer_batch(batch)
    assert inverted == [3, 3]
    assert torch.equal(method().transfer_batch(batch), first)
    assert inverted == [3, 3]
    for other in ({"steps": 5}, {"pose": False}, {"bfloat16": True}, {"weight_w": 2.0}, {"cache": False}):
        inverted.clear()
        method(**other).transfer_batch(batch)
        assert inverted == [3, 3], other


def test_other_weights_of_the_same_name_are_inverted_anew(generators, inverted, tmp_path):
    images, path = pair_of(generators, 2).source_image, tmp_path / "other.safetensors"
    for seed in (7, 8):
        module = get_method("generator-features")(generators={"human": write_generator(path, seed)}, layer=3, steps=1)
        module.features(images, "human")
    assert inverted == [2, 2]


@pytest.mark.parametrize("damage", ["truncated", "other", "not a number", "shape", "folder"])
def test_what_is_damaged_in_the_cache_is_made_anew(damage, method, generators, inverted, cache):
    images = pair_of(generators, 2).source_image
    first = method().features(images, "human")
    (path,) = cache.rglob("*.npz")
    with np.load(path) as file:
        arrays = dict(file)
    match damage:
        case "truncated":
            path.write_bytes(path.read_bytes()[:-50])
        case "other":
            np.savez(path, w=arrays["w"])
        case "not a number":
            np.savez(path, w=arrays["w"] * np.nan, pose=arrays["pose"])
        case "shape":
            np.savez(path, w=arrays["w"][:1], pose=arrays["pose"])
        case "folder":
            path.unlink()
            path.mkdir()
    assert torch.equal(method().features(images, "human"), first)
    assert inverted == [2, 2]
    assert torch.equal(method().features(images, "human"), first)
    assert inverted == [2, 2] + [2] * (damage == "folder")


def test_a_species_without_a_generator_takes_its_stand_in_or_is_told(method, generators):
    images = pair_of(generators, 1).target_image
    found = method(stand_in={"wild": "dog"}).features(images, "wild")
    assert torch.equal(found, method().features(images, "dog"))
    with pytest.raises(ConfigError, match=r"'wild' has no generator among human, dog; type .*stand_in.wild human"):
        method().features(images, "wild")
    with pytest.raises(ConfigError, match=r"stand_in.wild: 'dgo' has no generator. Did you mean 'dog'"):
        method(stand_in={"wild": "dgo"})


@pytest.mark.parametrize("bad", [{"generators": {}}, {"steps": -1}, {"lr": 0.0}, {"weight_w": -1.0}])
def test_settings_without_sense_are_refused(bad, method):
    with pytest.raises(ConfigError):
        method(**bad)


def test_it_holds_no_weights_and_runs_in_lightnings_test_loop(method, generators, tmp_path):
    module = method()
    assert module.state_dict() == {}
    assert module.needs_checkpoint is False
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = L.Trainer(max_steps=1, default_root_dir=tmp_path, enable_model_summary=False, **quiet)
    batch = pair_of(generators)
    loader = torch.utils.data.DataLoader([batch], batch_size=None)
    found = trainer.predict(module, loader)
    assert torch.equal(found[0].points, method().transfer_batch(batch))
    with pytest.raises(ConfigError, match="'generator-features' has nothing to learn"):
        trainer.fit(module, train_dataloaders=loader, val_dataloaders=loader)
