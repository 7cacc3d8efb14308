"""The base class of all methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from typing import Any, ClassVar

import lightning as L
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dife_lightning.errors import ConfigError
from dife_lightning.matching import Similarity
from dife_lightning.registry import method_name


class Method(L.LightningModule):
    """A method that can be trained and tested; :func:`dife_lightning.load` returns one."""

    #: Whether `dife test` needs a trained checkpoint of this method.
    needs_checkpoint: ClassVar[bool] = True
    #: The logged value (lower is better) that selects the best checkpoint.
    monitor: ClassVar[str] = "val/pixel_error"
    #: Increase when the same settings give another result, so that tables train and test again.
    version: ClassVar[int] = 1

    def transfer(
        self,
        images: tuple[NDArray[np.uint8] | Tensor, NDArray[np.uint8] | Tensor],
        points: Tensor | NDArray[Any] | Sequence[Sequence[float]],
        *,
        similarity: Similarity = "dot",
        subpixel: bool = False,
    ) -> Tensor:
        """Transfer points from one image to another.

        Both images are resized to the square input of the method. Crop faces to squares first, because other shapes
        are distorted.

        Args:
            images: source and target, each a uint8 array (H, W, 3) as :func:`dife_lightning.read_image` returns it, or
                a float tensor (3, H, W) in [-1, 1], which is rounded to 256 levels. Sizes may differ.
            points: (P, 2), x then y, in pixels of the source image.
            similarity: ``dot`` (as in the paper) or ``cosine``.
            subpixel: refine the result below a cell of the embedding (see :func:`dife_lightning.transfer`).

        Returns:
            (P, 2) float32 on the CPU, x then y, in pixels of the target image.

        Raises:
            ConfigError: the method cannot transfer points between two images, or an argument has a wrong form.
        """
        raise ConfigError(f"{type(self).__name__} transfers no points; `dife methods` lists the methods that do")

    def keep_plain_settings(self, **changes: Any) -> None:
        """Convert the saved hyper-parameters to plain values, as checkpoints require; ``changes`` replace some."""
        given = {key: value for key, value in self.hparams.items() if not key.startswith("_")}
        self.hparams.clear()
        self.save_hyperparameters(plain(given | changes))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Record the method in the checkpoint."""
        stamp(checkpoint, self)


def plain(value: Any) -> Any:
    """Return options as plain values: dataclasses as dicts, sequences as lists."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def stamp(checkpoint: dict[str, Any], module: L.LightningModule) -> None:
    """Record the method ``module`` in ``checkpoint``, from ``on_save_checkpoint``."""
    cls = type(module)
    checkpoint["method"] = method_name(cls) or f"{cls.__module__}.{cls.__name__}"
