"""The points of a file of one's own: which scheme they have, and in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dife_lightning.datasets.parsing.table import Faults, check_count
from dife_lightning.errors import ConfigError, DataError, did_you_mean
from dife_lightning.faces.own_schemes import describe, find_scheme, scheme_from_names
from dife_lightning.faces.point_names import canonical, plain
from dife_lightning.faces.schemes import SCHEMES, Scheme
from dife_lightning.utils.notes import many, some

ValueT = TypeVar("ValueT", bound=np.generic)
#: Place of a point that the file does not have: :func:`in_order` reads a zero there.
_ABSENT = -1
#: Both coordinates of a point that is not there, in many tools.
_NOT_THERE = (0, -1, -9, -99, -999, -9999, -99999, -100, -1000, -10000)
#: A scheme as users give it: a name, a YAML file, a scheme; None or empty for the file's own points.
GivenScheme = str | Path | Scheme | None


def settle_scheme(
    where: object,
    given: GivenScheme,
    names: Sequence[str],
    count: int,
    faults: Faults,
    meaning: Mapping[str, Any] | None = None,
) -> tuple[Scheme, list[int]]:
    """Return the scheme of a file's points, and the place in the file of each of the scheme's points, for `in_order`.

    Args:
        where: the file, for messages.
        given: the scheme that the user gave, if any.
        names: of the file's points; empty if it does not name them.
        count: number of the file's points.
        faults: gets a note on whatever was guessed.
        meaning: ``left`` and ``same_as`` of the file's own names, as the user gave them; None where a reader has no
            such options.

    Raises:
        DataError: the file's points are not those of the scheme; see also ``find_scheme``.
        ConfigError: see ``find_scheme``, or a meaning of names that the file or a given scheme states otherwise.
    """
    scheme = find_scheme(given, names or None) if given else None
    if meaning and (scheme is not None or not names):
        why = f"scheme '{scheme.name}' states it" if scheme is not None else "the file does not name its points"
        raise ConfigError(
            f"{where}: {' and '.join(meaning)} given, but {why}; omit the option, or use the file's names"
        )
    if scheme is None:
        scheme = _own(given, names, count, faults, meaning)
        return scheme, list(range(count))
    if isinstance(given, str | Path) and str(given) not in SCHEMES:
        faults.say(describe(scheme))
    if not names:
        check_count(where, scheme, count)
        return scheme, list(range(count))
    return scheme, _places(where, scheme, names, faults)


def _own(
    given: GivenScheme, names: Sequence[str], count: int, faults: Faults, meaning: Mapping[str, Any] | None
) -> Scheme:
    """Return the scheme of the file's own points, by the name that the user gave."""
    name = str(given) if given else f"own-{count}"
    if given:
        faults.say(f"scheme '{name}' is not built in and no file; the file's own points are used. "
                   f"{did_you_mean(name, SCHEMES)}")  # fmt: skip
    if not names:
        alike = [f"--scheme {other.name}" for other in SCHEMES.values() if len(other.landmarks) == count]
        faults.say(f"the file does not name its {many(count, 'point')}: numbered, without mirror pairs; name them with "
                   f"{' or '.join([*alike, '--scheme FILE.yaml'])}")  # fmt: skip
        return Scheme(name, tuple(map(str, range(count))), (), "unknown", {})
    scheme = scheme_from_names(names, name, **(meaning or {}))
    hint = "" if meaning is None or "left" in meaning else "--left subject, or "
    faults.say(f"{describe(scheme)} (change it with {hint}--scheme FILE.yaml)")
    return scheme


def _places(where: object, scheme: Scheme, names: Sequence[str], faults: Faults) -> list[int]:
    """Return the place in the file of each of the scheme's points, by name."""
    found = match_names(scheme, names)
    used = set(found)
    others = [name for k, name in enumerate(names) if k not in used]
    if None not in found:
        if others:
            faults.say(f"passed over, since scheme '{scheme.name}' does not have them: {some(others)}")
        return [place for place in found if place is not None]
    if len(names) == len(scheme.landmarks) and all(place in (None, k) for k, place in enumerate(found)):
        faults.say(f"scheme '{scheme.name}' does not have {many(len(others), 'name')} of the file ({some(others)}); "
                   "these points are taken in the file's order")  # fmt: skip
        return list(range(len(names)))
    missing = [name for name, place in zip(scheme.landmarks, found, strict=True) if place is None]
    matched = len(scheme.landmarks) - len(missing)
    if matched > len(others) and not any(hint.startswith("Did") for hint in _hints(others, missing)):
        passed = f"; passed over, since the scheme does not have them: {some(others)}" if others else ""
        faults.say(f"{many(len(missing), 'point')} of scheme '{scheme.name}' not in the file, so not labelled: "
                   f"{some(missing)}{passed}")  # fmt: skip
        return [_ABSENT if place is None else place for place in found]
    if len(names) != len(scheme.landmarks) and not any(hint.startswith("Did") for hint in _hints(others, missing)):
        check_count(where, scheme, len(names))
    if others:
        hint = next(iter(_hints(others, missing)))
        raise DataError(f"{where}: scheme '{scheme.name}' has no point '{others[0]}'. {hint}")
    raise DataError(f"{where}: no point '{missing[0]}', which scheme '{scheme.name}' has; found: {', '.join(names)}.")


def in_order(values: NDArray[ValueT], order: Sequence[int], axis: int) -> NDArray[ValueT]:
    """Return a file's values along the axis of its points, in the scheme's order; 0 (False) for points it has not."""
    shape = list(values.shape)
    shape[axis] = 1
    return np.concatenate((values, np.zeros(shape, values.dtype)), axis).take(list(order), axis)


def _hints(others: Sequence[str], missing: Sequence[str]) -> list[str]:
    return [did_you_mean(name, missing) for name in others]


def match_names(scheme: Scheme, names: Sequence[str]) -> list[int | None]:
    """Return for each point of a scheme the place of its name among ``names``, None if it is not there.

    Names may differ in case, separators and the place of the side, where one alone fits.
    """
    found: list[int | None] = [None] * len(scheme.landmarks)
    for form in (str, plain, canonical):
        forms = [form(name) for name in names]
        wanted = [form(name) for name in scheme.landmarks]
        for k, name in enumerate(wanted):
            if found[k] is None and forms.count(name) == 1 and wanted.count(name) == 1:
                place = forms.index(name)
                found[k] = None if place in found else place
    return found


def without_zeros(
    points: NDArray[np.float64], visible: NDArray[np.bool_], keep: bool, faults: Faults
) -> NDArray[np.bool_]:
    """Return which points (N, K) are labelled: not those at exactly (0, 0), (-1, -1), (-99, -99), ..., unless ``keep``.

    Many tools write these for a point that is not there; a note says how many there are.
    """
    guessed = visible & (points[..., 0] == points[..., 1]) & np.isin(points[..., 0], _NOT_THERE)
    if keep or not guessed.any():
        return visible
    others = sorted({f"({value:g}, {value:g})" for value in points[guessed][:, 0].tolist()} - {"(0, 0)", "(-1, -1)"})
    places = ", ".join(["(0, 0) or (-1, -1)", *others])
    faults.say(f"{many(int(guessed.sum()), 'point')} at exactly {places} count as not labelled "
               "(--keep-zeros true keeps them)")  # fmt: skip
    return visible & ~guessed
