"""How far the points of a landmark model move if it sees the mirrored face, without running the network again."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor

from dife_lightning.faces.schemes import get_scheme
from dife_lightning.geometry.heatmaps import decode
from dife_lightning.methods._heatmap_networks import HeatmapModule
from dife_lightning.methods._landmarks import LandmarkModule
from dife_lightning.mining import flip_shift


class MirrorCheck:
    """Keeps the heat maps of one detection by an HRNet: of the images, and of the mirrored ones.

    Args:
        model: that detects between ``start`` and ``stop``; one without an HRNet is asked a second time instead.
    """

    def __init__(self, model: L.LightningModule) -> None:
        self.model = model
        self._maps: list[Tensor] = []
        self._hook: Any = None

    def start(self) -> None:
        """Watch from now on."""
        if isinstance(self.model, HeatmapModule):
            self._hook = self.model.evaluated.register_forward_hook(self._keep)

    def stop(self) -> None:
        """Watch no longer."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def _keep(self, network: Any, images: Any, maps: Tensor) -> None:
        self._maps.append(maps)

    @torch.no_grad()
    def shifts(self, images: Tensor, points: Tensor) -> Tensor | None:
        """Return the flip shift of each face as a fraction of the image's side; call it after ``stop``.

        Args:
            images: (B, 3, S, S) in [-1, 1], that the model detected on.
            points: (B, K, 2) that it found, in the order of its scheme.

        Returns:
            (B,) float64: the mean distance between the points of the image alone and of the mirrored one alone. None
            from a model without mirror pairs, or that looks at more than the images.
        """
        model = self.model
        if not isinstance(model, LandmarkModule) or not get_scheme(model.scheme).flip_pairs:
            return None
        side = images.shape[-1]
        if isinstance(model, HeatmapModule):
            seen, mirrored = (
                decode(maps, (side, side), model.decode_options).points for maps in self._both(model, images)
            )
        elif type(model).detect is not LandmarkModule.detect:
            seen, mirrored = points.float(), model.detect(images.flip(-1)).points.float()
        else:
            return None
        whole = images.new_tensor([-0.5, -0.5, side - 0.5, side - 0.5]).expand(len(images), 4)
        return flip_shift(seen, mirrored, whole, model.scheme, side)

    def _both(self, model: HeatmapModule, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the heat maps of images and of the mirrored images, the latter run now if the model did not."""
        first, *more = self._maps
        return first, more[0] if more else model.evaluated(images.flip(-1))
