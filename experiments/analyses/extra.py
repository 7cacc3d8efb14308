"""Errors on unlabelled points (points of the face that are not landmarks, and of the ears), and a picture of them.

The points are defined in ``dife_lightning/world/extra_landmarks.py``, the pairs in
``dife_lightning/data/world/extra_pairs.py``.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dife_lightning.data.world.extra_pairs import point_groups, transfer_extra
from dife_lightning.errors import DataError, DifeError
from dife_lightning.faces.batches import PairBatch
from dife_lightning.registry import get_method, methods_by_class
from dife_lightning.viz.axes import dot, head, legend
from dife_lightning.viz.sheet import axes_at, new_figure, show, title
from dife_lightning.world import render
from dife_lightning.world.extra_landmarks import extra_landmarks
from experiments.analyses.numbers import Row, column_rows, over_seeds
from experiments.analyses.sets import ComparedTests, ResultFolder

#: Group of points -> its name in a picture.
GROUPS = {"landmarks": "9 landmarks", "face": "face, without landmarks", "ears": "ears"}
#: One colour for each group of points, distinct on skin and fur.
_COLORS = {"landmarks": "#ffffff", "face": "#3fd6c6", "ears": "#ff6fd0"}


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


def _models(tests: Sequence[ResultFolder], pair: str) -> list[str]:
    """Return the models that were tested on a kind of pair: the run folders of all seeds, an embedder, or a class."""
    known = [test.model for test in tests if test.model and (test.pairs is None or pair in test.pairs)]
    if not known:
        raise DataError("its checkpoint is not known; give --models name=run")
    return list(dict.fromkeys(known))


def extra_rows(
    found: ComparedTests,
    given: Mapping[str, Sequence[str]],
    batches: Mapping[str, Sequence[PairBatch]],
    resamples: int,
) -> tuple[list[Row], list[Row]]:
    """Return the error of each group of points, and of each point, for all methods and kinds of pair.

    Args:
        found: the tests, some of which name their model; methods that cannot be scored are added to ``left_out``.
        given: method -> its models, in place of those that the tests name.
        batches: kind of pair -> its batches.
        resamples: bootstrap draws behind each interval.
    """
    kinds = point_groups()
    members = np.array([[kind == group for group in GROUPS] for kind in kinds.values()], dtype=np.float64)
    groups: list[Row] = []
    points: list[Row] = []
    missed: dict[tuple[str, str], list[str]] = {}
    for method, (pair, those) in itertools.product(dict.fromkeys((*given, *found.sources)), batches.items()):
        try:
            models = given.get(method) or _models(found.sources[method], pair)
            tables = [transfer_extra(load_model(model).eval(), those) for model in models]
        except DifeError as error:
            missed.setdefault((method, str(error)), []).append(pair)
            continue
        errors, counted = over_seeds(tables)
        counts, start = counted.astype(np.float64), {"method": method, "pair": pair}
        end: dict[str, Any] = {"resamples": resamples, "name": "pixel_error", "seeds": len(tables)}
        groups += column_rows([{**start, "group": name} for name in GROUPS], errors @ members, counts @ members, **end)
        named = [{**start, "point": name, "group": kind} for name, kind in kinds.items()]
        points += column_rows(named, errors, counts, **end)
    for (method, why), pairs in missed.items():
        found.left_out.append(f"unlabelled points, {method} on {', '.join(pairs)}: {why}")
    return groups, points


def extra_places(species: Sequence[str]) -> Figure:
    """Draw one test face of each species with all its points: of the first 30 faces, the one that shows most points."""
    cell, top, bottom = 2.0, 0.92, 0.4
    figure = new_figure(max(cell * len(species) + 0.24, 6.6), cell + top + bottom)
    for column, name in enumerate(species):
        axes = axes_at(figure, 0.12 + column * cell, top, cell - 0.1, cell - 0.1)
        _draw(axes, name)
        head(axes, name)
    note = "the same points in every species; no click or landmark is on an ear"
    title(figure, "Where the points are", note)
    legend(figure, [dot(name, _COLORS[group], markeredgecolor="black") for group, name in GROUPS.items()])
    return figure


def _draw(axes: Any, species: str) -> None:
    index = int(np.argmax([extra_landmarks(species, "test", index)[1].sum() for index in range(30)]))
    sample = render(species, "test", index, size=160)
    points, visible = extra_landmarks(species, "test", index, size=160)
    show(axes, sample.image)
    all_points, all_visible = np.concatenate((sample.points, points)), np.concatenate((sample.visible, visible))
    for point, shown, group in zip(all_points, all_visible, point_groups().values(), strict=True):
        if shown:
            look = {"markerfacecolor": _COLORS[group], "markeredgecolor": "black", "markeredgewidth": 0.8}
            axes.plot(*point, "o", markersize=6, **look)
