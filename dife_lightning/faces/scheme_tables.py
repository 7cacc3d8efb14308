"""The landmark schemes as tables: the meaning of every point of every data set.

Point names use ``left`` and ``right`` in the scheme's own convention; mirror pairs are derived from the names. Points
of two schemes with the same name are the same part of the face. Points of contours that are sampled differently have
different names; ``aliases`` say which of them coincide.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Pairs = tuple[tuple[int, int], ...]
#: Points whose mean is meant; usually one point.
Group = tuple[int, ...]
#: For each landmark of a protocol, the scheme's points whose mean it is.
Members = tuple[Group, ...]
#: Whose left a name means: the viewer's, the face's own, or unknown (raw sets).
EyeConvention = Literal["image", "subject", "unknown"]


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
        flip_pairs: pairs of points that a flip exchanges; empty for raw sets, where they are unknown.
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


_SIDES = {"left": "right", "right": "left"}


def mirrored(name: str) -> str:
    """Return ``name`` with the words left and right exchanged."""
    return "_".join(_SIDES.get(word, word) for word in name.split("_"))


def pairs_by_name(names: Sequence[str]) -> Pairs:
    """Return the pairs of points whose names differ in left and right alone."""
    where = {name: k for k, name in enumerate(names)}
    return tuple((k, where[mirrored(name)]) for k, name in enumerate(names) if where.get(mirrored(name), -1) > k)


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
_THREE = ("left_eye", "right_eye", "nose")

PROTOCOLS: Mapping[str, Protocol] = {
    "9-point": Protocol("9-point", _NINE, pairs_by_name(_NINE)),
    "3-point": Protocol("3-point", _THREE, pairs_by_name(_THREE)),
}


def _contour(word: str, side: int) -> list[str]:
    """Name the points from the viewer's left ear over the chin to the right: ``side`` points, the chin, ``side``."""
    left, right = ([f"{word}_{hand}_{i}" for i in range(side)] for hand in ("left", "right"))
    return [*left, "chin", *reversed(right)]


def _sided(hand: str, *parts: str) -> list[str]:
    return [f"{hand}_{part}" for part in parts]


_BROW = ("brow_outer", "brow_1", "brow_middle", "brow_3", "brow_inner")
_NOSE = (
    *("nose_bridge_0", "nose_bridge_1", "nose_bridge_2", "nose"),
    *("left_nostril_outer", "left_nostril_inner", "nose_base", "right_nostril_inner", "right_nostril_outer"),
)
#: Outer lip, clockwise from the viewer's left corner, then the inner lip likewise.
_LIPS = (
    *("mouth_left", "left_lip_upper_0", "left_lip_upper_1", "lip_upper_outer", "right_lip_upper_1"),
    *("right_lip_upper_0", "mouth_right", "right_lip_lower_0", "right_lip_lower_1", "lip_lower_outer"),
    *("left_lip_lower_1", "left_lip_lower_0"),
    *("inner_mouth_left", "left_inner_lip_upper", "lip_upper", "right_inner_lip_upper", "inner_mouth_right"),
    *("right_inner_lip_lower", "lip_lower", "left_inner_lip_lower"),
)


def _eye_ring(hand: str, upper: Iterable[str], lower: Iterable[str]) -> list[str]:
    """Name a ring of lid points, clockwise; ``upper`` and ``lower`` run from the outer to the inner corner."""
    ring = ["eye_outer", *upper, "eye_inner", *reversed(list(lower))]
    if hand == "right":  # begins at the inner corner
        ring = ["eye_inner", *reversed(list(upper)), "eye_outer", *lower]
    return _sided(hand, *ring)


def _wflw() -> Scheme:
    # Lid points stand at quarters here and at thirds in 300-W: near each other, but not the same places.
    upper, lower = ([f"eye_{lid}_quarter_{i}" for i in (1, 2, 3)] for lid in ("upper", "lower"))
    under = [f"brow_lower_{i}" for i in range(4)]
    landmarks = (
        *_contour("contour", 16),
        *_sided("left", *_BROW, *reversed(under)),
        *_sided("right", *reversed(_BROW), *under),
        *_NOSE,
        *_eye_ring("left", upper, lower),
        *_eye_ring("right", upper, lower),
        *_LIPS,
        *("left_eye", "right_eye"),
    )
    nine = ((60,), (64,), (68,), (72,), (54,), (76,), (82,), (90,), (94,))
    maps = {"9-point": nine, "3-point": ((96,), (97,), (54,))}
    # Both contours divide the same line evenly, this one twice as finely.
    jaw = {f"jaw_left_{i}": (2 * i,) for i in range(8)} | {f"jaw_right_{i}": (32 - 2 * i,) for i in range(8)}
    return Scheme("wflw-98", landmarks, pairs_by_name(landmarks), "image", maps, jaw)


def _w300() -> Scheme:
    upper, lower = ([f"eye_{lid}_third_{i}" for i in (1, 2)] for lid in ("upper", "lower"))
    landmarks = (
        *_contour("jaw", 8),
        *_sided("left", *_BROW),
        *_sided("right", *reversed(_BROW)),
        *_NOSE,
        *_eye_ring("left", upper, lower),
        *_eye_ring("right", upper, lower),
        *_LIPS,
    )
    nine = ((36,), (39,), (42,), (45,), (30,), (48,), (54,), (62,), (66,))
    maps = {"9-point": nine, "3-point": (tuple(range(36, 42)), tuple(range(42, 48)), (30,))}
    return Scheme("300w-68", landmarks, pairs_by_name(landmarks), "image", maps)


def _aflw() -> Scheme:
    brow, eye = ("brow_outer", "brow_middle", "brow_inner"), ("eye_outer", "eye", "eye_inner")
    landmarks = (
        *_sided("left", *brow),
        *_sided("right", *reversed(brow)),
        *_sided("left", *eye),
        *_sided("right", *reversed(eye)),
        *("nose_left", "nose", "nose_right", "mouth_left", "mouth_middle", "mouth_right", "chin"),
    )
    return Scheme("aflw-19", landmarks, pairs_by_name(landmarks), "image", {"3-point": ((7,), (10,), (13,))})


def _five(name: str) -> Scheme:
    landmarks = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
    return Scheme(name, landmarks, pairs_by_name(landmarks), "image", {"3-point": ((0,), (1,), (2,))})


def _animalweb() -> Scheme:
    maps = {"9-point": tuple((k,) for k in range(9)), "3-point": ((0, 1), (2, 3), (4,))}
    return Scheme("animalweb-9", _NINE, pairs_by_name(_NINE), "image", maps)


def _ap10k() -> Scheme:
    landmarks = (
        *("left_eye", "right_eye", "nose", "neck", "root_of_tail"),
        *(f"{hand}_{part}" for hand in ("left", "right") for part in ("shoulder", "elbow", "front_paw")),
        *(f"{hand}_{part}" for hand in ("left", "right") for part in ("hip", "knee", "back_paw")),
    )
    # The animal's own left eye lies at the viewer's right in a face that looks at the camera.
    maps = {"3-point": ((1,), (0,), (2,))}
    aliases = {"tail_base": (4,), "left_front_elbow": (6,), "right_front_elbow": (9,)}
    return Scheme("ap10k-17", landmarks, pairs_by_name(landmarks), "subject", maps, aliases)


def _animalpose() -> Scheme:
    legs = (f"{end}_{part}" for part in ("elbow", "knee", "paw") for end in ("front", "back"))
    landmarks = (
        *("left_eye", "right_eye", "left_ear_base", "right_ear_base", "nose", "throat", "tail_base", "withers"),
        *(f"{hand}_{part}" for part in legs for hand in ("left", "right")),
    )
    maps = {"3-point": ((1,), (0,), (4,))}
    return Scheme("animalpose-20", landmarks, pairs_by_name(landmarks), "subject", maps)


def _raw(word: str, count: int) -> Scheme:
    """Return a set of which it is not documented what its points stand for: numbers, and no map."""
    return Scheme(f"{word}-{count}", tuple(f"{word}_{k}" for k in range(count)), (), "unknown", {})


SCHEMES: Mapping[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        _five("mafl-5"),
        _wflw(),
        _w300(),
        _aflw(),
        _ap10k(),
        _animalweb(),
        _five("horse-5"),
        _animalpose(),
        _raw("catflw", 48),
        _raw("dogflw", 46),
    )
}
