"""Writes a table of landmark models as Markdown and JSON, and the learning curve as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cycler import cycler

from dife_lightning.utils.files import atomic_write, write_json
from experiments.landmarks.assemble import groups_of

_MARKS = {"held": "", "tied": " =", "reversed": " <"}
LEGEND = (
    "NME in percent of the face's length, lower is better; ± is the spread over seeds, [ ] the 95 % interval over "
    "faces (over animals or persons where these are known). =: tied with {reference} on the same faces (the interval "
    "contains 0); <: better than it."
)
SCORES_LEGEND = (
    "In %: failures above 8 % / above 10 % / area under the curve up to 10 % / mean error by the distance of the eyes, "
    "of the faces on which both are seen."
)


def write_table(table: Mapping[str, Any], folder: Path, curve: Mapping[str, Any] | None = None) -> None:
    """Write ``table.json``, ``table.md`` and ``ced.png``, and with a ``curve`` also ``curve.png``."""
    write_json(folder / "table.json", {**table, "curve": curve})
    with atomic_write(folder / "table.md") as temporary:
        temporary.write_text(markdown(table, curve), encoding="utf-8")
    draw_ced(table, folder / "ced.png")
    if curve is not None:
        draw_curve(curve, folder / "curve.png")


def markdown(table: Mapping[str, Any], curve: Mapping[str, Any] | None = None) -> str:
    """Return the table in Markdown."""
    columns, methods = list(table["columns"]), list(dict.fromkeys(row["row"] for row in table["rows"]))
    cells = {(row["row"], row["column"]): row for row in table["rows"]}
    lines = [f"# {table['title']}", "", LEGEND.format(reference=f"`{table['reference']}`"), ""]
    notes = {method: cells[method, columns[0]]["note"] for method in methods}
    lines += [f"- `{method}`: {note}" for method, note in notes.items() if note]
    lines += ["", f"| row | supervision | {' | '.join(columns)} |", f"|---|---|{'---|' * len(columns)}"]
    for method in methods:
        numbers = [_number(cells[method, column]) for column in columns]
        lines.append(f"| {method} | {cells[method, columns[0]]['supervision']} | {' | '.join(numbers)} |")
    lines += ["", SCORES_LEGEND, ""]
    lines += [f"| row | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for method in methods:
        scores = [_scores(cells[method, column]) for column in columns]
        lines.append(f"| {method} | {' | '.join(scores)} |")
    if table["ablation"]:
        lines += ["", "## Steps of the ablation", "", "Error before the step minus error after it, on the same faces."]
        lines += ["", "| step | faces | difference | |", "|---|---|---|---|"]
        for step in table["ablation"]:
            low, high = step["ci95"]
            value = f"{step['difference']:+.2f} [{low:+.2f}, {high:+.2f}]"
            lines.append(f"| {step['before']} → {step['after']} | {step['column']} | {value} | {step['verdict']} |")
    for goal in table["goals"]:
        told = "reached" if goal["holds"] else "not reached"
        value, limit = goal["value"], goal["limit"]
        lines += ["", f"Goal on {goal['column']}: at most {limit:.2f} of the supervised error; {value:.2f}: {told}."]
        others = ", ".join(f"`{row}`" for row in goal["not_below"]) or "none"
        lines += [f"Rows whose error is not above that of `{table['reference']}` there: {others}."]
    for name, reason in table["left_out"].items():
        lines += ["", f"`{name}` is left out: {reason}"]
    lines += ["", "![Share of faces by error](ced.png)"]
    if curve is not None:
        lines += ["", "## Learning curve", "", *_curve_lines(curve), "", "![NME against labels](curve.png)"]
    return "\n".join(lines) + "\n"


def _number(row: Mapping[str, Any]) -> str:
    low, high = row["ci95"]
    spread = f" ± {row['spread']:.2f}" if row["spread"] is not None else ""
    mark = "" if row["against"] is None else _MARKS[row["against"]["verdict"]]
    return f"{row['nme']:.2f}{spread}{mark} [{low:.2f}, {high:.2f}]"


def _scores(row: Mapping[str, Any]) -> str:
    shares = [None if value is None else 100 * value for value in row["scores"].values()]
    return " / ".join("–" if value is None else f"{value:.1f}" for value in (*shares, row["interocular"]["nme"]))


def _curve_lines(curve: Mapping[str, Any]) -> list[str]:
    labels: Sequence[int] = curve["labels"]
    lines = ["NME with one seed." if curve["seeds"] == 1 else f"Mean NME of {curve['seeds']} seeds.", ""]
    lines += [f"| row | faces | {' | '.join(map(str, labels))} labels |", f"|---|---|{'---|' * len(labels)}"]
    for line in curve["lines"]:
        values = ["–" if value is None else f"{value:.2f}" for value in line["nme"]]
        lines.append(f"| {line['row']} | {line['column']} | {' | '.join(values)} |")
    return lines


def draw_ced(table: Mapping[str, Any], path: Path) -> None:
    """Draw the share of faces with at most an error against this error, one panel for each group."""
    from dife_lightning.viz.sheet import save_figure

    columns = groups_of(table["columns"])
    figure, axes = _panels(len(columns))
    for axis, column in zip(axes, columns, strict=True):
        for row in table["rows"]:
            if row["column"] == column:
                axis.plot(range(len(row["ced"])), row["ced"], label=row["row"])
        axis.set(title=column, xlabel="NME (%)", ylabel="share of faces", ylim=(0, 1))
    _legend(axes)
    save_figure(figure, path)


def _panels(count: int) -> tuple[Any, Any]:
    from dife_lightning.viz.sheet import LINES, new_figure

    figure = new_figure(4.2 * count + 1.6, 3.8)
    axes = figure.subplots(1, count, squeeze=False)[0]
    figure.subplots_adjust(left=0.07, right=1 - 1.7 / (4.2 * count + 1.6), bottom=0.15)
    for axis in axes:
        axis.set_prop_cycle(cycler(linestyle=["-", "--", ":"]) * cycler(color=LINES))  # as many as rows, and more
    return figure, axes


def _legend(axes: Any) -> None:
    axes[-1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)


def draw_curve(curve: Mapping[str, Any], path: Path) -> None:
    """Draw NME against the number of labels, one panel for each group."""
    from dife_lightning.viz.sheet import save_figure

    columns = list(dict.fromkeys(line["column"] for line in curve["lines"]))
    figure, axes = _panels(len(columns))
    for axis, column in zip(axes, columns, strict=True):
        for line in curve["lines"]:
            if line["column"] == column:
                known = [(n, v) for n, v in zip(curve["labels"], line["nme"], strict=True) if v is not None]
                axis.plot(*zip(*known, strict=True), marker="o", label=line["row"])
        axis.set(title=column, xlabel="labelled faces", ylabel="NME (%)", xscale="log")
        axis.set_xticks(curve["labels"], [str(number) for number in curve["labels"]])
        axis.minorticks_off()
        axis.set_ylim(bottom=0)
    _legend(axes)
    save_figure(figure, path)
