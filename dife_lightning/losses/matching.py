"""Semantic matching between the two images of a pseudo-pair: equations 4, 5 and 6 of the DIFE paper.

A pixel u_i of the first image is compared with all pixels u_j of the second. The weighted mean of their coordinates is
the predicted match of u_i, and its distance to the true match is the loss. The true match is known because both images
share their geometry; if they were warped independently, ``correspondence`` holds it.

The paper does not state the weights of its code. They are an argument here:

* ``softmax`` (default): weights ``softmax_j(cos / temperature)``, distance of the expected coordinate.
* ``dve``: expected distance ``sum_j p_j |u_j - u|^power`` (Descriptor Vector Exchange, ICCV 2019).
* ``literal``: equation 5 as printed, with cosines as weights. It does not predict a coordinate, because the weights do
  not sum to 1 (on a 48 x 48 map they sum to hundreds).

Reference: Dense Interspecies Face Embedding, NeurIPS 2022, section 3.3.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from dife_lightning.geometry.coordinates import pixel_grid
from dife_lightning.losses.distillation import Reduction, reduce_pixels
from dife_lightning.utils.checks import require, require_choice

Weights = Literal["softmax", "dve", "literal"]


def cosine_similarity_map(source: Tensor, target: Tensor) -> Tensor:
    """Equation 4: cosine similarity of each source vector with each target pixel, fp32.

    Args:
        source: (B, Q, n) vectors.
        target: (B, n, h, w) map.

    Returns:
        (B, Q, h * w) in [-1, 1].
    """
    with torch.autocast(target.device.type, enabled=False):
        unit_source = F.normalize(source.float(), dim=-1)
        unit_target = F.normalize(target.float().flatten(2), dim=1)
        return unit_source @ unit_target


def _errors(
    source: Tensor, target: Tensor, truth: Tensor, weights: Weights, temperature: float, power: float
) -> Tensor:
    """Return errors (B, Q) in target cells for ``source`` (B, Q, n), ``target`` (B, n, h, w), ``truth`` (B, Q, 2)."""
    if weights == "softmax":
        return _distance(expected_coordinates(source, target, temperature) - truth)
    similarity = cosine_similarity_map(source, target)
    height, width = target.shape[-2:]
    coordinates = pixel_grid(height, width, target.device).reshape(-1, 2)
    if weights == "literal":
        return _distance(similarity @ coordinates - truth)
    distance = torch.cdist(truth, coordinates.expand(truth.shape[0], -1, -1))
    return ((similarity / temperature).softmax(dim=-1) * distance.pow(power)).sum(dim=-1)


def expected_coordinates(source: Tensor, target: Tensor, temperature: float) -> Tensor:
    """Mean coordinate of the target cells, weighted by ``softmax(cos / temperature)``, fp32.

    This is attention with coordinates as values; torch's attention kernels never store all similarities.

    Args:
        source: (B, Q, n) vectors.
        target: (B, n, h, w) map.
        temperature: of the softmax.

    Returns:
        (B, Q, 2), x then y, in cells.
    """
    with torch.autocast(target.device.type, enabled=False):
        query = F.normalize(source.float(), dim=-1)
        key = F.normalize(target.float().flatten(2), dim=1).transpose(1, 2)
        height, width = target.shape[-2:]
        value = pixel_grid(height, width, target.device).reshape(1, -1, 2).expand(len(key), -1, -1)
        channels = max(8, -(-query.shape[-1] // 8) * 8)  # the kernels need a multiple of 8; zeros change nothing
        q, k, v = (F.pad(part, (0, channels - part.shape[-1]))[:, None].contiguous() for part in (query, key, value))
        return F.scaled_dot_product_attention(q, k, v, scale=1 / temperature)[:, 0, :, :2]


def _distance(offset: Tensor, eps: float = 1e-6) -> Tensor:
    """Euclidean norm over the last axis, with a finite gradient at 0."""
    return (offset.square().sum(dim=-1) + eps).sqrt()


def semantic_matching_loss(
    source: Tensor,
    target: Tensor,
    correspondence: Tensor | None = None,
    valid: Tensor | None = None,
    *,
    weights: Weights = "softmax",
    temperature: float = 0.02,
    power: float = 0.5,
    reduction: Reduction = "mean",
    queries: Tensor | None = None,
) -> Tensor:
    """L_M of one ordered pair of domains (equation 5; its sum over pairs is equation 6).

    Args:
        source: (B, n, h, w) embedding of the first images.
        target: (B, n, h', w') embedding of the second images.
        correspondence: (B, h, w, 2) true match of each source cell, x then y, in cells of ``target``; None is the
            identity.
        valid: (B, h, w) bool, the source cells that count.
        weights: see the module docstring.
        temperature: of the softmax, in units of the cosine.
        power: exponent of the distance (``dve`` only; DVE uses 0.5).
        reduction: ``mean`` over valid cells, or ``sum`` over the cells of an image (as printed).
        queries: (Q,) indices into the h * w source cells; None takes all.

    Returns:
        Scalar, float32, in target cells (to the ``power`` for ``dve``).

    Raises:
        ConfigError: unknown ``weights`` or a temperature that is not positive.
    """
    require_choice("matching_loss.weights", weights, get_args(Weights))
    require("matching_loss.", above=0, temperature=temperature)
    batch, _, height, width = source.shape
    if correspondence is None:
        correspondence = pixel_grid(height, width, source.device).expand(batch, -1, -1, -1)
    vectors = source.flatten(2).transpose(1, 2)
    truth = correspondence.flatten(1, 2).float()
    mask = None if valid is None else valid.flatten(1)
    if queries is not None:
        vectors, truth = vectors[:, queries], truth[:, queries]
        mask = None if mask is None else mask[:, queries]
    with torch.autocast(source.device.type, enabled=False):
        errors = _errors(vectors.float(), target.float(), truth, weights, temperature, power)
        return reduce_pixels(errors, mask, reduction)
