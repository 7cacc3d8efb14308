"""Errors on unlabelled points: places of the face that are no landmarks, and ears.

The points are defined in ``dife_lightning/world/extra_landmarks.py``, the pairs in
``dife_lightning/data/world/extra_pairs.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dife_lightning.data.world.extra_pairs import point_groups, transfer_extra
from dife_lightning.errors import DifeError
from dife_lightning.faces.batches import PairBatch
from dife_lightning.metrics.predictions import PointTable
from dife_lightning.registry import get_method, methods_by_class
from experiments.analyses.numbers import Row, column_rows, over_seeds
from experiments.analyses.sources import ResultFolders

#: Groups of points, and their names in a picture.
GROUPS = {"landmarks": "9 landmarks", "face": "face, no key point there", "ears": "ears"}
#: Why a method without a known checkpoint is left out.
UNKNOWN = "its checkpoint is not known; give --models name=run"


def models_of(sources: ResultFolders, given: Mapping[str, Sequence[str]]) -> dict[str, dict[str | None, list[str]]]:
    """Return method -> kind of pair (None: any) -> models: run folders of all seeds, an embedder, or a class.

    Args:
        sources: the folders of tests; some say what was tested.
        given: method -> models, for any kind of pair; these take precedence.
    """
    found: dict[str, dict[str | None, list[str]]] = {name: {None: list(models)} for name, models in given.items()}
    for method, tests in sources.items():
        if method in given:
            continue
        for test in tests:
            for pair in test.pairs or (None,):
                models = found.setdefault(method, {}).setdefault(pair, [])
                if test.model is not None and test.model not in models:
                    models.append(test.model)
    return found


def load_model(model: str) -> Any:
    """Return a method that transfers points: a trained run or checkpoint, a method's class, or a frozen embedder.

    Raises:
        DifeError: it cannot be loaded.
    """
    from dife_lightning import load

    classes = methods_by_class()
    if model in classes:
        return classes[model]()
    if Path(model).is_dir() or model.endswith(".ckpt"):
        return load(model)
    return get_method("frozen-embedder")(embedder=model)


def score_extra(models: Sequence[str], batches: Sequence[PairBatch]) -> list[PointTable]:
    """Return the predictions of each of ``models`` for the points of ``batches``.

    Raises:
        DifeError: a model cannot be loaded, or can transfer only the landmarks of the protocols.
    """
    return [transfer_extra(load_model(model).eval(), batches) for model in models]


def extra_rows(method: str, pair: str, tables: Sequence[PointTable], resamples: int) -> tuple[list[Row], list[Row]]:
    """Return group -> error, and point -> error, of the mean over tables of the same points."""
    errors, counted = over_seeds(tables, lambda table: (table.errors, table.visible))
    start = {"method": method, "pair": pair}
    kinds = point_groups()
    members = np.array([[kind == group for group in GROUPS] for kind in kinds.values()], dtype=np.float64)
    by_group = column_rows(errors @ members, _floats(counted) @ members, resamples, name="pixel_error")
    by_point = column_rows(errors, _floats(counted), resamples, name="pixel_error")
    groups = [
        {**start, "group": group, **row, "seeds": len(tables)} for group, row in zip(GROUPS, by_group, strict=True)
    ]
    points = [
        {**start, "point": name, "group": kind, **row, "seeds": len(tables)}
        for (name, kind), row in zip(kinds.items(), by_point, strict=True)
    ]
    return groups, points


def _floats(counted: NDArray[np.bool_]) -> NDArray[np.float64]:
    return counted.astype(np.float64)


def all_extra_rows(
    models: Mapping[str, Mapping[str | None, Sequence[str]]],
    batches: Mapping[str, Sequence[PairBatch]],
    resamples: int,
    left_out: list[str],
) -> tuple[list[Row], list[Row]]:
    """Return the rows of all methods and kinds of pair; what cannot be scored is added to ``left_out``.

    Args:
        models: what :func:`models_of` gave.
        batches: kind of pair -> its batches.
        resamples: draws behind each interval.
        left_out: one line for each method and kind that is left out.
    """
    groups: list[Row] = []
    points: list[Row] = []
    missed: dict[tuple[str, str], list[str]] = {}
    for method, by_pair in models.items():
        for pair, those in batches.items():
            names = by_pair.get(pair) or by_pair.get(None) or []
            try:
                tables = score_extra(names, those)
            except DifeError as error:
                missed.setdefault((method, str(error)), []).append(pair)
                continue
            if not tables:
                missed.setdefault((method, UNKNOWN), []).append(pair)
                continue
            some, single = extra_rows(method, pair, tables, resamples)
            groups, points = groups + some, points + single
    left_out += [f"further points, {method} on {', '.join(pairs)}: {why}" for (method, why), pairs in missed.items()]
    return groups, points
