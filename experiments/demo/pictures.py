"""Pictures of a demo: transfers, embeddings of all species, pseudo-pairs, curves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from dife_lightning.applications.pair_gallery import make_pairs, pair_sheet
from dife_lightning.callbacks._collect import TransferCollector
from dife_lightning.data.pairs import PairsDataModule
from dife_lightning.faces.schemes import get_protocol
from dife_lightning.methods._base import EmbedderModule, MatcherModule
from dife_lightning.methods.dife import DIFE
from dife_lightning.utils.run_folder import RunFolder
from dife_lightning.viz.curves import curves
from dife_lightning.viz.embedding import embedding_sheet
from dife_lightning.viz.sheet import save_figure
from dife_lightning.viz.transfer import TransferExample, transfer_sheet
from dife_lightning.world import WorldFaces
from experiments.common.claims import CLAIM_FRAMING, CLAIM_LIST, CLAIM_PROTOCOL

Embedders = dict[str, EmbedderModule]
#: Species in the picture of embeddings, including those that DIFE was not trained on.
SPECIES = ("human", "dog", "cat", "wild")


def draw_all(
    methods: Embedders, data: PairsDataModule, run: RunFolder, folder: Path, *, seed: int = 0
) -> dict[str, str]:
    """Write the four pictures and return picture -> file name.

    Args:
        methods: name -> embedder, with the trained ``DIFE`` first.
        data: test pairs, set up.
        run: DIFE's run.
        folder: folder of the pictures.
        seed: seed of the originals in the gallery of pairs.
    """
    dife = next(iter(methods.values()))
    assert isinstance(dife, DIFE)
    figures = {
        "transfers": draw_transfers(methods, data),
        "embeddings": draw_embeddings(methods, data.test_sets[0].size),
        "pairs": pair_sheet(dife, make_pairs(dife, drawing=seed)),
        "curves": curves(run.log, heading="DIFE's two stages", note=f"run {run.name}"),
    }
    return {name: save_figure(figure, folder / f"{name}.png").name for name, figure in figures.items()}


@torch.no_grad()
def draw_transfers(methods: Mapping[str, MatcherModule], data: PairsDataModule, count: int = 10) -> Figure:
    """Draw the first pairs of the long jittered list, each once per method, side by side."""
    pairs = next(p for p in data.test_sets if (p.list_name, p.framing) == (CLAIM_LIST, CLAIM_FRAMING))
    batch = pairs.collate([(i, pairs[i]) for i in range(min(count, len(pairs)))])
    columns: list[list[TransferExample]] = []
    for name, method in methods.items():
        collector = TransferCollector(pairs, [CLAIM_PROTOCOL], len(batch), torch.device("cpu"))
        collector.add(batch, method.transfer_batch(batch))
        columns.append([replace(example, label=name) for example in collector.examples(get_protocol(CLAIM_PROTOCOL))])
    return transfer_sheet(
        [example for row in zip(*columns, strict=True) for example in row],
        get_protocol(CLAIM_PROTOCOL).landmarks,
        columns=2 * len(methods),
        heading=f"Keypoints transferred from {' to '.join(pairs.pair.split('+'))}",
        note=f"the first {len(batch)} pairs of the test list, jittered framing; errors in px of a 70-px crop",
    )


@torch.no_grad()
def draw_embeddings(methods: Embedders, size: int, count: int = 3) -> Figure:
    """Draw test faces of every species and their embeddings, with colours joint over all species of a method."""
    images = {species: _faces(species, size, count) for species in SPECIES}
    embeddings = {
        name: {species: method.embed(batch) for species, batch in images.items()} for name, method in methods.items()
    }
    seen = " and ".join(d for method in methods.values() if isinstance(method, DIFE) for d in method.domains)
    note = f"three principal components, fitted jointly over all species; DIFE was trained on {seen} only"
    return embedding_sheet(images, embeddings, heading="Embeddings of all species", note=note)


def _faces(species: str, size: int, count: int) -> Tensor:
    """Return test renders (count, 3, size, size) in [-1, 1], plain framing."""
    faces = WorldFaces(species, "test", count, size=size)
    images = torch.stack([torch.from_numpy(face["image"]) for face in faces])
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1
