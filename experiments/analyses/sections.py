"""The analyses: each turns the compared tests into tables, text and pictures."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import partial

from matplotlib.figure import Figure

from dife_lightning.data.world.extra_pairs import extra_batches
from dife_lightning.errors import DifeError
from dife_lightning.viz.heat import heat_table
from dife_lightning.viz.intervals import interval_chart
from dife_lightning.viz.methods import drawn
from dife_lightning.world.parameters import parse_name
from experiments.analyses.differences import VARIABLES, difference_rows, differences
from experiments.analyses.extra import GROUPS, extra_places, extra_rows
from experiments.analyses.failures import PairImages, failure_rows, failure_sheet
from experiments.analyses.numbers import Row, landmark_rows, pck_rows, swap_rows
from experiments.analyses.output import Result, by_pair, markdown_table, panels_of, pck_figure, signed, two_lines
from experiments.analyses.sets import ComparedTests

PX = "px of a 70-px crop"
INTERVAL = "bars: 95 % interval over {}"
LOWER = "The smallest value of each column is bold; [ ] is the 95 % interval over {}."
#: What PCK is relative to (``metrics.pck.Normalizer``), in words.
LENGTHS = {
    "crop": "the crop's side",
    "face": "the largest extent of the landmarks",
    "interocular": "the distance between the eyes",
}
NEARER = "points that are closer to the true position of their mirrored landmark"


def landmarks(found: ComparedTests, options: Namespace) -> Result:
    """Error of each landmark."""
    rows = [row for one in found.sets for row in landmark_rows(one, options.resamples)]
    text = [f"Error in px of a 70-px crop. {LOWER.format(found.over)}", *_tables(rows, "landmark", "pixel_error")]
    panels = panels_of(rows, "landmark", "pixel_error", lambda row: two_lines(row["landmark"]))
    heading = "Error of each landmark"
    note = f"{found}; {PX}; ± half of the 95 % interval over {found.over}; the smallest of a column in bold"
    bars = f"{found}; {INTERVAL.format(found.over)}"
    figures = {
        "landmarks_heat": partial(heat_table, panels, heading=heading, note=note),
        "landmarks": partial(interval_chart, panels, heading=heading, note=bars, ylabel=PX, columns=1, height=1.7),
    }
    return Result(heading, {"landmarks": rows}, text, figures)


def swaps(found: ComparedTests, options: Namespace) -> Result:
    """Left/right swaps."""
    rows = [row for one in found.sets for row in swap_rows(one, options.resamples)]
    text = [f"Share of {NEARER} than to their own, among those"]
    text += [f"that are visible together with their mirrored landmark in both faces. {LOWER.format(found.over)}"]
    text += _tables(rows, "landmark", "swap_rate", show=lambda share: f"{100 * share:.1f} %")
    panels = panels_of(rows, "landmark", "swap_rate", lambda row: row["landmark"].replace("_", " "))
    note, heading = f"share of {NEARER}; {found}; {INTERVAL.format(found.over)}", "Left/right swaps"
    draw = partial(interval_chart, panels, heading=heading, note=note, ylabel="swapped points", percent=True)
    return Result(heading, {"swaps": rows}, text, {"swaps": draw})


def pck(found: ComparedTests, options: Namespace) -> Result:
    """PCK curves and the areas under them."""
    both = [pck_rows(one, options.resamples, options.pck_by) for one in found.sets]
    curve, areas = ([row for part in parts for row in part] for parts in zip(*both, strict=True))
    length = LENGTHS[options.pck_by]
    whose = "" if options.pck_by == "crop" else " of the target face"
    between = f"between thresholds of 0.01 and 0.2 of {length}{whose}"
    text = [f"Area under the curve {between}: the mean PCK over them, 1 at best."]
    text += ["", *markdown_table(areas, column="pair", value="area", show="{:.3f}".format, best=max)]
    draw = partial(pck_figure, curve, areas, length, str(found), found.over)
    return Result("Points within a threshold", {"pck": curve, "pck_area": areas}, text, {"pck": draw})


def against_differences(found: ComparedTests, options: Namespace) -> Result | None:
    """Errors in bins of pose and shape differences; None on photographs, whose pose and shape are unknown."""
    binned: list[Row] = []
    ranks: list[Row] = []
    for one in found.sets:
        values = differences(one.pair_ids, one.framing, options.test_seed)
        if values is None:
            why = "photographs have no known pose and shape, so errors against them are left out"
            found.left_out.append(f"{one.pair}: {why}")
            continue
        try:
            PairImages(one, options.test_seed)[0]
        except DifeError as error:
            found.left_out.append(f"{one.pair}: errors against the rotation in the picture are left out ({error})")
            del values["turn"]
        more = difference_rows(one, values, options.resamples, options.bins)
        binned, ranks = binned + more[0], ranks + more[1]
    if not binned:
        return None
    text = ["Spearman's rank correlation of a pair's mean error with the difference of its two faces."]
    figures = {}
    for name, variable in VARIABLES.items():
        own = [row for row in binned if row["variable"] == name]
        correlations = [row for row in ranks if row["variable"] == name]
        if own:
            lines = markdown_table(correlations, column="pair", value="spearman", show=signed, best=None)
            text += ["", f"**{variable.axis}**", "", *lines]
            figures[f"differences_{name}"] = partial(_difference_chart, own, correlations, name, str(found))
    tables = {"differences": binned, "differences_rank": ranks}
    return Result("Error against pose and shape", tables, text, figures)


def _difference_chart(binned: Sequence[Row], correlations: Sequence[Row], variable: str, what: str) -> Figure:
    axis, heading, digits = VARIABLES[variable]
    notes = {(row["pair"], row["method"]): signed(row["spearman"]) for row in correlations}

    def label(row: Row) -> str:
        return f"{row['low']:.{digits}f}–{row['high']:.{digits}f}"

    panels = panels_of(binned, "bin", "pixel_error", label, notes, "ρ")
    note = f"{what}; bins of equally many pairs; ρ: Spearman's rank correlation over pairs; {INTERVAL.format('pairs')}"
    return interval_chart(panels, heading=f"Error where {heading}", note=note, ylabel=PX, xlabel=axis)


def extra(found: ComparedTests, options: Namespace) -> Result | None:
    """Errors on unlabelled points; None on photographs, or if no model can be loaded."""
    batches = {}
    for one in found.sets:
        if not all(parse_name(name) is not None for name in one.pair_ids[0].split(">")):
            found.left_out.append(f"{one.pair}: unlabelled points are known only for faces of the world")
            continue
        made = extra_batches(
            one.pair,
            options.extra_pairs,
            list_name="paper" if one.list_name == "paper" else "long",
            framing=one.framing,  # type: ignore[arg-type]
            size=one.image_size or 64,
            test_seed=options.test_seed,
        )
        batches[one.pair] = list(made)
    groups, points = extra_rows(found, options.models, batches, options.resamples)
    if not groups:
        return None
    first = f"the first {options.extra_pairs} pairs"
    text = [f"Error in px of a 70-px crop on {first} of the test list. {LOWER.format(found.over)}"]
    text += _tables([{**row, "group": GROUPS[row["group"]]} for row in groups], "group", "pixel_error")
    species, heading = dict.fromkeys(name for pair in batches for name in pair.split("+")), "Unlabelled points"
    panels = panels_of(groups, "group", "pixel_error", lambda row: GROUPS[row["group"]])
    note = f"first {options.extra_pairs} pairs, {found.sets[0].framing}; {INTERVAL.format(found.over)}"
    figures = {
        "extra": partial(interval_chart, panels, heading=heading, note=note, ylabel=PX),
        "extra_where": partial(extra_places, list(species)),
    }
    return Result(heading, {"extra": groups, "extra_points": points}, text, figures)


def failures(found: ComparedTests, options: Namespace) -> Result | None:
    """Worst and median pairs; None if there are no pictures."""
    rows: list[Row] = []
    figures: dict[str, Callable[[], Figure]] = {}
    measure = None if found.plan is None else found.plan.measure
    photographs = measure is not None and measure.data != "WorldPairs"
    try:
        data = measure.prepared([one.pair for one in found.sets], None) if measure and photographs else None
    except DifeError as error:
        found.left_out.append(f"no pictures of failures: {error}")
        return None
    for one in found.sets:
        images = PairImages(one, options.test_seed, data)
        try:
            images[0]
        except DifeError as error:
            found.left_out.append(f"no pictures of failures: {error}")
            continue
        for method in drawn(one.tables):
            rows += failure_rows(one, method, options.worst, options.median)
            draw = partial(failure_sheet, one, method, images, options.worst, options.median)
            figures[f"failures/{one.pair}_{method}"] = draw
    if not rows:
        return None
    seeds = "" if all(len(t) == 1 for one in found.sets for t in one.tables.values()) else ", of its first seed"
    text = [
        f"The pairs with the largest errors of each method{seeds}, and the median ones, among pairs of which at least",
        "half of the landmarks are visible. Rings are true positions, dots are predictions.",
    ]
    return Result("Failures", {"failures": rows}, text, figures)


def _tables(rows: Sequence[Row], column: str, value: str, show: Callable[[float], str] = "{:.2f}".format) -> list[str]:
    """Return a table for each kind of pair, with its name above."""
    lines: list[str] = []
    for pair, own in by_pair(rows).items():
        lines += ["", f"**{pair}**", "", *markdown_table(own, column=column, value=value, show=show)]
    return lines


#: Name -> analysis, in the order of the page.
SECTIONS: dict[str, Callable[[ComparedTests, Namespace], Result | None]] = {
    "landmarks": landmarks,
    "swaps": swaps,
    "pck": pck,
    "differences": against_differences,
    "extra": extra,
    "failures": failures,
}
