"""Sorts unlabelled faces into positives, semi-hard faces and hard negatives by two thresholds.

* hard negative: flip shift >= ``t_neg``. It is dropped.
* positive: human shift < ``t_pos``. It may become a label.
* semi-hard: all others. They are used without labels.

A face that is both is a **hard negative**, as in the published code, which removes hard negatives from the unlabelled
faces before it stores a label.

Reference: Meta-CSKT, ACM MM 2023: 0.2 and 0.05 on AnimalWeb, 0.2 and 0 (no positives) on Japanese macaques.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dife_lightning.errors import ConfigError, DataError
from dife_lightning.mining.shift_csv import match_shifts
from dife_lightning.utils.notes import many, note, some

#: A shift (0.2); a quantile of the shifts of the whole pool (``q0.9``: the value that 90 % are below); None for none.
Threshold = float | str | None


@dataclass(frozen=True)
class Mining:
    """The sorted pool.

    Attributes:
        positives: names of the faces that may become labels, in the order of the pool, as the others.
        semi_hard: names of the faces that are used without labels alone.
        hard_negatives: names of the faces that are dropped.
        t_neg: threshold of the flip shift as a number; None if no face was to be dropped.
        t_pos: threshold of the human shift as a number; None if there were to be no positives.
    """

    positives: tuple[str, ...]
    semi_hard: tuple[str, ...]
    hard_negatives: tuple[str, ...]
    t_neg: float | None
    t_pos: float | None

    @property
    def unlabelled(self) -> tuple[str, ...]:
        """Names of all faces that are used: positives, then semi-hard ones."""
        return self.positives + self.semi_hard

    @property
    def counts(self) -> dict[str, int]:
        """Number of faces of each kind."""
        kinds = ("positives", "semi_hard", "hard_negatives")
        return {kind: len(getattr(self, kind)) for kind in kinds}

    def facts(self) -> dict[str, Any]:
        """Return counts and thresholds as plain values, for the record of a result."""
        return {**self.counts, "t_neg": self.t_neg, "t_pos": self.t_pos}

    def __str__(self) -> str:
        positives, negatives = many(len(self.positives), "positive"), many(len(self.hard_negatives), "hard negative")
        neg, pos = ("none" if t is None else f"{t:.4g}" for t in (self.t_neg, self.t_pos))
        return f"{positives}, {len(self.semi_hard)} semi-hard, {negatives} (t_neg {neg}, t_pos {pos})"


def mine(
    names: Sequence[str],
    flip_shifts: Mapping[str, float] | None = None,
    human_shifts: Mapping[str, float] | None = None,
    *,
    t_neg: Threshold = 0.2,
    t_pos: Threshold = 0.05,
) -> Mining:
    """Sort the faces of a pool; shifts of other faces are ignored.

    Shifts are found by name, as :func:`~dife_lightning.mining.shift_csv.match_shifts` says. A note says where ``t_pos``
    takes no face, or every face that is left.

    Args:
        names: of the unlabelled faces.
        flip_shifts: name -> flip shift; needed unless ``t_neg`` is None.
        human_shifts: name -> human shift; needed unless ``t_pos`` is None.
        t_neg: faces with this flip shift or a larger one are dropped; None drops none.
        t_pos: faces with a smaller human shift are positives; None takes none.

    Raises:
        ConfigError: a threshold of another form, or one that drops every face.
        DataError: no face, a name that is listed twice, or a face without a shift that is needed.
    """
    _check_names(names)
    flip, human = _values(names, flip_shifts, t_neg, "flip"), _values(names, human_shifts, t_pos, "human")
    neg, pos = _number("t_neg", t_neg, flip), _number("t_pos", t_pos, human)
    hard = flip >= (math.inf if neg is None else neg)
    if hard.all():
        hint = "give more faces, or null" if isinstance(t_neg, str) else "give a larger one, such as q0.9"
        raise ConfigError(
            f"t_neg {t_neg} drops all {many(len(names), 'face')} (the smallest flip shift is {flip.min():.4g}); {hint}"
        )
    positive = ~hard & (human < (-math.inf if pos is None else pos))
    if pos is not None:
        _note_on_positives(t_pos, positive, hard, human)
    kinds = [np.flatnonzero(kind).tolist() for kind in (positive, ~hard & ~positive, hard)]
    positives, semi_hard, hard_negatives = (tuple(names[i] for i in kind) for kind in kinds)
    return Mining(positives, semi_hard, hard_negatives, neg, pos)


def _check_names(names: Sequence[str]) -> None:
    if not names:
        raise DataError("no unlabelled face: there is nothing to mine; give one or more")
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise DataError(f"{many(len(twice), 'unlabelled face')} listed twice: {some(twice)}; expected each once")


def _values(names: Sequence[str], shifts: Mapping[str, float] | None, threshold: Threshold, what: str) -> NDArray[Any]:
    """Return the shift (N,) of each face, zeros where there is no threshold; DataError for a face without one."""
    if threshold is None:
        return np.zeros(len(names))
    matched = match_shifts(names, shifts or {}, f"{what} shifts")
    found = np.array([matched.get(name, math.nan) for name in names], dtype=np.float64)
    lacking = [names[i] for i in np.flatnonzero(~(np.isfinite(found) & (found >= 0))).tolist()]
    if lacking:
        short = "t_neg" if what == "flip" else "t_pos"
        raise DataError(
            f"{many(len(lacking), 'unlabelled face')} of {len(names)} without {what} shift: {some(lacking)}; "
            f"compute it, remove them, or set {short} to null"
        )
    return found


def check_threshold(name: str, threshold: Threshold) -> None:
    """Raise ConfigError for a threshold of another form."""
    if threshold is None:
        return
    number, most = (_quantile(threshold), 1.0) if isinstance(threshold, str) else (threshold, 1e9)
    if not 0 <= number <= most:
        expected = "a number of at least 0, a quantile from q0 to q1 such as q0.2, or null"
        raise ConfigError(f"{name} is {threshold!r}; expected {expected}")


def _number(name: str, threshold: Threshold, shifts: NDArray[Any]) -> float | None:
    """Return a threshold as a number; quantiles are those of ``shifts`` (N,)."""
    check_threshold(name, threshold)
    if threshold is None:
        return None
    return float(np.quantile(shifts, _quantile(threshold))) if isinstance(threshold, str) else float(threshold)


def _quantile(text: str) -> float:
    """Return 0.2 for ``q0.2``, NaN for a text of another form."""
    try:
        return float(text[1:]) if text.startswith("q") else math.nan
    except ValueError:
        return math.nan


def _note_on_positives(t_pos: Threshold, positive: NDArray[Any], hard: NDArray[Any], human: NDArray[Any]) -> None:
    left = human[~hard]
    if not positive.any():
        note(f"t_pos {t_pos} takes no positive (the smallest human shift is {left.min():.4g}): no label is mined")
    elif positive.sum() == len(left):
        note(f"t_pos {t_pos} takes all {many(len(left), 'face')} that are left as positives: none is semi-hard")
