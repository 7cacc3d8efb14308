"""Errors of single faces: read from the predictions of tests, averaged over seeds, compared face by face."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dife_lightning.errors import DataError
from dife_lightning.metrics.bootstrap import percentiles

Interval = tuple[float, float]
RESAMPLES, SEED = 2000, 0
_SIDES = ("left", "right")


@dataclass(frozen=True, eq=False)
class NmeTable:
    """Errors of N faces.

    Attributes:
        nme: in percent of the face's length.
        units: what each face is drawn by: its animal or person, or itself.
        interocular: in percent of the distance of the eyes' centres; NaN for a face without both.
    """

    nme: NDArray[np.float64]
    units: tuple[str, ...]
    interocular: NDArray[np.float64]

    def mean(self) -> float:
        """Return the mean over the faces."""
        return float(self.nme.mean())

    def interval(self) -> Interval:
        """Return its 95 % bootstrap interval over the units."""
        return _interval(self.nme, self.units)

    def encoded(self) -> dict[str, Any]:
        """Return it as plain values, for a record."""
        texts = {key: " ".join(f"{value:.4f}" for value in getattr(self, key)) for key in ("nme", "interocular")}
        return texts | {"units": " ".join(map(str, _numbers(self.units)))}


def decoded(entry: Mapping[str, Any]) -> NmeTable:
    """Return what :meth:`NmeTable.encoded` wrote."""
    nme, interocular = (np.array(entry[key].split(), np.float64) for key in ("nme", "interocular"))
    return NmeTable(nme, tuple(entry["units"].split()), interocular)


def read_nme(predictions: Path) -> dict[str, NmeTable]:
    """Return domain -> errors of the faces in a ``predictions.csv``; faces that were not scored are left out."""
    faces: dict[str, dict[str, list[dict[str, str]]]] = {}
    with predictions.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["nme"]:
                faces.setdefault(row["domain"], {}).setdefault(row["face"], []).append(row)
    if not faces:
        raise DataError(f"{predictions} has no face with an error; run the test again")
    return {
        domain: NmeTable(
            np.array([float(rows[0]["nme"]) for rows in found.values()]),
            tuple(f"{domain}/{rows[0]['subject'] or face}" for face, rows in found.items()),
            np.array([_by_eyes(rows) for rows in found.values()]),
        )
        for domain, found in faces.items()
    }


def _by_eyes(rows: Sequence[Mapping[str, str]]) -> float:
    """Return the mean error of a face in percent of the distance of its eyes' centres; NaN without both eyes."""
    counted = np.array([row["counted"] == "1" for row in rows])
    truth, predicted = (
        np.array([[float(row[f"{kind}_{axis}"] or "nan") for axis in "xy"] for row in rows])
        for kind in ("truth", "predicted")
    )
    eyes = [[k for k, row in enumerate(rows) if row["landmark"].startswith(f"{side}_eye")] for side in _SIDES]
    if not all(eyes) or not counted[eyes[0] + eyes[1]].all():
        return float("nan")
    distance = np.linalg.norm(truth[eyes[0]].mean(axis=0) - truth[eyes[1]].mean(axis=0))
    errors = np.linalg.norm((predicted - truth)[counted], axis=1)
    return float(100 * errors.mean() / distance) if distance > 0 else float("nan")


def joined(parts: Sequence[NmeTable]) -> NmeTable:
    """Return the faces of several domains as one table."""
    units = tuple(unit for part in parts for unit in part.units)
    nme, interocular = (np.concatenate([getattr(part, key) for part in parts]) for key in ("nme", "interocular"))
    return NmeTable(nme, units, interocular)


def mean_of(several: Sequence[NmeTable]) -> NmeTable:
    """Return the mean over tests on the same faces; DataError if they are not the same."""
    for other in several[1:]:
        if len(other.nme) != len(several[0].nme):
            raise DataError("two tests differ in their faces: test both on the same lists")
    nme, interocular = (np.mean([getattr(one, key) for one in several], axis=0) for key in ("nme", "interocular"))
    return NmeTable(nme, several[0].units, interocular)


def difference(a: NmeTable, b: NmeTable) -> tuple[float, Interval]:
    """Return the mean error of a minus that of b on the same faces, and its 95 % interval."""
    mean_of([a, b])
    return float((a.nme - b.nme).mean()), _interval(a.nme - b.nme, a.units)


def _interval(values: NDArray[np.float64], units: Sequence[str]) -> Interval:
    """Return the 95 % interval of the mean of ``values``, each unit drawn with all its faces."""
    numbers = _numbers(units)
    sums, counts = np.bincount(numbers, values), np.bincount(numbers).astype(np.float64)
    rng = np.random.default_rng(np.random.SeedSequence([SEED, len(sums)]))
    drawn = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=RESAMPLES)
    return percentiles((drawn @ sums) / (drawn @ counts))


def _numbers(units: Sequence[str]) -> NDArray[np.int64]:
    order = {unit: k for k, unit in enumerate(dict.fromkeys(units))}
    return np.array([order[unit] for unit in units])


def verdict(interval: Interval) -> str:
    """Return whether a step made the error smaller: ``held``, ``reversed``, or ``tied`` if the interval holds 0."""
    return "held" if interval[0] > 0 else "reversed" if interval[1] < 0 else "tied"
