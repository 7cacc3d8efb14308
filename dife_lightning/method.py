"""The base class of all methods."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from typing import Any, ClassVar

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dife_lightning.errors import ConfigError
from dife_lightning.faces.batches import PairBatch
from dife_lightning.faces.transforms import resize
from dife_lightning.geometry.coordinates import resize_points
from dife_lightning.matching import MatchingOptions, Similarity
from dife_lightning.registry import method_name


class Method(L.LightningModule):
    """A method that can be trained and tested; :func:`dife_lightning.load` returns one."""

    #: Whether `dife test` needs a trained checkpoint of this method.
    needs_checkpoint: ClassVar[bool] = True
    #: The logged value (lower is better) that selects the best checkpoint.
    monitor: ClassVar[str] = "val/pixel_error"
    #: Increase when the same settings give another result, so that tables train and test again.
    version: ClassVar[int] = 1
    #: Side of the square to which :meth:`transfer` resizes images (the paper's, unless a method has its own).
    size: int = 96
    #: Whether a transfer needs the species of both images, so that two images alone are not enough.
    needs_species: ClassVar[bool] = False

    @torch.no_grad()
    def transfer(
        self,
        images: tuple[NDArray[np.uint8] | Tensor, NDArray[np.uint8] | Tensor],
        points: Tensor | NDArray[Any] | Sequence[Sequence[float]],
        *,
        similarity: Similarity = "dot",
        subpixel: bool = False,
        window: float = 0.0,
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
            window: side of the window of a soft-argmax, relative to the map's; 0 for the nearest neighbour (likewise).

        Returns:
            (P, 2) float32 on the CPU, x then y, in pixels of the target image.

        Raises:
            ConfigError: the method cannot transfer points between two images, or an argument has a wrong form.
        """
        transfer_batch: Any = getattr(self, "transfer_batch", None)
        if transfer_batch is None:
            raise ConfigError(f"{type(self).__name__} transfers no points; `dife methods` lists the methods that do")
        if self.needs_species:
            raise ConfigError(f"{type(self).__name__} needs the species of both images: use `dife predict` with it")
        if len(images) != 2:
            raise ConfigError(f"transfer: found {len(images)} images; expected two, (source, target)")
        (source, source_size), (target, target_size) = (_prepared(image, self.size) for image in images)
        square, start = (self.size, self.size), torch.as_tensor(points, dtype=torch.float32).cpu()
        if start.ndim != 2 or start.shape[1] != 2:
            raise ConfigError(f"transfer: points of shape {tuple(start.shape)}; expected (P, 2), x then y")
        if not bool(start.isfinite().all()):
            raise ConfigError("transfer: a point is not finite; expected pixels of the source image")
        batch = _batch(source, target, resize_points(start, source_size, square))
        training = self.training
        self.eval()
        try:
            found = transfer_batch(batch.to(self.device), MatchingOptions(similarity, subpixel, window))
        finally:
            self.train(training)
        return resize_points(found[0].float().cpu(), square, target_size)

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


def _prepared(image: NDArray[np.uint8] | Tensor, side: int) -> tuple[Tensor, tuple[int, int]]:
    """Return an image as (1, 3, side, side) in [-1, 1], and its own (width, height)."""
    shape, kind = tuple(image.shape), str(image.dtype).removeprefix("torch.")
    if isinstance(image, Tensor) and image.is_floating_point() and len(shape) == 3 and shape[0] == 3 and 0 not in shape:
        if not bool((image.abs() <= 1 + 1e-3).all()):
            raise ConfigError(f"transfer: an image with values up to {float(image.abs().max()):g}; expected [-1, 1]")
        pixels = (image.detach().float().cpu() * 127.5 + 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    elif isinstance(image, np.ndarray) and kind == "uint8" and len(shape) == 3 and shape[2] == 3 and 0 not in shape:
        pixels = image
    else:
        raise ConfigError(
            f"transfer: an image of type {kind} and shape {shape}; expected a uint8 array (H, W, 3), as read_image "
            "returns it, or a float tensor (3, H, W) in [-1, 1]"
        )
    resized, _ = resize(pixels, np.zeros((0, 2), np.float32), side)
    maps = torch.from_numpy(np.array(resized)).permute(2, 0, 1)[None].float() / 127.5 - 1
    return maps, (pixels.shape[1], pixels.shape[0])


def _batch(source: Tensor, target: Tensor, points: Tensor) -> PairBatch:
    """Return one pair of images (1, 3, S, S) with the source ``points`` (P, 2) as a batch; it has no truth."""
    name = hashlib.sha256(source.numpy().tobytes() + target.numpy().tobytes()).hexdigest()[:16]
    return PairBatch(
        source_image=source,
        target_image=target,
        source_points=points[None],
        target_points=torch.full_like(points, float("nan"))[None],
        visible=torch.ones(1, len(points), dtype=torch.bool),
        index=torch.zeros(1, dtype=torch.int64),
        pair_id=[name],
        pair="source+target",
        framing="given",
        list_name="given",
    )
