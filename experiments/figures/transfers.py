"""The paper's figure 3: keypoint transfer across species by all methods on the same pairs.

For each kind of pair, the figure shows the pairs with the median errors of one method.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from dife_lightning.faces.schemes import get_protocol
from dife_lightning.metrics.predictions import PointTable, read_predictions
from dife_lightning.utils.run_folder import PREDICTIONS
from dife_lightning.viz.comparison import comparison_sheet
from dife_lightning.viz.transfer import TransferExample
from experiments.analyses.failures import PairImages, chosen, ranked, transfer_example
from experiments.analyses.sets import AnalysisSet
from experiments.common.plan import TableRow
from experiments.common.untrained import score
from experiments.figures.gallery import Gallery

if TYPE_CHECKING:
    from dife_lightning.data.pairs import PairsDataModule


def transfers(
    gallery: Gallery, kinds: Sequence[str], each: int, tests: Path, count: int | None = None
) -> tuple[Figure, dict[str, Any]]:
    """Draw the figure; returns it and what it shows.

    Args:
        gallery: the rows.
        kinds: kinds of pair.
        each: number of pairs of each kind.
        tests: folder for the test of each row on each kind.
        count: pairs in the list in place of its own number.
    """
    measure = gallery.plan.measure
    measure, protocol = replace(measure, lists=measure.lists[:1], framings=measure.framings[:1]), measure.protocols[0]
    data = measure.prepared(kinds, count)
    tables = {row.name: found for row in gallery.rows if (found := tested(gallery, row, kinds, data, tests))}
    reference = reference_of(tables, kinds, gallery.plan.reference)
    rule = f"the pairs with the median errors of {reference}, among pairs with at least half of the points visible"
    sheet: dict[str, dict[str, Sequence[TransferExample | None]]] = {}
    shown: list[dict[str, Any]] = []
    for kind in kinds:
        own = {name: by_kind[kind] for name, by_kind in tables.items() if kind in by_kind}
        pairs = next(found for found in data.test_sets if found.pair == kind)
        place = {"pair": kind, "list_name": pairs.list_name, "framing": pairs.framing, "protocol": protocol}
        one = AnalysisSet(**place, tables={name: (table,) for name, table in own.items()}, image_size=pairs.size)
        images, numbers = PairImages(one, data=data), chosen(own[reference], worst=1, median=each)[1]
        sheet[" → ".join(kind.split("+"))] = {
            name: [transfer_example(own[name], i, images) if name in own else None for i in numbers] for name in tables
        }
        shown.append({
            "pair": kind,
            "list": pairs.list_name,
            "framing": pairs.framing,
            "of": len(one.pair_ids),
            "pair_ids": [one.pair_ids[i] for i in numbers],
            "errors": {name: ranked(table)[1][numbers].tolist() for name, table in own.items()},
            "mean_error_of_list": {name: table.pixel_error for name, table in own.items()},
        })  # fmt: skip
    one_list = f"list '{data.test_sets[0].list_name}', {data.test_sets[0].framing} framing"
    figure = comparison_sheet(
        sheet,
        get_protocol(protocol).landmarks,
        heading="Keypoint transfer across species",
        note=f"chosen by a rule: {rule} ({one_list}); mean errors in px of a 70-px crop",
    )
    return figure, {"rule": rule, "reference": reference, "protocol": protocol, "pairs": shown}


def tested(
    gallery: Gallery, row: TableRow, kinds: Sequence[str], data: PairsDataModule, tests: Path
) -> dict[str, PointTable]:
    """Test a row on all kinds of pair for which it has a method, that of the first column with the kind."""
    model_of = {kind: next(column.model for column in gallery.plan.columns if kind in column.pairs) for kind in kinds}
    methods = gallery.models(row, list(dict.fromkeys(model_of.values())))
    found = {}
    for kind, model in model_of.items():
        if model in methods:
            folder = tests / f"{row.name}-{kind}"
            print(f"{row.name} on {kind} ...", flush=True)
            part = copy.copy(data)
            part.test_sets = [pairs for pairs in data.test_sets if pairs.pair == kind]
            score(row.name, methods[model], part, folder)
            tables = read_predictions(folder / PREDICTIONS)
            (found[kind],) = (table for key, table in tables.items() if key[3] == gallery.plan.measure.protocols[0])
    return found


def reference_of(tables: Mapping[str, Mapping[str, Any]], kinds: Sequence[str], usual: str) -> str:
    """Return the row whose errors choose the pairs: the ``usual`` one, or else the last one tested on all kinds."""
    complete = [name for name, by_kind in tables.items() if set(kinds) <= set(by_kind)]
    return usual if usual in complete else complete[-1]
