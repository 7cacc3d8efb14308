"""What Meta-CSKT needs of a data module: its faces, found labels beside the true ones, and faces to leave out."""

from __future__ import annotations

import typing

from dife_lightning.faces.few_labels import FewLabelFaces
from dife_lightning.mining import LabelSnapshot


class LabelSource(typing.Protocol):
    """A data module of few labelled faces, such as ``FewLabels``."""

    #: The labels that batches show; a method may set others, the true ones first.
    labels: LabelSnapshot
    #: Names of the unlabelled faces that batches do not show.
    dropped: frozenset[str]

    def faces(self) -> FewLabelFaces:
        """Return all faces of the training."""
        ...

    def true_labels(self) -> LabelSnapshot:
        """Return the labelled faces with their true landmarks."""
        ...
