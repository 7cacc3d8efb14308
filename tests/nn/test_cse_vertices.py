from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from dife_lightning.errors import ConfigError
from dife_lightning.nn.cse import CSEMaps, CSENetwork, closest_vertices, squared_distances, unit_embedding
from dife_lightning.nn.cse import vertices as module
from tests.nn.public_cse import filled, tiny_shapes


def brute_force(embedding: torch.Tensor, vertices: torch.Tensor) -> torch.Tensor:
    """Vertex numbers (h, w) of one map (D, h, w), pixel by pixel and vertex by vertex."""
    out = torch.zeros(embedding.shape[1:], dtype=torch.long)
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            distances = [float((embedding[:, y, x] - vertex).double().square().sum()) for vertex in vertices]
            out[y, x] = min(range(len(distances)), key=distances.__getitem__)
    return out


@pytest.mark.parametrize("size", [(8, 8), (11, 6)])
def test_closest_vertices_equal_a_brute_force_search(size: tuple[int, int]) -> None:
    embedding, vertices = torch.randn(2, 5, 8, 8), unit_embedding(torch.randn(23, 5))
    segmentation = torch.randn(2, 3, 8, 8)
    closest, foreground = closest_vertices(embedding, segmentation, vertices, size)
    resized = F.interpolate(embedding, size, mode="bilinear", align_corners=False)
    classes = F.interpolate(segmentation, size, mode="bilinear", align_corners=False).argmax(dim=1)
    assert torch.equal(foreground, classes > 0)
    assert 0.2 < float(foreground.float().mean()) < 0.9
    expected = torch.stack([brute_force(one, vertices) for one in resized])
    assert torch.equal(closest, torch.where(foreground, expected, 0))


def test_small_chunks_give_the_same_vertices(monkeypatch: pytest.MonkeyPatch) -> None:
    embedding, vertices = torch.randn(2, 5, 7, 9), unit_embedding(torch.randn(23, 5))
    whole, _ = closest_vertices(embedding, None, vertices, (7, 9))
    held: list[int] = []

    def watched(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        held.append(len(first) * len(second))
        return squared_distances(first, second)

    monkeypatch.setattr(module, "MAX_DISTANCES", 100)
    monkeypatch.setattr(module, "squared_distances", watched)
    parts, _ = closest_vertices(embedding, None, vertices, (7, 9))
    assert torch.equal(parts, whole)
    assert max(held) <= 100
    assert len(held) > 1


def test_without_segmentation_every_pixel_counts() -> None:
    embedding, vertices = torch.randn(1, 5, 4, 4), unit_embedding(torch.randn(9, 5))
    closest, foreground = closest_vertices(embedding, None, vertices, (4, 4))
    assert bool(foreground.all())
    assert torch.equal(closest[0], brute_force(embedding[0], vertices))


def test_the_length_of_the_embedding_does_not_matter() -> None:
    embedding, vertices = torch.randn(1, 5, 6, 6), unit_embedding(torch.randn(40, 5))
    raw, _ = closest_vertices(embedding, None, vertices, (6, 6))
    unit, _ = closest_vertices(unit_embedding(embedding, dim=1), None, vertices, (6, 6))
    assert torch.equal(raw, unit)


def test_nothing_but_background_gives_vertex_0() -> None:
    segmentation = torch.stack((torch.ones(2, 4, 4), torch.zeros(2, 4, 4)), dim=1)
    closest, foreground = closest_vertices(torch.randn(2, 5, 4, 4), segmentation, torch.eye(5), (3, 5))
    assert not bool(foreground.any())
    assert torch.equal(closest, torch.zeros(2, 3, 5, dtype=torch.long))


def test_the_network_looks_vertices_up_by_the_name_of_the_mesh() -> None:
    tensors = filled(tiny_shapes())
    network = CSENetwork.from_tensors(tensors)
    name = "roi_heads.embedder.embedder_dog_31"
    product = tensors[f"{name}.features"] @ tensors[f"{name}.embeddings"]
    vertices = network.vertices("dog_31")
    torch.testing.assert_close(vertices, product / product.norm(dim=1, keepdim=True))
    maps = CSEMaps(torch.randn(1, 6, 8, 8), torch.randn(1, 2, 8, 8))
    closest, foreground = network.closest_vertices(maps, "dog_31", 5, 9)
    expected = closest_vertices(maps.embedding, maps.segmentation, vertices, (5, 9))
    assert closest.shape == (1, 5, 9)
    assert torch.equal(closest, expected[0])
    assert torch.equal(foreground, expected[1])


def test_an_unknown_mesh_is_an_error_that_names_the_known_ones() -> None:
    network = CSENetwork.from_tensors(filled(tiny_shapes()))
    with pytest.raises(ConfigError, match=r"no mesh 'dog_30'.*Did you mean 'dog_31'\? Known: cat_50, dog_31") as error:
        network.vertices("dog_30")
    assert "\n" not in str(error.value)


def test_vectors_near_zero_are_not_blown_up() -> None:
    tiny = torch.tensor([[1e-8, 0.0], [0.0, 0.0], [3.0, 4.0]])
    torch.testing.assert_close(unit_embedding(tiny), torch.tensor([[1e-2, 0.0], [0.0, 0.0], [0.6, 0.8]]))


def test_vertices_and_distances_are_float32_under_autocast() -> None:
    network = CSENetwork.from_tensors(filled(tiny_shapes()))
    embedding = torch.randn(1, 6, 12, 12)
    vertices = network.vertices("cat_50")
    closest, _ = closest_vertices(embedding, None, vertices, (24, 24))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(network.vertices("cat_50"), vertices)
        assert torch.equal(closest_vertices(embedding, None, vertices, (24, 24))[0], closest)
