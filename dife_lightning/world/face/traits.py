"""The traits of an individual, which are the schema of the species tables.

In a table, a ``float`` trait is a number or a range ``[low, high]``, a ``str`` trait a table of weights
(``{pointed: 3, floppy: 1}``), a ``Color`` trait a list of hex colours, a ``Palette`` trait a list of triples of them.
Lengths are in units of the face plane, where a head is about 2 high.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_type_hints

Color = tuple[float, float, float]
Palette = tuple[Color, Color, Color]

#: The values that a ``str`` trait may take, by trait name.
CHOICES: dict[str, tuple[str, ...]] = {
    "ears.shape": ("pointed", "round", "floppy", "side"),
    "nose.shape": ("human", "triangle", "pad"),
    "hair.style": ("none", "buzz", "short", "fringe", "long", "curly", "mane"),
    "coat.pattern": ("plain", "patches", "stripes", "tabby", "rosettes"),
    "scene.clutter": ("indoor", "foliage", "open"),
}


@dataclass(frozen=True)
class Head:
    """Outline and dome of the head."""

    width: float
    top: float
    bottom: float
    taper: float
    cheek: float
    depth: float
    brow: float
    socket: float


@dataclass(frozen=True)
class Eyes:
    """Position, shape and colour of the eyes; ``tilt`` in degrees, positive lifts the outer corners."""

    distance: float
    height: float
    width: float
    opening: float
    tilt: float
    iris: float
    pupil: float
    slit: float
    rim: float
    iris_color: Color
    sclera_color: Color


@dataclass(frozen=True)
class Nose:
    """Nose tip, its relief and its painted shape."""

    height: float
    width: float
    size: float
    bump: float
    bridge: float
    shape: str
    color: Color


@dataclass(frozen=True)
class Muzzle:
    """The snout: length, width and height of the protruding lower face."""

    length: float
    width: float
    height: float
    center: float


@dataclass(frozen=True)
class Mouth:
    """Mouth of half width ``width``; ``gap`` of the closed lips; ``drop`` of the jaw when wide open."""

    height: float
    width: float
    upper: float
    gap: float
    drop: float
    lobes: float
    lips: float
    openness: float
    lip_color: Color


@dataclass(frozen=True)
class Ears:
    """Ears: position ``angle`` on the outline and direction ``lean``, both in degrees from the top."""

    shape: str
    angle: float
    lean: float
    length: float
    width: float
    lift: float
    inner_color: Color


@dataclass(frozen=True)
class Coat:
    """Skin or fur: palette (base, second, light), and strengths of fur and markings (0 to 1; below 0.3 means none)."""

    palette: Palette
    fur: float
    fringe: float
    pattern: str
    blaze: float
    mask: float
    muzzle_patch: float
    cheek_patch: float
    tear_lines: float
    dark_ears: float


@dataclass(frozen=True)
class Hair:
    """Hair, and strengths (0 to 1) of brows, beard and glasses."""

    style: str
    color: Color
    volume: float
    brows: float
    beard: float
    glasses: float


@dataclass(frozen=True)
class Scene:
    """Background."""

    palette: Palette
    clutter: str


@dataclass(frozen=True)
class Traits:
    """All traits of one individual."""

    head: Head
    eyes: Eyes
    nose: Nose
    muzzle: Muzzle
    mouth: Mouth
    ears: Ears
    coat: Coat
    hair: Hair
    scene: Scene


#: Section of a species table -> its traits.
SECTIONS: dict[str, type] = get_type_hints(Traits)
