"""DiffAugment: what each kind does, that gradients pass, and how the probability adapts."""

from __future__ import annotations

import pytest
import torch

from dife_lightning.errors import ConfigError
from dife_lightning.nn.diffaugment import DiffAugment, color, cutout, translation

ALL, NONE = torch.ones(6, 1, 1, 1, dtype=torch.bool), torch.zeros(6, 1, 1, 1, dtype=torch.bool)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("function", [color, translation, cutout])
def test_nothing_happens_where_it_is_not_applied(function: object) -> None:
    images = torch.rand(6, 3, 16, 16) * 2 - 1
    assert callable(function)
    torch.testing.assert_close(function(images, NONE, rng()), images, atol=1e-6, rtol=1e-6)
    assert not torch.allclose(function(images, ALL, rng()), images)


def test_translation_moves_whole_pixels_and_fills_with_zeros() -> None:
    images = torch.rand(6, 3, 16, 16) + 1
    moved = translation(images, ALL, rng(), ratio=0.25)
    shifts = set()
    for before, after in zip(images, moved, strict=True):
        found = [(y, x) for y in range(-4, 5) for x in range(-4, 5) if torch.equal(after, _shift_by_loop(before, y, x))]
        assert len(found) == 1
        shifts.update(found)
    assert len(shifts) > 2


def _shift_by_loop(image: torch.Tensor, dy: int, dx: int) -> torch.Tensor:
    moved = torch.zeros_like(image)
    for y in range(image.shape[1]):
        for x in range(image.shape[2]):
            if 0 <= y + dy < image.shape[1] and 0 <= x + dx < image.shape[2]:
                moved[:, y, x] = image[:, y + dy, x + dx]
    return moved


def test_cutout_zeroes_at_most_a_quarter_and_keeps_the_rest() -> None:
    images = torch.rand(6, 3, 16, 16) + 1
    cut = cutout(images, ALL, rng())
    hole = (cut == 0).all(dim=1)
    assert torch.equal(cut, torch.where(hole[:, None], torch.zeros(()), images))
    areas = hole.flatten(1).sum(1)
    assert int(areas.max()) <= 64
    assert int(areas.min()) >= 16  # the centre stays inside the picture


def test_colour_keeps_flat_grey_pictures_flat() -> None:
    out = color(torch.full((6, 3, 8, 8), 0.25), ALL, rng())
    spread = out.flatten(1).max(1).values - out.flatten(1).min(1).values
    assert float(spread.max()) < 1e-6
    assert float((out[:, 0, 0, 0] - 0.25).abs().max()) <= 0.5


def test_gradients_pass_twice() -> None:
    augment = DiffAugment()
    images = torch.rand(2, 3, 8, 8, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: augment(x, rng()), images)
    assert torch.autograd.gradgradcheck(lambda x: augment(x, rng()), images)


def test_the_share_of_changed_images_is_the_probability() -> None:
    images = torch.rand(4000, 3, 8, 8)
    changed = (DiffAugment(["color"], 0.3)(images, rng()) - images).abs().amax(dim=(1, 2, 3)) > 1e-6
    assert float(changed.float().mean()) == pytest.approx(0.3, abs=0.03)


def test_the_same_seed_gives_the_same_augmentation() -> None:
    images = torch.rand(4, 3, 8, 8)
    augment = DiffAugment()
    assert torch.equal(augment(images, rng(5)), augment(images, rng(5)))
    assert not torch.equal(augment(images, rng(5)), augment(images, rng(6)))


def test_the_probability_rises_when_real_logits_are_too_sure_and_falls_back() -> None:
    augment = DiffAugment(probability=0.0, target=0.6, speed_images=1000)
    for _ in range(5):
        augment.adapt(torch.ones(100, 1))
    assert float(augment.probability) == pytest.approx(0.5)
    for _ in range(20):
        augment.adapt(torch.tensor([[1.0], [-1.0]]).repeat(50, 1))
    assert float(augment.probability) == 0.0


def test_a_fixed_probability_never_moves_and_is_part_of_the_state() -> None:
    augment = DiffAugment(probability=0.4)
    augment.adapt(torch.ones(100, 1))
    assert float(augment.probability) == pytest.approx(0.4)
    assert "probability" in augment.state_dict()


def test_unknown_kinds_and_probabilities_are_refused() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'color'"):
        DiffAugment(["colour"])
    with pytest.raises(ConfigError, match=r"1\.5"):
        DiffAugment(probability=1.5)
