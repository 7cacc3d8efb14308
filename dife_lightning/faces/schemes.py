"""Landmark schemes: what the points of each data set stand for, and how they become the shared protocols.

A scheme is how one data set numbers its points. A protocol is what we report: the ``9-point`` set (eye corners,
nose, mouth) and the ``3-point`` set (eyes, nose). Protocols always name sides as the **viewer** sees them, and each
scheme's map says which of its points stand for which; a scheme that names the animal's own left eye is therefore
remapped here and nowhere else. The schemes themselves are data, in ``scheme_tables.py``; a further data set adds one
there.

Published numbers may have been made without that remapping (point k of one data set against point k of the other).
``eye_order="stored"`` does so, too, to compare with them; results that use it say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from dife_lightning.errors import ConfigError, did_you_mean
from dife_lightning.faces.scheme_tables import PROTOCOLS as PROTOCOLS
from dife_lightning.faces.scheme_tables import SCHEMES as SCHEMES
from dife_lightning.faces.scheme_tables import Group, Members, Pairs, mirrored
from dife_lightning.faces.scheme_tables import Protocol as Protocol
from dife_lightning.faces.scheme_tables import Scheme as Scheme

#: ``viewer``: a scheme that names the face's own left is remapped. ``stored``: it is taken as it is.
EyeOrder = Literal["viewer", "stored"]


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


def check_eye_order(eye_order: str) -> None:
    """Raise ConfigError unless ``eye_order`` is one of the two."""
    if eye_order not in get_args(EyeOrder):
        raise ConfigError(f"unknown eye order '{eye_order}'. {did_you_mean(eye_order, get_args(EyeOrder))}")


def flip_permutation(count: int, pairs: Pairs) -> NDArray[np.int64]:
    """Return the order (count,) in which a mirrored face lists its points: each pair exchanged."""
    order = np.arange(count)
    for a, b in pairs:
        order[a], order[b] = b, a
    return order


def protocol_members(scheme: str | Scheme, protocol: str, eye_order: EyeOrder = "viewer") -> Members:
    """Return, for each landmark of ``protocol``, the scheme's points whose mean it is.

    Raises:
        ConfigError: unknown scheme, protocol or eye order, or a scheme that cannot serve the protocol.
    """
    known, wanted = _resolved(scheme), get_protocol(protocol)
    check_eye_order(eye_order)
    if not known.maps:
        raise ConfigError(
            f"scheme '{known.name}' is a raw set: it is not known what its points stand for, so that it serves no "
            f"protocol, neither {protocol}. Use it for its own points alone"
        )
    if protocol not in known.maps:
        raise ConfigError(f"scheme '{known.name}' has no {protocol} map; it serves {', '.join(known.maps)}")
    members = known.maps[protocol]
    if eye_order == "stored" and known.eye_convention == "subject":
        order = flip_permutation(len(members), wanted.flip_pairs)
        members = tuple(members[k] for k in order)
    return members


def to_protocol(
    points: NDArray[np.float32],
    visible: NDArray[np.bool_],
    scheme: str | Scheme,
    protocol: str,
    eye_order: EyeOrder = "viewer",
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Turn a scheme's points into a protocol's.

    Args:
        points: (..., K, 2), x then y, pixels of any image.
        visible: (..., K).
        scheme: name of the scheme, or the scheme.
        protocol: ``9-point`` or ``3-point``.
        eye_order: ``viewer``, or ``stored`` to take a scheme's left for the viewer's, whosever it is.

    Returns:
        Points (..., P, 2) float32 in the same pixels, and visibility (..., P): a mean is visible if all its
        members are. The coordinates of a landmark that is not visible are whatever its members hold.

    Raises:
        ConfigError: unknown scheme or protocol, a scheme that cannot serve it, or another number of points.
    """
    known = _resolved(scheme)
    members = protocol_members(known, protocol, eye_order)
    _check_count(points, known)
    if all(len(group) == 1 for group in members):  # as the means below, in a fraction of the time
        alone = [group[0] for group in members]
        return points[..., alone, :].astype(np.float32), visible[..., alone]
    mapped = [points[..., list(group), :].mean(axis=-2) for group in members]
    seen = [visible[..., list(group)].all(axis=-1) for group in members]
    return np.stack(mapped, axis=-2).astype(np.float32), np.stack(seen, axis=-1)


def to_layout(
    points: NDArray[np.float32], visible: NDArray[np.bool_], scheme: str | Scheme, eye_order: EyeOrder = "viewer"
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return all protocols' points (..., P, 2) and visibility (..., P) in ``LAYOUT``.

    A protocol that the scheme cannot serve is filled with zeros and is not visible.
    """
    known = _resolved(scheme)
    all_points = np.zeros((*points.shape[:-2], LAYOUT_POINTS, 2), dtype=np.float32)
    all_visible = np.zeros((*points.shape[:-2], LAYOUT_POINTS), dtype=bool)
    for protocol in known.maps:
        where = LAYOUT[protocol]
        mapped = to_protocol(points, visible, known, protocol, eye_order)
        all_points[..., where, :], all_visible[..., where] = mapped
    return all_points, all_visible


def meanings(scheme: str | Scheme, eye_order: EyeOrder = "viewer") -> dict[str, Group]:
    """Return what a scheme's points (and means of them) stand for, by name as the viewer says left and right."""
    known = _resolved(scheme)
    swap = known.eye_convention == "subject" and eye_order == "viewer"
    say = mirrored if swap else str
    found: dict[str, Group] = {say(name): (k,) for k, name in enumerate(known.landmarks)}
    for protocol in known.maps:
        for name, group in zip(
            PROTOCOLS[protocol].landmarks, protocol_members(known, protocol, eye_order), strict=True
        ):
            found.setdefault(name, group)
    for name, group in known.aliases.items():
        found.setdefault(say(name), group)
    return found


def convert(
    points: NDArray[np.float32],
    visible: NDArray[np.bool_],
    source: str | Scheme,
    target: str | Scheme,
    eye_order: EyeOrder = "viewer",
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Carry points from one scheme to another, wherever the two name the same place of the face.

    Args:
        points: (..., K, 2), x then y, pixels of any image.
        visible: (..., K).
        source: scheme of ``points``.
        target: wanted scheme, with L points.
        eye_order: see :func:`to_protocol`.

    Returns:
        Points (..., L, 2) float32 and visibility (..., L). A place that the source does not have is zero and not
        visible; one that is the mean of several source points is visible if all of them are.

    Raises:
        ConfigError: unknown scheme or eye order, another number of points, or two schemes without a common place.
    """
    known, wanted = _resolved(source), _resolved(target)
    check_eye_order(eye_order)
    _check_count(points, known)
    groups = _counterparts(known, wanted, eye_order)
    if not any(groups):
        raise ConfigError(f"no point of '{wanted.name}' is known to have a counterpart in '{known.name}'")
    moved = np.zeros((*points.shape[:-2], len(groups), 2), dtype=np.float32)
    seen = np.zeros((*points.shape[:-2], len(groups)), dtype=bool)
    for k, group in enumerate(groups):
        if group:
            moved[..., k, :] = points[..., list(group), :].mean(axis=-2)
            seen[..., k] = visible[..., list(group)].all(axis=-1)
    return moved, seen


def _counterparts(source: Scheme, target: Scheme, eye_order: EyeOrder) -> list[Group]:
    """Return the source points of each target point, an empty group where there are none."""
    if source.name == target.name:
        return [(k,) for k in range(len(source.landmarks))]
    have, want = meanings(source, eye_order), meanings(target, eye_order)
    names: list[list[str]] = [[] for _ in target.landmarks]
    for name, group in want.items():
        if len(group) == 1:
            names[group[0]].append(name)
    return [next((have[name] for name in those if name in have), ()) for those in names]


def eye_sides(scheme: str | Scheme, eye_order: EyeOrder = "viewer") -> list[Literal["left", "right", ""]]:
    """Return, for each point of a scheme, which eye of the viewer's it belongs to; empty for all other points."""
    known = _resolved(scheme)
    sides: list[Literal["left", "right", ""]] = [""] * len(known.landmarks)
    for name, group in meanings(known, eye_order).items():
        for side in ("left", "right"):
            if name == f"{side}_eye" or name.startswith(f"{side}_eye_"):
                for k in group:
                    sides[k] = "left" if side == "left" else "right"
    return sides


def _resolved(scheme: str | Scheme) -> Scheme:
    return get_scheme(scheme) if isinstance(scheme, str) else scheme


def _check_count(points: NDArray[np.float32], scheme: Scheme) -> None:
    if points.shape[-2] != len(scheme.landmarks):
        raise ConfigError(f"{points.shape[-2]} points found: scheme '{scheme.name}' has {len(scheme.landmarks)}")
