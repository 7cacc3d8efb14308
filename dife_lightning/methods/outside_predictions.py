"""Landmarks that another program predicted, scored like a method."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from dife_lightning.datasets._predictions import PredictionFile
from dife_lightning.errors import ConfigError, DataError, did_you_mean
from dife_lightning.faces.batches import PairBatch
from dife_lightning.matching import MatchingOptions
from dife_lightning.methods._base import DEFAULT_MATCHING, FloorModule
from dife_lightning.methods._matched_predictions import MatchedPredictions
from dife_lightning.utils.checks import require_choice
from dife_lightning.utils.notes import some
from dife_lightning.utils.yaml_text import OptionValue

METHOD = "OutsidePredictions"

#: ``error``: a scored point without a prediction stops the test. ``centre``: it counts at the centre of the crop.
Missing = Literal["error", "centre"]


class OutsidePredictions(FloorModule):
    """Landmarks that any other program predicted on the target photographs, on the same pairs and crops as a method.

    It never looks at an image. Predictions are found by the name of the photo; see docs/photographs.md for which of
    several is taken, and how names of points are understood.

    Args:
        file: file or folder of the predictions, or target domain -> file. Points are pixels of the original photo.
        reader: name of its reader, one of ``dife datasets``; empty to recognise it.
        options: of the reader: ``scheme``, ``truth`` (of COCO results), ``points_of``, ...
        missing: ``error``, or ``centre`` to score points without a prediction at the centre of the crop.
    """

    def __init__(
        self,
        file: str | dict[str, str],
        reader: str = "",
        options: dict[str, OptionValue] | None = None,
        missing: Missing = "error",
    ) -> None:
        super().__init__()
        require_choice("missing", missing, get_args(Missing))
        self.save_hyperparameters()
        self.file, self.reader, self.options = file, reader, dict(options or {})
        self.missing: Missing = missing
        #: For the record of a result: the files, and how predictions were chosen.
        self.facts: dict[str, Any] = {}
        self._points: dict[str, Tensor] = {}

    def on_validation_start(self) -> None:
        """Find the predictions of all pairs."""
        self._find(self.trainer.val_dataloaders)

    def on_test_start(self) -> None:
        """Find the predictions of all pairs."""
        self._find(self.trainer.test_dataloaders)

    def on_predict_start(self) -> None:
        """Find the predictions of all pairs."""
        self._find(self.trainer.predict_dataloaders)

    def transfer_batch(self, batch: PairBatch, matching: MatchingOptions = DEFAULT_MATCHING) -> Tensor:
        """Return the predicted points (B, P, 2) float32, pixels of the target images."""
        found = self._points.get(f"{batch.pair}/{batch.list_name}/{batch.framing}")
        if found is None:
            raise ConfigError(f"{METHOD} has only the points of its file: score it with `dife test`")
        return found[batch.index.cpu()].to(batch.target_image.device)

    def _find(self, loaders: Any) -> None:
        """Find the predictions of all pairs of the loaders; raises what the files and their points give cause to."""
        several = loaders if isinstance(loaders, list | tuple) else [loaders]
        domains: dict[str, list[Any]] = defaultdict(list)
        for loader in several:
            pairs: Any = getattr(loader, "dataset", None)
            if not hasattr(pairs, "served"):
                raise ConfigError(f"{METHOD} needs pairs of annotated photos, such as FacePairs, not "
                                  f"{type(pairs).__name__}")  # fmt: skip
            domains[pairs.pair.partition("+")[2]].append(pairs)
        self._points, self.facts = {}, {"missing": self.missing, "files": {}}
        files = {}
        for domain, sets in domains.items():
            files[domain] = file = PredictionFile(self._file(domain), self.reader, self.options)
            found = MatchedPredictions(file, sets)
            for pairs, points in zip(sets, found.points(self.missing == "centre"), strict=True):
                self._points[pairs.name] = torch.from_numpy(points.astype(np.float32))
            self.facts["files"][domain] = file.facts() | found.counts
        if isinstance(self.file, str):
            _check_domains(self.file, list(files.values()))

    def _file(self, domain: str) -> str:
        if isinstance(self.file, str):
            return self.file
        if domain not in self.file:
            raise ConfigError(f"{METHOD}: no file for the target domain '{domain}'. "
                              f"{did_you_mean(domain, self.file)}")  # fmt: skip
        return self.file[domain]


def _check_domains(path: str, files: Sequence[PredictionFile]) -> None:
    """Raise DataError if a photo of one file may be a photo of two domains."""
    for image in {image for file in files for image in file.used}:
        found = sorted(set().union(*(file.places[image] for file in files)))
        if len(found) > 1:
            raise DataError(f"{path}: {image} may be {some(found)}, of two domains; give each its own file: "
                            "file: {DOMAIN: FILE, ...}.")  # fmt: skip
