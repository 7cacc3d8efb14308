"""The traits of an individual: the schema that every species table fills.

A ``float`` trait is a number or a range ``[low, high]`` in the table; a ``str`` trait is a table of weights
(``{pointed: 3, floppy: 1}``); a ``Color`` trait is a list of hex colours; a ``Palette`` trait is a list of hex colour
triples. Lengths are in units of the face plane, where a head is about 2 high.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    """Place, form and colour of the eyes; ``tilt`` in degrees, outer corners up."""

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
    """Nose tip, its relief and its painted form."""

    height: float
    width: float
    size: float
    bump: float
    bridge: float
    shape: str
    color: Color


@dataclass(frozen=True)
class Muzzle:
    """The snout: how far and how broadly the lower face stands out."""

    length: float
    width: float
    height: float
    center: float


@dataclass(frozen=True)
class Mouth:
    """Mouth of ``width`` (half) at ``height``; ``gap`` between closed lips, ``drop`` of the jaw when wide open."""

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
    """Ears on the outline at ``angle`` degrees from the top, pointing to ``lean`` degrees."""

    shape: str
    angle: float
    lean: float
    length: float
    width: float
    lift: float
    inner_color: Color


@dataclass(frozen=True)
class Coat:
    """Skin or fur: palette (base, second, light), streaks and markings (strengths 0 to 1, below 0.3 is none)."""

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
    """Hair of the head, brows, beard, and glasses (strengths 0 to 1)."""

    style: str
    color: Color
    volume: float
    brows: float
    beard: float
    glasses: float


@dataclass(frozen=True)
class Scene:
    """What is behind the head."""

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


SECTIONS: dict[str, type] = {
    "head": Head,
    "eyes": Eyes,
    "nose": Nose,
    "muzzle": Muzzle,
    "mouth": Mouth,
    "ears": Ears,
    "coat": Coat,
    "hair": Hair,
    "scene": Scene,
}
