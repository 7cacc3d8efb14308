"""Few labelled faces carry their landmarks to a face by a frozen dense embedder, and vote."""

from __future__ import annotations

from typing import Any, Literal

import torch
from lightning import LightningDataModule
from torch import Tensor

from dife_lightning.errors import ConfigError, TrainingError
from dife_lightning.geometry.heatmaps import Detections
from dife_lightning.methods._label_floors import LabelFloor
from dife_lightning.methods._label_votes import descriptors, prototypes, read_votes, vote_maps
from dife_lightning.pretrained.embedders import load_embedder
from dife_lightning.utils.checks import require, require_choice

METHOD = "LabelVote"

#: ``faces``: each labelled face votes. ``prototype``: the mean descriptor of each landmark is searched for.
Votes = Literal["faces", "prototype"]
#: Labelled faces that are embedded at once.
_CHUNK = 16


class LabelVote(LabelFloor):
    """Landmarks by the votes of all labelled faces in the embedding of the target image; nothing is trained.

    Face i votes for a cell x of the target with the cosine c_i(x) of its descriptor of the landmark and that of the
    cell. The votes are combined by their smooth maximum ``t log mean_i exp(c_i(x) / t)``, t the ``temperature``, and
    the point is read from its highest cell by a soft-argmax in a window. Faces that resemble the target weigh more, one
    by one and for each landmark, and a wrong match of a few faces is outvoted elsewhere instead of shifting a mean of
    points. Between cosines that are alike the votes are averaged; for a large t all are, and what is left is the cosine
    of the mean descriptor: ``votes: prototype``, which costs as much as one labelled face.

    With an ImageNet backbone this is the baseline of frozen features, with a DIFE that of its transfer.

    Args:
        embedder: any that ``load_embedder`` reads: ``photos/dife``, ``world/teacher``, a checkpoint or run,
            ``backbone:imagenet/mobilenet_v2?layer=13&side=128``.
        labels: data module with few labelled faces (``FewLabels``, ``WorldFewLabels``); None for that of the test.
        votes: ``faces`` or ``prototype``.
        flip: the mirror images vote, too, if the scheme has mirror pairs.
        temperature: of the smooth maximum and of the soft-argmax, in units of the cosine. The default suits a DIFE;
            features of an ImageNet backbone, whose cosines differ more, take 0.05 (both by validation faces).
        window: side of the square around the highest cell, relative to the map's longer side.

    Raises:
        ConfigError: an unknown kind of votes, or a number out of its range.
    """

    def __init__(
        self,
        embedder: str = "world/teacher",
        labels: LightningDataModule | None = None,
        votes: Votes = "faces",
        flip: bool = True,
        temperature: float = 0.02,
        window: float = 0.25,
    ) -> None:
        super().__init__(labels, flip)
        self.save_hyperparameters(ignore=["labels"])
        require_choice("votes", votes, ("faces", "prototype"))
        require(above=0, temperature=temperature)
        require(above=0, at_most=1, window=window)
        self.embedder, self.votes, self.temperature, self.window = embedder, votes, temperature, window
        self._voters: tuple[Tensor, Tensor] | None = None

    def setup(self, stage: str) -> None:
        """Refuse to be fitted; load the embedder and read the labelled faces before any other work."""
        load_embedder(self.embedder)
        super().setup(stage)

    @property
    def facts(self) -> dict[str, Any]:
        """What a result must record, as plain values."""
        return super().facts | {"embedder": self.embedder, "votes": self.votes}

    def embed(self, images: Tensor) -> Tensor:
        """Return the embedder's map (B, n, h, w) float32; TrainingError if it is not finite."""
        # The embedder comes from the process-wide cache: it is no submodule and in no state_dict.
        maps = load_embedder(self.embedder).to(images.device).embed(images).float()
        if not bool(maps.isfinite().all()):
            raise TrainingError(f"the embedding of {self.embedder} contains NaN or infinity; use an earlier checkpoint")
        return maps

    def detect(self, images: Tensor) -> Detections:
        """Find the landmarks of images (B, 3, H, W) by the votes; a score is a mean cosine, in [-1, 1].

        Raises:
            ConfigError: images of another size than the labelled ones, in which a landmark may look different.
        """
        side, size = self.known().images.shape[-1], (images.shape[-1], images.shape[-2])
        if size != (side, side):
            raise ConfigError(
                f"labelled faces of {side} x {side} px for images of {size[0]} x {size[1]}; give both one size"
            )
        vectors, visible = self._of_labels(images.device)
        maps = vote_maps(vectors, visible, self.embed(images), self.temperature)
        return self.completed(read_votes(maps, size, self.window, self.temperature), images)

    def _of_labels(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return the descriptors (N, K, n) of the labels and which count (N, K); embedded once."""
        if self._voters is None or self._voters[0].device != device:
            known = self.known()
            parts = zip(
                *(part.to(device).split(_CHUNK) for part in (known.images, known.points, known.visible)), strict=True
            )
            side = known.images.shape[-1]
            vectors = torch.cat([descriptors(self.embed(i), p, v, side, side) for i, p, v in parts])
            visible = known.visible.to(device)
            self._voters = prototypes(vectors, visible) if self.votes == "prototype" else (vectors, visible)
        return self._voters
