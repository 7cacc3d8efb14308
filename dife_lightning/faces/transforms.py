"""Augmentation of annotated image files; the only module that uses albumentations (pinned, no longer maintained).

It adds to that library: our coordinate convention (pixel centres at integers) in resize, crop and flip; exchange of
left and right landmarks in a flip; landmarks that are never dropped; and a seed for **each sample**, so that a draw
depends on (seed, epoch, index) and not on workers, ranks or earlier draws.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dife_lightning.errors import ConfigError
from dife_lightning.faces.schemes import Pairs, flip_permutation

if TYPE_CHECKING:
    from albumentations import BasicTransform, Compose

Image = NDArray[np.uint8]
Points = NDArray[np.float32]
Visible = NDArray[np.bool_]


def resize(image: Image, points: Points, size: int) -> tuple[Image, Points]:
    """Resize ``image`` (H, W, 3) and its ``points`` (K, 2) to ``size`` x ``size``: x -> (x + 0.5) s - 0.5."""
    import cv2

    height, width = image.shape[:2]
    if (height, width) == (size, size):
        return image, points
    shrinks = size < min(height, width)
    resized = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    scale = np.array([size / width, size / height], dtype=np.float32)
    return resized.astype(np.uint8, copy=False), ((points + 0.5) * scale - 0.5).astype(np.float32)


def resize_matrix(width: int, height: int, size: int) -> NDArray[np.float64]:
    """Return the (2, 3) affine map from pixels of a ``size`` x ``size`` image back to those it was resized from."""
    scale = np.array([width / size, height / size])
    return np.column_stack((np.diag(scale), (scale - 1) / 2))


class FaceTransform:
    """Random crop, resize, flip and colour jitter of one annotated face.

    A flipped face exchanges its left and right landmarks, so that row k of the points keeps its meaning.

    Example:
        >>> transform = FaceTransform(96, flip=0.5, flip_pairs=get_scheme("animalweb-9").flip_pairs, jitter=0.3)
        >>> image, points, visible = transform(face["image"], face["points"], face["visible"], epoch=3, index=17)

    Args:
        size: side of the result in pixels.
        crop_scale: smallest and largest area of the random crop, relative to the image; (1, 1) does not crop.
        flip: probability of mirroring.
        flip_pairs: pairs of landmarks that a flip exchanges (see :class:`~dife_lightning.faces.schemes.Scheme`).
        jitter: strength of the colour jitter, 0 for none.
        seed: first part of every sample's seed.

    Raises:
        ConfigError: an argument out of range.
    """

    def __init__(
        self,
        size: int,
        *,
        crop_scale: tuple[float, float] = (1.0, 1.0),
        flip: float = 0.0,
        flip_pairs: Pairs = (),
        jitter: float = 0.0,
        seed: int = 0,
    ) -> None:
        if size < 1 or not 0 < crop_scale[0] <= crop_scale[1] <= 1 or not 0 <= flip <= 1 or jitter < 0:
            found = f"size {size}, crop_scale {crop_scale}, flip {flip}, jitter {jitter}"
            raise ConfigError(f"{found}: expected size >= 1, 0 < crop_scale <= 1, 0 <= flip <= 1, jitter >= 0")
        self.size, self.seed, self.flip_pairs = size, seed, flip_pairs
        library, amount = _library(), min(jitter, 1.0)
        frame = library.Resize(size, size)
        if crop_scale != (1.0, 1.0):
            frame = library.RandomResizedCrop(size=(size, size), scale=crop_scale, ratio=(0.9, 1.1))
        color = library.ColorJitter(amount, amount, amount, min(0.1 * jitter, 0.5), p=1.0) if jitter else None
        self._frame = _compose(frame)
        self._flip = _compose(library.HorizontalFlip(p=flip) if flip else None)
        self._color = _compose(color, moves_points=False)

    def __call__(
        self, image: Image, points: Points, visible: Visible, *, epoch: int = 0, index: int = 0
    ) -> tuple[Image, Points, Visible]:
        """Transform one sample; the draw depends on the seed, ``epoch`` and ``index``, the sample's number.

        ``points`` (K, 2) are x then y, pixels of ``image`` (H, W, 3) uint8 RGB; NaN is allowed. Returns the image
        (size, size, 3), points in its pixels with the same meaning of each row, and visibility (K,); a point outside
        the image is not visible.
        """
        frame, flip, color = np.random.SeedSequence([self.seed, epoch, index]).generate_state(3)
        # The library scales keypoints by pixel edges (x * s), so they are shifted by half a pixel for it ...
        image, edges = _apply(self._frame, int(frame), image, points + 0.5)
        # ... but it mirrors them by pixel centres (W - 1 - x), so they are not shifted for the flip.
        image, points, visible = self._mirror(int(flip), image, edges - 0.5, visible)
        if self._color is not None:
            self._color.set_random_seed(int(color))
            image = self._color(image=image)["image"]
        inside = ((points >= -0.5) & (points <= self.size - 0.5)).all(axis=-1)
        return image, points, visible & inside

    def _mirror(self, seed: int, image: Image, points: Points, visible: Visible) -> tuple[Image, Points, Visible]:
        # A marker in column 0 shows whether the flip was applied.
        marked = np.concatenate((points, np.zeros((1, 2), np.float32)))
        image, marked = _apply(self._flip, seed, image, marked)
        points, flipped = marked[:-1], marked[-1, 0] > 0
        if not flipped:
            return image, points, visible
        order = flip_permutation(len(points), self.flip_pairs)
        return image, points[order], visible[order]


def _apply(compose: Compose | None, seed: int, image: Image, points: Points) -> tuple[Image, Points]:
    if compose is None:
        return image, points
    compose.set_random_seed(seed)
    result = compose(image=image, keypoints=points.astype(np.float32))
    return result["image"], np.asarray(result["keypoints"], dtype=np.float32).reshape(-1, 2)


def _library() -> Any:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would look up its version online
    import albumentations

    return albumentations


def _compose(step: BasicTransform | None, *, moves_points: bool = True) -> Compose | None:
    """Return a pipeline of one step, or None; an empty pipeline would warn."""
    if step is None:
        return None
    library = _library()
    # Points outside the picture must neither raise nor be dropped, which would renumber the others.
    keep = library.KeypointParams("xy", remove_invisible=False, check_each_transform=False)
    composed: Compose = library.Compose([step], keypoint_params=keep if moves_points else None)
    return composed
