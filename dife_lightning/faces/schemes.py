"""Landmark schemes of data sets, and their conversion to the shared protocols.

A scheme is the numbering of points in one data set. A protocol is a landmark set that we report: ``9-point`` (eye
corners, nose, mouth) and ``3-point`` (eyes, nose). Protocols name sides as the **viewer** sees them, and each scheme
maps its points to them, so a scheme that names the animal's own left eye is remapped here and nowhere else. A new data
set adds its scheme to ``schemes.yaml``.

Published numbers may have been made without this remapping (point k of one data set against point k of the other).
``eye_order="stored"`` reproduces that, for comparison; results record it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from dife_lightning.errors import ConfigError, did_you_mean
from dife_lightning.faces.scheme_tables import PROTOCOLS as PROTOCOLS
from dife_lightning.faces.scheme_tables import SCHEMES as SCHEMES
from dife_lightning.faces.scheme_tables import Group, Members, Pairs, mirrored
from dife_lightning.faces.scheme_tables import Protocol as Protocol
from dife_lightning.faces.scheme_tables import Scheme as Scheme

#: ``viewer``: schemes that name the face's own left are remapped. ``stored``: they are not.
EyeOrder = Literal["viewer", "stored"]


def _layout() -> dict[str, slice]:
    slices, start = {}, 0
    for name, protocol in PROTOCOLS.items():
        slices[name] = slice(start, start + len(protocol.landmarks))
        start += len(protocol.landmarks)
    return slices


#: Slice of each protocol in the points of a batch of pairs: the 9-point ones first, then the 3-point ones.
LAYOUT: Mapping[str, slice] = _layout()
#: Points in that layout, all protocols together.
LAYOUT_POINTS = sum(len(protocol.landmarks) for protocol in PROTOCOLS.values())


def get_scheme(name: str | Scheme) -> Scheme:
    """Return the built-in scheme ``name``, or a scheme as it is; ConfigError for an unknown name."""
    if isinstance(name, Scheme):
        return name
    if name not in SCHEMES:
        raise ConfigError(f"unknown landmark scheme '{name}'. {did_you_mean(name, SCHEMES)}")
    return SCHEMES[name]


def get_protocol(name: str | Protocol) -> Protocol:
    """Return the built-in protocol ``name``, or a protocol as it is; ConfigError for an unknown name."""
    if isinstance(name, Protocol):
        return name
    if name not in PROTOCOLS:
        raise ConfigError(f"unknown protocol '{name}'. {did_you_mean(name, PROTOCOLS)}")
    return PROTOCOLS[name]


def layout_part(protocol: str | Protocol) -> slice:
    """Return the slice of a protocol in the points of a batch: one that is not built in comes after all others."""
    known = get_protocol(protocol)
    return LAYOUT.get(known.name, slice(LAYOUT_POINTS, LAYOUT_POINTS + len(known.landmarks)))


def check_eye_order(eye_order: str) -> None:
    """Raise ConfigError unless ``eye_order`` is one of the two."""
    if eye_order not in get_args(EyeOrder):
        raise ConfigError(f"unknown eye order '{eye_order}'. {did_you_mean(eye_order, get_args(EyeOrder))}")


def flip_permutation(count: int, pairs: Pairs) -> NDArray[np.int64]:
    """Return the order (count,) of a mirrored face's points: each pair exchanged."""
    order = np.arange(count)
    for a, b in pairs:
        order[a], order[b] = b, a
    return order


def protocol_members(scheme: str | Scheme, protocol: str, eye_order: EyeOrder = "viewer") -> Members:
    """Return the scheme's points for each landmark of ``protocol``; the landmark is their mean.

    ConfigError for an unknown scheme, protocol or eye order, or a scheme without that protocol.
    """
    known, wanted = get_scheme(scheme), get_protocol(protocol)
    check_eye_order(eye_order)
    if not known.maps:
        raise ConfigError(
            f"scheme '{known.name}' is a raw set: the meaning of its points is unknown, so it has no protocol such as "
            f"{protocol}. Use only its own points"
        )
    if protocol not in known.maps:
        raise ConfigError(f"scheme '{known.name}' has no {protocol} map; it has {', '.join(known.maps)}")
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
    """Convert a scheme's points to a protocol's.

    Args:
        points: (..., K, 2), x then y, pixels of any image.
        visible: (..., K).
        scheme: name of the scheme, or the scheme.
        protocol: ``9-point`` or ``3-point``.
        eye_order: ``viewer``, or ``stored`` to take the scheme's left as the viewer's.

    Returns:
        Points (..., P, 2) float32 in the same pixels, and visibility (..., P): a mean is visible if all its members
        are. Invisible landmarks have undefined coordinates.

    Raises:
        ConfigError: unknown scheme or protocol, a scheme without that protocol, or another number of points.
    """
    known = get_scheme(scheme)
    members = protocol_members(known, protocol, eye_order)
    check_points(points, known)
    return means(points, visible, members)


def means(
    points: NDArray[np.float32], visible: NDArray[np.bool_], groups: Sequence[Group]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the mean of each group's points, and whether all of them are visible; an empty group gives 0 and False."""
    if all(len(group) == 1 for group in groups):  # same result as below, much faster
        alone = [group[0] for group in groups]
        return points[..., alone, :].astype(np.float32), visible[..., alone]
    means = np.zeros((*points.shape[:-2], len(groups), 2), dtype=np.float32)
    seen = np.zeros((*points.shape[:-2], len(groups)), dtype=bool)
    for k, group in enumerate(groups):
        if group:
            means[..., k, :] = points[..., list(group), :].mean(axis=-2)
            seen[..., k] = visible[..., list(group)].all(axis=-1)
    return means, seen


def to_layout(
    points: NDArray[np.float32],
    visible: NDArray[np.bool_],
    scheme: str | Scheme,
    eye_order: EyeOrder = "viewer",
    own: Sequence[int] = (),
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return all protocols' points (..., P, 2) and visibility (..., P) in ``LAYOUT``, and then the points ``own``.

    A protocol that the scheme does not have is filled with zeros and is not visible.
    """
    known = get_scheme(scheme)
    all_points = np.zeros((*points.shape[:-2], LAYOUT_POINTS, 2), dtype=np.float32)
    all_visible = np.zeros((*points.shape[:-2], LAYOUT_POINTS), dtype=bool)
    for protocol in known.maps:
        where = LAYOUT[protocol]
        mapped = to_protocol(points, visible, known, protocol, eye_order)
        all_points[..., where, :], all_visible[..., where] = mapped
    if own:
        all_points = np.concatenate((all_points, points[..., list(own), :].astype(np.float32)), axis=-2)
        all_visible = np.concatenate((all_visible, visible[..., list(own)]), axis=-1)
    return all_points, all_visible


def meanings(scheme: str | Scheme, eye_order: EyeOrder = "viewer") -> dict[str, Group]:
    """Return name -> points (whose mean is meant) of a scheme; names use the viewer's left and right."""
    known = get_scheme(scheme)
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
    """Convert points from one scheme to another, wherever both name the same part of the face.

    ``points`` (..., K, 2) and ``visible`` (..., K) of the scheme ``source`` become (..., L, 2) float32 and (..., L) of
    ``target``; see :func:`to_protocol` for ``eye_order``. Points that the source does not have are zero and not
    visible; the mean of several source points is visible if all of them are. ConfigError for an unknown scheme or eye
    order, another number of points, or two schemes without a common point.
    """
    known, wanted = get_scheme(source), get_scheme(target)
    check_eye_order(eye_order)
    check_points(points, known)
    groups = _counterparts(known, wanted, eye_order)
    if not any(groups):
        raise ConfigError(f"'{wanted.name}' and '{known.name}' have no known point in common")
    return means(points, visible, groups)


def _counterparts(source: Scheme, target: Scheme, eye_order: EyeOrder) -> list[Group]:
    """Return the source points of each target point; an empty group if there are none."""
    if source == target:  # two schemes of one's own may have the same name
        return [(k,) for k in range(len(source.landmarks))]
    have, want = meanings(source, eye_order), meanings(target, eye_order)
    names: list[list[str]] = [[] for _ in target.landmarks]
    for name, group in want.items():
        if len(group) == 1:
            names[group[0]].append(name)
    return [next((have[name] for name in those if name in have), ()) for those in names]


def eye_sides(scheme: str | Scheme, eye_order: EyeOrder = "viewer") -> list[str]:
    """Return for each point the eye it belongs to, as the viewer sees it: ``left``, ``right``, or empty for others."""
    known = get_scheme(scheme)
    sides = [""] * len(known.landmarks)
    for name, group in meanings(known, eye_order).items():
        if f"{name}_".startswith(("left_eye_", "right_eye_")):
            for k in group:
                sides[k] = name.partition("_")[0]
    return sides


def check_points(points: NDArray[np.float32], scheme: Scheme) -> None:
    """Raise ConfigError if there is another number of points (..., K, 2) than the scheme has."""
    if points.shape[-2] != len(scheme.landmarks):
        raise ConfigError(f"{points.shape[-2]} points found: scheme '{scheme.name}' has {len(scheme.landmarks)}")
