"""Landmark schemes and protocols, as they are written in ``schemes.yaml``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from dife_lightning.faces.point_names import parts

Pairs = tuple[tuple[int, int], ...]
#: Points whose mean is meant; usually one point.
Group = tuple[int, ...]
#: For each landmark of a protocol, the scheme's points whose mean it is.
Members = tuple[Group, ...]
#: Whose left a name means: the viewer's, the face's own, or unknown (raw sets).
EyeConvention = Literal["image", "subject", "unknown"]

_SIDES = {"left": "right", "right": "left"}


@dataclass(frozen=True)
class Protocol:
    """A set of landmarks on which errors are reported; left and right are the viewer's."""

    name: str
    landmarks: tuple[str, ...]
    flip_pairs: Pairs


@dataclass(frozen=True)
class Scheme:
    """One data set's landmarks.

    Attributes:
        name: of the scheme.
        landmarks: one name per point.
        flip_pairs: pairs of points that a flip exchanges; empty where they are unknown.
        eye_convention: whose left the names mean: the viewer's (``image``) or the face's own (``subject``).
        maps: for each protocol that the scheme has, the member points of each landmark, always in the **viewer's**
            order.
        aliases: further names of points or of means of points, in the scheme's own convention.
    """

    name: str
    landmarks: tuple[str, ...]
    flip_pairs: Pairs
    eye_convention: EyeConvention
    maps: Mapping[str, Members]
    aliases: Mapping[str, Group] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


def mirrored(name: str) -> str:
    """Return ``name`` with left and right exchanged: ``right_eye`` for ``left_eye``, ``eye_l`` and ``EyeL``."""
    words = name.split("_")
    side, rest = parts(name)
    if side and not _SIDES.keys() & set(words):
        return "_".join((_SIDES[side], *rest))
    return "_".join(_SIDES.get(word, word) for word in words)


def pairs_by_name(names: Sequence[str]) -> Pairs:
    """Return the pairs of points whose names differ in left and right alone."""
    where = {name: k for k, name in enumerate(names)}
    return tuple((k, where[mirrored(name)]) for k, name in enumerate(names) if where.get(mirrored(name), -1) > k)


def scheme_from(name: str, entry: Mapping[str, Any]) -> Scheme:
    """Return the scheme of one entry of ``schemes.yaml``."""
    landmarks = entry["landmarks"]
    if isinstance(landmarks, int):
        landmarks = [f"{name.rpartition('-')[0]}_{k}" for k in range(landmarks)]
    maps = {protocol: tuple(map(_group, members)) for protocol, members in entry.get("maps", {}).items()}
    aliases = {alias: _group(points) for alias, points in entry.get("aliases", {}).items()}
    pairs = tuple((a, b) for a, b in entry["mirror"]) if "mirror" in entry else pairs_by_name(landmarks)
    return Scheme(name, tuple(landmarks), pairs, entry["eyes"], maps, aliases)


def _group(points: int | list[int]) -> Group:
    return tuple(points) if isinstance(points, list) else (points,)


_tables = yaml.safe_load(Path(__file__).with_name("schemes.yaml").read_text(encoding="utf-8"))

PROTOCOLS: Mapping[str, Protocol] = {
    name: Protocol(name, tuple(landmarks), pairs_by_name(landmarks)) for name, landmarks in _tables["protocols"].items()
}
SCHEMES: Mapping[str, Scheme] = {name: scheme_from(name, entry) for name, entry in _tables["schemes"].items()}
