from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dife_lightning.errors import ConfigError
from dife_lightning.geometry.coordinates import pixel_grid, to_normalized
from dife_lightning.losses import dve
from dife_lightning.losses.dve import dense_correlation_loss, dve_loss
from experiments.bench.timing import peak_memory

Shared = Callable[[str], Path]
Maps = tuple[Tensor, Tensor, Tensor]
CASES = ("b2_c16_h16_in16_stride1", "b4_c8_h12_in24_stride2")
FUNCTIONS = ("dense_correlation_loss_dve", "dense_correlation_loss")


def maps(batch: int = 2, channels: int = 5, height: int = 3, width: int = 4) -> Maps:
    generator = torch.Generator().manual_seed(5)
    first, second, aux = torch.randn(3, batch, channels, height, width, generator=generator)
    return first, second, aux


def random_grid(batch: int, height: int, width: int) -> Tensor:
    return 2.4 * torch.rand(batch, height, width, 2, generator=torch.Generator().manual_seed(6)) - 1.2


def still_grid(height: int, width: int) -> Tensor:
    return to_normalized(pixel_grid(height, width), width, height, align_corners=True)[None]


def cells(features: Tensor, normalize: bool) -> dict[tuple[int, int], list[float]]:
    """Descriptors of a (C, H, W) map by (row, column)."""
    found = {(y, x): features[:, y, x].tolist() for y in range(features.shape[1]) for x in range(features.shape[2])}
    if not normalize:
        return found
    return {place: [20 * v / math.hypot(*vector) for v in vector] for place, vector in found.items()}


def softmax(logits: dict[tuple[int, int], float]) -> dict[tuple[int, int], float]:
    highest = max(logits.values())
    powers = {place: math.exp(logit - highest) for place, logit in logits.items()}
    return {place: power / sum(powers.values()) for place, power in powers.items()}


def dot(a: list[float], b: list[float]) -> float:
    return sum(p * q for p, q in zip(a, b, strict=True))


def one_pair(a: Tensor, b: Tensor, aux: Tensor | None, grid: Tensor, power: float, normalize: bool) -> float:
    """The loss of one pair of (C, H, W) maps as it is written in the paper, cell by cell in plain Python."""
    first, second = cells(a, normalize), cells(b, normalize)
    third = None if aux is None else cells(aux, normalize)
    height, width = grid.shape[:2]
    down, across = height // a.shape[1], width // a.shape[2]
    total = 0.0
    for (y, x), vector in first.items():
        if third is not None:
            weights = softmax({place: dot(vector, other) for place, other in third.items()})
            vector = [sum(weights[place] * third[place][c] for place in third) for c in range(len(vector))]
        probability = softmax({place: dot(vector, other) for place, other in second.items()})
        place_x, place_y = grid[y * down, x * across].tolist()
        true_x, true_y = (place_x + 1) / 2 * (width - 1), (place_y + 1) / 2 * (height - 1)
        for (row, column), p in probability.items():
            total += p * math.hypot(column * across - true_x, row * down - true_y) ** power
    return total / len(first)


def plain(first: Tensor, second: Tensor, aux: Tensor | None, grid: Tensor, power: float, normalize: bool) -> Tensor:
    """The loss with whole maps, in the inputs' precision: the oracle of gradients."""

    def vectors(maps: Tensor) -> Tensor:
        return (20 * F.normalize(maps, dim=1) if normalize else maps).flatten(2).mT

    height, width = grid.shape[1:3]
    down, across = height // first.shape[2], width // first.shape[3]
    query, target = vectors(first), vectors(second)
    if aux is not None:
        query = (query @ vectors(aux).mT).softmax(-1) @ vectors(aux)
    pixels = (grid + 1) / 2 * (torch.tensor([width, height]) - 1)
    truth = pixels[:, ::down, ::across].flatten(1, 2)
    places = torch.tensor([[x, y] for y in range(0, height, down) for x in range(0, width, across)])
    distance = (truth[:, :, None] - places).square().sum(-1).sqrt() ** power
    return ((query @ target.mT).softmax(-1) * distance).sum(-1).mean()


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("power", [0.5, 1.0])
@pytest.mark.parametrize("exchange", [True, False])
def test_equals_the_paper_written_as_loops(exchange: bool, power: float, normalize: bool) -> None:
    first, second, aux = maps()
    grid = random_grid(2, 6, 12)  # cells of 2 rows and 3 columns
    wanted = [one_pair(first[b], second[b], aux[b] if exchange else None, grid[b], power, normalize) for b in range(2)]
    if exchange:
        found = dve_loss(first, second, aux, grid, power, normalize)
    else:
        found = dense_correlation_loss(first, second, grid, power, normalize)
    assert found.shape == ()
    assert found.item() == pytest.approx(sum(wanted) / 2, rel=1e-5)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("exchange", [True, False])
def test_gradients_are_those_of_the_whole_maps(exchange: bool, normalize: bool) -> None:
    grid = random_grid(3, 10, 14)
    ours = [m.requires_grad_() for m in maps(3, 6, 5, 7)]
    exact = [m.detach().double().requires_grad_() for m in ours]
    if exchange:
        (3 * dve_loss(*ours, grid, 0.7, normalize)).backward()
    else:
        (3 * dense_correlation_loss(*ours[:2], grid, 0.7, normalize)).backward()
    (3 * plain(exact[0], exact[1], exact[2] if exchange else None, grid.double(), 0.7, normalize)).backward()
    for left, right in list(zip(ours, exact, strict=True))[: 3 if exchange else 2]:
        assert left.grad is not None
        assert right.grad is not None
        # logits of 400 magnify what fp32 rounds
        assert (left.grad - right.grad).norm() < (2e-3 if normalize else 1e-5) * right.grad.norm()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("power", [0.5, 1.0])
def test_values_and_gradients_are_the_public_codes(
    shared: Shared, case: str, function: str, normalize: bool, power: float
) -> None:
    stored = np.load(shared(f"golden/dve_loss/loss_{case}.npz"))
    features = torch.from_numpy(stored["feats"]).requires_grad_()
    first, second, grid = features[0::2], features[1::2], torch.from_numpy(stored["grid"])
    if function == "dense_correlation_loss_dve":
        found = dve_loss(first, second, first.roll(-1, dims=0), grid, power, normalize)
    else:
        found = dense_correlation_loss(first, second, grid, power, normalize)
    name = f"{function}.norm{int(normalize)}.pow{power}"
    assert found.item() == pytest.approx(float(stored[f"{name}.loss"]), rel=1e-6)
    if f"{name}.grad" in stored:
        found.backward()
        torch.testing.assert_close(features.grad, torch.from_numpy(stored[f"{name}.grad"]), atol=1e-5, rtol=0)
    else:
        assert power == 1.0


def distinct(height: int = 4, width: int = 6) -> Tensor:
    """A map whose cells are all orthogonal to each other."""
    return torch.eye(height * width).reshape(1, -1, height, width)


def test_descriptors_that_the_third_image_shares_find_their_place() -> None:
    moved = torch.roll(distinct(), (1, 2), dims=(2, 3))  # wherever they are in it
    assert dve_loss(distinct(), distinct(), moved, still_grid(4, 6)).item() == pytest.approx(0, abs=2e-3)


def test_a_place_that_is_wrong_by_two_columns_costs_the_root_of_two() -> None:
    grid = to_normalized(pixel_grid(4, 6) + torch.tensor([2.0, 0.0]), 6, 4, align_corners=True)[None]
    assert dense_correlation_loss(distinct(), distinct(), grid).item() == pytest.approx(2**0.5, rel=1e-5)
    assert dense_correlation_loss(distinct(), distinct(), grid, pow=3).item() == pytest.approx(8, rel=1e-5)


def test_what_the_third_image_does_not_have_is_lost() -> None:
    known, foreign = F.pad(distinct(), (0, 0, 0, 0, 0, 1)), torch.zeros(1, 25, 4, 6)
    foreign[:, 24] = 1  # orthogonal to all
    places = [(x, y) for y in range(4) for x in range(6)]
    uniform = sum(math.dist(a, b) ** 0.5 for a in places for b in places) / len(places) ** 2
    assert dve_loss(known, known, foreign, still_grid(4, 6)).item() == pytest.approx(uniform, rel=1e-5)
    assert dense_correlation_loss(known, known, still_grid(4, 6)).item() == pytest.approx(0, abs=2e-3)


@pytest.mark.parametrize("limit", [1, 5 * 35, 80 * 35])  # a query, five queries, two pairs at a time
def test_slices_change_nothing(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    grid, results = random_grid(3, 5, 7), []
    for most in (2**20, limit):
        monkeypatch.setattr(dve, "MAX_ON_CPU", most)
        features = [m.requires_grad_() for m in maps(3, 6, 5, 7)]
        loss = dve_loss(*features, grid, normalize=False)
        results.append([loss.detach(), *torch.autograd.grad(loss, features)])
    for whole, sliced in zip(*results, strict=True):
        torch.testing.assert_close(sliced, whole, atol=1e-5, rtol=1e-5)


def test_the_maps_of_all_pixels_are_never_held() -> None:
    features, grid = [m.requires_grad_() for m in maps(4, 16, 48, 48)], random_grid(4, 96, 96)
    memory = peak_memory(lambda: dve_loss(*features, grid).backward(), torch.device("cpu"))
    assert memory < 24 * 2**20
    assert memory < 4 * 48**4 * 4 / 3  # a third of one such map


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_it_is_computed_in_fp32_whatever_the_autocast(dtype: torch.dtype) -> None:
    features, grid = [m.to(dtype).requires_grad_() for m in maps()], random_grid(2, 3, 4)
    wanted = [m.detach().float().requires_grad_() for m in features]
    with torch.autocast("cpu", dtype):
        loss = dve_loss(*features, grid)
    exact = dve_loss(*wanted, grid)
    loss.backward()
    exact.backward()
    assert loss.dtype == torch.float32
    assert torch.equal(loss, exact)
    for left, right in zip(features, wanted, strict=True):
        assert left.grad is not None
        assert right.grad is not None
        assert torch.equal(left.grad, right.grad.to(dtype))


def test_without_a_gradient_the_value_is_the_same() -> None:
    features, grid = [m.requires_grad_() for m in maps()], random_grid(2, 3, 4)
    with torch.no_grad():
        found = dve_loss(*features, grid)
    assert not found.requires_grad
    assert torch.equal(found, dve_loss(*features, grid).detach())


def test_a_detached_third_image_gets_no_gradient_and_changes_no_other() -> None:
    grid, gradients = random_grid(2, 3, 4), []
    for third in (lambda aux: aux, Tensor.detach):
        features = [m.requires_grad_() for m in maps()]
        dve_loss(features[0], features[1], third(features[2]), grid).backward()
        gradients.append([m.grad for m in features])
    assert gradients[1][2] is None
    torch.testing.assert_close(gradients[0][:2], gradients[1][:2], atol=0, rtol=0)


@pytest.mark.parametrize(
    ("features", "grid", "options", "text"),
    [
        (maps(), random_grid(2, 6, 10), {}, "the grid is 10 x 6; expected multiples of the features' 4 x 3"),
        (maps(), random_grid(1, 3, 4), {}, "a grid for each pair"),
        ((maps()[0], *maps(1)[1:]), random_grid(2, 3, 4), {}, "features of one shape"),
        (maps(), random_grid(2, 3, 4), {"pow": 0.0}, "pow is 0.0; expected a number above 0"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    features: Maps, grid: Tensor, options: dict[str, float], text: str
) -> None:
    with pytest.raises(ConfigError, match=text) as error:
        dve_loss(*features, grid, **options)
    assert "\n" not in str(error.value)
