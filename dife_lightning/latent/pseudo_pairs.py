"""Pseudo-pairs: an image of one domain, and an image of another with the same geometry, found by latent exploration.

A checkpoint stores only the latents of the pairs in the bank; the images are synthesised again when it is loaded. On a
CPU they are bit-identical, because images are synthesised one at a time (in a batch, kernels may sum in another order).

Reference: Dense Interspecies Face Embedding, NeurIPS 2022, section 3.3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from urllib.parse import quote, unquote

import torch
from torch import Tensor

from dife_lightning.geometry.coordinates import pixel_grid, resize_maps
from dife_lightning.latent.exploration import ExplorationOptions, explore, moved
from dife_lightning.losses.matching import cosine_similarity_map
from dife_lightning.pretrained.generators import Generator


@dataclass
class PseudoPairs:
    """N pairs of one ordered pair of domains.

    Attributes:
        original: (N, 3, S, S) in [-1, 1], of the first domain.
        partner: (N, 3, S, S) in [-1, 1], of the second.
        original_w: (N, num_ws, w_dim) of the first domain's generator.
        partner_w: (N, num_ws, w_dim) of the second domain's generator.
        index: (N,) int64, the training step at which the pair was made.
        start_distance: (N,) feature distance at the start of the exploration.
        distance: (N,) feature distance at its end.
        w_distance: (N,) distance of ``partner_w`` to the mean w.
        drift: (N, h, h) distance in cells between each cell and the most similar embedding in the partner, measured
            with the encoder that made the pair; zeros if not measured.
        move: (N, 2, g, g) deformation of ``original`` (see ``Exploration``).
    """

    original: Tensor
    partner: Tensor
    original_w: Tensor
    partner_w: Tensor
    index: Tensor
    start_distance: Tensor
    distance: Tensor
    w_distance: Tensor
    drift: Tensor
    move: Tensor

    def __len__(self) -> int:
        """Return N."""
        return len(self.index)

    def rows(self, keep: Tensor | slice) -> PseudoPairs:
        """Return the chosen pairs."""
        return PseudoPairs(*(getattr(self, f.name)[keep] for f in fields(self)))

    def join(self, other: PseudoPairs) -> PseudoPairs:
        """Return these pairs and ``other``."""
        return PseudoPairs(*(torch.cat((getattr(self, f.name), getattr(other, f.name))) for f in fields(self)))


#: Domain of the originals and domain of the partners.
Kind = tuple[str, str]
#: The state of a bank in a checkpoint: kind of pair -> name -> tensor.
PairState = dict[str, dict[str, Tensor]]
#: What is stored of each pair: all but the images.
_STATE = tuple(f.name for f in fields(PseudoPairs) if f.name not in ("original", "partner"))


class PairBank:
    """The latest ``size`` pairs of each ordered pair of domains."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.pairs: dict[Kind, PseudoPairs] = {}

    def __len__(self) -> int:
        """Return the number of pairs of all kinds."""
        return sum(len(p) for p in self.pairs.values())

    def add(self, kind: Kind, pairs: PseudoPairs) -> None:
        """Add pairs and drop the oldest beyond ``size``."""
        old = self.pairs.get(kind)
        joined = pairs if old is None else old.join(pairs)
        self.pairs[kind] = joined.rows(slice(-self.size, None))

    def sample(self, kind: Kind, count: int, generator: torch.Generator, part: int = 0) -> PseudoPairs:
        """Draw pairs of a kind, without repetition if the bank has enough.

        Args:
            kind: ordered pair of domains.
            count: number of pairs.
            generator: on the CPU; shuffles the bank.
            part: which ``count`` pairs of the shuffled bank to take, from 0; wraps around at its end.
        """
        pairs = self.pairs[kind]
        order = torch.randperm(len(pairs), generator=generator)
        rows = order[torch.arange(part * count, (part + 1) * count) % len(pairs)]
        return pairs.rows(rows.to(pairs.index.device))

    def state(self) -> PairState:
        """Return everything except the images, on the CPU: ``{"human+dog": {"original_w": ..., ...}, ...}``."""
        return {"+".join(quote(d, safe="") for d in kind): _state_of(pairs) for kind, pairs in self.pairs.items()}

    def restore(self, state: PairState, render: Callable[[str, Tensor], Tensor]) -> None:
        """Replace all pairs by those of ``state``.

        Args:
            state: from :meth:`state`.
            render: maps a domain and w (N, num_ws, w_dim) to images (N, 3, S, S) on the training device.
        """
        self.pairs = {}
        for name, tensors in state.items():
            source, target = (unquote(part) for part in name.split("+"))
            original = render(source, tensors["original_w"])
            here = {key: tensors[key].to(original.device) for key in _STATE}
            partner, original = render(target, tensors["partner_w"]), moved(original, here["move"])
            self.pairs[source, target] = PseudoPairs(original=original, partner=partner, **here)


def _state_of(pairs: PseudoPairs) -> dict[str, Tensor]:
    return {name: getattr(pairs, name).detach().cpu().clone() for name in _STATE}


def synthesize_pairs(
    source: Generator,
    target: Generator,
    z: Tensor,
    layer: int,
    size: int,
    wanted: Callable[[Tensor], Tensor],
    normalize: Callable[[Tensor], Tensor],
    exploration: ExplorationOptions,
    *,
    same_z: bool,
    truncation: float,
    embed: Callable[[Tensor], Tensor] | None = None,
) -> PseudoPairs:
    """Generate originals, and find their partners by latent exploration.

    Args:
        source: generator of the originals.
        target: generator of the partners.
        z: (N, z_dim) of the originals.
        layer: tapped layer, in the paper's numbers.
        size: side of the resulting images.
        wanted: Ψ(Φ(x)): maps originals (N, 3, S, S) to target features.
        normalize: applied to the target generator's features before they are compared with ``wanted``.
        exploration: options of the exploration.
        same_z: start from the target generator's w of the same z, instead of its mean w.
        truncation: psi of the originals and of that start.
        embed: maps images to embeddings at the matching resolution; if given, ``drift`` is measured.
    """
    w = source.map(z, truncation=truncation)
    original = render_images(source, w, size)
    goal = resize_maps(wanted(original).float(), target.layer_shape(layer)[1], "nearest")
    start = target.map(z, truncation=truncation)[:, 0] if same_z else target.mean_w.expand(len(z), -1)
    found = explore(target, layer, goal, start, target.mean_w, exploration, normalize)
    partner = render_images(target, found.w, size)
    index = torch.zeros(len(z), dtype=torch.int64, device=z.device)
    original = moved(original, found.move)
    drift = torch.zeros_like(goal[:, 0]) if embed is None else embedding_drift(embed(original), embed(partner))
    return PseudoPairs(
        original, partner, w, found.w, index, found.start_distance, found.feature_distance, found.w_distance, drift,
        found.move,
    )  # fmt: skip


def embedding_drift(source: Tensor, target: Tensor) -> Tensor:
    """Return the distance in cells between each source cell and the most similar target cell.

    Args:
        source: (N, n, h, w) embedding of the first images.
        target: (N, n, h, w) embedding of the second.

    Returns:
        (N, h, w) float32.
    """
    height, width = source.shape[-2:]
    cells = pixel_grid(height, width, source.device)
    found = []
    for first, second in zip(source, target, strict=True):  # one at a time: (h w)^2 similarities each
        best = cosine_similarity_map(first.flatten(1).t()[None], second[None])[0].argmax(dim=-1)
        found.append((cells.reshape(-1, 2)[best].reshape(height, width, 2) - cells).norm(dim=-1))
    return torch.stack(found)


def render_images(generator: Generator, w: Tensor, size: int, chunk: int = 32) -> Tensor:
    """Return the images (N, 3, size, size) in [-1, 1] of ``w`` (N, num_ws, w_dim), on the generator's device.

    On a CPU images are synthesised one at a time, so that they do not depend on the batch; elsewhere ``chunk`` at once.
    """
    parts = w.to(generator.device).split(1 if generator.device.type == "cpu" else chunk)
    return torch.cat([resize_maps(generator.image(part).float(), size).clamp(-1, 1) for part in parts])
