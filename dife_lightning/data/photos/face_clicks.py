"""Clicks on photographs: the few annotated landmarks of each species, at their canonical surface coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import torch
from lightning import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray

from dife_lightning.data.click_stream import ClickedImages, Clicks
from dife_lightning.data.photos.cropped_faces import CroppedFaces
from dife_lightning.data.photos.face_domains import DomainFaces, FaceDomain, to_domain
from dife_lightning.errors import ConfigError, DataError, printable
from dife_lightning.faces.schemes import Scheme, meanings, means
from dife_lightning.geometry.affine import AugmentOptions
from dife_lightning.geometry.crops import CropOptions
from dife_lightning.utils.checks import require
from dife_lightning.utils.notes import many

#: Canonical (u, v) of landmarks that photographs are annotated with: u to the viewer's right, v down, in [-1, 1]. Those
#: of eye corners, nose, mouth and chin are the embedded world's; an eye is the mean of its corners; the bases of the
#: ears lie at the rim of the face.
FACE_UV: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "left_eye": (-0.37, -0.175),
        "right_eye": (0.37, -0.175),
        "left_eye_outer": (-0.56, -0.20),
        "left_eye_inner": (-0.18, -0.15),
        "right_eye_inner": (0.18, -0.15),
        "right_eye_outer": (0.56, -0.20),
        "nose": (0.0, 0.27),
        "mouth_left": (-0.34, 0.54),
        "mouth_right": (0.34, 0.54),
        "lip_upper": (0.0, 0.50),
        "lip_lower": (0.0, 0.66),
        "chin": (0.0, 0.84),
        "left_ear_base": (-0.60, -0.66),
        "right_ear_base": (0.60, -0.66),
    }
)


class FaceClicks(ClickedImages):
    """A few annotated photographs of each domain, cropped as the evaluation crops them, for the surface teacher.

    A face is used if it shows all points of ``protocol``, which also places its crop. Every point of ``FACE_UV`` that a
    data set has, and that a face shows, is a click; nothing else of the annotation is used.

    Args:
        domains: name -> data set, folder and options of its reader.
        count: most faces of each domain; they are the first in the drawing order of ``seed``.
        protocol: landmarks that every face must show.
        crop: crop options; a domain may have its own.
        size: side of the images.
        batch_size: images per step.
        augment: framing and colour.
        flip: mirror each face with probability 1/2, and ``u`` with it; left and right must look alike.
        seed: of the faces and the batches.
        skip_broken: skip faces that cannot be used. ``--skip-broken`` sets it.
        evaluation: data module of keypoint pairs for validation, test and predict; None for none.

    Raises:
        ConfigError: no domain, or a number out of its range.
    """

    def __init__(
        self,
        domains: dict[str, FaceDomain],
        count: int = 100,
        protocol: str = "3-point",
        crop: CropOptions = CropOptions(),  # noqa: B008 - frozen
        size: int = 64,
        batch_size: int = 32,
        augment: AugmentOptions = AugmentOptions(),  # noqa: B008 - frozen
        flip: bool = False,
        seed: int = 0,
        skip_broken: bool = False,
        evaluation: LightningDataModule | None = None,
    ) -> None:
        super().__init__(batch_size, augment, seed, evaluation, flip)
        require(at_least=1, count=count)
        if not domains:
            raise ConfigError("clicks: no domains; name at least one with its dataset and root")
        known = {name: to_domain(name, domain) for name, domain in domains.items()}
        self.faces = DomainFaces(known, protocol, crop, seed, "viewer", skip_broken=skip_broken)
        self.count, self.size = count, size

    def make_clicks(self) -> Clicks:
        """Crop the faces and read their clicks; DataError for a domain without a usable face."""
        faces = [face for name in self.faces.domains for face in self._faces(name)]
        images, points, uv, clicked = (torch.from_numpy(np.stack(part)) for part in zip(*faces, strict=True))
        return Clicks(images, points, uv, clicked)

    def _faces(self, name: str) -> list[tuple[NDArray[np.generic], ...]]:
        usable = self.faces.usable(name, "test")
        chosen = usable.order[: self.count]
        if not chosen:
            raise DataError(f"domain '{name}': no face can be used for clicks: {usable.summary()}")
        crops = CroppedFaces(usable.faces, self.size, self.faces.crop(name), self.faces.landmarks(name))
        found = [self._clicks(crops, index) for index in chosen]
        clicks = sum(int(face[-1].sum()) for face in found)
        rank_zero_info(printable(f"clicks on {name}: {many(clicks, 'point')} of {many(len(found), 'face')}"))
        return found

    def _clicks(self, crops: CroppedFaces, index: int) -> tuple[NDArray[np.generic], ...]:
        """Return image, points (K, 2), uv (K, 2) and which are clicked (K,) of a face, in the order of ``FACE_UV``."""
        item = crops[index]
        points, clicked = click_points(item["points"], item["visible"], crops.scheme)
        return item["image"], points, np.array(list(FACE_UV.values()), np.float32), clicked


def click_points(
    points: NDArray[np.float32], visible: NDArray[np.bool_], scheme: str | Scheme
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the points (K, 2) of ``FACE_UV`` that a face shows, and which it shows (K,).

    Args:
        points: (L, 2) points of the scheme.
        visible: (L,) which are labelled and in the image.
        scheme: of the points.
    """
    known = meanings(scheme)
    found, shown = means(points, visible, tuple(known.get(name, ()) for name in FACE_UV))
    return np.where(shown[:, None], found, 0).astype(np.float32), shown
