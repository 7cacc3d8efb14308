"""Figures 3 and 4 of the paper from the runs of table 1: ``python -m experiments.figures fig3 fig4``, see ``--help``.

``fig3`` is key-point transfer across species, each method on the same pairs; ``fig4`` shows the embeddings of all
species in colour. (``make demo`` draws the paper's figure 9, the gallery of pseudo-pairs.) Nothing is trained: a row of
the table without a finished run is left out, and the reason is printed. See docs/tables.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dife_lightning.errors import ConfigError, did_you_mean
from dife_lightning.utils.environment import collect_environment
from dife_lightning.utils.files import write_json
from dife_lightning.viz.sheet import save_figure
from experiments.common.commands import guarded
from experiments.common.options import full_name, pair_options, plan_of, runs_root_of, table_options
from experiments.common.plan import Plan
from experiments.figures.gallery import Gallery, require_runs, wanted_rows

FIGURES = ("fig3", "fig4")
_FACTS = ("commit", "dirty", "versions", "machine", "time")


def main(words: Sequence[str] | None = None) -> int:
    """Draw; returns the exit code."""
    options = parse(words)
    return guarded(lambda: draw_all(options), "run the same command to start again")


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.figures", description=__doc__, parents=[table_options(), pair_options()]
    )
    add = parser.add_argument
    add("figures", nargs="*", default=list(FIGURES), help="fig3, fig4; both by default")
    add("--seed", type=int, default=0, help="of the trained runs (%(default)s)")
    add("--each", type=int, default=2, help="pairs of each kind (fig3), faces of each species (fig4) (%(default)s)")
    add(
        "--model",
        help="fig4: model that embeds all species; by default the one of the most species that has a run of dife",
    )
    add(
        "--colors",
        choices=("pca", "first-three"),
        default="pca",
        help="fig4: joint principal components, or as in the paper each image's first three channels (%(default)s)",
    )
    add("--count", type=int, help="test pairs in each list instead of its own number; to try things out")
    add("--dpi", type=int, default=200, help="pixels per inch (%(default)s)")
    add("--out", type=Path, help="folder of the figures (results/figures, with the benchmark's name)")
    options = parser.parse_args(words)
    if options.each < 1 or options.dpi < 30:
        parser.error("--each takes 1 or more, --dpi 30 or more")
    return options


def draw_all(options: argparse.Namespace) -> None:
    """Draw each figure that was asked for."""
    for name in options.figures:
        if name not in FIGURES:
            raise ConfigError(f"no figure '{name}'. {did_you_mean(name, FIGURES)}")
    options.out = options.out or Path("results") / full_name("figures", options)
    plan = plan_of("table1", options)
    for name in dict.fromkeys(options.figures):
        draw(name, plan, options)


def draw(name: str, plan: Plan, options: argparse.Namespace) -> dict[str, Any]:
    """Draw a figure; returns what is in its JSON file."""
    from experiments.figures.embeddings import embeddings
    from experiments.figures.transfers import transfers

    gallery = Gallery(plan, wanted_rows(plan, options.rows), runs_root_of(options), options.seed)
    kinds = _kinds(plan, options.pairs)
    command = f"make reproduce-table1{f' BENCHMARK={options.benchmark}' if options.benchmark else ''}"
    require_runs(gallery, list(plan.models()), command)
    if name == "fig3":
        figure, facts = transfers(gallery, kinds, options.each, options.out / "tests", options.count)
    else:
        look = {"model": options.model, "colors": options.colors}
        figure, facts = embeddings(gallery, kinds, options.each, count=options.count, **look)
    save_figure(figure, options.out / f"{name}.png", options.dpi)
    environment = collect_environment()
    facts = {"figure": name, **facts, "rows": gallery.used, "left_out": gallery.left_out}
    facts |= {key: environment[key] for key in _FACTS}
    write_json(options.out / f"{name}.json", facts)
    for line in gallery.left_out:
        print(f"left out of {name}: {line}")
    print(f"{options.out}/{name}.png and .json show {', '.join(gallery.used)}")
    return facts


def _kinds(plan: Plan, wanted: Sequence[str] | None) -> list[str]:
    known = plan.pairs()
    for name in wanted or ():
        if name not in known:
            raise ConfigError(f"no kind of pair '{name}' in the table. {did_you_mean(name, known)}")
    return [name for name in known if not wanted or name in wanted]


if __name__ == "__main__":
    raise SystemExit(main())
