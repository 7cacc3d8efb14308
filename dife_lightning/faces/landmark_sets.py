"""Sets of landmarks that a user asks for: all points, a protocol, points by name, or those that schemes share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dife_lightning.errors import ConfigError, did_you_mean
from dife_lightning.faces.point_names import canonical, mirror_pairs, plain
from dife_lightning.faces.scheme_tables import PROTOCOLS, Group, Members, Protocol, Scheme, mirrored
from dife_lightning.faces.schemes import EyeOrder, check_points, get_scheme, meanings, means, protocol_members

#: The landmark set of all points of a scheme.
ALL_POINTS = "all"
#: The points that schemes share by name or by ``same_as``; see :func:`shared_points`.
COMMON = "common"


def landmark_set(scheme: str | Scheme, landmarks: str) -> tuple[tuple[str, ...], Members]:
    """Return the names of a landmark set, and the scheme's points whose mean each of them is.

    Args:
        scheme: name of the scheme, or the scheme.
        landmarks: ``all`` points of the scheme, a protocol, or names of its points separated by commas; case and
            separators in these are free.

    Raises:
        ConfigError: unknown scheme, protocol or point, or a scheme without that protocol.
    """
    known = get_scheme(scheme)
    if landmarks == ALL_POINTS:
        return known.landmarks, tuple((k,) for k in range(len(known.landmarks)))
    if landmarks in PROTOCOLS:
        return PROTOCOLS[landmarks].landmarks, protocol_members(known, landmarks)
    points: dict[str, Group] = {plain(name): (k,) for k, name in enumerate(known.landmarks)}
    points = {plain(name): group for name, group in known.aliases.items()} | points
    names = tuple(name.strip() for name in landmarks.split(",") if name.strip())
    for name in names:
        if plain(name) not in points:
            hint = did_you_mean(name, known.landmarks if len(names) > 1 else (*PROTOCOLS, ALL_POINTS, *known.landmarks))
            raise ConfigError(f"unknown landmarks: scheme '{known.name}' has no point '{name}'. {hint}")
    if not names or len({plain(name) for name in names}) < len(names):
        raise ConfigError(f"landmarks '{landmarks}': expected names of points, each once, separated by commas")
    return names, tuple(points[plain(name)] for name in names)


def set_points(
    points: NDArray[np.float32], visible: NDArray[np.bool_], scheme: str | Scheme, landmarks: str
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the points (..., P, 2) and visibility (..., P) of a landmark set; see :func:`landmark_set`.

    ConfigError for another number of points than the scheme has.
    """
    known = get_scheme(scheme)
    members = landmark_set(known, landmarks)[1]
    check_points(points, known)
    return means(points, visible, members)


def shared_points(
    schemes: Sequence[str | Scheme], landmarks: str = COMMON, eye_order: EyeOrder = "viewer"
) -> tuple[Protocol, list[tuple[int, ...]]]:
    """Return the protocol of the points that all schemes share by name or by ``same_as``, and its points in each.

    Names are those of the first scheme, with the viewer's left and right; means of several points are not shared.

    Args:
        schemes: names of the schemes, or the schemes.
        landmarks: ``common`` for all such points, or names of points separated by commas.
        eye_order: ``stored`` takes the schemes' left as the viewer's.

    Raises:
        ConfigError: unknown schemes, no shared point, or a named one that a scheme does not have.
    """
    known = [get_scheme(scheme) for scheme in schemes]
    tables = [_by_meaning(scheme, eye_order) for scheme in known]
    shared = [key for key in tables[0] if all(key in table for table in tables)]
    if landmarks == COMMON:
        keys = [key for k, key in enumerate(shared) if tables[0][key] not in [tables[0][one] for one in shared[:k]]]
        first = known[0]
        say = mirrored if first.eye_convention == "subject" and eye_order == "viewer" else str
        names = tuple(say(first.landmarks[tables[0][key]]) for key in keys)
    else:
        names = tuple(name.strip() for name in landmarks.split(",") if name.strip())
        keys = [canonical(name) for name in names]
        for name, key in zip(names, keys, strict=True):
            if key not in shared:
                lacking = next(s for s, table in zip(known, tables, strict=True) if key not in table)
                raise ConfigError(f"scheme '{lacking.name}' has no point '{name}'. {did_you_mean(key, shared)}")
    if not keys:
        told = ", ".join(f"'{scheme.name}'" for scheme in known)
        raise ConfigError(f"schemes {told} have no point in common; name the same points alike, or say so with same_as")
    protocol = Protocol(COMMON if landmarks == COMMON else "named", names, mirror_pairs(names))
    return protocol, [tuple(table[key] for key in keys) for table in tables]


def _by_meaning(scheme: Scheme, eye_order: EyeOrder) -> dict[str, int]:
    """Return canonical name -> point of a scheme, in the order of its points; names use the viewer's left."""
    found: dict[str, int] = {}
    for name, group in sorted(meanings(scheme, eye_order).items(), key=lambda item: item[1]):
        if len(group) == 1:
            found.setdefault(canonical(name), group[0])
    return found


def common_protocols(schemes: tuple[Scheme, Scheme], wanted: Sequence[str] | None) -> tuple[str, ...]:
    """Return the built-in protocols that two schemes both have, of those that are ``wanted`` (None for all).

    ConfigError if there is none, or a wanted one is not among them.
    """
    common = [name for name in schemes[0].maps if name in schemes[1].maps]
    names = " and ".join(f"'{scheme.name}'" for scheme in schemes)
    if not common:
        raise ConfigError(
            f"schemes {names} have no protocol in common: their faces cannot be scored against each other"
        )
    for name in wanted or ():
        if name not in common:
            raise ConfigError(f"schemes {names} do not both have {name}; they share {', '.join(common)}")
    return tuple(name for name in common if wanted is None or name in wanted)
