from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dife_lightning import matching
from dife_lightning.errors import ConfigError
from dife_lightning.matching import MatchingOptions, transfer


def random_maps(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def slow_transfer(source, target, points, source_size, target_size, cosine):
    """One pair and one point at a time, in Python and NumPy."""
    source, target = source.double().numpy(), target.double().numpy()
    out = np.zeros(points.shape)
    for b in range(len(source)):
        _, h, w = source[b].shape
        _, height, width = target[b].shape
        for k, (x, y) in enumerate(points[b].tolist()):
            column = min(max(round(x * w / source_size[0]), 0), w - 1)
            row = min(max(round(y * h / source_size[1]), 0), h - 1)
            query = source[b][:, row, column]
            best, best_score = (0, 0), -math.inf
            for j in range(height):
                for i in range(width):
                    other = target[b][:, j, i]
                    score = float(query @ other)
                    if cosine:
                        score /= np.linalg.norm(query) * np.linalg.norm(other)
                    if score > best_score:
                        best, best_score = (i, j), score
            out[b, k] = best[0] * target_size[0] / width, best[1] * target_size[1] / height
    return out


@pytest.mark.parametrize("name", ["s1_96", "s2_48"])
def test_golden_points_of_the_official_evaluation_are_met_exactly(shared, name):
    golden = np.load(shared(f"golden/keypoint_transfer_eval/{name}.npz"))
    found = transfer(
        torch.from_numpy(golden["source_descs"])[None],
        torch.from_numpy(golden["target_descs"])[None],
        torch.from_numpy(golden["keypoints_source"])[None],
        source_size=96,
        target_size=96,
    )
    np.testing.assert_array_equal(found[0].numpy(), golden["predicted_xy"])


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_agrees_with_a_slow_twin_on_maps_of_other_sizes(similarity):
    source, target = random_maps(1, 2, 5, 6, 8), random_maps(2, 2, 5, 7, 9)
    points = torch.rand(2, 11, 2, generator=torch.Generator().manual_seed(3)) * torch.tensor([40.0, 30.0]) - 4
    found = transfer(source, target, points, source_size=(32, 24), target_size=(36, 28), similarity=similarity)
    slow = slow_transfer(source, target, points, (32, 24), (36, 28), similarity == "cosine")
    np.testing.assert_allclose(found.numpy(), slow, atol=1e-4)


def test_chunks_do_not_change_the_result(monkeypatch):
    source, target = random_maps(1, 3, 4, 8, 8), random_maps(2, 3, 4, 8, 8)
    points = torch.rand(3, 7, 2) * 7
    for subpixel in (False, True):
        whole = transfer(source, target, points, subpixel=subpixel)
        for limit in (1, 64 * 3, 64 * 7 * 2):
            monkeypatch.setattr(matching, "MAX_SIMILARITIES", limit)
            torch.testing.assert_close(transfer(source, target, points, subpixel=subpixel), whole, atol=1e-5, rtol=0)


def test_sub_pixel_search_never_holds_more_similarities_than_allowed(monkeypatch):
    held = []
    inner = matching._best_cells

    def watch(queries, targets, shape, subpixel):
        held.append(queries.shape[0] * queries.shape[2] * targets.shape[2])
        return inner(queries, targets, shape, subpixel)

    monkeypatch.setattr(matching, "_best_cells", watch)
    monkeypatch.setattr(matching, "MAX_SIMILARITIES", 300)
    transfer(random_maps(1, 3, 4, 8, 8), random_maps(2, 3, 4, 8, 8), torch.zeros(3, 9, 2), subpixel=True)
    assert max(held) <= 300
    assert sum(held) == 3 * 9 * 64


@pytest.mark.parametrize("most", [1, 64 * 4, 2**18])
def test_search_on_a_cpu_finds_what_one_product_of_all_finds(monkeypatch, most):
    monkeypatch.setattr(matching, "MAX_CACHED", most)
    queries, targets = random_maps(3, 3, 5, 9, 1)[..., 0], random_maps(4, 3, 5, 64, 1)[..., 0]
    targets[1, :, 40] = float("nan")  # comes before any number, as in torch
    expected = torch.einsum("bnk,bnc->bkc", queries, targets).argmax(dim=-1)
    assert torch.equal(matching._nearest_on_cpu(queries, targets), expected)


def test_first_maximum_wins_a_tie():
    target = torch.zeros(1, 1, 4, 4)
    target[0, 0, 1, 2] = target[0, 0, 3, 3] = 1.0
    found = transfer(torch.ones(1, 1, 4, 4), target, torch.zeros(1, 1, 2))
    assert found.tolist() == [[[2.0, 1.0]]]


def test_halves_round_to_the_even_cell_and_points_outside_take_the_border():
    source = torch.arange(8.0)[None, None, None].expand(1, 1, 8, 8)
    one_hot = torch.eye(8).reshape(1, 8, 1, 8).expand(1, 8, 8, 8)
    codes = one_hot.gather(1, source.long().expand(1, 1, 8, 8)).expand(1, 8, 8, 8) * 0 + one_hot
    points = torch.tensor([[[0.5, 0], [1.5, 0], [2.5, 0], [-4, 0], [99, 0]]])
    assert transfer(codes, codes, points)[0, :, 0].tolist() == [0, 2, 2, 0, 7]


def test_dot_product_prefers_long_vectors_and_cosine_does_not():
    source = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 1, 3)
    target = torch.tensor([[1.0, 0.0, 3.0], [0.0, 1.0, 3.0]]).reshape(1, 2, 1, 3)
    points = torch.zeros(1, 1, 2)
    assert transfer(source, target, points)[0, 0, 0] == 2
    assert transfer(source, target, points, similarity="cosine")[0, 0, 0] == 0


def test_zero_embedding_gives_finite_points_under_cosine():
    zero = torch.zeros(1, 3, 4, 4)
    assert transfer(zero, zero, torch.ones(1, 2, 2), similarity="cosine", subpixel=True).isfinite().all()


def test_autocast_does_not_coarsen_the_search():
    source, target = random_maps(1, 2, 16, 12, 12), random_maps(2, 2, 16, 12, 12)
    points = torch.rand(2, 9, 2) * 11
    exact = transfer(source, target, points, similarity="cosine", subpixel=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = transfer(source, target, points, similarity="cosine", subpixel=True)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact, atol=0, rtol=0)


def peak_maps(x: float, y: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings whose similarity map is an exact paraboloid with its top at (x, y)."""
    rows, columns = torch.meshgrid(torch.arange(9.0), torch.arange(9.0), indexing="ij")
    target = -((columns - x) ** 2) - (rows - y) ** 2
    return torch.ones(1, 1, 9, 9), target[None, None]


@pytest.mark.parametrize("top", [(3.3, 5.2), (4.0, 4.0), (6.45, 2.6)])
def test_subpixel_finds_the_top_of_a_paraboloid(top):
    source, target = peak_maps(*top)
    found = transfer(source, target, torch.zeros(1, 1, 2), subpixel=True)
    assert found[0, 0].tolist() == pytest.approx(top, abs=1e-4)


def test_subpixel_moves_at_most_half_a_cell_and_not_at_the_border():
    source, target = random_maps(1, 2, 6, 10, 10), random_maps(2, 2, 6, 10, 10)
    points = torch.randint(0, 10, (2, 20, 2), generator=torch.Generator().manual_seed(5)).float()
    plain, fine = transfer(source, target, points), transfer(source, target, points, subpixel=True)
    assert (plain - fine).abs().max() <= 0.5
    edge = (plain == 0) | (plain == 9)
    assert torch.equal(plain[edge], fine[edge])
    assert not torch.equal(plain, fine)


def test_subpixel_reads_the_source_between_cells():
    ramp = torch.arange(8.0).reshape(1, 1, 1, 8).expand(1, 1, 8, 8)
    source = torch.cat((ramp, torch.ones_like(ramp)), 1)
    target = torch.cat((2 * ramp, -ramp.square()), 1)  # similarity to (v, 1) is 2 v x - x^2, whose top is x = v
    found = transfer(source, target, torch.tensor([[[3.4, 3.0]]]), subpixel=True)
    assert found[0, 0, 0].item() == pytest.approx(3.4, abs=1e-4)


def test_embeddings_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match=r"\(1, 4, 8, 8\) and \(1, 5, 8, 8\)"):
        transfer(torch.zeros(1, 4, 8, 8), torch.zeros(1, 5, 8, 8), torch.zeros(1, 2, 2))
    with pytest.raises(ConfigError, match="points of shape"):
        transfer(torch.zeros(1, 4, 8, 8), torch.zeros(1, 4, 8, 8), torch.zeros(2, 2))


def test_unknown_similarity_names_the_known_ones():
    with pytest.raises(ConfigError, match="Did you mean 'cosine'"):
        MatchingOptions("cosin")  # type: ignore[arg-type]


def test_no_points_and_no_pairs_are_fine():
    maps = torch.zeros(1, 4, 8, 8)
    assert transfer(maps, maps, torch.zeros(1, 0, 2)).shape == (1, 0, 2)
    assert transfer(maps[:0], maps[:0], torch.zeros(0, 3, 2)).shape == (0, 3, 2)


def window_mean(source, target, point, window, temperature):
    """Window soft-argmax of one point, cell by cell, in float64."""
    vector = source[:, round(point[1]), round(point[0])].double()
    height, width = target.shape[1:]
    cosine = {
        (x, y): float(F.cosine_similarity(vector, target[:, y, x].double(), dim=0))
        for y in range(height)
        for x in range(width)
    }
    bx, by = max(cosine, key=cosine.get)
    near = {c: s for c, s in cosine.items() if max(abs(c[0] - bx), abs(c[1] - by)) <= window * max(height, width) / 2}
    weights = {c: math.exp(s / temperature) for c, s in near.items()}
    total = sum(weights.values())
    return [sum(c[axis] * w for c, w in weights.items()) / total for axis in (0, 1)]


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
@pytest.mark.parametrize("window", [0.2, 0.5])
def test_a_window_answers_with_the_weighted_mean_of_the_cells_around_the_best(similarity, window):
    torch.manual_seed(3)
    source, target = F.normalize(torch.randn(2, 1, 6, 9, 12), dim=2)
    points = torch.tensor([[[2.0, 3.0], [11.0, 8.0], [0.0, 0.0]]])
    found = transfer(source, target, points, similarity=similarity, window=window, temperature=0.1)
    for k in range(3):
        expected = window_mean(source[0], target[0], points[0, k].tolist(), window, 0.1)
        assert found[0, k].tolist() == pytest.approx(expected, abs=1e-4)


def test_a_tiny_window_or_temperature_is_the_nearest_neighbour():
    torch.manual_seed(4)
    source, target = torch.randn(2, 2, 5, 8, 8)
    points = torch.randint(0, 8, (2, 4, 2)).float()
    nearest = transfer(source, target, points, similarity="cosine")
    for options in ({"window": 0.1}, {"window": 1.0, "temperature": 1e-5}):
        torch.testing.assert_close(transfer(source, target, points, similarity="cosine", **options), nearest)


def test_two_ways_to_refine_are_refused():
    with pytest.raises(ConfigError, match="subpixel and window are two ways to refine a match; choose one"):
        MatchingOptions(subpixel=True, window=0.2)
    with pytest.raises(ConfigError, match="window is 2; expected at least 0 and at most 1"):
        MatchingOptions(window=2)
