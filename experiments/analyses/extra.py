"""Errors on unlabelled points: places of the face that are not landmarks, and ears.

The points are defined in ``dife_lightning/world/extra_landmarks.py``, the pairs in
``dife_lightning/data/world/extra_pairs.py``.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dife_lightning.data.world.extra_pairs import point_groups, transfer_extra
from dife_lightning.errors import DataError, DifeError
from dife_lightning.faces.batches import PairBatch
from dife_lightning.registry import get_method, methods_by_class
from experiments.analyses.numbers import Row, column_rows, over_seeds
from experiments.analyses.sources import ResultFolders

#: Group of points -> its name in a picture.
GROUPS = {"landmarks": "9 landmarks", "face": "face, no key point there", "ears": "ears"}
#: Why a method without a known checkpoint is left out.
UNKNOWN = "its checkpoint is not known; give --models name=run"


def models_of(sources: ResultFolders, given: Mapping[str, Sequence[str]]) -> dict[str, dict[str | None, list[str]]]:
    """Return method -> kind of pair (None: any) -> models: run folders of all seeds, an embedder, or a class.

    Args:
        sources: the folders of tests, some of which name their model.
        given: method -> models for any kind of pair; these take precedence.
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


def extra_rows(
    models: Mapping[str, Mapping[str | None, Sequence[str]]],
    batches: Mapping[str, Sequence[PairBatch]],
    resamples: int,
    left_out: list[str],
) -> tuple[list[Row], list[Row]]:
    """Return the error of each group of points, and of each point, for all methods and kinds of pair.

    Args:
        models: the result of :func:`models_of`.
        batches: kind of pair -> its batches.
        resamples: draws behind each interval.
        left_out: gets one line for each method and reason why it could not be scored.
    """
    kinds = point_groups()
    members = np.array([[kind == group for group in GROUPS] for kind in kinds.values()], dtype=np.float64)
    groups: list[Row] = []
    points: list[Row] = []
    missed: dict[tuple[str, str], list[str]] = {}
    for (method, by_pair), (pair, those) in itertools.product(models.items(), batches.items()):
        names = by_pair.get(pair) or by_pair.get(None) or []
        try:
            if not names:
                raise DataError(UNKNOWN)
            tables = [transfer_extra(load_model(name).eval(), those) for name in names]
        except DifeError as error:
            missed.setdefault((method, str(error)), []).append(pair)
            continue
        errors, counted = over_seeds(tables, lambda table: (table.errors, table.visible))
        counts, start = counted.astype(np.float64), {"method": method, "pair": pair}
        found = column_rows(errors @ members, counts @ members, resamples, name="pixel_error")
        for group, row in zip(GROUPS, found, strict=True):
            groups.append({**start, "group": group, **row, "seeds": len(tables)})
        found = column_rows(errors, counts, resamples, name="pixel_error")
        for (name, kind), row in zip(kinds.items(), found, strict=True):
            points.append({**start, "point": name, "group": kind, **row, "seeds": len(tables)})
    left_out += [f"further points, {method} on {', '.join(pairs)}: {why}" for (method, why), pairs in missed.items()]
    return groups, points
