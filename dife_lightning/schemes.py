"""Landmark schemes as data: names, flip pairs, eye convention, and the map onto the shared protocols.

A scheme is how one data set numbers its points. A protocol is what we report: the ``9-point`` set (eye corners,
nose, mouth) and the ``3-point`` set (eyes, nose). Protocols always name sides as the **viewer** sees them, and each
scheme's map says which of its points stand for which; a scheme that names the animal's own left eye is therefore
remapped here and nowhere else. A further data set adds one :class:`Scheme` to ``SCHEMES``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dife_lightning.errors import ConfigError, did_you_mean

Pairs = tuple[tuple[int, int], ...]
#: For each landmark of a protocol, the scheme's points whose mean it is.
Members = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Protocol:
    """A set of landmarks on which errors are reported; left and right are the viewer's."""

    name: str
    landmarks: tuple[str, ...]
    flip_pairs: Pairs


@dataclass(frozen=True)
class Scheme:
    """One data set's landmarks.

    ``eye_convention`` records whose left the names mean: the viewer's (``image``) or the face's own (``subject``).
    ``maps`` gives, for each protocol that the scheme can serve, the member points of each landmark.
    """

    name: str
    landmarks: tuple[str, ...]
    flip_pairs: Pairs
    eye_convention: Literal["image", "subject"]
    maps: Mapping[str, Members]


_NINE = (
    "left_eye_outer",
    "left_eye_inner",
    "right_eye_inner",
    "right_eye_outer",
    "nose",
    "mouth_left",
    "mouth_right",
    "lip_upper",
    "lip_lower",
)

PROTOCOLS: Mapping[str, Protocol] = {
    "9-point": Protocol("9-point", _NINE, ((0, 3), (1, 2), (5, 6))),
    "3-point": Protocol("3-point", ("left_eye", "right_eye", "nose"), ((0, 1),)),
}

SCHEMES: Mapping[str, Scheme] = {
    "animalweb-9": Scheme(
        name="animalweb-9",
        landmarks=_NINE,
        flip_pairs=((0, 3), (1, 2), (5, 6)),
        eye_convention="image",
        maps={
            "9-point": tuple((k,) for k in range(9)),
            "3-point": ((0, 1), (2, 3), (4,)),
        },
    ),
}


def _layout() -> dict[str, slice]:
    slices, start = {}, 0
    for name, protocol in PROTOCOLS.items():
        slices[name] = slice(start, start + len(protocol.landmarks))
        start += len(protocol.landmarks)
    return slices


#: Where each protocol's points lie in a batch of pairs: the 9-point ones first, then the 3-point ones.
LAYOUT: Mapping[str, slice] = _layout()
#: Points in that layout, all protocols together.
LAYOUT_POINTS = sum(len(protocol.landmarks) for protocol in PROTOCOLS.values())


def get_scheme(name: str) -> Scheme:
    """Return the scheme called ``name``; ConfigError naming the known ones otherwise."""
    if name not in SCHEMES:
        raise ConfigError(f"unknown landmark scheme '{name}'. {did_you_mean(name, SCHEMES)}")
    return SCHEMES[name]


def get_protocol(name: str) -> Protocol:
    """Return the protocol called ``name``; ConfigError naming the known ones otherwise."""
    if name not in PROTOCOLS:
        raise ConfigError(f"unknown protocol '{name}'. {did_you_mean(name, PROTOCOLS)}")
    return PROTOCOLS[name]


def flip_permutation(count: int, pairs: Pairs) -> NDArray[np.int64]:
    """Return the order (count,) in which a mirrored face lists its points: each pair exchanged."""
    order = np.arange(count)
    for a, b in pairs:
        order[a], order[b] = b, a
    return order


def to_protocol(
    points: NDArray[np.float32], visible: NDArray[np.bool_], scheme: str | Scheme, protocol: str
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Turn a scheme's points into a protocol's.

    Args:
        points: (..., K, 2), x then y, pixels of any image.
        visible: (..., K).
        scheme: name of the scheme, or the scheme.
        protocol: ``9-point`` or ``3-point``.

    Returns:
        Points (..., P, 2) float32 in the same pixels, and visibility (..., P): a mean is visible if all its
        members are. The coordinates of a landmark that is not visible are whatever its members hold.

    Raises:
        ConfigError: unknown scheme or protocol, a scheme that cannot serve it, or another number of points.
    """
    known = get_scheme(scheme) if isinstance(scheme, str) else scheme
    get_protocol(protocol)
    if protocol not in known.maps:
        raise ConfigError(f"scheme '{known.name}' has no {protocol} map; it serves {', '.join(known.maps)}")
    if points.shape[-2] != len(known.landmarks):
        raise ConfigError(f"{points.shape[-2]} points found: scheme '{known.name}' has {len(known.landmarks)}")
    members = known.maps[protocol]
    mapped = [points[..., list(group), :].mean(axis=-2) for group in members]
    seen = [visible[..., list(group)].all(axis=-1) for group in members]
    return np.stack(mapped, axis=-2).astype(np.float32), np.stack(seen, axis=-1)


def to_layout(
    points: NDArray[np.float32], visible: NDArray[np.bool_], scheme: str | Scheme
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return all protocols' points (..., P, 2) and visibility (..., P) in ``LAYOUT``.

    A protocol that the scheme cannot serve is filled with zeros and is not visible.
    """
    known = get_scheme(scheme) if isinstance(scheme, str) else scheme
    all_points = np.zeros((*points.shape[:-2], LAYOUT_POINTS, 2), dtype=np.float32)
    all_visible = np.zeros((*points.shape[:-2], LAYOUT_POINTS), dtype=bool)
    for protocol in known.maps:
        where = LAYOUT[protocol]
        all_points[..., where, :], all_visible[..., where] = to_protocol(points, visible, known, protocol)
    return all_points, all_visible
