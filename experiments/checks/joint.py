"""One model of three species against one model for each pair of species: ``python -m experiments.checks.joint``.

In the paper, the joint model is much worse than the pairwise ones (13.16 px against 9.83, weighted by pairs). This
compares the two on the same pairs, from the committed records or from those of ``experiments.tables --record``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dife_lightning.errors import DataError
from dife_lightning.utils.files import write_json
from experiments.common.commands import guarded
from experiments.common.pair_errors import PairErrors, SetKey, difference, joined, mean_of
from experiments.common.plan import MOST_SEEDS
from experiments.tables.assemble import verdict
from experiments.tables.records import find_record

RECORDS = Path(__file__).resolve().parents[1] / "records" / "world"
KINDS = ("human+dog", "human+cat", "dog+cat")
#: The paper's joint model, and its pairwise ones weighted by their 100, 89 and 89 pairs (table 1).
PAPER = {"joint": 13.16, "pairwise": 9.83}


def main(words: Sequence[str] | None = None) -> int:
    """Compare; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m experiments.checks.joint", description=__doc__)
    parser.add_argument("--records", type=Path, default=RECORDS, help="folder of the records (%(default)s)")
    parser.add_argument("--joint", default="dife-human_dog_cat", help="runs of the joint model (%(default)s)")
    parser.add_argument("--pairwise", default="dife-{pair}", help="runs of the models of two species (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("results/joint.json"), help="(%(default)s)")
    options = parser.parse_args(words)
    return guarded(lambda: report(options), "nothing was written")


def report(options: argparse.Namespace) -> None:
    """Print and write the comparison on every list, protocol and framing that the records have."""
    rows = joint_rows(options.records, options.joint, options.pairwise)
    for row in rows:
        low, high = row["ci95"]
        where = f"{row['list']}, {row['protocol']}, {row['framing']}, {row['pair']}"
        print(
            f"{where}: joint {row['joint']:.2f}, pairwise {row['pairwise']:.2f}, "
            f"loss {row['difference']:+.2f} [{low:+.2f}, {high:+.2f}]: {row['verdict']}"
        )
    write_json(options.out, {"rows": rows, "paper": PAPER})
    print(f"\n{options.out}")


def joint_rows(records: Path, joint: str, pairwise: str) -> list[dict[str, Any]]:
    """Return rows of the joint model's error minus the pairwise ones', on all kinds of pairs together and on each.

    Both sides are means over their own seeds.

    Raises:
        DataError: a run has no record.
    """
    one = {kind: _mean(records, joint) for kind in KINDS}
    each = {kind: _mean(records, pairwise.format(pair=kind.replace("+", "_"))) for kind in KINDS}
    sets = dict.fromkeys(key[1:] for key in one[KINDS[0]])
    found = []
    for place in sets:
        sides = [[side[kind][(kind, *place)] for kind in KINDS] for side in (one, each)]
        parts = {"all": tuple(joined(side) for side in sides)}
        parts |= dict(zip(KINDS, zip(*sides, strict=True), strict=True))
        found += [_row(name, place, *both) for name, both in parts.items()]
    return found


def _row(name: str, place: tuple[str, str, str], joint: PairErrors, pairwise: PairErrors) -> dict[str, Any]:
    gap, interval = difference(joint, pairwise)
    said = {"better": "the joint model loses", "worse": "the joint model gains", "tie": "no difference"}
    numbers = {"joint": joint.pixel_error, "pairwise": pairwise.pixel_error, "difference": gap}
    where = dict(zip(("list", "framing", "protocol"), place, strict=True))
    return {"pair": name, **where, **numbers, "ci95": list(interval), "verdict": said[verdict(interval)]}


def _mean(records: Path, name: str) -> dict[SetKey, PairErrors]:
    """Return the mean errors over the recorded seeds of a run."""
    each = [find_record(records, f"{name}-seed{seed}") for seed in range(MOST_SEEDS)]
    several = [found for found in each if found is not None]
    if not several:
        raise DataError(f"no record {records}/runs/{name}-seed0.json: build table1 with --record {records} first")
    errors = [record.errors() for record in several]
    return {key: mean_of([part[key] for part in errors]) for key in errors[0]}


if __name__ == "__main__":
    raise SystemExit(main())
