"""Losses that tie the embedding of clicked pixels to the embeddings of a mesh's vertices, for fine-tuning CSE.

Both are cross-entropies over all vertices of one mesh, with scores ``-||e - v_k||^2 / sigma`` of the unit pixel
embedding e; they differ in the target: the clicked vertex alone, or all vertices near it on the surface. DensePose
uses sigma 0.01 for people and 0.1 for animals. Several meshes have one term each.

References:
    - [0]: Continuous Surface Embeddings, NeurIPS 2020, equations 2 and 3.
    - [1]: https://github.com/facebookresearch/detectron2, projects/DensePose.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dife_lightning.nn.cse.vertices import squared_distances, unit_embedding


def embedding_loss(pixels: Tensor, vertices: Tensor, vertex_ids: Tensor, sigma: float = 0.01) -> Tensor:
    """Cross-entropy of the clicked vertices, the mean over the clicks.

    Args:
        pixels: (P, D) embeddings read at the clicks, of any length: they are normalised here.
        vertices: (N, D) unit embeddings of the mesh's vertices.
        vertex_ids: (P,) int64, the vertex that was clicked.
        sigma: variance of the scores.

    Returns:
        Scalar, float32; 0 if there is no click.
    """
    with torch.autocast(pixels.device.type, enabled=False):
        log_probability = _log_probability(pixels, vertices, sigma)
        return _mean(-log_probability.gather(1, vertex_ids[:, None])[:, 0])


def soft_embedding_loss(
    pixels: Tensor,
    vertices: Tensor,
    vertex_ids: Tensor,
    geodesics: Tensor,
    sigma: float = 0.01,
    geodesic_sigma: float = 0.01,
) -> Tensor:
    """Cross-entropy whose target spreads over the surface: softmax of ``-geodesic distance / geodesic_sigma``.

    Args:
        pixels: (P, D) embeddings read at the clicks, of any length: they are normalised here.
        vertices: (N, D) unit embeddings of the mesh's vertices.
        vertex_ids: (P,) int64, the vertex that was clicked.
        geodesics: (N, N) distances between vertices along the surface, in the mesh's own unit.
        sigma: variance of the scores.
        geodesic_sigma: width of the target, in the unit of ``geodesics``.

    Returns:
        Scalar, float32; 0 if there is no click.
    """
    with torch.autocast(pixels.device.type, enabled=False):
        target = F.softmax(-geodesics[vertex_ids].float() / geodesic_sigma, dim=1)
        return _mean(-(target * _log_probability(pixels, vertices, sigma)).sum(dim=1))


def _log_probability(pixels: Tensor, vertices: Tensor, sigma: float) -> Tensor:
    """Return log p (P, N) that each pixel shows each vertex."""
    return F.log_softmax(-squared_distances(unit_embedding(pixels.float()), vertices.float()) / sigma, dim=1)


def _mean(errors: Tensor) -> Tensor:
    return errors.sum() / max(1, len(errors))
