"""Landmark schemes of one's own: from a list of names, or from a small YAML file.

.. code-block:: yaml

    names: [eye_l, eye_r, snout, chin]   # in the order of the points; left out: the names of the annotation file
    mirror: [[eye_l, eye_r]]             # pairs that a mirrored face exchanges; left out: found from the names
    left: subject                        # whose left the names mean: viewer, or subject (the face's own)
    same_as: {snout: nose}               # the same point in the words of other schemes, or as `scheme.point`
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from dife_lightning.errors import ConfigError, DataError, did_you_mean
from dife_lightning.faces.point_names import canonical, mirror_pairs, sides_without_partner
from dife_lightning.faces.scheme_tables import PROTOCOLS, SCHEMES, EyeConvention, Group, Members, Scheme, mirrored
from dife_lightning.utils.notes import many

#: Whose left the names of a scheme mean.
Left = Literal["viewer", "subject"]
_CONVENTIONS: Mapping[str, EyeConvention] = {"viewer": "image", "subject": "subject"}
_KEYS = ("names", "mirror", "left", "same_as")


def scheme_from_names(
    names: Sequence[str],
    name: str = "own",
    *,
    mirror: Iterable[Sequence[str]] | None = None,
    left: Left = "viewer",
    same_as: Mapping[str, str] | None = None,
) -> Scheme:
    """Return the scheme of landmarks with these names.

    Example:
        >>> scheme_from_names(["eye_l", "eye_r", "nose"]).flip_pairs
        ((0, 1),)

    A name that differs from one of the built-in schemes in case, separators or the place of the side alone means the
    same point: ``eye_l`` is ``left_eye``. With two eyes and a nose the scheme has the protocol ``3-point``.

    Args:
        names: of the points, in their order.
        name: of the scheme, for messages and results.
        mirror: pairs of names that a mirrored face exchanges; None to find them by left/right and l/r in the names.
        left: whose left the names mean: the viewer's, or the face's own (``subject``).
        same_as: name of a point -> the same point's name in other schemes, or ``scheme.point``.

    Raises:
        ConfigError: no names, a repeated one, an unknown name in ``mirror`` or ``same_as``, or another ``left``.
    """
    names, convention = [str(one) for one in names], _CONVENTIONS.get(left)
    if convention is None:
        raise ConfigError(f"scheme '{name}': left is '{left}', expected {' or '.join(get_args(Left))}.")
    if not names or len(set(names)) < len(names):
        twice = next((one for one in names if names.count(one) > 1), "")
        found = f"'{twice}' is listed twice" if names else "there are no names"
        raise ConfigError(f"scheme '{name}': {found}, expected one name for each point.")
    given = {_known(name, point, names): str(other) for point, other in (same_as or {}).items()}
    pairs = mirror_pairs(names) if mirror is None else _given_pairs(name, mirror, names)
    aliases = _aliases(name, names, given, convention)
    return Scheme(name, tuple(names), pairs, convention, _maps(names, aliases, convention), aliases)


def landmark_scheme(landmarks: str | Sequence[str], left: Left = "viewer") -> Scheme:
    """Return a built-in scheme by its name, or the scheme of points with these names.

    Args:
        landmarks: name of the scheme, or names of points.
        left: whose left such names mean.

    Raises:
        ConfigError: an unknown scheme, no names, or a repeated one.
    """
    if not isinstance(landmarks, str):
        return scheme_from_names(landmarks, "named", left=left)
    if landmarks not in SCHEMES:
        raise ConfigError(f"unknown landmark scheme '{landmarks}'. {did_you_mean(landmarks, SCHEMES)}")
    return SCHEMES[landmarks]


def read_scheme(path: str | Path, names: Sequence[str] | None = None) -> Scheme:
    """Read a scheme from a YAML file of the form above; its name is the file's stem.

    Args:
        path: of the file.
        names: of the points, for a file without ``names``.

    Raises:
        DataError: there is no such file, or it is not such a file.
        ConfigError: see :func:`scheme_from_names`.
    """
    path = Path(os.path.expanduser(path))
    try:
        content = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=yaml.BaseLoader)  # keeps all values as text
    except FileNotFoundError:
        raise DataError(f"no scheme file {path}. Check the path, or give one of: {', '.join(SCHEMES)}.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path} is no YAML file ({(str(error).splitlines() or [''])[0]}).") from None
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a scheme with the keys {', '.join(_KEYS)}.")
    for key in content:
        if key not in _KEYS:
            raise ConfigError(f"{path}: unknown key '{key}'. {did_you_mean(key, _KEYS)}")
    named = content.get("names", names)
    if named is None:
        raise ConfigError(f"{path} has no names, and the annotations have none either: add names: [...].")
    if not isinstance(named, Sequence) or isinstance(named, str) or not all(isinstance(one, str) for one in named):
        raise DataError(f"{path}: names is no list of names.")
    if not isinstance(content.get("same_as", {}), dict):
        raise DataError(f"{path}: same_as is no mapping; write same_as: {{snout: nose}}.")
    arguments: dict[str, Any] = {key: content[key] for key in _KEYS[1:] if key in content}
    return scheme_from_names(list(named), path.stem, **arguments)


def find_scheme(given: str | Path | Scheme, names: Sequence[str] | None = None) -> Scheme | None:
    """Return the scheme that a user gave by name or by file; None for the name of no built-in scheme.

    ``names`` are the points' names in the annotation file, for a scheme file that has none. Raises what
    :func:`read_scheme` does for what looks like a file: a path, or a name that ends in ``.yaml`` or ``.yml``.
    """
    if isinstance(given, Scheme):
        return given
    text = str(given)
    if text in SCHEMES:
        return SCHEMES[text]
    looks = text.lower().endswith((".yaml", ".yml")) or os.sep in text or "/" in text
    return read_scheme(text, names) if looks else None


def describe(scheme: Scheme) -> str:
    """Return one line for the user on what was found from the names of a scheme."""
    pairs = [f"{scheme.landmarks[a]}/{scheme.landmarks[b]}" for a, b in scheme.flip_pairs]
    shown = ", ".join(pairs[:6]) + (f" and {len(pairs) - 6} more" if len(pairs) > 6 else "")
    text = f"scheme '{scheme.name}', {many(len(scheme.landmarks), 'point')}; mirror pairs: {shown or 'none'}"
    alone = sides_without_partner(scheme.landmarks, scheme.flip_pairs)
    if alone:
        text += f" (without a partner: {', '.join(alone[:6])}{', ...' if len(alone) > 6 else ''})"
    whose = "the viewer's" if scheme.eye_convention == "image" else "the face's own"
    return text + (f"; left is taken as {whose}" if pairs or alone else "")


@cache
def _shared() -> Mapping[str, str]:
    """Map the canonical form of every name that built-in schemes and protocols use to that name."""
    names = [name for scheme in SCHEMES.values() if scheme.maps for name in (*scheme.landmarks, *scheme.aliases)]
    names += [name for protocol in PROTOCOLS.values() for name in protocol.landmarks]
    return {canonical(name): name for name in names}


def _aliases(scheme: str, names: Sequence[str], given: Mapping[str, str], left: EyeConvention) -> dict[str, Group]:
    """Return further names of the points: their canonical forms, those of built-in schemes, and those given."""
    found: dict[str, Group] = {}
    for k, one in enumerate(names):
        if one in given:
            found[_translated(scheme, given[one], left)] = (k,)
    for k, one in enumerate(names):
        form = canonical(one)
        for other in (form, _shared().get(form, form)):
            found.setdefault(other, (k,))
    return {other: group for other, group in found.items() if other and other not in names}


def _translated(scheme: str, point: str, left: EyeConvention) -> str:
    """Return a point of ``same_as`` in the words of the built-in schemes and in this scheme's own left."""
    owner, dot, name = point.partition(".")
    if not dot or owner not in SCHEMES:
        return _shared().get(canonical(point), canonical(point))
    if name not in SCHEMES[owner].landmarks:
        hint = did_you_mean(name, SCHEMES[owner].landmarks)
        raise ConfigError(f"scheme '{scheme}': same_as: '{owner}' has no point '{name}'. {hint}")
    return name if SCHEMES[owner].eye_convention == left else mirrored(name)


def _maps(names: Sequence[str], aliases: Mapping[str, Group], left: EyeConvention) -> dict[str, Members]:
    """Return the protocols of which the scheme has every point, in the viewer's order."""
    where: dict[str, Group] = {**aliases, **{name: (k,) for k, name in enumerate(names)}}
    say = mirrored if left == "subject" else str
    found = {}
    for protocol in PROTOCOLS.values():
        wanted = [say(name) for name in protocol.landmarks]
        if all(name in where for name in wanted):
            found[protocol.name] = tuple(where[name] for name in wanted)
    return found


def _given_pairs(scheme: str, pairs: Iterable[Sequence[str]], names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    found = []
    for pair in pairs:
        if isinstance(pair, str) or len(pair) != 2:
            raise ConfigError(f"scheme '{scheme}': mirror has {pair}, expected pairs of names: [[eye_l, eye_r]].")
        a, b = (names.index(_known(scheme, one, names)) for one in pair)
        found.append((min(a, b), max(a, b)))
    used = [k for pair in found for k in pair]
    if len(set(used)) < len(used):
        twice = next(names[k] for k in used if used.count(k) > 1)
        raise ConfigError(f"scheme '{scheme}': '{twice}' is in mirror twice, expected at most one partner.")
    return tuple(sorted(found))


def _known(scheme: str, point: str, names: Sequence[str]) -> str:
    if point not in names:
        raise ConfigError(f"scheme '{scheme}' has no point '{point}'. {did_you_mean(str(point), names)}")
    return point
