"""Figures 3 and 4 of the paper from the runs of table 1: ``python -m experiments.figures fig3 fig4``, see ``--help``.

``fig3`` is keypoint transfer across species, each method on the same pairs; ``fig4`` shows the embeddings of all
species in colour. (``make demo`` draws the paper's figure 9, the gallery of pseudo-pairs.) Nothing is trained: a row of
the table without a finished run is left out, and the reason is printed. See docs/tables.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from dife_lightning.utils.files import write_json
from dife_lightning.viz.sheet import save_figure
from experiments.common.commands import guarded
from experiments.common.options import full_name, plan_of, recorded_facts, runs_root_of, table_parser
from experiments.common.plan import Plan, check_names
from experiments.figures.gallery import Gallery

FIGURES = ("fig3", "fig4")


def main(words: Sequence[str] | None = None) -> int:
    """Draw; returns the exit code."""
    options = parse(words)
    return guarded(lambda: draw_all(options), "run the same command to start again")


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the options."""
    parser = table_parser("figures", __doc__, pairs=True)
    add = parser.add_argument
    add("figures", nargs="*", default=list(FIGURES), help="fig3, fig4; default: both")
    add("--seed", type=int, default=0, help="seed of the trained runs (%(default)s)")
    add("--each", type=int, default=2, help="pairs of each kind (fig3), faces of each species (fig4) (%(default)s)")
    add("--model", help="fig4: model that embeds all species; default: the one of most species with a run of dife")
    text = "fig4: joint principal components, or each image's first three channels as in the paper (%(default)s)"
    add("--colors", choices=("pca", "first-three"), default="pca", help=text)
    add("--count", type=int, help="test pairs in each list, to try things out; default: all")
    add("--dpi", type=int, default=200, help="pixels per inch (%(default)s)")
    add("--out", type=Path, help="folder of the figures; default: results/figures, with the benchmark's name")
    options = parser.parse_args(words)
    if options.each < 1 or options.dpi < 30:
        parser.error("--each takes 1 or more, --dpi 30 or more")
    return options


def draw_all(options: argparse.Namespace) -> None:
    """Draw each figure that was asked for."""
    check_names("no figure {}", options.figures, FIGURES)
    plan = plan_of("table1", options)
    rows = [row.name for row in plan.rows]
    check_names("no row {} in the table", options.rows, rows)
    check_names("no kind of pair {} in the table", options.pairs, plan.pairs())
    options.rows = options.rows or [row.name for row in plan.rows if row.name != "random" and not row.window]
    options.out = options.out or Path("results") / full_name("figures", options)
    for name in dict.fromkeys(options.figures):
        draw(name, plan, options)


def draw(name: str, plan: Plan, options: argparse.Namespace) -> None:
    """Draw a figure and write what it shows into its JSON file."""
    from experiments.figures.embeddings import embeddings
    from experiments.figures.transfers import transfers

    rows = [row for row in plan.rows if row.name in options.rows]
    gallery = Gallery(plan, rows, runs_root_of(options), options.seed)
    gallery.require_runs(f"make reproduce-table1{f' BENCHMARK={options.benchmark}' if options.benchmark else ''}")
    kinds = [kind for kind in plan.pairs() if not options.pairs or kind in options.pairs]
    if name == "fig3":
        figure, facts = transfers(gallery, kinds, options.each, options.out / "tests", options.count)
    else:
        look = {"model": options.model, "colors": options.colors}
        figure, facts = embeddings(gallery, kinds, options.each, count=options.count, **look)
    save_figure(figure, options.out / f"{name}.png", options.dpi)
    facts = {"figure": name, **facts, "rows": gallery.used, "left_out": gallery.left_out, **recorded_facts()}
    write_json(options.out / f"{name}.json", facts)
    for line in gallery.left_out:
        print(f"left out of {name}: {line}")
    print(f"{options.out}/{name}.png and .json show {', '.join(gallery.used)}")


if __name__ == "__main__":
    raise SystemExit(main())
