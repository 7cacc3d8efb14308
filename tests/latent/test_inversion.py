from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dife_lightning.latent import inversion
from dife_lightning.latent.exploration import ExplorationOptions
from dife_lightning.latent.inversion import image_code, invert, pose_matrix, posed
from dife_lightning.pretrained.generators import Generator, load_generator
from tests.tiny import write_generator

SEARCH = ExplorationOptions(40, 0.05, "w", weight_w=0.0)


@pytest.fixture
def generator(tmp_path: Path) -> Generator:
    return load_generator(write_generator(tmp_path / "generator.safetensors"))


@torch.no_grad()
def samples(generator: Generator, count: int, truncation: float = 0.7) -> tuple[Tensor, Tensor]:
    z = torch.randn(count, generator.z_dim, generator=torch.Generator().manual_seed(2))
    w = generator.map(z, truncation=truncation)
    return w, generator.image(w)


def rms(first: Tensor, second: Tensor) -> Tensor:
    return (first - second).square().mean(dim=(1, 2, 3)).sqrt()


def halved(image: np.ndarray) -> np.ndarray:
    return image.reshape(3, image.shape[1] // 2, 2, image.shape[2] // 2, 2).mean(axis=(2, 4))


def test_the_difference_of_codes_is_that_of_pixels_and_steps_at_all_sizes() -> None:
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    difference, expected = (images[0] - images[1]).numpy(), 0.0
    for _ in range(4):
        right, down = np.diff(difference, axis=2), np.diff(difference, axis=1)
        expected += (difference**2).mean() + (right**2).mean() + (down**2).mean()
        difference = halved(difference)
    first, second = image_code(images)
    assert (first - second).square().mean().item() == pytest.approx(expected)


def test_no_pose_leaves_a_map_where_it_is_and_a_pose_moves_its_pixels() -> None:
    maps = torch.rand(1, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(posed(maps, torch.zeros(1, 4), 16, 16), maps)
    right = torch.tensor([[0.0, 0.0, 1.25, 0.0]])  # 0.125 of the side: 2 px of 16
    torch.testing.assert_close(posed(maps, right, 16, 16)[..., 2:], maps[..., :-2], atol=1e-5, rtol=1e-5)
    quarter = torch.tensor([[3.0, 0.0, 0.0, 0.0]])  # 90 degrees clockwise
    turned = torch.rot90(maps, -1, dims=(2, 3))
    torch.testing.assert_close(posed(maps, quarter, 16, 16), turned, atol=1e-4, rtol=1e-4)
    matrix = pose_matrix(torch.tensor([[0.0, 4.0, 0.0, 0.0]]), 16, 16)  # e times as large, about the centre
    torch.testing.assert_close(
        matrix[0], torch.tensor([[np.e, 0, 7.5 * (1 - np.e)], [0, np.e, 7.5 * (1 - np.e)]]).float()
    )


def test_an_image_of_a_known_w_is_found_again_with_its_features(generator: Generator) -> None:
    w, images = samples(generator, 3)
    found = invert(generator, images, ExplorationOptions(150, 0.05, "w", weight_w=0.0), pose=False)
    with torch.no_grad():
        at_start = rms(generator.image(generator.mean_w[None]), images)
        assert (rms(generator.image(found.w), images) < 0.1 * at_start).all()
        truth, features = generator.features(w, 3), generator.features(found.w, 3)
        mean = generator.features(generator.mean_w[None], 3)
    assert (rms(features, truth) < 0.2 * rms(mean, truth)).all()
    assert found.pose.tolist() == [[0.0] * 4] * 3


def test_an_image_of_the_shipped_generator_is_found_again_in_its_pose() -> None:
    generator = load_generator("world/dog")
    _, upright = samples(generator, 2)
    pose = torch.tensor([[0.4, -0.3, 0.4, 0.2], [-0.5, 0.3, -0.3, 0.5]])
    images = posed(upright, pose, 64, 64)
    mean = invert(generator, images, None)
    found = invert(generator, images, SEARCH)
    with torch.no_grad():
        errors = [rms(posed(generator.image(f.w), f.pose, 64, 64), images) for f in (mean, found)]
        unposed = invert(generator, images, SEARCH, pose=False)
        errors.append(rms(generator.image(unposed.w), images))
    assert (errors[1] < 0.5 * errors[0]).all()
    assert (errors[1] < errors[2]).all()
    assert ((found.pose - pose).abs() < 0.3).all()


def test_without_steps_it_is_the_mean_face_in_the_pose_that_fits_best(generator: Generator) -> None:
    _, images = samples(generator, 2)
    found = invert(generator, images, None, pose=False)
    torch.testing.assert_close(found.w, generator.mean_w.expand(2, generator.num_ws, -1))
    assert found.pose.tolist() == [[0.0] * 4] * 2
    with torch.no_grad():
        face = generator.image(generator.mean_w[None])
    pose = torch.tensor([[0.4, 0.8, -1.0, 0.0]])  # one of those that are tried
    torch.testing.assert_close(invert(generator, posed(face, pose, 32, 32), None).pose, pose)


def test_w_plus_has_a_vector_for_each_layer_and_w_has_one(generator: Generator) -> None:
    _, images = samples(generator, 1)
    one, several = (invert(generator, images, ExplorationOptions(5, 0.05, s)).w for s in ("w", "w+"))  # type: ignore
    assert one.shape == several.shape == (1, generator.num_ws, generator.w_dim)
    assert torch.equal(one, one[:, :1].expand_as(one))
    assert not torch.allclose(several, several[:, :1].expand_as(several))


def test_an_image_is_inverted_for_itself_to_the_last_bit(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inversion, "_PIXELS", 4 * 32**2)  # four at once
    _, images = samples(generator, 6)
    together = invert(generator, images, SEARCH)
    for i in (0, 3, 5):
        alone = invert(generator, images[i : i + 1], SEARCH)
        assert torch.equal(together.w[i], alone.w[0])
        assert torch.equal(together.pose[i], alone.pose[0])
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    assert torch.equal(invert(generator, images[order], SEARCH).w, together.w[order])


def test_it_searches_where_gradients_and_precision_are_off(generator: Generator) -> None:
    _, images = samples(generator, 1)
    plain = invert(generator, images, SEARCH)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        found = invert(generator, images.clone(), SEARCH)
    assert torch.equal(found.w, plain.w)
    assert not found.w.is_inference()


def test_bfloat16_finds_nearly_the_same_image_and_gives_float32(generator: Generator) -> None:
    _, images = samples(generator, 2)
    plain, coarse = (invert(generator, images, SEARCH, bfloat16=value) for value in (False, True))
    assert coarse.w.dtype == torch.float32
    assert not torch.equal(coarse.w, plain.w)
    with torch.no_grad():
        at_start = rms(generator.image(generator.mean_w[None]), images)
        assert (rms(generator.image(coarse.w), generator.image(plain.w)) < 0.2 * at_start).all()


def test_images_of_another_size_are_brought_to_the_generators(generator: Generator) -> None:
    _, images = samples(generator, 1)
    large = images.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    found, plain = (invert(generator, batch, SEARCH) for batch in (large, images))
    with torch.no_grad():
        assert rms(generator.image(found.w), generator.image(plain.w)).item() < 0.1 * images.std().item()
